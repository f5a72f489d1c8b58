#!/usr/bin/env python3
"""Learning from data that grow: each row in one counted update, whatever is killed or refused."""
import json
import pathlib
import shutil
import signal
import struct
import tempfile

import fleet

COLUMNS = 12  # features, and rows: row j has a 1 in column j
SCHEMA = "".join(f"[column x{j}]\ntype = real\n" for j in range(COLUMNS)) + \
    "[column y]\ntype = real\nrole = label\n"
RATE = 0.5
SCENARIO = """
[model]
spec = 64 - dense 10 softmax
[data]
train = {digits}
test_fraction = 0.25
scale = 16
rows_per_round = 10
[partition]
clients = {clients}
[round]
rounds = 4
cohort = {clients}
batch = 4
"""


def row(j):
    return ",".join("1" if i == j else "0" for i in range(COLUMNS)) + ",1\n"


def zeros(path, columns=COLUMNS):
    """Parameters to start from: all 0, as a safetensors file."""
    header = json.dumps({
        "__metadata__": {"spec": f"{columns} - dense 1 linear"},
        "0.weight": {"dtype": "F32", "shape": [1, columns], "data_offsets": [0, 4 * columns]},
        "0.bias": {"dtype": "F32", "shape": [1], "data_offsets": [4 * columns, 4 * columns + 4]},
    }).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * columns + 4))


def learn(rows):
    """Weights and bias after a step for each row, by the formula of docs/models.md."""
    weights, bias = [0.0] * COLUMNS, 0.0
    for j in rows:
        change = RATE * (1 - weights[j] - bias)
        weights[j] += change
        bias += change
    return [*weights, bias]


class Growing(fleet.Fleet):
    """One device with a store, and jobs of a round each that learn from what is new."""

    def begin(self, mode):
        self.start_coordinator()
        done = self.enrol(self.token("--name", "d0"), "d0")
        assert done.returncode == 0, done.stderr
        self.folder = self.root / "d0"
        (self.folder / "s.ini").write_text(SCHEMA)
        (self.folder / "client.ini").write_text(
            "[data]\nformat = store\nschema = s.ini\n[client]\nreconnect_max_ms = 100\n"
            "[client.policy]\nallowed_modes = off\n")
        job = self.root / "job"
        job.mkdir()
        (job / "test.csv").write_text(row(0))
        zeros(job / "zeros.safetensors")
        self.text = (f"[model]\nspec = {COLUMNS} - dense 1 linear\n{{init}}"
                     f"[round]\nrounds = 1\ncohort = 1\nmode = {mode}\nbatch = 1\n"
                     f"learning_rate = {RATE}\nreport_ms = {{report_ms}}\n"
                     "beat_baseline = no\n"  # one held-out row is its own best constant
                     "[privacy]\nmode = off\n[data]\ntest = test.csv\n")
        self.is_first = True

    def push(self, *rows):
        done = fleet.run("tributary-client", "push", self.folder, "-", stdin=None,
                         input="".join(map(row, rows)))
        assert done.returncode == 0, done.stderr

    def submit_next(self, report_ms=60000):
        path = self.root / "job" / "job.ini"
        init = "init = zeros.safetensors\n" if self.is_first else ""  # later ones continue
        path.write_text(self.text.format(init=init, report_ms=report_ms))
        self.is_first = False
        return self.ctl("jobs", "submit", path)[0]["job"]

    def params(self):
        out = self.root / "out.safetensors"
        out.unlink(missing_ok=True)
        done = self.try_ctl("models", "export", "latest", "--format", "safetensors", "--out", out)
        assert done.returncode == 0, done.stderr
        return fleet.Model(out).floats()


