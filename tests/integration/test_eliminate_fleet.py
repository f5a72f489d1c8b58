#!/usr/bin/env python3
"""tributaryctl eliminate: planted noise goes in a series of jobs on real devices, and what informs stays."""
import json
import random

import fleet

COLUMNS = 8
WEIGHTS = {0: 2.0, 3: -2.0, 6: 1.5}  # of the columns that say something
SCALES = [1, 0.5, 2, 100, 1, 0.1, 0.01, 3]
SCHEMA = "".join(f"[column x{i}]\nmin = -1000\nmax = 1000\n" for i in range(COLUMNS)) + \
    "[column y]\ntype = bool\nrole = label\n"
PIPELINE = "[step standardise]\ncolumns = numbers\n"
SPEC = f"{COLUMNS} - dense 2 softmax"


def rows(seed, count=200):
    """Labels by three columns; the others, of many scales, are noise."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        x = [draw.gauss(0, 1) for _ in range(COLUMNS)]
        y = int(sum(w * x[i] for i, w in WEIGHTS.items()) + draw.gauss(0, 0.3) > 0)
        lines.append(",".join(f"{value * scale:.5f}" for value, scale in zip(x, SCALES)) + f",{y}")
    return lines


class EliminateFleetTest(fleet.Case):
    def begin(self, tried):
        tried.start_coordinator()
        for i in range(2):
            tried.add_device(f"d{i}", rows(i, 40), scale=1,
                             data="schema = columns.ini\npipeline = job\n")
            (tried.root / f"d{i}/columns.ini").write_text(SCHEMA)
            tried.start_device(f"d{i}")
        tried.wait_connected(2)
        job = tried.write_job(SPEC, rows(9), scale=1, rounds=4, cohort=2, local_epochs=10, batch=8,
                              learning_rate=0.1, data="schema = columns.ini\nprepare = p.ini\n")
        (job.parent / "columns.ini").write_text(SCHEMA)
        (job.parent / "p.ini").write_text(PIPELINE)
        return job

    def eliminate(self, tried, job, *options, code=0):
        done = fleet.run("tributaryctl", "--dir", tried.dir, "eliminate", job, "--json", *options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.stderr = done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_planted_noise_goes_and_what_informs_stays(self):
        with fleet.Fleet() as tried:
            job = self.begin(tried)
            out = tried.root / "chosen"
            options = ["--step", "2", "--keep", "1", "--folds", "3", "--out", out, "--metric",
                       "log_loss"]
            events = self.eliminate(tried, job, *options)
            jobs, choice, done = events[:-2], events[-2], events[-1]
            self.assertEqual([e["features"] for e in jobs], [8, 6, 4, 2, 1])
            informs = {f"x{i}" for i in WEIGHTS}
            gone = [name for e in jobs[:2] for name in e["removed"]]
            self.assertFalse(informs & set(gone))
            self.assertLessEqual(informs, set(choice["names"]))
            self.assertLessEqual(len(choice["names"]), 4)
            self.assertEqual(min(e["value"] for e in jobs), choice["value"])
            self.assertGreater(done["value"], 0.9)
            self.assertEqual((out / "features.txt").read_text().split(), done["names"])
            self.assertEqual(sorted(p.name for p in out.iterdir()),
                             ["features.txt"] + [f"pipeline-{n}.ini" for n in (1, 2, 4, 6, 8)] +
                             ["pipeline.ini"])

            # The rows that judge are opened by the last job, and the last model is of what is left.
            log = tried.log("coordinator").splitlines()
            reads = [i for i, line in enumerate(log) if "held-out rows are read" in line]
            overs = [i for i, line in enumerate(log) if " done rounds=" in line]
            self.assertEqual((len(reads), sum(over < reads[0] for over in overs)), (1, 5))
            last = tried.ctl("models", "show", "latest")[0]
            self.assertEqual((last["version"], last["spec"]), (done["version"], done["spec"]))
            fleet.wait_until(lambda: f"installed version={last['version']}" in tried.log("d0"),
                             "the last version on a device")
            self.assertEqual(self.eliminate(tried, job, *options), events)  # no job runs twice
            self.assertEqual(len(tried.ctl("jobs", "ls")), 6)

    def test_what_is_wrong_is_said_before_a_job_runs(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            out = ["--out", tried.root / "out"]

            def write(text):
                path = tried.root / "job.ini"
                path.write_text(text)
                (tried.root / "columns.ini").write_text(SCHEMA)
                return path

            good = f"[model]\nspec = {SPEC}\n[data]\nschema = columns.ini\n"
            for text, options, said in [
                    (good, [], "--out is missing"),
                    (good, [*out, "--step", "x"], "--step x: want"),
                    (good, [*out, "--keep", "9"], "--keep 9: the model has 8 features"),
                    (good, [*out, "--folds", "1"], "--folds 1: want 2 to 100"),
                    (good.replace("8 -", "7 -"), out, "takes 7 features, the data have 8"),
                    (good.replace("[data]", "init_version = 3\n[data]"), out, "model.init_version"),
                    ("[model]\nspec = 8 - dense 2 softmax\n", out, "data.schema: is missing"),
                    ("[data]\nschema = columns.ini\n", out, "model.spec: is missing"),
                    ("[model]\nspec = 8 - dance 2\n[data]\nschema = columns.ini\n", out,
                     "model.spec: ")]:
                self.eliminate(tried, write(text), *options, code=2)
                self.assertIn(said, self.stderr)
            self.assertEqual(tried.ctl("jobs", "ls"), [])


if __name__ == "__main__":
    fleet.main()
