#!/usr/bin/env python3
"""Models that recommend: made-up ratings, what is learnt from them, and what it is better than."""
import json
import pathlib
import tempfile

import fleet

SCENARIOS = fleet.SOURCE / "simulations/scenarios"


class RecommenderTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-recommender-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        self.runs = 0

    def make(self, kind, name, *options):
        done = fleet.run("tributary-sim", "make", kind, "--out", self.dir / name, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.splitlines()[0], f"{self.dir / name}")
        self.made = done.stdout.splitlines()[1:]
        return self.dir / name

    def play(self, scenario, *sets, mode="inprocess", status=0):
        """The events of a run."""
        self.runs += 1
        options = [word for pair in sets for word in ("--set", pair)]
        done = fleet.run("tributary-sim", "run", scenario, "--mode", mode, "--json", "--quiet",
                         "--out", self.dir / f"run{self.runs}", *options, timeout=200)
        self.assertEqual(done.returncode, status, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_made_up_data_depend_on_the_seed_alone(self):
        for kind in "bilinear", "ratings":
            with self.subTest(kind=kind):
                small = ["--users", 7, "--items", 30, "--per-user", 20]
                texts = [self.make(kind, f"{kind}{i}.csv", *small, *more).read_text()
                         for i, more in enumerate([(), ("--seed", 1), ("--seed", 2)])]
                self.assertEqual(texts[0], texts[1])
                self.assertNotEqual(texts[0], texts[2])
                rows = [line.split(",") for line in texts[0].splitlines()[1:]]
                self.assertEqual(len(rows), 140)
                self.assertEqual({row[0] for row in rows}, {str(user) for user in range(7)})
                # No item twice: 20 of them for each user
                items = {(row[0], *row[-31:-1]) if kind == "bilinear" else (row[0], row[1])
                         for row in rows}
                self.assertEqual(len(items), 140)
        self.assertTrue({row[2] for row in rows} <= set("12345"), rows)

    def test_made_up_data_refuse_what_cannot_be(self):
        wrongs = {("bilinear",): "--out FILE is missing",
                  ("ratings", "--out", "x", "--items", "9", "--per-user", "10"):
                      "--per-user 10: want 1 to 9",
                  ("ratings", "--out", "x", "--users", "0"): "--users 0: want 1 to 1000000",
                  ("bilinear", "--out", "x", "--item-dim", "5000"): "--item-dim 5000: want 1 to",
                  ("bilinear", "--out", "x", "--noise", "-1"): "--noise -1: want 0 to"}
        for words, text in wrongs.items():
            done = fleet.run("tributary-sim", "make", *words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(text, done.stderr)

    @fleet.sweep
    def test_a_planted_matrix_is_found_as_well_as_with_all_rows_in_one_place(self):
        data = self.make("bilinear", "bilinear.csv")
        events = self.play(SCENARIOS / "bilinear.ini", f"data.train={data}")
        rounds = [event for event in events if event["event"] == "round"]
        self.assertEqual({event["accepted"] for event in rounds}, {1000})
        federated = rounds[-1]["metrics"]["rmse"]
        # One device with all rows; which rows are held out depends on their numbers alone.
        pooled_rows = self.dir / "pooled.csv"
        pooled_rows.write_text("".join(line.split(",", 1)[1] + "\n"
                                       for line in data.read_text().splitlines()))
        pooled = self.play(SCENARIOS / "bilinear.ini", f"data.train={pooled_rows}",
                           "partition.kind=iid", "partition.clients=1", "round.cohort=1",
                           "round.rounds=1", "round.local_epochs=20", "round.batch=100",
                           "round.lr_schedule=cosine", "round.lr_over=steps",
                           "strategy.server_learning_rate=1", "round.target_metric=none")
        best = pooled[0]["metrics"]["rmse"]
        self.assertGreater(best, 0.099)  # the noise: nothing is better than W itself
        self.assertLess(best, 0.103)
        self.assertLess(federated, 1.02 * best)

    def test_clicks_have_the_chances_that_are_told(self):
        texts = []
        for i, more in enumerate([(), ("--seed", 1), ("--seed", 2)]):
            texts.append(self.make("clicks", f"{i}.csv", "--users", 200, *more).read_text())
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])
        rows = [line.split(",") for line in texts[0].splitlines()[1:]]
        self.assertEqual(len(rows), 200 * 50)
        self.assertEqual({row[0] for row in rows}, set("0123456789"))
        self.assertEqual({row[-1] for row in rows}, set("01"))
        for words, text in {("--devices", "9", "--users", "8"): "--devices 9: want 1 to 8",
                            ("--noise", "1"): "--noise"}.items():
            done = fleet.run("tributary-sim", "make", "clicks", "--out", "x", *words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(text, done.stderr)

    @fleet.sweep
    def test_the_click_network_beats_a_line_and_nears_the_truth(self):
        data = self.make("clicks", "clicks.csv")
        truth = {name: float(value) for name, value in
                 (pair.split("=") for pair in self.made[0].split())}
        learnt = self.play(SCENARIOS / "click.ini", f"data.train={data}")[-2]["metrics"]
        line = self.play(SCENARIOS / "click.ini", f"data.train={data}",
                         "model.spec=16 - dense 1 sigmoid")[-2]["metrics"]
        self.assertGreater(learnt["accuracy"], line["accuracy"] + 0.1)
        # 10,000 held-out rows: the truth itself is off by 0.004 in one standard deviation
        for name in "accuracy", "auc":
            self.assertGreater(learnt[name], truth[f"bayes_{name}"] - 0.025)
            self.assertLess(learnt[name], truth[f"bayes_{name}"] + 0.012)

    def baselines(self, scenario, *sets, status=0):
        options = [word for pair in sets for word in ("--set", pair)]
        done = fleet.run("tributary-sim", "baselines", scenario, "--json", *options)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr if status else json.loads(done.stdout)

    def test_factors_are_better_than_what_needs_none(self):
        data = self.make("ratings", "ratings.csv")
        scenario = SCENARIOS / "matrix-factorisation.ini"
        events = self.play(scenario, f"data.train={data}")
        rounds = [event for event in events if event["event"] == "round"]
        self.assertEqual({event["accepted"] for event in rounds}, {200})
        learnt = rounds[-1]["metrics"]["rmse"]
        others = self.baselines(scenario, f"data.train={data}")
        self.assertEqual(others["devices"], 1000)
        # Each knows more than the one before, and the factors most by far.
        self.assertLess(others["item_mean"], 0.95 * others["mean"])
        self.assertLess(others["biases"], 0.95 * others["item_mean"])
        self.assertLess(learnt, 0.75 * others["biases"])
        # One loss a device: weighted by its held-out ratings they are the loss of all.
        lines = (self.dir / "run1/devices.csv").read_text().splitlines()
        self.assertEqual(lines[0], "device,rows,held_out,loss")
        rows = [line.split(",") for line in lines[1:]]
        self.assertEqual(len(rows), 1000)
        self.assertEqual(sum(int(row[2]) for row in rows), others["held_out"])
        total = sum(int(row[2]) * float(row[3]) for row in rows if row[3])
        self.assertAlmostEqual(total / others["held_out"], rounds[-1]["loss"], places=9)

    def test_baselines_say_what_they_want(self):
        data = self.dir / "r.csv"
        data.write_text("user,item,rating\n" + "".join(
            f"{user},{item},{1 + (user * 3 + item * 5) % 5}\n"
            for user in range(4) for item in range(30) if (user + item) % 3))
        scenario = SCENARIOS / "matrix-factorisation.ini"
        sets = [f"data.train={data}", "round.cohort=4", "round.rounds=1"]
        found = self.baselines(scenario, *sets)
        self.assertEqual(found["devices"], 4)
        self.assertGreater(found["held_out"], 5)
        said = self.baselines(scenario, *sets, "model.spec=1 - dense 1 linear",
                              "round.personal_epochs=0", status=2)
        self.assertIn("model.spec: is not a factorisation of items", said)
        said = self.baselines(scenario, *sets, "round.eval_every=0", "data.test_on=coordinator",
                              status=2)
        self.assertIn("data.test_on: must be devices", said)
        said = self.baselines(scenario, *sets, "model.spec=1 - factors 20x2 linear", status=5)
        self.assertIn("is not one of the model's items, 0 to 19", said)

    def test_movielens_is_read_as_it_is_published(self):
        ratings = [(user, item, 1 + (user + item) % 5, 880000000 + item)
                   for user in (196, 22, 7) for item in range(1, 41)]
        lines = [f"{u}\t{i}\t{r}\t{t}\n" for u, i, r, t in ratings]
        data = self.dir / "u.data"
        data.write_text("".join(lines[::2] + lines[1::2]))
        plain = self.dir / "plain.csv"
        plain.write_text("user,item,rating\n" + "".join(
            f"{u},{i - 1},{r}\n" for u, i, r, _ in ratings[::2] + ratings[1::2]))
        small = ["model.spec=1 - factors 40x3 linear", "round.rounds=2", "round.cohort=3"]
        schema = fleet.SOURCE / "simulations/data/movielens.schema.ini"
        scenario = SCENARIOS / "matrix-factorisation.ini"
        by_schema = self.play(scenario, f"data.train={data}", f"data.schema={schema}",
                              "data.header=no", *small)
        by_name = self.play(scenario, f"data.train={plain}", *small)
        self.assertEqual(by_schema[-1]["model_digest"], by_name[-1]["model_digest"])
        self.assertEqual(by_schema[-1]["value"], by_name[-1]["value"])


if __name__ == "__main__":
    fleet.main()
