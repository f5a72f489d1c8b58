#!/usr/bin/env python3
"""tributaryctl tune: a series of jobs on real devices that chooses by cross-validation, and reads the
held-out rows once, at its end."""
import json
import signal
import subprocess

import fleet

GRID = ["--grid", "round.learning_rate=0.0001,0.5,0.01"]
SPEC = "64 - dense 10 softmax"


class TuneFleetTest(fleet.Case):
    def devices(self, tried, rows):
        for i in range(2):
            tried.add_device(f"d{i}", rows[i * 300:(i + 1) * 300])
            tried.start_device(f"d{i}")
        tried.wait_connected(2)

    def tune(self, tried, job, *options, code=0):
        done = fleet.run("tributaryctl", "--dir", tried.dir, "tune", job, "--json", *options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.stderr = done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_the_planted_value_is_found_and_the_held_out_rows_are_read_once_at_the_end(self):
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.devices(tried, rows)
            job = tried.write_job(SPEC, rows[600:900], rounds=3, cohort=2)
            events = self.tune(tried, job, *GRID, "--cv", "3")
            trials, choice, done = events[:-2], events[-2], events[-1]
            self.assertEqual([e["event"] for e in events], ["trial"] * 3 + ["choice", "done"])
            self.assertEqual(choice["set"], {"round.learning_rate": "0.5"})
            for trial in trials:
                self.assertAlmostEqual(trial["value"], sum(trial["folds"]) / 3)
            self.assertEqual(max(t["value"] for t in trials), choice["value"])
            last = tried.ctl("models", "show", "latest")[0]
            self.assertEqual((done["version"], done["value"]),
                             (last["version"], last["metrics"]["accuracy"]))

            jobs = tried.ctl("jobs", "ls")
            self.assertEqual([j["state"] for j in jobs], ["done"] * 10)
            starts = {tried.ctl("models", "show", j["start_version"])[0]["model_digest"]
                      for j in jobs}
            self.assertEqual(len(starts), 1)  # none goes on from what another made
            log = tried.log("coordinator").splitlines()
            reads = [i for i, line in enumerate(log) if "held-out rows are read" in line]
            overs = [i for i, line in enumerate(log) if " done rounds=" in line]
            self.assertEqual(len(reads), 1)
            self.assertEqual(sum(over < reads[0] for over in overs), 9)

            # Asked again it is all there: no job runs twice. Another run is another series.
            self.assertEqual(self.tune(tried, job, *GRID, "--cv", "3"), events)
            self.assertEqual(len(tried.ctl("jobs", "ls")), 10)
            again = self.tune(tried, job, "--grid", "round.learning_rate=0.5", "--cv", "2", "--run",
                              "2", "--metric", "log_loss")
            self.assertEqual(again[0]["metric"], "log_loss")
            self.assertEqual(len(tried.ctl("jobs", "ls")), 13)

    def test_a_series_that_is_cut_off_goes_on(self):
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.devices(tried, rows)
            job = tried.write_job(SPEC, rows[600:900], rounds=3, cohort=2, local_epochs=5)
            command = [fleet.program("tributaryctl"), "--dir", tried.dir, "tune", job, *GRID,
                       "--cv", "2", "--json"]
            # In its second job, however slow we are: no job ends without this device.
            device = tried.processes["d1"]
            device.send_signal(signal.SIGSTOP)
            first = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
            one = fleet.wait_until(lambda: tried.ctl("jobs", "ls"), "the first job")[0]["job"]
            first.send_signal(signal.SIGSTOP)
            device.send_signal(signal.SIGCONT)
            tried.wait_for_job(one)
            device.send_signal(signal.SIGSTOP)
            first.send_signal(signal.SIGCONT)
            fleet.wait_until(lambda: len(tried.ctl("jobs", "ls")) >= 2, "the second job")
            first.send_signal(signal.SIGINT)
            first.communicate()
            self.assertNotEqual(first.returncode, 0)
            self.assertEqual(len(tried.ctl("jobs", "ls")), 2)
            device.send_signal(signal.SIGCONT)
            second = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE)
            fleet.wait_until(lambda: len(tried.ctl("jobs", "ls")) >= 4, "the fourth job")
            tried.kill("coordinator")  # the series waits for it
            tried.start_coordinator()
            out, err = second.communicate(timeout=60)
            self.assertEqual(second.returncode, 0, err)
            events = [json.loads(line) for line in out.splitlines()]
            self.assertEqual([e["event"] for e in events], ["trial"] * 3 + ["choice", "done"])
            self.assertEqual(events[-1]["set"], {"round.learning_rate": "0.5"})
            names = [j["name"] for j in tried.ctl("jobs", "ls")]
            self.assertEqual((len(names), len(set(names))), (7, 7))

    def test_with_privacy_on_the_series_costs_what_the_file_says(self):
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.devices(tried, rows)
            job = tried.write_job("64 - dense 10 softmax", rows[600:700], rounds=2, cohort=2,
                                  mode="local", privacy={"clip_l1": 1, "target_epsilon": 90000,
                                                         "target_delta": 1e-3})
            # Two devices cannot outdo the noise: nothing is chosen, but the jobs were paid for.
            self.tune(tried, job, "--grid", "round.learning_rate=0.1,1", "--cv", "2", code=7)
            self.assertIn("noise of privacy", self.stderr)
            told = [line for line in tried.log("coordinator").splitlines()
                    if "epsilon" in line and "over the job" in line]
            self.assertEqual(len(told), 4)
            for line in told:
                self.assertLessEqual(float(line.split("epsilon ")[1].split()[0]), 90000 / 5)
            fixed = tried.write_job(SPEC, rows[600:700], rounds=2, cohort=2, mode="local",
                                    privacy={"clip_l1": 1, "noise_multiplier": 1})
            self.tune(tried, fixed, "--grid", "round.learning_rate=0.1,1", "--cv", "2", code=2)
            self.assertIn("privacy.noise_multiplier", self.stderr)

    def test_what_is_wrong_is_said_before_a_job_runs(self):
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            job = tried.write_job(SPEC, rows[600:700], rounds=2, cohort=1)
            for options, text in [
                    ([], "--grid is missing"),
                    (["--grid", "round.batch"], "--grid round.batch: want"),
                    (["--grid", "round.batch=1,,2"], "want section.key=value"),
                    ([*GRID, "--cv", "1"], "--cv 1: want 2 to 100"),
                    (["--grid", "round.bach=1,2"], "round.bach"),
                    (["--grid", "round.batch=many"], "round.batch"),
                    ([*GRID, "--set", "round.keep=best"], "eval_every")]:
                self.tune(tried, job, *options, code=2)
                self.assertIn(text, self.stderr)
            missing = tried.root / "nothing.ini"
            self.tune(tried, missing, *GRID, code=2)
            self.assertIn("nothing.ini", self.stderr)
            self.assertEqual(tried.ctl("jobs", "ls"), [])

    def test_a_key_is_overridden_when_a_job_is_submitted(self):
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.devices(tried, rows)
            job = tried.write_job(SPEC, rows[600:700], rounds=5, cohort=2)
            number = tried.ctl("jobs", "submit", job, "--set", "round.rounds=2")[0]["job"]
            self.assertEqual(tried.wait_for_job(number)["rounds_done"], 2)
            refused = tried.try_ctl("jobs", "submit", job, "--set", "round.rounds=0")
            self.assertEqual(refused.returncode, 2)
            self.assertIn("round.rounds", refused.stderr)


if __name__ == "__main__":
    fleet.main()
