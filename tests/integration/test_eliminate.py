#!/usr/bin/env python3
"""tributary-sim eliminate: planted noise goes, what informs stays, and a job can use what is left."""
import json
import pathlib
import random
import tempfile

import fleet

COLUMNS = 12
WEIGHTS = {0: 2.0, 4: -2.0, 9: 1.5}  # of the columns that say something
SCALES = [1, 0.5, 2, 1, 1, 0.1, 1, 3, 1, 1, 0.01, 1]
SCENARIO = """[model]
spec = {spec}
[data]
train = rows.csv
test_fraction = 0.2
{data}
[partition]
clients = 5
[round]
rounds = 8
cohort = 5
local_epochs = 2
batch = 8
learning_rate = 0.1
[privacy]
mode = off
"""
SCHEMA = """[column colour]
type = category
values = red | blue
""" + "".join(f"[column x{i}]\nmin = -100\nmax = 100\n" for i in range(COLUMNS)) + \
    "[column y]\ntype = bool\nrole = label\n"


def rows(seed, count=500):
    """Labels by three columns; the others, of many scales, are noise."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        x = [draw.gauss(0, 1) for _ in range(COLUMNS)]
        y = int(sum(w * x[i] for i, w in WEIGHTS.items()) + draw.gauss(0, 0.3) > 0)
        lines.append(([value * scale for value, scale in zip(x, SCALES)], y,
                      draw.choice(["red", "blue", "green"])))
    return lines


class EliminateTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-eliminate-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def write(self, seed, spec=f"{COLUMNS} - dense 2 softmax", data=""):
        (self.dir / "rows.csv").write_text("".join(
            ",".join(f"{value:.5f}" for value in x) + f",{y}\n" for x, y, _ in rows(seed)))
        (self.dir / "s.ini").write_text(SCENARIO.format(spec=spec, data=data))

    def write_with_schema(self, seed, pipeline=None, spec=f"{COLUMNS + 3} - dense 2 softmax"):
        data = "schema = columns.ini\n" + ("prepare = p.ini\n" if pipeline else "")
        self.write(seed, spec, data)
        (self.dir / "columns.ini").write_text(SCHEMA)
        (self.dir / "p.ini").write_text(pipeline or "")
        (self.dir / "rows.csv").write_text("".join(
            colour + "," + ",".join(f"{value:.5f}" for value in x) + f",{y}\n"
            for x, y, colour in rows(seed)))

    def eliminate(self, *words, status=0):
        done = fleet.run("tributary-sim", "eliminate", self.dir / "s.ini", "--json", *words)
        self.assertEqual(done.returncode, status, done.stderr)
        self.said = done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def assert_story(self, events):
        """Each job goes on from the one before; the choice is the best, of equals the smallest."""
        jobs = [event for event in events if event["event"] == "job"]
        choice, done = events[len(jobs):]
        for job, following in zip(jobs, jobs[1:]):
            self.assertEqual(job["features"] - len(job["removed"]), following["features"])
        self.assertEqual(jobs[-1]["removed"], [])
        best = max(job["value"] for job in jobs)
        self.assertEqual((choice["event"], done["event"]), ("choice", "done"))
        self.assertEqual(choice["value"], best)
        self.assertEqual(choice["features"],
                         min(job["features"] for job in jobs if job["value"] == best))
        self.assertEqual((len(choice["names"]), done["names"]),
                         (choice["features"], choice["names"]))
        removed = [name for job in jobs if job["features"] > choice["features"]
                   for name in job["removed"]]
        self.assertFalse(set(removed) & set(choice["names"]))
        return jobs, choice, done

    def test_planted_noise_goes_and_what_informs_stays(self):
        kept = {f"f{i}" for i in WEIGHTS}
        ties = 0
        for seed in (1, 2, 3, 4):
            with self.subTest(seed=seed):
                self.write(seed)
                events = self.eliminate("--keep", "3", "--step", "2")
                jobs, choice, done = self.assert_story(events)
                self.assertEqual([job["features"] for job in jobs], [12, 10, 8, 6, 4, 3])
                removed = [name for job in jobs for name in job["removed"]]
                self.assertEqual(sorted(removed),
                                 sorted(f"f{i}" for i in range(COLUMNS) if i not in WEIGHTS))
                self.assertLessEqual(kept, set(choice["names"]))
                self.assertEqual(choice["spec"], f"{choice['features']} - dense 2 softmax")
                self.assertGreater(done["value"], 0.85)
                self.assertEqual(jobs[0]["rows"] + done["rows"] < 500, True)
                ties += [job["value"] for job in jobs].count(choice["value"]) > 1
                self.assertEqual(self.eliminate("--keep", "3", "--step", "2"), events)
        self.assertGreater(ties, 0)  # so that the rule for them was put to the test

    def test_a_hidden_layer_is_ranked_too_and_a_share_is_removed(self):
        self.write(5, f"{COLUMNS} - dropout 0.1 - dense 8 tanh - dense 2 softmax")
        # What a layer was drawn with stays with a feature that says nothing, unless it decays.
        jobs, _, _ = self.assert_story(self.eliminate(
            "--step", "25%", "--keep", "3", "--set", "round.weight_decay=0.05",
            "--set", "round.rounds=16"))
        self.assertEqual([job["features"] for job in jobs], [12, 9, 7, 6, 5, 4, 3])
        removed = {name for job in jobs for name in job["removed"]}
        self.assertFalse(removed & {f"f{i}" for i in WEIGHTS})

    def assert_usable(self, events, out, *sets):
        """A job with the pipeline that was written learns what the last line says."""
        _, choice, done = self.assert_story(events)
        self.assertEqual((out / "features.txt").read_text().splitlines(), choice["names"])
        self.assertLess(choice["features"], COLUMNS)
        ran = fleet.run("tributary-sim", "run", self.dir / "s.ini", "--mode", "inprocess", "--json",
                        "--out", self.dir / "run", "--set", f"model.spec={choice['spec']}",
                        "--set", f"data.prepare={out / 'pipeline.ini'}",
                        "--set", "round.beat_baseline=no", *sets)  # noise may drown it
        self.assertEqual(ran.returncode, 0, ran.stderr)
        last = json.loads(ran.stdout.splitlines()[-1])
        self.assertEqual((last["metric"], last["value"]), (done["metric"], done["value"]))
        return set(choice["names"])

    def test_what_is_left_is_a_pipeline_for_a_job(self):
        self.write_with_schema(6, "[step standardise]\ncolumns = numbers\n")
        out = self.dir / "out"
        events = self.eliminate("--step", "3", "--keep", "3", "--out", out)
        self.assertLessEqual({f"x{i}" for i in WEIGHTS}, self.assert_usable(events, out))

    def test_with_privacy_on_passes_are_paid_for_as_in_a_job(self):
        self.write_with_schema(6, "[step standardise]\ncolumns = numbers\n")
        out = self.dir / "out"
        sets = [word for key in ("mode=local", "target_epsilon=2000", "test_seed=3",
                                 "tally_scale=100", "clip_l1=3")
                for word in ("--set", f"privacy.{key}")]
        events = self.eliminate("--step", "4", "--keep", "3", "--out", out, *sets)
        self.assert_usable(events, out, *sets)

    def test_without_a_pipeline_there_is_one_afterwards(self):
        self.write_with_schema(7)
        out = self.dir / "out"
        events = self.eliminate("--step", "3", "--keep", "3", "--out", out)
        self.assertIn("colour=red", [name for job in events[:-2] for name in job["removed"]])
        self.assertLessEqual({f"x{i}" for i in WEIGHTS}, self.assert_usable(events, out))

    def test_data_without_a_schema_have_a_list_only(self):
        self.write(8)
        out = self.dir / "out"
        events = self.eliminate("--step", "5", "--keep", "4", "--out", out)
        self.assertEqual((out / "features.txt").read_text().splitlines(), events[-1]["names"])
        self.assertFalse((out / "pipeline.ini").exists())
        self.assertIn("no pipeline.ini: the data have no data.schema", self.said)

    def test_held_out_rows_are_not_opened_before_the_choice(self):
        self.write(9)
        lines = (self.dir / "rows.csv").read_text().splitlines(keepends=True)
        (self.dir / "rows.csv").write_text("".join(lines[:400]))
        text = (self.dir / "s.ini").read_text()
        (self.dir / "s.ini").write_text(text.replace("test_fraction = 0.2", "test = later.csv"))
        words = ["--keep", "4", "--step", "4"]
        events = self.eliminate(*words, status=5)  # there is no such file yet
        self.assertEqual([event["event"] for event in events], ["job", "job", "job", "choice"])
        self.assertIn("later.csv", self.said)
        (self.dir / "later.csv").write_text("".join(lines[400:]))
        again = self.eliminate(*words)
        self.assertEqual(again[:4], events)  # and it changes nothing of the choice
        self.assertEqual((again[4]["event"], again[4]["rows"]), ("done", 100))

    def test_folds_may_be_whole_devices_and_rows_stay_on_them(self):
        self.write(10)
        words = ["--keep", "4", "--step", "4"]
        devices = self.eliminate(*words, "--by-device")
        self.assertNotEqual(devices[0]["rows"], self.eliminate(*words)[0]["rows"])
        on_devices = self.eliminate(*words, "--set", "data.test_on=devices")
        self.assert_story(on_devices)

    def test_with_privacy_on_weights_alone_rank(self):
        # Without noise the models are alike; the deviations are not asked for.
        self.write(11)
        words = ["--keep", "11", "--step", "1"]
        off = self.eliminate(*words)[0]["removed"]
        local = self.eliminate(*words, "--set", "privacy.mode=local", "--set",
                               "privacy.noise_multiplier=0.0001", "--set",
                               "privacy.clip_l1=1000")[0]["removed"]
        small = f"f{SCALES.index(min(SCALES))}"
        self.assertEqual(off, [small])  # of a feature so small little comes
        self.assertNotEqual(local, [small])  # but its weight is as it was drawn

    def test_mistakes_are_named(self):
        self.write(12)
        for words, text in {
            ("--keep", "13"): "--keep 13: the model has 12 features",
            ("--keep", "0"): "at least one feature stays",
            ("--step", "0"): "--step 0: want a number of features, or a share",
            ("--step", "2x"): "--step 2x: want",
            ("--step", "101%"): "--step 101%: want",
            ("--step", "-1"): "--step -1: want",
            ("--folds", "1"): "want 2 to 1000 folds",
            ("--set", "model.spec=3x4 - dense"): "model.spec",
            ("--set", "model.spec=1x3x4 - conv 2 2x2 - dense 2 softmax"):
                "model.spec: '1x3x4 - conv 2 2x2 valid linear - dense 2 softmax': features are "
                "ranked by the weights of a first layer that is dense and not local",
            ("--set", "model.spec=12 - dense 3 tanh local - dense 2 softmax", "--set",
             "data.test_on=devices"): "dense and not local",
            ("--set", "model.spec=13 - dense 2 softmax"): "13",
            ("--set", "model.init=old.safetensors"): "model.init: has all features",
            ("--set", "round.target_metric=accuracy"): "stops at no target",
            ("--set", "round.learning_rat=1"): "round.learning_rat",
        }.items():
            with self.subTest(words=words):
                self.eliminate(*words, status=5 if text == "13" else 2)
                self.assertIn(text, self.said)
        self.write_with_schema(13, spec="9 - dense 2 softmax")
        self.eliminate(status=2)
        self.assertIn("model.spec: takes 9 features, the data have 15", self.said)


if __name__ == "__main__":
    fleet.main()
