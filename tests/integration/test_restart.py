#!/usr/bin/env python3
"""Programs that are killed and started again: nothing is lost, nothing counts twice, same model."""
import random
import signal
import time

import fleet

DEVICES = 8
# A job goes on from the version before it when that has its architecture. Two that take turns start
# from the beginning each time, so that each has one right result.
SPECS = ["64 - dense 10 softmax", "64 - dense 8 relu - dense 10 softmax"]
# The second one's learning rate depends on what all rounds before showed, and falls soon; its
# strategy remembers them too.
WAYS = [{"learning_rate": 0.1},
        {"learning_rate": 1, "clip_norm": 1, "lr_schedule": "plateau", "lr_step_rounds": 1,
         "lr_gamma": 0.1, "lr_min": 0.05,
         "strategy": "fedadam", "server": {"server_learning_rate": 0.05}}]


class Restarts(fleet.Fleet):
    """Eight devices with digits, and two jobs that take turns, as often as one likes."""

    def begin(self, rounds):
        rows = fleet.digits()
        self.rounds = rounds
        self.names = [f"d{i}" for i in range(DEVICES)]
        self.start_coordinator()
        for i, name in enumerate(self.names):
            self.add_device(name, rows[200 + 100 * i:300 + 100 * i])
            self.start_device(name)
        self.wait_connected(DEVICES)
        self.job_files = [self.write_job(spec, rows[:200], rounds=rounds, cohort=DEVICES,
                                         local_epochs=3, batch=16, **way)
                          for spec, way in zip(SPECS, WAYS)]
        self.expected = []  # what the jobs give when nobody is killed
        self.turn = 0
        for _ in SPECS:
            self.wait_for_job(self.submit_next())
            self.expected.append(self.model_digest())
            self.turn += 1

    def moments(self):
        return list((self.dir / "updates").glob("*.moments"))

    def submit_next(self):
        return self.ctl("jobs", "submit", self.job_files[self.turn % 2])[0]["job"]

    def submit_despite_crash(self):
        """Submit where the coordinator may die before it answers: is the job there or not?"""
        submitted = self.try_ctl("jobs", "submit", self.job_files[self.turn % 2])
        if submitted.returncode:
            fleet.wait_until(self.revive, f"the coordinator dies, since: {submitted.stderr}")
        try:
            jobs = self.ctl("jobs", "ls")
        except AssertionError:  # it dies of this question
            fleet.wait_until(self.revive, "the coordinator dies")
            jobs = self.ctl("jobs", "ls")
        return jobs[-1]["job"] if len(jobs) > self.turn else self.submit_next()

    def revive(self):
        """Start whatever was killed; True if something was."""
        dead = [name for name, process in self.processes.items() if process.poll() is not None]
        for name in dead:
            status = self.processes.pop(name).returncode
            if status != -signal.SIGKILL:
                raise AssertionError(f"{name} ended by itself with {status}")
            if name == "coordinator":
                self.start_coordinator()
            else:
                self.start_device(name)
        return bool(dead)

    def is_active(self, job):
        return self.ctl("jobs", "show", job)[0]["state"] == "active"