class GrowingTest(fleet.Case):
    def assert_learnt(self, tried, rows):
        for got, wanted in zip(tried.params(), learn(rows), strict=True):
            self.assertAlmostEqual(got, wanted, delta=1e-5)

    def sweep(self, mode):
        points = [point for point in fleet.crash_points("tributary-client")
                  if point.startswith(("watermark.", "spool.", "upload.", "task."))]
        if not points:
            self.skipTest("a build without -Dcrash_points=true")
        self.assertGreaterEqual(len(points), 7)
        with Growing() as tried:
            tried.begin(mode)
            for j, point in enumerate(points):
                tried.push(j)
                process = tried.start_device("d0", {"TRIB_CRASH": f"{point}:1"})
                tried.wait_connected(1)
                job = tried.submit_next()
                fleet.wait_until(lambda: process.poll() is not None, f"{point} is hit")
                tried.processes.pop("d0")
                tried.start_device("d0")
                tried.wait_for_job(job)
                # What a receipt says is known on the device before it goes on.
                fleet.wait_until(lambda: not (tried.folder / "spool.update").exists(), "a receipt")
                tried.kill("d0")
                self.assert_learnt(tried, range(j + 1))

    def test_no_row_is_used_twice_or_lost_after_a_kill(self):
        self.sweep("incremental")

    @fleet.sweep
    def test_nor_in_mode_online(self):
        self.sweep("online")

    def test_rows_of_a_refused_update_are_used_by_the_next(self):
        with Growing() as tried:
            tried.begin("incremental")
            tried.push(0)
            tried.start_device("d0", {"TRIB_CRASH": "spool.durable:1"})
            tried.wait_connected(1)
            job = tried.submit_next(report_ms=1000)
            device = tried.processes.pop("d0")
            self.assertEqual(device.wait(fleet.PATIENCE_S), -signal.SIGKILL)
            self.assertTrue((tried.folder / "spool.update").exists())
            tried.wait_for_job(job)  # its round was abandoned
            self.assertEqual([r["state"] for r in tried.ctl("rounds", "ls")], ["abandoned"])
            tried.push(1)
            tried.start_device("d0")
            fleet.wait_until(lambda: not (tried.folder / "spool.update").exists(), "a receipt")
            self.assertRegex(tried.log("d0"), r"receipt=(ROUND_CLOSED|NO_LEASE|STALE)")
            tried.wait_for_job(tried.submit_next())
            # Both rows, in an order that is shuffled.
            got = tried.params()
            orders = [learn(order) for order in ([0, 1], [1, 0])]
            self.assertTrue(any(all(abs(a - b) < 1e-5 for a, b in zip(got, wanted))
                                for wanted in orders), got)

    def test_a_counted_claim_that_cannot_be_written_down_is_not_forgotten(self):
        with Growing() as tried:
            tried.begin("incremental")
            tried.push(0)
            device = tried.start_device("d0", {"TRIB_CRASH": "spool.durable:1"})
            tried.wait_connected(1)
            job = tried.submit_next()
            device.wait(fleet.PATIENCE_S)
            in_the_way = tried.folder / "watermark.tmp"
            in_the_way.mkdir()  # as when a disk is full: no new file
            device = tried.start_device("d0")
            tried.wait_for_job(job)
            fleet.wait_until(lambda: "id=claim-open" in tried.log("d0"), "it is said")
            self.assertTrue((tried.folder / "spool.update").exists())
            tried.push(1)
            job = tried.submit_next()  # nothing is trained as long as it is not settled
            in_the_way.rmdir()
            tried.kill("d0")
            tried.start_device("d0")  # and not after a start either: the update is offered again
            tried.wait_for_job(job)
            self.assertIn("receipt=DUPLICATE", tried.log("d0"))
            self.assert_learnt(tried, [0, 1])

    def test_rows_are_not_used_again_when_nobody_knows_any_more(self):
        if fleet.is_sanitized():
            self.skipTest("a thousand rounds, which say the same without sanitizers")
        with Growing() as tried:
            tried.begin("incremental")
            tried.push(0)
            device = tried.start_device("d0", {"TRIB_CRASH": "upload.begin:1"})
            tried.wait_connected(1)
            job = tried.submit_next(report_ms=1000)
            device.wait(fleet.PATIENCE_S)
            tried.processes.pop("d0")
            tried.wait_for_job(job)
            tried.add_device("other", [row(1).strip()], modes="off", scale=1)
            tried.start_device("other")
            tried.wait_connected(1)
            path = tried.root / "job" / "many.ini"
            path.write_text(self.many(tried))
            tried.wait_for_job(tried.ctl("jobs", "submit", path)[0]["job"])
            tried.kill("other")
            tried.push(2)
            tried.start_device("d0")
            fleet.wait_until(lambda: "receipt=STALE" in tried.log("d0"), "nobody knows")
            before = tried.params()
            tried.wait_for_job(tried.submit_next())
            # Row 2 alone: the weight of row 0 stays as it was.
            after = tried.params()
            self.assertEqual(after[0], before[0])
            self.assertNotEqual(after[2], before[2])

    def many(self, tried):
        text = tried.text.format(init="", report_ms=60000)
        return text.replace("rounds = 1\n", "rounds = 1002\neval_every = 0\n").replace(
            "mode = incremental", "mode = batch")

    def test_rows_of_a_store_that_was_made_anew_are_new(self):
        with Growing() as tried:
            tried.begin("incremental")
            for j in range(2):
                tried.push(j)
                if j == 0:
                    tried.start_device("d0")
                    tried.wait_connected(1)
                tried.wait_for_job(tried.submit_next())
            fleet.wait_until(lambda: not (tried.folder / "spool.update").exists(), "a receipt")
            tried.kill("d0")
            shutil.rmtree(tried.folder / "rows")
            tried.push(2)
            tried.start_device("d0")
            tried.wait_for_job(tried.submit_next())
            self.assertIn("id=data-changed", tried.log("d0"))
            self.assert_learnt(tried, [0, 1, 2])

    def test_a_device_without_new_rows_declines(self):
        with Growing() as tried:
            tried.begin("incremental")
            tried.push(0)
            tried.start_device("d0")
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit_next())
            tried.wait_for_job(tried.submit_next())
            self.assertEqual(tried.device("d0")["declined"], "DECLINED_NO_DATA")
            self.assertIn("there are no new rows to learn from", tried.log("d0"))
            self.assertEqual([r["state"] for r in tried.ctl("rounds", "ls")],
                             ["committed", "abandoned"])
            tried.push(1)
            tried.wait_for_job(tried.submit_next())
            self.assert_learnt(tried, [0, 1])
            self.assert_books_balance(tried)

    def test_a_damaged_watermark_stops_what_depends_on_it(self):
        with Growing() as tried:
            tried.begin("incremental")
            (tried.folder / "watermark").write_bytes(b"no watermark")
            tried.push(0)
            tried.start_device("d0")
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit_next())
            self.assertIn("id=watermark-corrupt", tried.log("d0"))
            self.assertEqual(tried.device("d0")["declined"], "DECLINED_FAILED")
            (tried.folder / "watermark").unlink()
            tried.wait_for_job(tried.submit_next())
            self.assert_learnt(tried, [0])


