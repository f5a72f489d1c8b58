#!/usr/bin/env python3
"""Coordinators that start again while devices are away or a job is paused: the same model.

Kills at every point and at random: tests/crash.
"""
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

    def test_a_start_removes_what_a_death_left_half_done(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.submit(SPECS[0], fleet.digits()[:50], rounds=1)
            fleet.wait_until(lambda: tried.try_ctl("models", "show", "latest").returncode == 0,
                             "the job has its first version")
            model = tried.dir / "models" / f"{tried.model_digest()}.safetensors"
            tried.kill("coordinator")
            stays = {model, tried.dir / "models" / "notes.txt"}  # which is the operator's own
            goes = {tried.dir / "models" / f"{'0' * 64}.safetensors",  # written, and no row
                    tried.dir / "updates" / "7.seg", tried.dir / "updates" / "7.sum"}
            goes |= {path.with_name(path.name + ".tmp") for path in goes | {model}}
            for path in goes | stays - {model}:
                path.write_bytes(b"half")
            tried.start_coordinator()
            self.assertEqual({path for path in goes | stays if path.exists()}, stays)

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

    def test_no_round_begins_before_enough_devices_are_back(self):
        with Restarts() as tried:
            tried.begin(rounds=2)
            for name in ["coordinator", *tried.names]:
                tried.kill(name)
            tried.start_coordinator()  # for which all of them have left a moment ago
            job = tried.submit_next()
            time.sleep(1)
            self.assertIsNone(tried.status()["round_state"])
            for name in tried.names:
                tried.start_device(name)
            self.assert_well(tried, job)

    def test_a_lease_that_is_over_stays_so(self):
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for name, modes in (("d0", "off"), ("d1", "local")):  # d1 declines what is offered
                tried.add_device(name, rows[200:300], modes=modes)
                tried.start_device(name)
            tried.wait_connected(2)
            tried.processes["d0"].send_signal(signal.SIGSTOP)  # the round stays open
            job = tried.submit(SPECS[0], rows[:200], rounds=1, cohort=2, min_accepted=1)
            fleet.wait_until(lambda: tried.status()["declined"], "d1 has declined")
            why = tried.status()["declined"]
            time.sleep(0.3)  # a transaction
            tried.kill("coordinator")
            tried.start_coordinator()
            tried.wait_connected(1)
            time.sleep(0.5)
            self.assertEqual(tried.status()["round_state"], "selecting")
            self.assertFalse(tried.status()["declined"], why)  # it was not asked again
            tried.processes["d0"].send_signal(signal.SIGCONT)
            tried.wait_for_job(job)
            ended = tried.ctl("rounds", "ls", "--job", job)[0]
            leases = tried.ctl("rounds", "show", ended["id"])
            self.assertEqual(sorted((lease["device"], lease["lease"]) for lease in leases),
                             [("d0", "counted"), ("d1", "released")])

    def test_a_device_that_is_revoked_takes_no_other_out_of_the_round_with_it(self):
        """The whole fleet are members; the first of them is revoked, and the coordinator started again."""
        with fleet.Fleet() as tried:
            rows = fleet.digits()
            tried.start_coordinator()
            for i in range(4):
                tried.add_device(f"d{i}", rows[200 + 60 * i:260 + 60 * i])
                tried.start_device(f"d{i}")
            tried.wait_connected(4)
            path = tried.write_job(SPECS[0], rows[:100], rounds=1, cohort=4, min_accepted=3, local_epochs=1)

            def members(job):
                ended = tried.ctl("rounds", "ls", "--job", job)[0]
                return ended["accepted"], [lease["device"] for lease in
                                           tried.ctl("rounds", "show", ended["id"])]

            def submit():
                return tried.ctl("jobs", "submit", path)[0]["job"]

            job = submit()
            tried.wait_for_job(job)
            first, second, *others = members(job)[1]  # the next job asks in the same order
            for name in [first, second]:
                tried.processes[name].send_signal(signal.SIGSTOP)
            job = submit()
            fleet.wait_until(lambda: tried.status()["counted"] == 2, "two are in")
            tried.ctl("devices", "revoke", first)
            tried.kill("coordinator")
            tried.start_coordinator()
            self.assertEqual(tried.status()["counted"], 2)
            tried.processes[second].send_signal(signal.SIGCONT)
            tried.wait_for_job(job)
            self.assertEqual(members(job), (3, [first, second, *others]))
            tried.kill(first)

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


if __name__ == "__main__":
    fleet.main()
