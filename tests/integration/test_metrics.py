#!/usr/bin/env python3
"""Held-out metrics as people get them: computed here once more, from the model and the rows."""
import json
import math
import pathlib
import random
import re
import shutil
import subprocess
import tempfile

import fleet

SPEC = "2 - dense 1 sigmoid"
JOB = {"rounds": 2, "local_epochs": 3, "batch": 8, "learning_rate": 0.2}
SHARE = 0.4
EPSILON = 1e-6


def draw_rows(count, seed):
    """Two overlapping clouds; a third of the rows are of class 1."""
    source = random.Random(seed)
    rows = []
    for _ in range(count):
        label = int(source.random() < 1 / 3)
        x, z = (source.gauss(7 + 2 * label, 2) for _ in range(2))
        rows.append(f"{x:.3f},{z:.3f},{label}")
    return rows


def is_test(row, share):
    """The finaliser of SplitMix64 over the row's number, as the coordinator splits."""
    mask = 2**64 - 1
    z = (row + 0x9e3779b97f4a7c15) & mask
    z = ((z ^ (z >> 30)) * 0xbf58476d1ce4e5b9) & mask
    z = ((z ^ (z >> 27)) * 0x94d049bb133111eb) & mask
    z ^= z >> 31
    return (z >> 11) / 2**53 < share


def predict(model, rows, scale=16):
    """(probability, label) of each row."""
    a, b, bias = model.floats()
    found = []
    for row in rows:
        x, z, label = (float(value) for value in row.split(","))
        found.append((1 / (1 + math.exp(-(a * x / scale + b * z / scale + bias))), int(label)))
    return found


def f1_at(scored, threshold):
    taken = [label for p, label in scored if p >= threshold]
    return 2 * sum(taken) / (len(taken) + sum(label for _, label in scored))


def auc_of(scored):
    ones = [p for p, label in scored if label]
    zeros = [p for p, label in scored if not label]
    return sum((p > q) + (p == q) / 2 for p in ones for q in zeros) / (len(ones) * len(zeros))


class MetricsTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-metrics-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def export(self, tried, path, *words):
        done = tried.try_ctl("models", "export", "latest", *words, "--out", path)
        self.assertEqual(done.returncode, 0, done.stderr)

    def assert_near(self, got, expected):
        self.assertLessEqual(abs(got - expected), EPSILON * max(1, abs(expected)))

    def check_part(self, found, scored):
        """One part of the held-out rows, at the version's threshold."""
        threshold = found["threshold"]
        rows = len(scored)
        self.assertEqual(sum(map(sum, found["confusion"])), rows)
        self.assert_near(found["accuracy"],
                         sum((p >= threshold) == label for p, label in scored) / rows)
        self.assert_near(found["positive_f1"], f1_at(scored, threshold))
        self.assert_near(found["auc"], auc_of(scored))
        self.assert_near(found["brier"], sum((p - label)**2 for p, label in scored) / rows)
        self.assert_near(found["log_loss"],
                         -sum(math.log(p if label else 1 - p) for p, label in scored) / rows)
        for name, (low, high) in found["intervals"].items():
            self.assertTrue(low <= found[name] <= high and low < high, name)
        self.assertLessEqual({"accuracy", "precision", "recall", "f1", "balanced_accuracy", "mcc",
                              "kappa", "positive_precision", "positive_recall", "positive_f1",
                              "auc", "brier", "log_loss"}, set(found["intervals"]))

    def test_a_version_carries_the_threshold_that_validation_rows_chose(self):
        held_out = draw_rows(300, 2)
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", draw_rows(200, 1))
            tried.start_device("one")
            tried.wait_connected(1)
            job = tried.submit(SPEC, held_out, cohort=1, threshold_goal="f1", test_share=SHARE,
                               **JOB)
            tried.wait_for_job(job)
            exported = tried.root / "exported.safetensors"
            self.export(tried, exported)
            model = fleet.Model(exported)
            version = int(model.metadata["version"])
            metrics = tried.ctl("models", "show", version)[0]["metrics"]
            rounds = tried.ctl("rounds", "ls", "--job", job)
            source = tried.root / "exported.c"
            self.export(tried, source, "--format", "c")
            onnx = tried.root / "exported.onnx"
            self.export(tried, onnx, "--format", "onnx")
            device = fleet.Model(tried.root / "one/model.safetensors")
            number, = re.findall(r"const double exported_threshold = (.*);", source.read_text())
            self.assertIn(b"threshold", onnx.read_bytes())
            if shutil.which("cc"):
                subprocess.run(["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c",
                                source, "-o", tried.root / "exported.o"], check=True)

        scored = predict(model, held_out)
        validation = [s for row, s in enumerate(scored) if not is_test(row, SHARE)]
        test = [s for row, s in enumerate(scored) if is_test(row, SHARE)]
        threshold = metrics["threshold"]
        best = max(f1_at(validation, p) for p, _ in validation)
        self.assert_near(f1_at(validation, threshold), best)
        self.assertEqual(metrics["test"]["rows"], len(test))
        self.assertEqual(metrics["test"]["threshold"], threshold)
        self.assertNotEqual(threshold, 0.5)
        self.check_part(metrics, validation)
        self.check_part(metrics["test"], test)
        # The value that versions are compared by is that of the validation rows.
        self.assertEqual(rounds[-1]["value"], metrics["accuracy"])
        # It goes where the version goes.
        self.assertEqual(float(model.metadata["threshold"]), threshold)
        self.assertEqual(float(device.metadata["threshold"]), threshold)
        self.assertEqual(float.fromhex(number), threshold)

    def write_scenario(self, spec="2 - dense 1 sigmoid", **round_keys):
        (self.dir / "train.csv").write_text("\n".join(draw_rows(200, 1)) + "\n")
        (self.dir / "test.csv").write_text("\n".join(draw_rows(150, 2)) + "\n")
        keys = {"rounds": 3, "cohort": 4, "local_epochs": 2, "batch": 8, "learning_rate": 0.2,
                **round_keys}
        path = self.dir / "two.ini"
        path.write_text(f"[model]\nspec = {spec}\n[data]\nformat = csv\ntrain = train.csv\n"
                        "test = test.csv\nlabel = last\nscale = 16\n[partition]\nkind = iid\n"
                        "clients = 4\n[privacy]\nmode = off\n[round]\n"
                        + "".join(f"{key} = {value}\n" for key, value in keys.items()))
        return path

    def play(self, path, mode="inprocess", *words):
        out = self.dir / mode
        done = fleet.run("tributary-sim", "run", path, "--mode", mode, "--json", "--out", out,
                         *words)
        return done, [json.loads(line) for line in done.stdout.splitlines()], out

    def test_both_modes_measure_alike_and_write_the_same_threshold(self):
        path = self.write_scenario(threshold_goal="recall:0.9", test_share=0.3)
        found = []
        for mode in ["inprocess", "processes"]:
            done, events, out = self.play(path, mode)
            self.assertEqual(done.returncode, 0, done.stderr)
            found.append([event["metrics"] for event in events[:-1]])
            model = fleet.Model(out / "model.safetensors")
            self.assertEqual(float(model.metadata["threshold"]), found[-1][-1]["threshold"])
            self.assertGreaterEqual(found[-1][-1]["positive_recall"], 0.9)
        self.assertEqual(found[0], found[1])

    def test_the_best_is_found_again_from_the_rounds_and_not_by_test_rows(self):
        for name, best_of in [("average_precision", max), ("brier", min)]:
            path = self.write_scenario(primary_metric=name, test_share=0.5, rounds=8,
                                       learning_rate=3, local_epochs=5)
            for mode in ["inprocess", "processes"]:
                done, events, _ = self.play(path, mode)
                self.assertEqual(done.returncode, 0, done.stderr)
                *rounds, last = events
                values = [event["value"] for event in rounds]
                self.assertEqual(values, [event["metrics"][name] for event in rounds])
                self.assertNotEqual(values, [event["metrics"]["test"][name] for event in rounds])
                self.assertEqual({event["metric"] for event in events}, {name})
                self.assertEqual(last["best"], best_of(values))
                self.assertEqual(last["best_round"], values.index(best_of(values)) + 1)
                self.assertEqual(last["value"], values[-1])

    def test_a_target_of_any_name_ends_a_run(self):
        for name, target in [("auc", 0.6), ("brier", 0.24), ("kappa", 0.01)]:
            path = self.write_scenario(target_metric=name, target_value=target, rounds=30,
                                       local_epochs=10)
            for mode in ["inprocess", "processes"]:
                done, events, _ = self.play(path, mode)
                self.assertEqual(done.returncode, 0, done.stderr)
                value = events[-2]["metrics"][name]
                self.assertTrue(value <= target if name == "brier" else value >= target)
        # Also one that only the very last round reaches.
        done, events, _ = self.play(self.write_scenario())
        losses = [event["metrics"]["log_loss"] for event in events[:-1]]
        self.assertLess(losses[-1], min(losses[:-1]))
        path = self.write_scenario(target_metric="log_loss", target_value=repr(losses[-1]))
        done, events, _ = self.play(path, "processes")
        self.assertEqual((done.returncode, len(events)), (0, 4))
        path = self.write_scenario(target_metric="auc", target_value=1.01)
        for mode in ["inprocess", "processes"]:
            self.assertEqual(self.play(path, mode)[0].returncode, 7)

    def test_a_metric_that_the_problem_does_not_have_is_refused(self):
        for spec, keys, says in [
            ("2 - dense 1 linear", {"target_metric": "auc"},
             "round.target_metric: auc does not exist for this model, which is for regression"),
            ("2 - dense 1 sigmoid", {"target_metric": "mse"},
             "which is for binary classification"),
            ("2 - dense 3 softmax", {"target_metric": "average_precision"},
             "which is for classification"),
            ("2 - dense 3 softmax", {"threshold_goal": "f1"}, "is for a model of two classes"),
            ("2 - dense 1 sigmoid", {"threshold_goal": "best"}, "is none, f1, accuracy, youden"),
            ("2 - dense 1 sigmoid", {"primary_metric": "r2"},
             "round.primary_metric: r2 does not exist"),
            ("2 - dense 1 sigmoid", {"target_metric": "auc", "eval_every": 0},
             "round.eval_every: must not be 0"),
        ]:
            done, _, _ = self.play(self.write_scenario(spec, **keys))
            self.assertEqual(done.returncode, 2)
            self.assertIn(says, done.stderr)
            self.assertRegex(done.stderr, r"two\.ini:\d+: ")

    def test_a_job_with_a_target_wants_held_out_rows(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            path = tried.root / "job.ini"
            path.write_text(f"[model]\nspec = {SPEC}\n[privacy]\nmode = off\n"
                            "[round]\ncohort = 1\ntarget_metric = auc\ntarget_value = 0.9\n")
            done = tried.try_ctl("jobs", "submit", path)
            self.assertEqual(done.returncode, 2)
            self.assertIn("data.test: is missing: held-out rows are needed", done.stderr)


if __name__ == "__main__":
    fleet.main()
