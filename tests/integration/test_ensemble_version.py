#!/usr/bin/env python3
"""An ensemble as a version: made of versions, fetched, kept and predicted with like every other."""
import json
import math
import random
import shutil
import struct
import subprocess

import fleet

# Each knows one of two features; together they know more. The second one has another architecture.
LEFT = ("2 - dense 1 sigmoid", [[4.0, 0.0], [0.0]])
RIGHT = ("2 - dense 2 relu - dense 1 sigmoid", [[0.0, 1.0, 0.0, -1.0], [0.0, 0.0], [4.0, -4.0], [0.0]])
SHAPES = {LEFT[0]: [[1, 2], [1]], RIGHT[0]: [[2, 2], [2], [1, 2], [1]]}
STANDS = {"rounds": 1, "learning_rate": 1e-12, "cohort": 2}  # as planted


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def planted(count, seed):
    source = random.Random(seed)
    rows = []
    for _ in range(count):
        x = [source.uniform(-1, 1) for _ in range(2)]
        rows.append(f"{x[0]!r},{x[1]!r},{int(source.random() < sigmoid(3 * sum(x)))}")
    return rows


def write_model(path, spec, arrays):
    header, at, values = {"__metadata__": {"spec": spec}}, 0, []
    for i, (shape, array) in enumerate(zip(SHAPES[spec], arrays)):
        header[f"{i // 2}.{('weight', 'bias')[i % 2]}"] = {
            "dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * len(array)]}
        at += 4 * len(array)
        values += array
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + struct.pack(f"<{len(values)}f", *values))


