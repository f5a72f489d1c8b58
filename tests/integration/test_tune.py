#!/usr/bin/env python3
"""tributary-sim tune: it finds what was planted, and looks at held-out rows only at the end."""
import json
import pathlib
import tempfile

import fleet

SCENARIOS = fleet.SOURCE / "simulations/scenarios"
QUICK = ["--set", "round.rounds=2", "--set", "round.local_epochs=2"]


class TuneTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-tune-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def tune(self, *words, scenario=SCENARIOS / "digits-off.ini", status=0):
        done = fleet.run("tributary-sim", "tune", scenario, "--json", *QUICK, *words)
        self.assertEqual(done.returncode, status, done.stderr)
        self.said = done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_the_planted_optimum_is_found(self):
        # A rate of 0 learns nothing, 1000 diverges; a batch of one row a step learns fastest here.
        events = self.tune("--grid", "round.learning_rate=0,1000,0.1", "--grid",
                           "round.batch=0,4", "--cv", "3")
        trials = [event for event in events if event["event"] == "trial"]
        self.assertEqual([tuple(event["set"].values()) for event in trials],
                         [(rate, batch) for rate in ("0", "1000", "0.1") for batch in ("0", "4")])
        for event in trials:
            self.assertEqual(len(event["folds"]), 3)
            self.assertEqual(event["rows"], 1451)  # folds are disjoint, and all training rows
        self.assertIsNone(trials[3]["value"])
        best = max(event["value"] for event in trials if event["value"] is not None)
        self.assertEqual(events[-2]["event"], "choice")
        self.assertEqual(events[-2]["set"], {"round.learning_rate": "0.1", "round.batch": "4"})
        self.assertEqual(events[-2]["value"], best)
        self.assertEqual((events[-1]["event"], events[-1]["rows"]), ("done", 346))
        self.assertEqual(events[-1]["set"], events[-2]["set"])
        self.assertEqual(self.tune("--grid", "round.learning_rate=0,1000,0.1", "--grid",
                                   "round.batch=0,4", "--cv", "3"), events)  # replayable

    def test_of_equals_the_first_is_chosen(self):
        events = self.tune("--grid", "round.report_ms=5,6,7", "--cv", "2")
        self.assertEqual(len({event["value"] for event in events[:3]}), 1)
        self.assertEqual(events[-2]["set"], {"round.report_ms": "5"})

    def test_held_out_rows_are_not_opened_before_the_choice(self):
        rows = fleet.digits()
        (self.dir / "rows.csv").write_text("".join(row + "\n" for row in rows[:600]))
        scenario = self.dir / "s.ini"
        scenario.write_text("[model]\nspec = 64 - dense 10 softmax\n[data]\ntrain = rows.csv\n"
                            "scale = 16\ntest = later.csv\n[partition]\nclients = 6\n"
                            "[round]\ncohort = 6\n[privacy]\nmode = off\n")
        grid = ["--grid", "round.learning_rate=0.1,0.2", "--cv", "2"]
        events = self.tune(*grid, scenario=scenario, status=5)  # there is no such file yet
        self.assertEqual([event["event"] for event in events], ["trial", "trial", "choice"])
        self.assertIn("later.csv", self.said)
        (self.dir / "later.csv").write_text("".join(row + "\n" for row in rows[600:700]))
        again = self.tune(*grid, scenario=scenario)
        self.assertEqual(again[:3], events)  # and it changes nothing of the choice
        self.assertEqual((again[3]["event"], again[3]["rows"]), ("done", 100))

    def test_whole_devices_can_be_left_out(self):
        grid = ["--grid", "round.learning_rate=0.1", "--set", "partition.kind=shards"]
        rows = self.tune(*grid, "--cv", "4")[0]
        devices = self.tune(*grid, "--cv", "4", "--by-device")[0]
        self.assertEqual(devices["rows"], 1451)
        self.assertEqual(len(devices["folds"]), 4)
        self.assertNotEqual(devices["folds"], rows["folds"])
        everyone = self.tune(*grid, "--cv", "20", "--by-device")[0]  # leave one device out
        self.assertEqual((everyone["rows"], len(everyone["folds"])), (1451, 20))

    def test_some_of_the_grid_is_drawn(self):
        grid = ["--grid", "round.learning_rate=0.01,0.02,0.05,0.1,0.2", "--cv", "2", "--random", "2"]
        first = [event["set"] for event in self.tune(*grid) if event["event"] == "trial"]
        self.assertEqual(len(first), 2)
        self.assertNotEqual(first[0], first[1])
        tried = {json.dumps([event["set"] for event in self.tune(*grid, "--seed", seed)[:2]])
                 for seed in range(1, 6)}
        self.assertGreater(len(tried), 1)

    def test_what_would_look_at_the_answer_is_refused(self):
        rate = ["--grid", "round.learning_rate=0.1"]
        for words, text in {
            (): "--grid is missing",
            ("--grid", "learning_rate"): "want section.key=value",
            ("--grid", "round.batch=1,,2"): "want section.key=value",
            (*rate, "--cv", "1"): "want 2 to 1000 folds",
            (*rate, "--set", "round.target_metric=accuracy"): "stops at no target",
            (*rate, "--set", "round.lr_schedule=plateau"): "plateau looks at the rows",
            (*rate, "--set", "round.keep=best"): "round.keep: the version to keep is chosen",
            (*rate, "--set", "round.stop_patience=2"): "round.stop_patience: a run that is judged",
            (*rate, "--set", "round.eval_every=0"): "must not be 0",
            ("--grid", "round.learning_rat=1"): "round.learning_rat",
        }.items():
            self.tune(*words, status=2)
            self.assertIn(text, self.said)


if __name__ == "__main__":
    fleet.main()