class RestartTest(fleet.Case):
    def assert_well(self, tried, job):
        """The job is done, everybody counted once in every round, the model is the right one."""
        tried.wait_for_job(job)
        ended = tried.ctl("rounds", "ls", "--job", job)
        self.assertEqual([(row["round"], row["state"]) for row in ended],
                         [(number, "committed") for number in range(1, tried.rounds + 1)])
        for row in ended:
            self.assertEqual((row["asked"], row["accepted"]), (DEVICES, DEVICES))
            leases = tried.ctl("rounds", "show", row["id"])
            self.assertEqual(sorted((lease["device"], lease["lease"]) for lease in leases),
                             [(name, "counted") for name in tried.names])
        self.assertEqual(tried.model_digest(), tried.expected[tried.turn % 2])
        fleet.wait_until(lambda: len(tried.moments()) <= 1, "old moments are gone")
        self.assert_books_balance(tried)
        tried.turn += 1

    def test_a_job_that_is_run_again_gives_the_same_model(self):
        with Restarts() as tried:
            tried.begin(rounds=12)
            self.assertNotEqual(*tried.expected)
            for _ in range(2):
                self.assert_well(tried, tried.submit_next())

    def kill_at_random(self, seed, jobs, kill_one):
        """Kill until as many jobs are done; how often."""
        rng = random.Random(seed)
        kills = 0
        with Restarts() as tried:
            tried.begin(rounds=12)
            for _ in range(jobs):
                job = tried.submit_next()
                while tried.is_active(job):
                    time.sleep(rng.uniform(0, 0.05))
                    kill_one(tried, rng)
                    kills += 1
                    self.assert_books_balance(tried)
                self.assert_well(tried, job)
        return kills

    def test_a_coordinator_killed_at_any_moment_gives_the_same_model(self):
        def kill_one(tried, rng):
            tried.kill("coordinator")
            tried.start_coordinator()

        self.assertGreater(self.kill_at_random(1, 4, kill_one), 8)

    def test_clients_killed_at_any_moment_give_the_same_model(self):
        def kill_one(tried, rng):
            for name in rng.sample(tried.names, 2):
                tried.kill(name)
                tried.start_device(name)

        self.assertGreater(self.kill_at_random(2, 4, kill_one), 8)

    def test_everything_killed_at_once_gives_the_same_model(self):
        def kill_one(tried, rng):
            for name in list(tried.processes):
                tried.processes[name].kill()
            tried.kill("coordinator")
            tried.start_coordinator()
            fleet.wait_until(lambda: not tried.revive(), "all are back")

        self.assertGreater(self.kill_at_random(3, 2, kill_one), 2)

    def test_devices_that_return_late_are_waited_for(self):
        with Restarts() as tried:
            tried.begin(rounds=2)
            late = ["d0", "d1"]
            for name in late:
                tried.kill(name)
            job = tried.submit_next()  # they left a moment ago, so they are asked
            time.sleep(2)  # the others report, and the round stays open
            tried.kill("coordinator")
            tried.start_coordinator()
            time.sleep(11)  # longer than a device that leaves a running coordinator is waited for
            for name in late:
                tried.start_device(name)
            self.assert_well(tried, job)

    def test_a_job_that_is_paused_at_any_moment_stays_so_and_gives_the_same_model(self):
        rng = random.Random(4)
        with Restarts() as tried:
            tried.begin(rounds=12)
            job = tried.submit_next()
            for _ in range(4):
                time.sleep(rng.uniform(0, 0.03))
                tried.ctl("jobs", "pause", job)
                fleet.wait_until(lambda: not tried.status()["round_state"], "no round is open")
                done = len(tried.ctl("rounds", "ls", "--job", job))
                self.assertLess(done, tried.rounds)
                for _ in range(2):  # what is durable says the same
                    now = tried.ctl("jobs", "show", job)[0]
                    self.assertEqual((now["state"], now["rounds_done"]), ("paused", done))
                    tried.kill("coordinator")
                    tried.start_coordinator()
                    tried.wait_connected(DEVICES)
                self.assertEqual(len(tried.ctl("rounds", "ls", "--job", job)), done)
                tried.ctl("jobs", "start", job)
            self.assert_well(tried, job)

    def sweep(self, program, victim):
        if not fleet.crash_points(program):
            self.skipTest("a build without -Dcrash_points=true")
        points = [point for point in fleet.crash_points(program)
                  if point.split(".")[0] not in fleet.POINTS_OF_PRIVACY | fleet.POINTS_OF_ROWS
                  | fleet.POINTS_OF_PARTS]
        with Restarts() as tried:
            tried.begin(rounds=3)
            for point in points:
                for hit in [1, 3]:
                    self.crash_once(tried, victim, f"{point}:{hit}")

    def crash_once(self, tried, victim, crash):
        self.assertEqual(tried.end(victim), 0)
        if victim == "coordinator":
            tried.start_coordinator({"TRIB_CRASH": crash}, may_die=True)
        else:
            tried.start_device(victim, {"TRIB_CRASH": crash})
        process = tried.processes[victim]
        job = tried.submit_despite_crash()
        fleet.wait_until(lambda: process.poll() is not None, f"{crash} is hit")
        tried.revive()
        self.assert_well(tried, job)

    def test_a_coordinator_killed_at_its_named_points_gives_the_same_model(self):
        self.sweep("tributary-coordinator", "coordinator")

    def test_a_client_killed_at_its_named_points_gives_the_same_model(self):
        self.sweep("tributary-client", "d3")


if __name__ == "__main__":
    fleet.main()