class EnsembleVersionTest(fleet.Case):
    def begin(self, tried):
        tried.start_coordinator()
        for name in ("one", "two"):
            tried.add_device(name, planted(40, name), scale=1)
            tried.start_device(name)
        tried.wait_connected(2)

    def play(self, tried, model, test, state="done", **keys):
        """A job whose last version is the planted model; the newest one's number."""
        spec, arrays = model
        path = tried.write_job(spec, test, scale=1, **{**STANDS, **keys})
        begin = path.parent / "begin.safetensors"
        write_model(begin, spec, arrays)
        path.write_text(path.read_text().replace("[model]\n", f"[model]\ninit = {begin}\n"))
        tried.wait_for_job(tried.ctl("jobs", "submit", path)[0]["job"], state)
        return tried.ctl("models", "show", "latest")[0]["version"]

    def refused(self, tried, *words, status=2):
        done = tried.try_ctl("models", "ensemble", *words)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def predict(self, tried, name, rows):
        done = fleet.run("tributary-client", "predict", "--json", tried.root / name,
                         input=fleet.as_text(rows), stdin=None)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def wait_installed(self, tried, version, count=2):
        fleet.wait_until(lambda: tried.status()["on_newest_version"] == count and
                         tried.status()["version"] == version, "devices have it")

    def test_diverse_members_are_better_together_and_devices_say_the_same(self):
        test = planted(900, 5)
        with fleet.Fleet() as tried:
            self.begin(tried)
            self.refused(tried, 1, 2)  # there is nothing yet
            members = [self.play(tried, LEFT, test, test_last=300), self.play(tried, RIGHT, test)]
            *alone, whole = tried.ctl("models", "ensemble", *members)
            self.assertEqual([row["version"] for row in alone], members)
            self.assertAlmostEqual(sum(row["weight"] for row in alone), 1, places=6)
            self.assertTrue(all(0.3 < row["weight"] < 0.7 for row in alone), alone)
            self.assertLess(whole["loss"], min(row["loss"] for row in alone) - 0.01)
            shown = tried.ctl("models", "show", "latest")[0]
            self.assertEqual((shown["kind"], shown["version"]), ("ensemble", whole["version"]))
            self.assertEqual(shown["spec"], f"ensemble: {LEFT[0]} | {RIGHT[0]}")
            self.assertAlmostEqual(shown["metrics"]["loss"], whole["loss"], delta=1e-9)
            self.assertEqual([m["version"] for m in shown["metrics"]["members"]], members)
            # The first job keeps 300 rows for a test: these measured, the 600 others chose.
            self.assertEqual((whole["rows"], shown["metrics"]["weights_rows"]), (300, 600))
            self.wait_installed(tried, whole["version"])
            self.check_device(tried, test[-300:], whole, alone)
            self.check_restart(tried, test[:20], whole)
            self.check_exports(tried, shown)
            self.check_training(tried, test, whole, members)

    def check_device(self, tried, rows, whole, alone):
        losses = []
        for row, answer in zip(rows, self.predict(tried, "one", rows), strict=True):
            *x, label = (float(word) for word in row.split(","))
            wanted = sum(m["weight"] * sigmoid(4 * v) for m, v in zip(alone, x, strict=True))
            p, = answer["outputs"]
            self.assertAlmostEqual(p, wanted, delta=1e-5)
            losses.append(-math.log(p if label else 1 - p))
        self.assertAlmostEqual(sum(losses) / len(losses), whole["loss"], delta=1e-6)

    def check_restart(self, tried, rows, whole):
        before = self.predict(tried, "two", rows)
        self.assertEqual({answer["version"] for answer in before}, {whole["version"]})
        for name in ("two", "coordinator"):
            tried.kill(name)
        self.assertEqual(self.predict(tried, "two", rows), before)
        tried.start_coordinator()
        tried.start_device("two")
        self.wait_installed(tried, whole["version"])
        # A file whose weights are not those that were signed is not used.
        tried.end("two")
        path = tried.root / "two" / "model.safetensors"
        good = path.read_bytes()
        path.write_bytes(good[:-8] + struct.pack("<2f", 0.25, 0.75))
        done = fleet.run("tributary-client", "predict", tried.root / "two",
                         input=fleet.as_text(rows), stdin=None)
        self.assertIn("id=model-corrupt", done.stderr)
        tried.start_device("two")
        self.wait_installed(tried, whole["version"])
        self.assertEqual(path.read_bytes(), good)

    def check_exports(self, tried, shown):
        for kind in ("safetensors", "npz", "c"):
            path = tried.root / f"both.{kind}"
            done = tried.try_ctl("models", "export", "latest", "--format", kind, "--out", path)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(fleet.Model(tried.root / "both.safetensors").digest(),
                         shown["model_digest"])
        done = tried.try_ctl("models", "export", "latest", "--format", "onnx", "--out",
                             tried.root / "both.onnx")
        self.assertEqual(done.returncode, 5)
        self.assertIn("is an ensemble, which is not written as onnx", done.stderr)
        if shutil.which("cc"):
            self.check_c(tried)

    def check_c(self, tried):
        main = tried.root / "main.c"
        main.write_text("#include <stdio.h>\nvoid both_predict(const float *, float *);\n"
                        "int main(void) { float x[2] = {0.5f, -0.25f}, y; both_predict(x, &y);"
                        " printf(\"%.9g\", (double)y); return 0; }\n")
        subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", main, tried.root / "both.c", "-lm",
                        "-o", tried.root / "both"], check=True)
        said = float(subprocess.run([tried.root / "both"], check=True, capture_output=True).stdout)
        answer, = self.predict(tried, "one", ["0.5,-0.25,0"])
        self.assertAlmostEqual(said, answer["outputs"][0], delta=1e-6)

    def check_training(self, tried, test, whole, members):
        """It is not trained; a job after it is, and one that is refused gives it back."""
        path = tried.write_job(LEFT[0], test, scale=1, cohort=2, rounds=1)
        text = path.read_text()
        wish = text.replace("[model]\n", f"[model]\ninit_version = {whole['version']}\n")
        path.write_text(wish)
        done = tried.try_ctl("jobs", "submit", path)
        self.assertEqual(done.returncode, 2)
        self.assertIn("is an ensemble, which is not trained", done.stderr)
        path.write_text(text.replace(LEFT[0], f"ensemble: {LEFT[0]} | {RIGHT[0]}"))
        done = tried.try_ctl("jobs", "submit", path)
        self.assertEqual(done.returncode, 2)
        self.assertIn("made of versions", done.stderr)
        bad = tried.submit("2 - dense 3 relu - dense 1 sigmoid", test, scale=1, rounds=1, cohort=2,
                           learning_rate=0, beat_baseline="yes", baseline_margin=0.5)
        tried.wait_for_job(bad, "refused")
        latest = tried.ctl("models", "show", "latest")[0]
        self.assertEqual((latest["kind"], latest["spec"]),
                         ("restored", f"ensemble: {LEFT[0]} | {RIGHT[0]}"))
        self.wait_installed(tried, latest["version"])
        self.assertIn("is an ensemble itself", self.refused(tried, members[0], whole["version"]))

    def test_what_cannot_be_one_is_refused_by_name(self):
        test = planted(60, 6)
        with fleet.Fleet() as tried:
            self.begin(tried)
            left = self.play(tried, LEFT, test)
            right = self.play(tried, RIGHT, test)
            self.assertIn("named twice", self.refused(tried, left, left))
            self.assertIn("there is no version 99", self.refused(tried, left, 99))
            self.assertIn("2 to 32", self.refused(tried, left, "latest"))
            self.assertIn("--validation", self.refused(tried, left, right, "--validation", 1))
            self.assertIn("too few", self.refused(tried, left, right, "--validation", 1e-9,
                                                  status=5))
            other = tried.submit("2 - dense 3 softmax", ["0.1,0.2,2"] * 9, scale=1, cohort=2,
                                 rounds=1)
            tried.wait_for_job(other)
            other = tried.ctl("models", "show", "latest")[0]["version"]
            self.assertIn(f"version {other}: its model '2 - dense 3 softmax' has not the inputs",
                          self.refused(tried, left, other))
            unseen = self.play(tried, LEFT, test, eval_every=0)
            self.assertIn("no held-out rows", self.refused(tried, unseen, right, status=5))
            # As long as a job runs there is none.
            tried.submit(LEFT[0], test, scale=1, cohort=2, rounds=100000)
            self.assertIn("a job runs", self.refused(tried, left, right))

    def test_members_of_one_pipeline_go_together_and_others_do_not(self):
        test = planted(80, 8)
        schema = ("[column a]\n[column b]\n[column y]\ntype = category\nvalues = 0 | 1\n"
                  "role = label\n")
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for name in ("one", "two"):
                tried.add_device(name, planted(40, name), scale=1,
                                 data="schema = s.ini\npipeline = job\n")
                (tried.root / name / "s.ini").write_text(schema)
                tried.start_device(name)
            tried.wait_connected(2)
            first = self.play_prepared(tried, LEFT[0], test, schema, "standardise")
            second = self.play_prepared(tried, RIGHT[0], test, schema, "standardise")
            whole = tried.ctl("models", "ensemble", first, second)[-1]
            self.assertGreater(whole["value"], 0.6)
            self.wait_installed(tried, whole["version"])
            # Its rows went through the pipeline here as they do there.
            rows = self.measured(test)
            answers = self.predict(tried, "one", rows)
            right = sum(str(answer["label"]) == row[-1]
                        for answer, row in zip(answers, rows, strict=True))
            self.assertEqual((len(rows), right / len(rows)), (whole["rows"], whole["value"]))
            third = self.play_prepared(tried, LEFT[0], test, schema, "minmax")
            self.assertIn(f"version {third}: its features come from another pipeline",
                          self.refused(tried, first, third))

    def play_prepared(self, tried, spec, test, schema, step):
        path = tried.write_job(spec, test, scale=1, cohort=2, rounds=3, local_epochs=20,
                               learning_rate=0.1,
                               data="schema = s.ini\nprepare = p.ini\n")
        (path.parent / "s.ini").write_text(schema)
        (path.parent / "p.ini").write_text(f"[step {step}]\ncolumns = a | b\n")
        tried.wait_for_job(tried.ctl("jobs", "submit", path)[0]["job"])
        return tried.ctl("models", "show", "latest")[0]["version"]

    def measured(self, rows, share=0.5):
        """Those that chose no weight: by the finaliser of SplitMix64 of their number."""
        mask = (1 << 64) - 1
        chosen = []
        for number, row in enumerate(rows):
            z = (number + 0x9e3779b97f4a7c15) & mask
            z = ((z ^ z >> 30) * 0xbf58476d1ce4e5b9) & mask
            z = ((z ^ z >> 27) * 0x94d049bb133111eb) & mask
            z ^= z >> 31
            if (z >> 11) / 2 ** 53 < share:
                chosen.append(row)
        return chosen

    def test_the_gate_and_where_the_coordinator_dies(self):
        test = planted(60, 7)
        with fleet.Fleet() as tried:
            self.begin(tried)
            # Worse than nothing, and measured by jobs that say that this is not good enough.
            spec, (w, b) = LEFT
            bad = [self.play(tried, (spec, [[sign * v for v in w], b]), test, "refused",
                             beat_baseline="yes") - 1 for sign in (-1, -2)]
            good = [self.play(tried, model, test) for model in (LEFT, RIGHT)]
            before = len(tried.ctl("models", "ls"))
            self.assertIn("not better than the baseline", self.refused(tried, *bad, status=7))
            self.assertEqual(len(tried.ctl("models", "ls")), before)
            points = [p for p in fleet.crash_points("tributary-coordinator")
                      if p == "version.written"]
            for point in points:
                tried.end("coordinator")
                tried.start_coordinator({"TRIB_CRASH": f"{point}:1"})
                tried.try_ctl("models", "ensemble", *good)
                tried.processes.pop("coordinator").wait(fleet.PATIENCE_S)
                tried.start_coordinator()
                self.assertEqual(len(tried.ctl("models", "ls")), before, point)
            whole = tried.ctl("models", "ensemble", *good)[-1]
            self.assertEqual(whole["version"], before + 1)
            self.assertEqual(tried.try_ctl("audit", "verify").returncode, 0)


if __name__ == "__main__":
    fleet.main()
