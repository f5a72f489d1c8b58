#!/usr/bin/env python3
"""tributary-sim ensemble: several models as one, by their probabilities."""
import json
import pathlib
import shutil
import tempfile

import fleet

SCENARIO = fleet.SOURCE / "simulations/scenarios/digits-off.ini"
# Two that know some of the digits each, and one that has learnt next to nothing.
SOME = ["partition.kind=shards", "partition.clients=4", "partition.shards_per_client=6",
        "round.cohort=1", "round.rounds=1", "round.local_epochs=3"]
MEMBERS = [[*SOME, "round.seed=1"], [*SOME, "round.seed=2"],
           [*SOME, "round.learning_rate=0.0001"]]


class EnsembleTest(fleet.Case):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="trib-ensemble-")
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)
        cls.models = [cls.train(f"m{i}", sets) for i, sets in enumerate(MEMBERS)]

    @classmethod
    def train(cls, name, sets):
        # A member may be of little use alone.
        words = [word for text in [*sets, "round.beat_baseline=no"] for word in ("--set", text)]
        done = fleet.run("tributary-sim", "run", SCENARIO, "--mode", "inprocess", "--quiet",
                         "--out", cls.dir / name, *words)
        if done.returncode:
            raise AssertionError(done.stderr)
        return cls.dir / name / "model.safetensors"

    def ensemble(self, *words, status=0):
        done = fleet.run("tributary-sim", "ensemble", SCENARIO, *words, "--json")
        self.assertEqual(done.returncode, status, done.stderr)
        self.said = done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_together_they_are_better_than_the_best_of_them(self):
        *members, whole = self.ensemble(*self.models)
        self.assertEqual([row["event"] for row in members], ["member"] * 3)
        self.assertEqual([row["file"] for row in members], [str(path) for path in self.models])
        self.assertAlmostEqual(sum(row["weight"] for row in members), 1)
        self.assertLess(members[2]["weight"], 0.01)
        self.assertEqual((whole["event"], whole["members"]), ("ensemble", 3))
        best = min(row["metrics"]["log_loss"] for row in members)
        self.assertLess(whole["metrics"]["log_loss"], best - 0.1)
        best = max(row["metrics"]["accuracy"] for row in members)
        self.assertGreater(whole["metrics"]["accuracy"], best + 0.05)
        self.assertTrue(0 < whole["rows"] < 346)  # the others chose the weights
        self.assertEqual(self.ensemble(*self.models), [*members, whole])  # replayable
        self.assertNotEqual(self.ensemble(*self.models, "--seed", 2)[-1]["rows"], whole["rows"])

    def test_a_written_ensemble_is_read_again_wherever_its_folder_goes(self):
        written = self.dir / "ensemble.txt"
        first = self.ensemble(*self.models, "--out", written)
        moved = self.dir / "moved"
        moved.mkdir()
        for path in [written, *(self.dir / name for name in ["m0", "m1", "m2"])]:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, moved / path.name)
        again = self.ensemble(moved / "ensemble.txt")
        self.assertEqual([row["weight"] for row in again[:-1]],
                         [row["weight"] for row in first[:-1]])
        # Rows that chose the weights do not measure them later either.
        self.assertEqual(again[-1]["metrics"], first[-1]["metrics"])
        unsaid = moved / "unsaid.txt"
        lines = (moved / "ensemble.txt").read_text().splitlines(keepends=True)
        unsaid.write_text("".join(line for line in lines if not line.startswith("chosen-on")))
        self.assertEqual(self.ensemble(unsaid)[-1]["rows"], 346)

        shutil.copy(moved / "m0/model.safetensors", moved / "m2/model.safetensors")
        self.ensemble(moved / "ensemble.txt", status=5)
        self.assertIn("ensemble.txt:5: the member is not the model that it was", self.said)

    def test_what_is_no_ensemble_is_refused_with_file_and_line(self):
        written = self.dir / "bad.txt"
        good = self.dir / "good.txt"
        self.ensemble(*self.models, "--out", good)
        lines = good.read_text().splitlines()
        for line, text, why in [(3, "x", "WEIGHT DIGEST PATH"),
                                (2, "chosen-on 1", "chosen-on SEED SHARE"),
                                (2, "chosen-on -1 0.5", "chosen-on SEED SHARE"),
                                (2, "chosen-on 1 1", "chosen-on SEED SHARE"),
                                (3, "1.5" + lines[2][lines[2].index(" "):], "weight of 0 to 1"),
                                (4, lines[3].replace(" ", " 0", 1), "64 digits"),
                                (5, lines[4].replace("m2", "m9"), "cannot be used"),
                                (5, "0.5" + lines[4][lines[4].index(" "):], "add up to 1")]:
            with self.subTest(text=text):
                written.write_text("\n".join([*lines[:line - 1], text, *lines[line:]]) + "\n")
                self.ensemble(written, status=5)
                self.assertIn(f"bad.txt:{line}: ", self.said)
                self.assertIn(why, self.said)

    def test_members_fit_each_other_and_the_rows(self):
        other = self.train("other", ["round.rounds=1", "model.spec=64 - dense 12 softmax"])
        self.ensemble(self.models[0], other, status=5)
        self.assertIn("other/model.safetensors", self.said)
        self.assertIn("64 - dense 12 softmax", self.said)
        self.ensemble(self.dir / "nowhere.npz", status=5)
        self.assertIn("nowhere.npz", self.said)
        for words in [[], [self.models[0], "--validation", "0"],
                      [self.models[0], "--validation", "1"]]:
            self.ensemble(*words, status=2)


if __name__ == "__main__":
    fleet.main()