class CopyTest(fleet.Case):
    """Mode online: what a program says with the copy that learns as rows arrive."""

    def say(self, tried, *options):
        done = fleet.run("tributary-client", "predict", *options, "--json", tried.folder, stdin=None,
                         input="".join(map(row, range(4))))
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line)["value"] for line in done.stdout.splitlines()], done.stderr

    def test_it_begins_with_each_version_and_learns_what_arrives(self):
        with Growing() as tried:
            tried.begin("online")
            config = tried.folder / "client.ini"
            plain = config.read_text().replace("format = store\n",
                                               "format = store\nsocket = in.sock\n")
            config.write_text(plain)
            tried.start_device("d0")
            tried.wait_connected(1)
            tried.push(0)
            tried.wait_for_job(tried.submit_next())
            tried.end("d0")
            done = fleet.run("tributary-client", "predict", "--online", tried.folder, stdin=None,
                             input=row(0))
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("data.online_copy is missing", done.stderr)
            config.write_text(plain.replace("[data]\n", "[data]\nonline_copy = own.model\n"))
            tried.start_device("d0")
            tried.wait_connected(1)
            tried.push(1)
            tried.wait_for_job(tried.submit_next())
            fleet.wait_until(lambda: tried.status()["on_newest_version"] == 1, "it is installed")
            said, log = self.say(tried, "--online")
            self.assertIn("id=online-copy rows=0 ", log)
            self.assertEqual(said, self.say(tried)[0])
            for j in (2, 3):
                tried.push(j)
                fleet.wait_until(lambda: f"id=online-copy rows={j - 1} " in
                                 self.say(tried, "--online")[1], "they are learnt")
            *weights, bias = learn(range(4))
            for got, weight in zip(self.say(tried, "--online")[0], weights):
                self.assertAlmostEqual(got, weight + bias, delta=1e-5)
            *weights, bias = learn(range(2))  # the version itself stays what it is
            for got, weight in zip(self.say(tried)[0], weights):
                self.assertAlmostEqual(got, weight + bias, delta=1e-5)


