#!/usr/bin/env python3
"""The preparation pipeline from the scenario's file to the devices, and who may use which model."""
import contextlib
import json
import pathlib
import random
import signal
import tempfile

import fleet

SCHEMA = """[file]
missing = ?
comment = #
[column size]
min = 0
max = 1000
[column colour]
type = category
values = red | blue
[column home]
type = text
role = id
[column big]
type = bool
role = label
"""
PIPELINE = """[step outlier]
columns = size
by = mad

[step impute]
columns = size
with = median
indicator = yes

[step impute]
columns = colour
with = mode

[step bin]
columns = size
by = quantiles
bins = 4

[step hash]
columns = home
buckets = 4
"""
FEATURES = 5 + 1 + 3 + 4


def csv(count):
    """Rows with quoted line ends, holes, unlisted values and a spike."""
    draw = random.Random(1)
    lines = ["colour,size,home,big\n"]
    for i in range(count):
        size = draw.randrange(100)
        shown = "?" if i % 9 == 4 else 999 if i % 50 == 7 else size / 8
        colour = draw.choice(["red", "red", "blue", "pink", ""])
        lines.append(f'{colour},{shown},"house {i % 6}\nof many",{int(size > 50)}\n')
    return "".join(lines)


class PrepareTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-prepare-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        (self.dir / "s.ini").write_text(SCHEMA)
        (self.dir / "p.ini").write_text(PIPELINE)
        (self.dir / "rows.csv").write_text(csv(200))
        self.runs = 0

    def play(self, mode="inprocess", status=0, features=FEATURES, keys="", privacy="off",
             partition="clients = 4", cohort=4):
        self.runs += 1
        scenario = self.dir / "scenario.ini"
        scenario.write_text(
            f"[model]\nspec = {features} - dense 2 softmax\n[partition]\n{partition}\n"
            f"[round]\nrounds = 2\ncohort = {cohort}\nbeat_baseline = no\n[privacy]\nmode = {privacy}\n"
            "[data]\ntrain = rows.csv\nheader = yes\ntest_fraction = 0.3\nschema = s.ini\n"
            f"prepare = p.ini\n{keys}")
        done = fleet.run("tributary-sim", "run", scenario, "--mode", fleet.mode_of(mode), "--json", "--out",
                         self.dir / f"run{self.runs}")
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr if status else (json.loads(done.stdout.splitlines()[-1]), done.stderr)

    @fleet.sweep  # logs of real processes are read
    def test_both_modes_learn_the_same_from_rows_as_they_are_written(self):
        first, said = self.play()
        self.assertIn(f"fitted in 12 passes over 4 devices: {FEATURES} features", said)
        self.assertRegex(said, r"step 1 \(outlier\) touched [1-9]")
        second, _ = self.play("processes")
        log = (self.dir / "run2/logs/coordinator.log").read_text()
        self.assertIn("pipeline: 11 of 12 passes are left", log)  # as rounds, over the wire
        self.assertIn("pipeline: 0 of 12 passes are left", log)
        self.assertEqual(first["model_digest"], second["model_digest"])
        self.assertEqual(first["value"], second["value"])

    def epsilon(self):
        """Of the whole run that was played last."""
        rows = (self.dir / f"run{self.runs}/rounds.jsonl").read_text().splitlines()
        return json.loads(rows[-1])["epsilon"]

    @fleet.sweep
    def test_with_privacy_on_statistics_are_noised_and_paid_for(self):
        (self.dir / "rows.csv").write_text(csv(2400))
        noised = "noise_multiplier = 0.01\ntally_scale = 10\ntest_seed = {}\n[secagg]\n" \
                 "threshold_frac = 0.9\nmax_colluders_frac = 0"
        # A masked sum wants a crowd; of the other ways each device is another process.
        for privacy, clients in (("local", 8), ("central", 8), ("distributed", 24)):
            with self.subTest(privacy=privacy):
                crowd = {"partition": f"clients = {clients}", "cohort": clients}
                exact, _ = self.play(**crowd)
                runs = {}
                for mode in ("inprocess", "processes"):
                    done, said = self.play(mode, **crowd, privacy=f"{privacy}\n{noised.format(3)}")
                    runs[mode] = (done["model_digest"], self.epsilon())
                    self.assertNotEqual(done["model_digest"], exact["model_digest"])
                self.assertEqual(runs["inprocess"], runs["processes"])
                again, _ = self.play(**crowd, privacy=f"{privacy}\n{noised.format(4)}")
                self.assertNotEqual(again["model_digest"], runs["inprocess"][0])
                # What the twelve passes cost is a part of what the rounds say was spent.
                (self.dir / "p.ini").write_text("[step hash]\ncolumns = home\nbuckets = 4\n")
                self.play(**crowd, features=8, privacy=f"{privacy}\n{noised.format(3)}")
                self.assertGreater(runs["inprocess"][1], 2 * self.epsilon())
                (self.dir / "p.ini").write_text(PIPELINE)

    def test_a_target_is_shared_by_passes_and_rounds(self):
        target = "target_epsilon = 50\ntarget_delta = 1e-5\n"
        for keys in ("", "test_seed = 1\n"):
            with self.subTest(keys=keys):
                self.play(privacy=f"local\n{target}{keys}")
                self.assertLessEqual(self.epsilon(), 50)
                self.assertGreater(self.epsilon(), 40)

    def test_what_has_no_bound_gets_no_noise(self):
        schema = self.dir / "s.ini"
        schema.write_text(SCHEMA.replace("min = 0\nmax = 1000\n", ""))
        (self.dir / "p.ini").write_text("[step impute]\ncolumns = size\n"
                                        "[step hash]\ncolumns = home\nbuckets = 4\n")
        self.play(features=8)
        said = self.play(status=2, features=8, privacy="local\ntarget_epsilon = 100")
        text = "step 1 (impute) adds up values that have no bound, which noise needs: declare min"
        self.assertIn(f"data.prepare: {text}", said)
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            path = tried.write_job("8 - dense 2 softmax", csv(60), scale=1, mode="local",
                                   privacy={"target_epsilon": 100}, data=self.keys())
            self.assertIn(text, tried.try_ctl("jobs", "submit", path).stderr)

    def test_what_passes_find_must_have_room_in_a_task_before_any_is_paid_for(self):
        names = [f"c{i}" for i in range(150)]
        (self.dir / "s.ini").write_text(
            "".join(f"[column {name}]\nmin = 0\nmax = 1\n" for name in names)
            + "[column big]\ntype = bool\nrole = label\n")
        (self.dir / "p.ini").write_text("[step standardise]\ncolumns = c*\n")
        rows = [",".join([*names, "big"])]
        rows += [",".join([str((i + j) % 2) for j in range(150)] + [str(i % 2)]) for i in range(40)]
        (self.dir / "rows.csv").write_text("\n".join(rows) + "\n")
        text = r"data.prepare: with what is to be found it may have 1\d{4} bytes of text; " \
            "a task holds 12288"
        for where in ("inprocess", "processes"):
            self.assertRegex(self.play(where, status=2, features=150,
                                       privacy="local\ntarget_epsilon = 1000"), text)
        self.play(features=150)  # exact numbers are shorter here

    @contextlib.contextmanager
    def fleet_of_a_silent_device(self, **keys):
        """Two devices of which b does not answer, and a job that wants both."""
        rows = csv(60)
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.prepare_fleet(tried, rows, ("a", "b"), "pipeline = job\n")
            tried.processes["b"].send_signal(signal.SIGSTOP)
            yield tried, self.submit(tried, rows, cohort=2, min_accepted=2, mode="local",
                                     privacy={"noise_multiplier": 1}, **keys)

    def test_a_pass_that_was_lost_takes_a_round_away(self):
        with self.fleet_of_a_silent_device(rounds=4, select_ms=500,
                                           report_ms=2000) as (tried, job):
            fleet.wait_until(lambda: any(row["state"] == "abandoned"
                                         for row in tried.ctl("rounds", "ls")), "a pass is lost")
            tried.processes["b"].send_signal(signal.SIGCONT)
            tried.wait_for_job(job)
            rounds = tried.ctl("rounds", "ls")
            lost = [row for row in rounds if row["state"] == "abandoned"]
            self.assertEqual({row["kind"] for row in lost}, {"prepare"})
            counted = [row["kind"] for row in rounds if row["state"] == "committed"]
            self.assertEqual(counted, ["prepare"] * 12 + ["train"] * (4 - len(lost)))

    def test_devices_that_fall_silent_do_so_in_passes_too(self):
        faults = "[faults]\ndropout = 0.3\n[round]\nmin_accepted = 4\nreport_ms = 2500\n"
        (self.dir / "p.ini").write_text(
            "[step impute]\ncolumns = size\n[step impute]\ncolumns = colour\nwith = mode\n"
            "[step hash]\ncolumns = home\nbuckets = 4\n")
        done = {mode: self.play(mode, partition="clients = 12", cohort=12, features=8,
                                privacy=f"off\n{faults}")[0]["model_digest"]
                for mode in ("inprocess", "processes")}
        self.assertEqual(done["inprocess"], done["processes"])
        whole, _ = self.play(partition="clients = 12", cohort=12, features=8)
        self.assertNotEqual(done["inprocess"], whole["model_digest"])

    def test_a_job_whose_passes_were_all_lost_has_failed(self):
        with self.fleet_of_a_silent_device(rounds=2, select_ms=300,
                                           report_ms=500) as (tried, job):
            ended = tried.wait_for_job(job, "failed")
            self.assertIn("statistics could not be gathered", ended["reason"])
            self.assertEqual(len(tried.ctl("rounds", "ls")), 2)
            tried.processes["b"].send_signal(signal.SIGCONT)

    def test_a_pass_is_counted_by_the_cohort_that_is_drawn(self):
        partition = "clients = 7"  # a cohort has four
        digests = {self.play(mode, partition=partition)[0]["model_digest"]
                   for mode in ("inprocess", "processes")}
        self.assertEqual(len(digests), 1)
        self.assertNotEqual(digests, {self.play(partition="clients = 4")[0]["model_digest"]})

    def prepare_fleet(self, tried, rows, names, keys):
        for name in names:
            tried.add_device(name, rows, scale=1, data=self.keys(None) + keys)
            tried.start_device(name)
        fleet.wait_until(lambda: all(tried.device(name)["state"] == "connected" for name in names),
                         "the devices are connected")

    def keys(self, pipeline="p.ini"):
        """Of the section data, by whole paths."""
        prepare = f"prepare = {self.dir}/{pipeline}\n" if pipeline else ""
        return f"schema = {self.dir}/s.ini\nheader = yes\n{prepare}"

    def submit(self, tried, rows, **keys):
        return tried.submit(f"{FEATURES} - dense 2 softmax", rows, scale=1, data=self.keys(),
                            **keys)

    @fleet.sweep
    def test_a_coordinator_that_dies_between_passes_goes_on_from_the_last(self):
        rows = csv(60)
        points = [None, "round.ended:1", "round.ended:5", "round.ended:12"]
        digests = set()
        if not fleet.crash_points("tributary-coordinator"):
            self.skipTest("a build without -Dcrash_points=true")
        for point in points:
            with self.subTest(point=point), fleet.Fleet() as tried:
                tried.start_coordinator({"TRIB_CRASH": point} if point else None,
                                        may_die=bool(point))
                self.prepare_fleet(tried, rows, ("a", "b", "c"), "pipeline = job\n")
                job = self.submit(tried, rows, cohort=3, min_accepted=3, rounds=2)
                if point:
                    process = tried.processes["coordinator"]
                    fleet.wait_until(lambda: process.poll() is not None, f"{point} is hit")
                    tried.processes.pop("coordinator")
                    tried.start_coordinator()
                tried.wait_for_job(job)
                digests.add(tried.model_digest())
                kinds = [entry["kind"] for entry in tried.ctl("rounds", "ls", "--job", job)]
                self.assertEqual(kinds.count("prepare"), 12)  # none was counted twice
        self.assertEqual(len(digests), 1)

    def test_a_second_job_is_not_stopped_by_the_pipeline_of_the_first(self):
        rows = csv(60)
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.prepare_fleet(tried, rows, ("a", "b"), "pipeline = job\n")
            for _ in range(2):
                job = tried.wait_for_job(self.submit(tried, rows, cohort=2, rounds=1))
                kinds = [entry["kind"] for entry in tried.ctl("rounds", "ls", "--job", job["job"])]
                self.assertEqual((kinds.count("prepare"), len(kinds)), (12, 13))
            # It goes on from what the first learnt, as a version of its own.
            start = tried.ctl("models", "show", job["start_version"])[0]
            before = tried.ctl("models", "show", start["version"] - 1)[0]
            self.assertEqual((start["kind"], start["parent"]), ("initial", before["version"]))
            self.assertEqual(start["model_digest"], before["model_digest"])

    def test_who_cannot_count_a_pass_declines_and_says_why(self):
        rows = csv(60)
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.prepare_fleet(tried, rows, ("able",), "pipeline = job\n")
            self.prepare_fleet(tried, rows.replace("?", "1"), ("plain",), "")
            job = self.submit(tried, rows, cohort=1, min_accepted=1, rounds=1)
            tried.wait_for_job(job)
            self.assertIn("touched", tried.log("able"))
            self.assertNotIn("touched", tried.log("plain"))

    def test_a_task_with_or_without_a_pipeline_is_declined_for_that_with_privacy_on_too(self):
        rows = "colour,size,home,big\n" + "red,1,a,0\nblue,9,b,1\n" * 20
        private = {"mode": "local", "privacy": {"noise_multiplier": 1}, "cohort": 1,
                   "min_accepted": 1, "scale": 1}
        for keys, spec, pipeline, said in (
                ("pipeline = job\n", 4, None, "it brings no pipeline, which data.pipeline = job"),
                ("", FEATURES, "p.ini", "it brings a pipeline, and the rows went through another")):
            with fleet.Fleet() as tried:
                tried.start_coordinator()
                self.prepare_fleet(tried, rows, ("a",), keys)
                tried.submit(f"{spec} - dense 2 softmax", rows, data=self.keys(pipeline), **private)
                fleet.wait_until(lambda tried=tried: tried.device("a")["declined"], "it declines")
                self.assertEqual(tried.device("a")["declined"], "DECLINED_MODEL")
                self.assertIn(f"declined: {said}", tried.log("a"))

    def test_rows_that_steps_drop_are_gone_in_both_modes(self):
        (self.dir / "p.ini").write_text("[step dedup]\n[step impute]\ncolumns = size\nwith = drop\n")
        digests = {self.play(mode, features=4)[0]["model_digest"]
                   for mode in ("inprocess", "processes")}
        self.assertEqual(len(digests), 1)

    def test_rows_that_arrive_are_prepared_behind_those_that_were_learnt(self):
        (self.dir / "p.ini").write_text(
            "[step dedup]\n[step impute]\ncolumns = size\nwith = forward\n"
            "[step smooth]\ncolumns = size\nby = mean\nwindow = 4\n"
            "[step standardise]\ncolumns = size\n")
        digests = set()
        for mode in ("batch", "incremental", "online"):
            got = {self.play(where, features=4, keys="rows_per_round = 12\n",
                             privacy=f"off\n[round]\nmode = {mode}\nbatch = 3")[0]["model_digest"]
                   for where in ("inprocess", "processes")}
            self.assertEqual(len(got), 1, mode)
            digests |= got
        self.assertEqual(len(digests), 3)

    def test_a_step_that_looks_ahead_wants_rows_that_stay(self):
        (self.dir / "p.ini").write_text("[step impute]\ncolumns = size\nwith = interpolate\n")
        for where in ("inprocess", "processes"):
            said = self.play(where, status=2, features=4, privacy="off\n[round]\nmode = online\n")
            self.assertIn("looks at rows that come later", said)
        said = self.play(status=2, features=4, keys="rows_per_round = 12\n")
        self.assertIn("data.rows_per_round: cannot go with impute with = interpolate", said)

    def test_an_embedding_beside_plain_columns_is_learnt_from(self):
        draw = random.Random(2)
        side = [draw.gauss(0, 1) for _ in range(16)]
        lines = [",".join([f"text{i}" for i in range(16)] + ["age", "big"])]
        for _ in range(800):
            text = [draw.gauss(0, 1) for _ in range(16)]
            age = draw.randrange(20, 80)
            is_big = sum(a * b for a, b in zip(side, text)) + (age - 50) / 10 > 0
            lines.append(",".join([f"{x:.4f}" for x in text] + [str(age), str(int(is_big))]))
        (self.dir / "rows.csv").write_text("\n".join(lines) + "\n")
        (self.dir / "s.ini").write_text("".join(f"[column text{i}]\n" for i in range(16)) +
                                        "[column age]\n[column big]\ntype = bool\nrole = label\n")
        age = "[step standardise]\ncolumns = age\n"
        fit = "off\n[round]\nlocal_epochs = 20\nlearning_rate = 0.05\n"
        values = []
        for features, group in ((17, "[step group]\nname = text\ncolumns = text*\nweight = 0.5\n"),
                                (1, "[step drop]\ncolumns = text*\n")):
            (self.dir / "p.ini").write_text(group + age)
            done = {mode: self.play(mode, features=features, privacy=fit)[0]
                    for mode in ("inprocess", "processes")}
            self.assertEqual(done["inprocess"]["model_digest"], done["processes"]["model_digest"])
            values.append(done["inprocess"]["value"])
        self.assertGreater(values[0], 0.85)
        self.assertGreater(values[0], values[1] + 0.2)

    def test_what_cannot_go_together_is_refused_by_its_key(self):
        said = self.play(status=2, features=7)
        self.assertIn(f"data.prepare: makes {FEATURES} features, the model takes 7", said)
        said = self.play(status=2, keys="scale = 2\n")
        self.assertIn("data.scale: must be 1 with data.prepare", said)
        for where in ("inprocess", "processes"):
            said = self.play(where, status=2, keys="fallback = no.ini\n")
            self.assertRegex(said, "data.fallback: .*no.ini: cannot be read")
        (self.dir / "p.ini").write_text("[step impute]\ncolumns = weight\n")
        self.assertIn("p.ini:2: there is no column 'weight'", self.play(status=2))
        (self.dir / "p.ini").unlink()
        self.assertIn("p.ini: cannot be read", self.play(status=2))

    def test_a_device_refuses_the_model_of_another_pipeline(self):
        (self.dir / "fitted.ini").write_text(
            "[step log1p]\ncolumns = size\n[step hash]\ncolumns = home\nbuckets = 4\n")
        (self.dir / "other.ini").write_text(
            "[step log1p]\ncolumns = size\n[step hash]\ncolumns = home\nbuckets = 4\nseed = 1\n")
        rows = csv(60).replace("?", "1")
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for name, pipeline in (("same", "fitted.ini"), ("other", "other.ini"), ("none", None)):
                tried.add_device(name, rows, scale=1, data=self.keys(pipeline))
                tried.start_device(name)
            tried.wait_connected(3)
            tried.wait_for_job(tried.submit("8 - dense 2 softmax", rows, scale=1, cohort=1,
                                            min_accepted=1, rounds=2,
                                            data=self.keys("fitted.ini")))
            self.assertIn("installed version=", tried.log("same"))
            for name in ("other", "none"):
                self.assertIn("code=MODEL_PIPELINE", tried.log(name))
                self.assertNotIn("installed version=", tried.log(name))


if __name__ == "__main__":
    fleet.main()
