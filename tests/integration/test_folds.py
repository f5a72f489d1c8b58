#!/usr/bin/env python3
"""tributary-sim tune: folds and their metrics are those of a reference that shares no code."""
import importlib.util
import json
import pathlib
import random
import tempfile

import fleet

ROWS, DEVICES, ROUNDS, RATE = 150, 7, 4, 0.3
SCENARIO = f"""[model]
spec = 2 - dense 1 linear
[data]
train = rows.csv
test_fraction = 0.2
[partition]
kind = column
column = 1
[round]
rounds = {ROUNDS}
cohort = {DEVICES}
batch = 0
local_epochs = 1
learning_rate = {RATE}
beat_baseline = no
[privacy]
mode = off
"""

source = importlib.util.spec_from_file_location("split", fleet.SOURCE / "tests/vectors/split.py")
split = importlib.util.module_from_spec(source)
source.loader.exec_module(split)


def number(stream):
    return (next(stream) >> 11) * 2.0**-53


class FoldsTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-folds-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        draw = random.Random(3)
        self.rows = []  # device, two features, target
        for i in range(ROWS):
            device = draw.randrange(DEVICES)
            a, b = draw.uniform(-1, 1), draw.uniform(-1, 1)
            self.rows.append((device, a, b, 0.5 * a - 2 * b + device / 4 + draw.gauss(0, 0.1)))
        self.assertEqual({row[0] for row in self.rows}, set(range(DEVICES)))
        (self.dir / "rows.csv").write_text("".join(f"{d},{a!r},{b!r},{y!r}\n"
                                                   for d, a, b, y in self.rows))
        (self.dir / "s.ini").write_text(SCENARIO)
        # In a scenario a row is known by its place; those below test_fraction are held out.
        self.training = [i for i in range(ROWS)
                         if number(split.xoshiro(1, b"split", i)) >= 0.2]

    def initial(self):
        """The parameters that every run begins with: those of one that learns nothing."""
        done = fleet.run("tributary-sim", "run", self.dir / "s.ini", "--mode", "inprocess", "--quiet",
                         "--out", self.dir / "still", "--set", "round.learning_rate=0")
        self.assertEqual(done.returncode, 0, done.stderr)
        return fleet.Model(self.dir / "still/model.safetensors").floats()

    def learn(self, rows, params):
        """Gradient descent on half the mean squared error: what averaging full batches comes to."""
        u, v, bias = params
        for _ in range(ROUNDS):
            errors = [(u * a + v * b + bias - y, a, b)
                      for _, a, b, y in (self.rows[i] for i in rows)]
            u -= RATE * sum(e * a for e, a, _ in errors) / len(rows)
            v -= RATE * sum(e * b for e, _, b in errors) / len(rows)
            bias -= RATE * sum(e for e, _, _ in errors) / len(rows)
        return u, v, bias

    def error(self, rows, params):
        u, v, bias = params
        return sum((u * self.rows[i][1] + v * self.rows[i][2] + bias - self.rows[i][3])**2
                   for i in rows) / len(rows)

    def tune(self, *words):
        done = fleet.run("tributary-sim", "tune", self.dir / "s.ini", "--json", "--grid",
                         f"round.learning_rate={RATE}", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def assert_reference(self, events, folds):
        """`folds`: the rows that each is measured on; they are disjoint, and all training rows."""
        trial, _, done = events
        self.assertEqual(sorted(sum(folds, [])), self.training)
        self.assertEqual(trial["metric"], "mse")
        self.assertEqual(trial["rows"], len(self.training))
        start = self.initial()
        values = []
        for fold, value in zip(folds, trial["folds"], strict=True):
            learnt = self.learn([i for i in self.training if i not in fold], start)
            values.append(self.error(fold, learnt))
            self.assertAlmostEqual(value / values[-1], 1, delta=1e-4)
        self.assertAlmostEqual(trial["value"] / (sum(values) / len(values)), 1, delta=1e-4)
        self.assertGreater(max(values) / min(values), 1.05)  # each fold is another
        held_out = [i for i in range(ROWS) if i not in self.training]
        self.assertEqual(done["rows"], len(held_out))
        expected = self.error(held_out, self.learn(self.training, start))
        self.assertAlmostEqual(done["value"] / expected, 1, delta=1e-4)

    def test_folds_of_rows(self):
        folds = [[i for i in self.training
                  if split.below(split.xoshiro(1, b"fold", i), 5) == fold] for fold in range(5)]
        self.assert_reference(self.tune("--cv", "5"), folds)
        # Each device measuring on its own rows of the fold comes to the same.
        self.assert_reference(self.tune("--cv", "5", "--set", "data.test_on=devices"), folds)

    def test_folds_of_devices(self):
        ranks = sorted(range(DEVICES), key=lambda d: number(
            split.xoshiro(1, b"device fold", 0, f"d{d:04}".encode() + b"\0")))
        for count in (3, DEVICES):
            with self.subTest(folds=count):
                folds = [[i for i in self.training if ranks.index(self.rows[i][0]) % count == fold]
                         for fold in range(count)]
                self.assert_reference(self.tune("--cv", str(count), "--by-device"), folds)


if __name__ == "__main__":
    fleet.main()