class PreparedTest(fleet.Case):
    """Rows that wait for the job's pipeline, whose steps remember those that were learnt."""

    def test_new_rows_are_prepared_behind_the_used_ones(self):
        schema = "[column x]\ntype = real\n[column y]\ntype = real\nrole = label\n"
        steps = "[step dedup]\n[step smooth]\ncolumns = x\nby = mean\nwindow = 2\n"
        with Growing() as tried:
            tried.begin("incremental")
            for folder in (tried.folder, tried.root / "job"):
                (folder / "s.ini").write_text(schema)
            config = tried.folder / "client.ini"
            config.write_text(config.read_text().replace("[data]\n", "[data]\npipeline = job\n"))
            (tried.root / "job" / "p.ini").write_text(steps)
            (tried.root / "job" / "test.csv").write_text("1,1\n")
            tried.text = tried.text.replace(f"spec = {COLUMNS} ", "spec = 1 ").replace(
                f"learning_rate = {RATE}", "learning_rate = 0.05") + \
                "schema = s.ini\nprepare = p.ini\n"
            zeros(tried.root / "job" / "zeros.safetensors", 1)
            tried.start_device("d0")
            tried.wait_connected(1)
            weight = bias = 0.0
            # Rows that come before each round, and the one feature that is new: a row that was
            # there is dropped, and a mean is of the row before it, too.
            for rows, feature in (("1,1\n", 1), ("3,1\n", 2), ("3,1\n1,1\n5,1\n1,1\n", 4),
                                  ("7,1\n", 6)):
                done = fleet.run("tributary-client", "push", tried.folder, "-", stdin=None,
                                 input=rows)
                assert done.returncode == 0, done.stderr
                tried.wait_for_job(tried.submit_next())
                change = 0.05 * (1 - weight * feature - bias)
                weight += change * feature
                bias += change
                for got, wanted in zip(tried.params(), [weight, bias], strict=True):
                    self.assertAlmostEqual(got, wanted, delta=1e-5)
            # What is left out is behind the watermark, too.
            self.assertRegex(tried.log("d0"), "rows are used up to position=6\\b")
            fleet.run("tributary-client", "push", tried.folder, "-", stdin=None, input="7,1\n")
            tried.wait_for_job(tried.submit_next())
            self.assertEqual(tried.device("d0")["declined"], "DECLINED_NO_DATA")


class ModesTest(fleet.Case):
    """Rows that arrive from round to round: real processes and the simulator agree."""

    def play(self, where, *sets, clients=5):
        with tempfile.TemporaryDirectory(prefix="trib-grow-") as folder:
            scenario = pathlib.Path(folder) / "s.ini"
            scenario.write_text(SCENARIO.format(
                digits=fleet.SOURCE / "simulations/data/digits.csv.gz", clients=clients))
            done = fleet.run("tributary-sim", "run", scenario, "--mode", fleet.mode_of(where), "--json", "--out",
                             f"{folder}/out", *[word for pair in sets for word in ("--set", pair)])
        if done.returncode == 2 and "meson option test_noise" in done.stderr:
            self.skipTest("a build without -Dtest_noise=true refuses predictable noise")
        self.assertEqual(done.returncode, 0, done.stderr)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        rounds = [e for e in events if e["event"] == "round"]
        self.measured = [e for e in rounds if e.get("kind") == "evaluation"]
        self.assertEqual([e["accepted"] for e in rounds if e not in self.measured],
                         [clients] * 4)
        return events[-1]["model_digest"]

    def test_measuring_looks_at_all_rows_and_uses_none_up(self):
        sets = ["round.mode=incremental", "privacy.mode=off"]
        plain = self.play("inprocess", *sets, "round.validation_fraction=0.2")
        self.assertEqual(self.measured, [])
        sets += ["round.validation_fraction=0.2", "round.evaluate_on_devices=1"]
        for where in ["inprocess", "processes"]:
            self.assertEqual(self.play(where, *sets), plain, where)
            self.assertEqual([e["accepted"] for e in self.measured], [5] * 4, where)

    @fleet.sweep
    def test_each_mode_gives_the_same_model_in_both(self):
        digests = set()
        for mode in ["batch", "incremental", "online"]:
            sets = [f"round.mode={mode}", "privacy.mode=off"]
            real = self.play("processes", *sets)
            self.assertEqual(self.play("inprocess", *sets), real, mode)
            digests.add(real)
        self.assertEqual(len(digests), 3)

    def test_rows_of_masked_updates_are_used_once(self):
        sets = ["round.mode=incremental", "privacy.mode=distributed", "privacy.target_epsilon=1000",
                "privacy.test_seed=7"]
        self.assertEqual(*[self.play(where, *sets, clients=20)  # a masked sum wants a crowd
                           for where in ["processes", "inprocess"]])


class ScenarioTest(fleet.Case):
    """simulations/scenarios/incremental.ini: the model goes on from the one before."""

    def play(self, where, *sets, status=0):
        with tempfile.TemporaryDirectory(prefix="trib-inc-") as out:
            done = fleet.run("tributary-sim", "run",
                             fleet.SOURCE / "simulations/scenarios/incremental.ini", "--mode",
                             where, "--json", "--out", f"{out}/out",
                             *[word for pair in sets for word in ("--set", pair)])
        self.assertEqual(done.returncode, status, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    @fleet.sweep
    def test_it_reaches_what_a_cold_start_on_the_same_new_rows_does_not(self):
        warm = self.play("inprocess")
        self.assertGreaterEqual(warm["value"], 0.85)
        self.assertLessEqual(warm["rounds"], 15)
        self.assertEqual(self.play("processes")["model_digest"], warm["model_digest"])
        cold = self.play("inprocess", "round.rounds=1", "round.local_epochs=100", status=7)
        self.assertLess(cold["value"], 0.75)


if __name__ == "__main__":
    fleet.main()
