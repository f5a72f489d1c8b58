#!/usr/bin/env python3
"""When a job ends by itself: each rule ends it exactly where it says, also across a kill."""
import json
import pathlib
import tempfile
import time

import fleet

SPEC = "64 - dense 10 softmax"


class StopTest(fleet.Case):
    def play(self, where, *sets, status=0):
        """The metric of each round, as a scenario of the digits goes."""
        with tempfile.TemporaryDirectory(prefix="trib-stop-") as out:
            done = fleet.run("tributary-sim", "run",
                             fleet.SOURCE / "simulations/scenarios/digits-off.ini", "--mode", where,
                             "--json", "--out", pathlib.Path(out) / "out",
                             *[word for pair in sets for word in ("--set", pair)])
        self.assertEqual(done.returncode, status, done.stderr)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        return [event["value"] for event in events if event["event"] == "round"]

    def test_a_plateau_ends_both_modes_after_the_same_round(self):
        rates = ["round.learning_rate=0.5", "round.rounds=30", "round.target_metric=none"]
        full = self.play("inprocess", *rates)
        self.assertEqual(len(full), 30)
        best, stale, wanted = full[0], 0, None
        for i, value in enumerate(full[1:], 2):
            stale = 0 if value - best >= 0.01 else stale + 1
            best = value if stale == 0 else best
            if stale == 3:
                wanted = i
                break
        self.assertIsNotNone(wanted, full)
        stop = [*rates, "round.stop_patience=3", "round.stop_min_delta=0.01"]
        self.assertEqual(self.play("inprocess", *stop), full[:wanted])
        self.assertEqual(self.play("processes", *stop), full[:wanted])
        # A target that was not reached by then was missed.
        self.assertEqual(len(self.play("inprocess", *stop, "round.target_metric=accuracy",
                                       "round.target_value=2", status=7)), wanted)

    def begin(self, tried):
        rows = fleet.digits()
        self.rows = rows
        tried.start_coordinator()
        tried.add_device("d0", rows[200:300])
        tried.start_device("d0")
        tried.wait_connected(1)

    def test_a_job_that_a_timer_submits_too_early_is_refused_and_not_queued(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()  # without devices: a job stays active
            path = tried.write_job(SPEC, fleet.digits()[:20], rounds=1, cohort=1)
            job = tried.ctl("jobs", "submit", path)[0]["job"]
            for state in "active", "paused":
                done = tried.try_ctl("jobs", "submit", path)
                self.assertEqual(done.returncode, 2)
                self.assertIn(f"job {job} is {state}; one job runs at a time", done.stderr)
                if state == "active":
                    tried.ctl("jobs", "pause", job)
            tried.ctl("jobs", "cancel", job)
            self.assertEqual([row["job"] for row in tried.ctl("jobs", "ls")], [job])
            self.assertEqual(tried.ctl("jobs", "submit", path)[0]["job"], job + 1)

    def test_a_deadline_ends_a_job_also_when_it_passes_without_a_coordinator(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            begun = time.time()
            job = tried.submit(SPEC, self.rows[:200], rounds=1000000, cohort=1, deadline_s=2)
            ended = tried.wait_for_job(job)
            self.assertEqual(ended["reason"], "the deadline has passed")
            self.assertGreaterEqual(time.time() - begun, 2)
            done = ended["rounds_done"]
            self.assertGreater(done, 0)
            self.assertEqual(len(tried.ctl("rounds", "ls", "--job", job)), done)
            job = tried.submit(SPEC, self.rows[:200], rounds=1000000, cohort=1, deadline_s=2)
            tried.kill("coordinator")
            tried.kill("d0")
            time.sleep(2.5)
            tried.start_coordinator()  # and no device is there
            self.assertEqual(tried.wait_for_job(job)["reason"], "the deadline has passed")

    def test_rules_hold_when_the_coordinator_is_killed_between_the_round_and_the_end(self):
        points = [point for point in fleet.crash_points("tributary-coordinator")
                  if point == "commit.durable"]
        if not points:
            self.skipTest("a build without -Dcrash_points=true")
        with fleet.Fleet() as tried:
            self.begin(tried)
            rules = [({"target_metric": "accuracy", "target_value": 0.05}, "the target was reached"),
                     ({"stop_patience": 1, "learning_rate": 1e-9},
                      "the metric did not get better any more")]
            for keys, reason in rules:
                for point in points:
                    job = tried.submit(SPEC, self.rows[:200], rounds=50, cohort=1, **keys)
                    wanted = tried.wait_for_job(job)
                    self.assertEqual(wanted["reason"], reason)
                    tried.end("coordinator")
                    tried.start_coordinator({"TRIB_CRASH": f"{point}:4"}, may_die=True)
                    process = tried.processes["coordinator"]
                    tried.try_ctl("jobs", "submit", tried.root / f"job{tried.jobs}" / "job.ini")
                    time.sleep(0.3)
                    if process.poll() is not None:
                        tried.processes.pop("coordinator")
                        tried.start_coordinator()
                    last = tried.ctl("jobs", "ls")[-1]["job"]
                    again = tried.wait_for_job(last)
                    self.assertEqual((again["reason"], again["rounds_done"]),
                                     (reason, wanted["rounds_done"]), point)


if __name__ == "__main__":
    fleet.main()
