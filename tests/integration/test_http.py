#!/usr/bin/env python3
"""What is seen of a coordinator from outside: /metrics, /healthz, /readyz, the page about them and the
alerts that are made of them."""
import contextlib
import datetime
import http.client
import math
import os
import re
import socket
import threading
import time

import fleet
import prometheus
import proxy
import spool

SMALL = "2 - dense 2 softmax"
WIDE = "2 - dense 500 relu - dense 500 relu - dense 2 softmax"
WIDE_BYTES = (2 * 500 + 500 + 500 * 500 + 500 + 500 * 2 + 2) * 3
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
TOKEN = "0123456789abcdef-token"
CONNECTIONS_MAX = 16
# How a name may end: what is counted or measured.
UNITS = {"total", "seconds", "bytes", "ratio", "info", "connections", "uploads", "devices", "rounds",
         "jobs", "version", "epsilon", "disks", "records", "logs"}
LABELS = {"version", "reason", "code", "phase", "part", "le"}


def sums(metrics, name):
    return sum(metrics[name].samples.values())


class Watched(fleet.Fleet):
    def __init__(self, keys="", **options):
        super().__init__(**options)
        self.http_port = fleet.free_port()
        with open(self.dir / "tributary.ini", "a") as file:
            file.write(f"[http]\nlisten = 127.0.0.1:{self.http_port}\n{keys}")

    def ask(self, path, method="GET", headers=None, body=None):
        """Status, headers and text of an answer."""
        with contextlib.closing(http.client.HTTPConnection(
                "127.0.0.1", self.http_port, timeout=fleet.PATIENCE_S)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def metrics(self):
        status, headers, text = self.ask("/metrics")
        if status != 200 or not headers["Content-Type"].startswith("text/plain; version=0.0.4"):
            raise AssertionError(f"{status} {headers} {text}")
        return prometheus.parse(text)

    def when(self, is_true, what):
        """The first metrics of which this is true."""
        def look():
            now = self.metrics()
            return now if is_true(now) else None
        return fleet.wait_until(look, what, step_s=0.05)


class Looker(threading.Thread):
    """Asks for the metrics again and again, and keeps what did not add up."""

    def __init__(self, tried, identities):
        super().__init__(daemon=True)
        self.tried, self.identities = tried, identities
        self.wrong, self.looks, self.is_over = [], 0, False
        self.start()

    def run(self):
        while not self.is_over:
            try:
                now = self.tried.metrics()
            except OSError:  # it is gone, with the test
                return
            self.looks += 1
            self.wrong += [name for name, rule in self.identities.items() if rule.value(now)]
            time.sleep(0.05)

    def end(self):
        self.is_over = True
        self.join(fleet.PATIENCE_S)


class HttpTest(fleet.Case):
    def rules(self):
        return prometheus.parse_rules((fleet.SOURCE / "docs/alerts.yml").read_text())

    # ---- Who is answered

    def test_nothing_is_served_unless_it_is_asked_for(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.assertNotIn("http", tried.log("coordinator"))

    def test_methods_paths_and_sizes_are_limited(self):
        with Watched() as tried:
            tried.start_coordinator()
            for path, text in [("/healthz", "alive\n"), ("/readyz", "ready\n"),
                               ("/healthz?a=b", "alive\n")]:
                fleet.wait_until(lambda: tried.ask(path)[0] == 200, path)
                self.assertEqual(tried.ask(path)[2], text)
            status, headers, text = tried.ask("/metrics", "HEAD")
            self.assertEqual((status, text), (200, ""))
            self.assertGreater(int(headers["Content-Length"]), 1000)
            for path in ["/", "/metrics/", "/metrics/../healthz", "/admin"]:
                self.assertEqual(tried.ask(path)[0], 404, path)
            for method in ["POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"]:
                status, headers, _ = tried.ask("/metrics", method, body="x")
                self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))
            self.assertEqual(tried.ask("/metrics", body="x" * 100)[0], 413)
            self.assertIn(tried.ask("/metrics", headers={"X-Long": "x" * 9000})[0], [413, 431])
            self.assertEqual(tried.ask("/healthz")[0], 200)
            # A coordinator that stops is not waited for, and one that is gone does not answer.
            self.assertEqual(tried.end("coordinator"), 0)
            with self.assertRaises(OSError):
                tried.ask("/healthz")

    def test_who_connects_and_says_nothing_takes_a_place_and_no_more(self):
        with Watched() as tried:
            tried.start_coordinator()
            address = ("127.0.0.1", tried.http_port)
            idle = [socket.create_connection(address) for _ in range(CONNECTIONS_MAX)]
            time.sleep(0.3)  # so that all were accepted
            late = socket.create_connection(address, timeout=0.5)
            late.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with self.assertRaises(TimeoutError):
                late.recv(1)
            self.assertEqual(tried.status()["connections_accepted"], 0)  # devices are not affected
            for one in idle:
                one.close()
            late.settimeout(fleet.PATIENCE_S)
            self.assertEqual(late.recv(12), b"HTTP/1.1 200")
            late.close()

    def test_with_a_token_nobody_is_answered_without_it(self):
        with Watched("token_file = watcher.token\n") as tried:
            path = tried.dir / "watcher.token"
            path.write_text(TOKEN + "\n")
            path.chmod(0o600)
            tried.start_coordinator()
            for path in ["/metrics", "/healthz", "/readyz", "/other"]:
                for given in [None, TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ",
                              f"Basic {TOKEN}", f"Bearer  {TOKEN}", f"Bearer {TOKEN.upper()}"]:
                    headers = {"Authorization": given} if given else {}
                    status, answer, text = tried.ask(path, headers=headers)
                    self.assertEqual((status, answer["WWW-Authenticate"]), (401, "Bearer"), given)
                    self.assertNotIn("tributary", text)
            for scheme in ["Bearer", "bearer"]:
                status, _, text = tried.ask("/healthz", headers={"Authorization":
                                                                 f"{scheme} {TOKEN}"})
                self.assertEqual((status, text), (200, "alive\n"))
            self.assertNotIn(TOKEN, tried.log("coordinator"))

    def test_keys_that_make_no_sense_are_named_with_file_and_line(self):
        with fleet.Fleet() as tried:
            ini = tried.dir / "tributary.ini"
            whole = ini.read_text()
            line = whole.count("\n") + 2
            for keys, where, why in [
                    ("listen = localhost:1", "listen", "ADDRESS:PORT"),
                    ("listen = 0.0.0.0:9464", "listen", "token_file is wanted"),
                    ("token_file = x", "token_file", "of no use without listen"),
                    ("listen = [::1]:9464\ntoken_file = nowhere", "token_file", "cannot be read")]:
                ini.write_text(f"{whole}[http]\n{keys}\n")
                done = fleet.run("tributary-coordinator", "run", tried.dir)
                self.assertEqual(done.returncode, 2, done.stderr)
                at = line + keys.count("\n")
                self.assertIn(f"tributary.ini:{at}: http.{where}: ", done.stderr)
                self.assertIn(why, done.stderr)

    def test_a_port_that_is_taken_is_named(self):
        with Watched() as tried, socket.create_server(("127.0.0.1", tried.http_port)):
            done = fleet.run("tributary-coordinator", "run", tried.dir)
            self.assertEqual(done.returncode, 6, done.stderr)
            self.assertIn(f"http.listen: cannot listen at 127.0.0.1:{tried.http_port}", done.stderr)

    def test_one_that_cannot_write_is_alive_and_not_ready(self):
        with Watched() as tried:
            tried.start_coordinator()
            fleet.wait_until(lambda: tried.ask("/readyz")[0] == 200, "it is ready")
            (tried.dir / "ready.probe").mkdir()  # in the way of the file that it tries to write
            fleet.wait_until(lambda: tried.ask("/readyz")[0] == 503, "it is not ready")
            self.assertEqual(tried.ask("/healthz")[0], 200)
            (tried.dir / "ready.probe").rmdir()
            fleet.wait_until(lambda: tried.ask("/readyz")[0] == 200, "it is ready again")

    # ---- What is said

    def page(self):
        """The table of docs/operating.md: {name: (type, label, values, meaning)}."""
        text = (fleet.SOURCE / "docs/operating.md").read_text()
        rows = re.findall(r"^\| `(tributary_\w+)` \| (\w+) \|(.*?)\| (.*) \|$", text, re.M)
        self.assertEqual(len(rows), len({row[0] for row in rows}))
        return {name: (kind, labels, meaning) for name, kind, labels, meaning in rows}

    def test_the_page_and_the_metrics_are_the_same(self):
        with Watched() as tried:
            tried.start_coordinator()
            metrics = tried.when(lambda now: True, "metrics")
        page = self.page()
        self.assertEqual(list(page), list(metrics))  # in the same order, too
        for name, metric in metrics.items():
            labels = {pair[0] for _, pairs in metric.samples for pair in pairs} - {"le"}
            kind, documented, meaning = page[name]
            self.assertEqual((kind, meaning), (metric.type, metric.help), name)
            self.assertEqual(set(re.findall(r"`(\w+)`", documented)), labels, name)
            self.assertLessEqual(labels, LABELS)
            self.assertRegex(name, "^tributary(_[a-z]+)+$")
            base = name.removesuffix("_total") if metric.type == "counter" else name
            self.assertEqual(metric.type == "counter", base != name, name)
            self.assertIn(name.rsplit("_", 1)[1], UNITS, name)
            self.assertLessEqual(len(metric.samples), 64, name)

    # ---- What is counted

    def identities(self):
        rules = {rule["alert"]: prometheus.Expression(rule["expr"]) for rule in self.rules()}
        return {name: rules[name] for name in ["TributaryConnectionsDoNotAddUp",
                                               "TributaryUploadsDoNotAddUp"]}

    def refuse_one(self, tried, name):
        """A device that died comes back with an update that says it is of another model."""
        process = tried.processes[name]
        fleet.wait_until(lambda: process.poll() is not None, "its update is in the spool")
        tried.processes.pop(name)
        waiting = tried.root / name / "spool.update"
        spool.change_model(waiting, WIDE, SMALL)
        tried.start_device(name)
        fleet.wait_until(lambda: not waiting.exists(), "it is refused")
        tried.kill(name)
        tried.start_device(name)

    def knock(self, tried):
        """Somebody who does not know our key, and somebody who says nothing."""
        for data in [os.urandom(200), b""]:
            with socket.create_connection(("127.0.0.1", tried.port)) as one:
                one.sendall(data)

    def test_the_books_balance_whatever_happens(self):
        if not fleet.crash_points("tributary-client"):
            self.skipTest("a build without -Dcrash_points=true")
        with proxy.Proxy() as watch, Watched(url=watch.url) as tried:
            watch.target_port = tried.port
            tried.start_coordinator()
            identities = self.identities()
            looker = Looker(tried, identities)
            self.addCleanup(looker.end)
            names = ["canary-sparrow", "canary-finch", "canary-heron"]
            for name in names:
                tried.add_device(name, ROWS, modes="local" if name == names[2] else "off")
            tried.start_device(names[0], {"TRIB_CRASH": "spool.durable:1"})
            tried.start_device(names[1])
            tried.start_device(names[2])
            tried.wait_connected(3)
            self.knock(tried)
            watch.take()
            begun_s = time.time()
            watch.cut_next(WIDE_BYTES // 2)  # of the second one's, while the first one is dead
            job = tried.submit(WIDE, ROWS, rounds=2, cohort=2, over_selection=1.5, batch=16,
                               learning_rate=0.01)
            self.refuse_one(tried, names[0])
            tried.wait_for_job(job)
            rounds = tried.ctl("rounds", "ls")
            leases = [tried.ctl("rounds", "show", row["id"]) for row in rounds]
            now = tried.when(lambda now: sums(now, "tributary_rounds_committed_total") == 2,
                             "both rounds are counted")
            status = tried.status()
            looker.end()
            text = tried.ask("/metrics")[2]
        self.assertEqual(looker.wrong, [])
        self.assertGreater(looker.looks, 10)
        for name in names:
            self.assertNotIn(name, text)
        self.assertEqual(watch.cuts, 1)

        receipts = {dict(labels)["code"]: value for (_, labels), value
                    in now["tributary_upload_receipts_total"].samples.items() if value}
        self.assertEqual(receipts, status["receipts"])
        self.assertEqual(receipts["ARCH_MISMATCH"], 1)
        self.assertEqual(receipts["ACCEPTED"], 3)  # of two rounds of two: one had no place any more
        refused = [(lease["device"], lease["why"]) for round_ in leases for lease in round_
                   if lease["lease"] == "refused"]
        self.assertEqual(refused, [(names[0], "ARCH_MISMATCH")])  # who, and why
        declined = {dict(labels)["code"]: value for (_, labels), value
                    in now["tributary_tasks_declined_total"].samples.items() if value}
        self.assertEqual(declined, status["declined"])
        self.assertEqual(list(declined), ["DECLINED_POLICY"])
        self.assertGreaterEqual(sums(now, "tributary_uploads_cut_total"), 1)
        closed = now["tributary_connections_closed_total"].samples
        self.assertGreaterEqual(sum(closed.values()), 5)
        self.assertGreater(sums(now, "tributary_received_bytes_total"), 3 * WIDE_BYTES)
        self.assertEqual(sums(now, "tributary_known_devices"), 3)
        self.assertEqual(sums(now, "tributary_model_version"), 3)
        self.assertGreater(sums(now, "tributary_free_disk_bytes"), 0)
        self.assertGreater(now["tributary_commit_seconds"].samples[
            "tributary_commit_seconds_count", (("part", "ledger"),)], 4)
        self.check_times(rounds, leases, begun_s)
        # A round's seconds end where its end is made durable.
        spent = {dict(labels)["phase"]: value for (_, labels), value
                 in now["tributary_round_phase_seconds_total"].samples.items()}
        wall = sum(row["seconds"] for row in rounds)
        self.assertAlmostEqual(sum(spent.values()) - spent["commit"], wall, delta=0.01 * wall)
        self.assertTrue(all(spent[phase] > 0 for phase in ["select", "collect", "seal", "aggregate",
                                                           "evaluate", "commit"]), spent)

    def check_times(self, rounds, leases, begun_s):
        """Phases add up to the round; who was asked is told with when it did what it did."""
        ended_s = time.time()
        self.assertLess(sum(row["seconds"] for row in rounds), ended_s - begun_s)
        for row, asked in zip(rounds, leases):
            self.assertAlmostEqual(sum(row["phases"].values()), row["seconds"],
                                   delta=1e-5 + 0.01 * row["seconds"])
            # One that has all its updates while another device is still to answer was never collecting.
            phases = set(row["phases"])
            if "collect" not in phases:
                self.assertTrue({"expired", "refused"} & {lease["lease"] for lease in asked}, asked)
                phases.add("collect")
            self.assertEqual(phases, {"select", "collect", "seal", "aggregate", "evaluate"})
            self.assertEqual(len(asked), row["asked"])
            since = {}
            for lease in asked:
                moment = datetime.datetime.fromisoformat(lease["since"]).timestamp()
                self.assertTrue(begun_s - 1 <= moment <= ended_s + 1, lease)
                since.setdefault(lease["lease"], []).append(lease["after_seconds"])
            # Whoever declined did so at once, whoever was counted has trained before.
            self.assertEqual(len(since["counted"]), row["accepted"])
            self.assertLess(max(since["released"]), min(since["counted"]))
            self.assertLess(max(since["counted"]), row["seconds"] + 0.01)
            self.assertEqual([lease["why"] for lease in asked if lease["lease"] == "released"],
                             ["DECLINED_POLICY"])

    def test_an_identity_that_does_not_hold_is_an_alert(self):
        with Watched() as tried:
            tried.start_coordinator()
            metrics = tried.when(lambda now: True, "metrics")
        for name, rule in self.identities().items():
            self.assertFalse(rule.value(metrics), name)
            first = metrics[rule.selectors[0][0]].samples
            for key in first:
                first[key] += 1
            self.assertTrue(rule.value(metrics), name)

    def test_what_privacy_costs_is_seen_while_the_job_runs(self):
        with Watched() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            path = tried.write_job(SMALL, ROWS, mode="local", privacy={"target_epsilon": 50},
                                   rounds=400, cohort=1)
            job = tried.ctl("jobs", "submit", path, "--accept-drowned-signal")[0]["job"]
            now = tried.when(lambda now: sums(now, "tributary_job_rounds") > 0, "a round is over")
            tried.ctl("jobs", "pause", job)
            fleet.wait_until(lambda: tried.status()["round"] == 0, "no round is open")
            rounds = tried.ctl("rounds", "ls", "--limit", 1000)
            now = tried.when(lambda now: sums(now, "tributary_job_rounds") == len(rounds),
                             "all rounds are seen")
        self.assertEqual(sums(now, "tributary_active_jobs"), 0)
        self.assertEqual(sums(now, "tributary_job_target_rounds"), 400)
        self.assertEqual(sums(now, "tributary_job_target_epsilon"), 50)
        for metric, column in [("epsilon", "epsilon"), ("pure_epsilon", "epsilon_pure"),
                               ("delta_ratio", "delta")]:
            value = sums(now, f"tributary_job_{metric}")
            self.assertTrue(math.isclose(value, rounds[-1][column], rel_tol=1e-9), metric)


if __name__ == "__main__":
    fleet.main()
