#!/usr/bin/env python3
"""Secrets that are planted in a whole run: nothing that anybody can read has them.

Keys, tokens, rows and weights go in, the programs talk as much as they can, and all that they said (logs,
metrics, answers, errors) is searched for each of them in every form that a printf could give it.
"""
import base64
import http.client
import json
import os
import re
import resource
import signal
import struct

import fleet

SPEC = "2 - dense 3 tanh - dense 2 softmax"
PLANTED = [7.3061843, 11.9470251, 3.6620917, 13.1158369]  # features that no line has by accident
LABELS = "0101"
ROWS = [f"{PLANTED[i % 4]:.7f},{PLANTED[(i * 3 + 1) % 4] + i % 7:.7f},{LABELS[i % 4]}"
        for i in range(40)]
MASKED = {"mode": "distributed", "privacy": {"target_epsilon": 1e5},
          "secagg": {"min_cohort": 3, "threshold_frac": 0.75, "max_colluders_frac": 0}}
WAYS = [{"mode": "off"}, {"mode": "local", "privacy": {"noise_multiplier": 0.1}}, MASKED]
DEVICES = 4


def of_bytes(data):
    """What bytes look like when they are printed."""
    hexed = data.hex()
    return {hexed, hexed.upper(), base64.b64encode(data).decode().rstrip("="),
            base64.urlsafe_b64encode(data).decode().rstrip("=")}


def of_number(value):
    """A number in the forms of printf, without those that any number could have."""
    forms = {f"{value:.9g}", f"{value:.8g}", f"{value:.7g}", f"{value:.6g}", f"{value:.6f}",
             f"{value:.6e}", f"{value:.5f}", float(value).hex()}
    return {form.lstrip("-") for form in forms if len(form.lstrip("-0.")) >= 6}


TIMES = re.compile(r'^tributary_\w*seconds\w*(?:\{[^}]*\})? .*$|"?\w*seconds"?[=:] ?[0-9.e+-]+', re.MULTILINE)


class SecretsTest(fleet.Case):
    def plant(self, tried):
        """{what it is: its forms}."""
        secrets = {}
        for path in [tried.dir / "coordinator.key", tried.dir / "roster.key",
                     *sorted(tried.root.glob("d*/device.key"))]:
            for line in path.read_text().splitlines():
                label, key = line.split()
                data = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
                self.assertEqual(len(data), 32)
                secrets[f"{path.parent.name}/{path.name} {label}"] = {key} | of_bytes(data)
        for i, row in enumerate(ROWS):
            for j, text in enumerate(row.split(",")[:2]):
                secrets[f"row {i} feature {j}"] = of_number(float(text)) | {text}
                secrets[f"row {i} feature {j} scaled"] = of_number(float(text) / 16)
        return secrets

    def token_forms(self, token):
        raw = token.removeprefix("trib1.")
        data = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
        return {token, raw} | of_bytes(data[41:73])  # version, key, id, then the secret

    def ask(self, port, word):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        texts = []
        for path, bearer in [("/metrics", word), ("/readyz", word), ("/metrics", word[:-1] + "x"),
                             (f"/{word}", word)]:
            connection.request("GET", path, headers={"Authorization": f"Bearer {bearer}"})
            texts.append(connection.getresponse().read().decode())
        connection.close()
        self.assertIn("tributary_", texts[0])
        return texts

    def start_talking(self, tried, name, program, folder):
        return tried.start(name, [fleet.program(program), "run", "--log-level", "debug", folder])

    def weights_of(self, tried):
        found = {}
        for path in [*tried.dir.glob("models/*"), *tried.root.glob("d*/model.safetensors")]:
            for i, value in enumerate(fleet.Model(path).floats()):
                if value != 0:
                    found[f"weight {i} of {path.name[:8]}"] = (
                        of_number(value) | of_bytes(struct.pack("<f", value)) - {""})
        return found

    def search(self, texts, secrets):
        whole = "\n".join(texts)
        for what, forms in secrets.items():
            for form in forms:
                if len(form) < 6 or (what.startswith("weight") and len(form) < 7):
                    continue  # eight hexadecimal digits are kept, fewer are by chance anywhere
                self.assertNotIn(form, whole, what)

    def test_nobody_reads_a_planted_secret(self):
        with fleet.Fleet() as tried:
            word = "hush-" + "9f3kZq71" * 3
            (tried.dir / "http.token").write_text(word)
            (tried.dir / "http.token").chmod(0o600)
            port = fleet.free_port()
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write(f"[http]\nlisten = 127.0.0.1:{port}\ntoken_file = http.token\n")
            self.start_talking(tried, "coordinator", "tributary-coordinator", tried.dir)
            fleet.wait_until(lambda: tried.try_ctl("status").returncode == 0, "it answers")
            texts, tokens = [], {}
            for i in range(DEVICES):
                name = f"d{i}"
                tokens[f"token {i}"] = tried.token("--name", name)
                done = tried.enrol(tokens[f"token {i}"], name)
                self.assertEqual(done.returncode, 0, done.stderr)
                again = tried.enrol(tokens[f"token {i}"][:-4] + "AAAA", f"wrong{i}")
                texts += [done.stdout, done.stderr, again.stdout, again.stderr]
                tried.write_data(name, ROWS, modes="off,local,distributed\nmin_cohort = 3")
                self.start_talking(tried, name, "tributary-client", tried.root / name)
            tried.wait_connected(DEVICES)
            secrets = self.plant(tried)
            secrets["a cell that is no number"] = {"Hopper"}
            secrets["bearer token"] = {word, word[5:]} | of_bytes(word.encode())
            secrets.update({what: self.token_forms(token) for what, token in tokens.items()})
            for way in WAYS:
                tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=2, cohort=DEVICES,
                                                learning_rate=0.1, select_ms=5000, **way))
            weights = self.weights_of(tried)
            self.assertGreater(len(weights), 100)
            texts += self.ask(port, word)
            texts += self.operate(tried)
            broken = tried.write_job(SPEC, [*ROWS, "7.3061843,Mrs Hopper,1"], rounds=1, cohort=1)
            done = tried.try_ctl("jobs", "submit", broken)
            self.assertEqual(done.returncode, 5, done.stderr)
            texts.append(done.stderr)
            for name in ["coordinator", *(f"d{i}" for i in range(DEVICES))]:
                self.assertEqual(tried.end(name), 0)
                texts.append(tried.log(name))
            texts += self.use(tried)
            self.assertIn("debug ", "\n".join(texts))  # they did talk
            self.search(texts, secrets)
            # What took how long has as many digits as a weight, and now and then the same ones.
            self.search([TIMES.sub("", text) for text in texts], weights)
            # The search finds what is there: device names are.
            with self.assertRaises(AssertionError):
                self.search(texts, {"a name": {"device=d0"}})

    def operate(self, tried):
        """What tributaryctl answers to everything that may be asked."""
        rounds = [row["id"] for row in tried.ctl("rounds", "ls")]
        texts = []
        for words in [["status"], ["doctor"], ["advise"], ["roles"], ["devices", "ls"], ["jobs", "ls"],
                      ["jobs", "show", 1], ["jobs", "selection", 1], ["rounds", "ls"],
                      *[["rounds", "show", number] for number in rounds], ["models", "ls"],
                      ["models", "show", "latest"], ["roster", "export"], ["audit", "ls"],
                      ["audit", "verify"], ["devices", "approve", "x"], ["jobs", "show", 99]]:
            for form in [[], ["--json"]]:
                done = tried.try_ctl(*words, *form)
                texts += [done.stdout, done.stderr]
        return texts

    def use(self, tried):
        """What the device's commands say, with rows that make no sense too."""
        bad = "7.3061843,Mrs Hopper,1\n"
        texts = []
        for words in [["status"], ["privacy"], ["rotate"]]:
            done = fleet.run("tributary-client", *words, tried.root / "d0")
            texts += [done.stdout, done.stderr]
        path = tried.root / "d1/data.csv"
        path.write_text(path.read_text() + bad)
        done = fleet.run("tributary-client", "run", "--log-level", "debug", tried.root / "d1")
        self.assertEqual(done.returncode, 5, done.stderr)
        return [*texts, done.stderr]

    def test_what_crashes_leaves_no_memory_on_the_disk(self):
        if fleet.is_sanitized():
            self.skipTest("a build that looks for leaks like a debugger")
        limit = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (limit[1], limit[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_CORE, limit)
        with fleet.Fleet() as tried:
            child = os.fork()
            if child == 0:
                os.chdir(tried.root)
                os.abort()
            if not os.WCOREDUMP(os.waitpid(child, 0)[1]):
                self.skipTest("no program leaves a core here")
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            for name in "one", "coordinator":
                process = tried.processes.pop(name)
                process.send_signal(signal.SIGABRT)
                status = os.waitpid(process.pid, 0)[1]
                self.assertEqual(os.WTERMSIG(status), signal.SIGABRT)
                self.assertFalse(os.WCOREDUMP(status), name)

    def test_each_line_of_a_log_is_an_object(self):
        with fleet.Fleet() as tried:
            tried.start("coordinator", [fleet.program("tributary-coordinator"), "run", "--log-format",
                                        "json", "--log-level", "debug", tried.dir])
            fleet.wait_until(lambda: tried.try_ctl("status").returncode == 0, "it answers")
            tried.add_device("one", ROWS)
            tried.start("one", [fleet.program("tributary-client"), "run", "--log-format", "json",
                                tried.root / "one"])
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=2, cohort=1))
            tried.ctl("devices", "revoke", "one")
            tried.end("coordinator")
            lines = [json.loads(line) for name in ["coordinator", "one"]
                     for line in tried.log(name).splitlines()]
            self.assertGreater(len(lines), 10)
            for line in lines:
                self.assertLessEqual({"time_ms", "level", "module", "text"}, set(line))
            self.assertIn("device-revoked", {line.get("id") for line in lines})
            for name in ["tributary-coordinator", "tributary-client"]:
                done = fleet.run(name, "run", "--log-format", "xml", tried.dir)
                self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    fleet.main()
