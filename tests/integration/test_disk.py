#!/usr/bin/env python3
"""Disks that take no more, while the programs run: they stop or wait, and nothing is lost."""
import resource
import signal
import time

import fleet

UNLIMITED = resource.RLIM_INFINITY
SPEC = "2 - dense 1000 relu - dense 500 relu - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
UPDATE = 504502 * 3  # bytes, words of 24 bits
MODEL = 504502 * 4
JOB = {"rounds": 12, "cohort": 1, "batch": 16, "learning_rate": 0.01, "local_epochs": 12}


class Disks(fleet.Fleet):
    def begin(self):
        self.start_coordinator()
        self.add_device("one", ROWS)
        self.start_device("one")
        self.wait_connected(1)

    def submit_job(self, **options):
        # Long enough to be stopped in training: an epoch takes ten times as long with sanitizers.
        epochs = {"local_epochs": 3} if fleet.is_sanitized() else {}
        return self.submit(SPEC, ROWS, **{**JOB, **epochs, **options})

    def limit(self, name, size):
        """No file of this process may grow beyond so many bytes: to it the disk is full."""
        resource.prlimit(self.processes[name].pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))

    def stop_in_training(self, name, job):
        """Stop a device whose round has its segment, and nothing of its update in it."""
        begun = 0

        def is_stopped():
            nonlocal begun
            fleet.wait_until(lambda: self.log(name).count("begins at") > begun, f"{name} begins")
            self.processes[name].send_signal(signal.SIGSTOP)
            time.sleep(0.3)  # what it had sent arrives
            status = self.status()
            if status["round_state"] == "collecting" and status["uploads_in_flight"] == 0:
                return True
            begun = self.log(name).count("begins at")
            self.processes[name].send_signal(signal.SIGCONT)
            return False

        while not is_stopped():
            if self.ctl("jobs", "show", job)[0]["state"] != "active":
                raise AssertionError(f"the job was over before {name} was stopped in training")

    def pause(self, job):
        self.ctl("jobs", "pause", job)
        fleet.wait_until(lambda: not self.status()["round_state"], "no round is open")
        if self.ctl("jobs", "show", job)[0]["state"] != "paused":
            raise AssertionError("the job was over before it was paused")


class DiskTest(fleet.Case):
    @classmethod
    def setUpClass(cls):
        with Disks() as tried:
            tried.begin()
            tried.wait_for_job(tried.submit_job())
            cls.expected = tried.model_digest()

    def assert_ends_well(self, tried, job):
        tried.wait_for_job(job)
        rounds = tried.ctl("rounds", "ls", "--job", job)
        self.assertEqual([(row["round"], row["state"], row["accepted"]) for row in rounds],
                         [(number, "committed", 1) for number in range(1, JOB["rounds"] + 1)])
        self.assertEqual(tried.model_digest(), self.expected)
        status = tried.status()
        self.assertEqual(status["uploads_begun"], sum(status["receipts"].values())
                         + status["uploads_cut"] + status["uploads_in_flight"], status)

    def fail_at(self, size, said):
        """A paused job goes on while the coordinator's disk takes files of `size` bytes only."""
        with Disks() as tried:
            tried.begin()
            job = tried.submit_job()
            tried.pause(job)
            done = len(tried.ctl("rounds", "ls"))
            tried.limit("coordinator", size)
            tried.try_ctl("jobs", "start", job)  # its answer may be lost
            self.assertEqual(tried.processes["coordinator"].wait(fleet.PATIENCE_S), 6)
            del tried.processes["coordinator"]
            for text in said:
                self.assertIn(text, tried.log("coordinator"))
            tried.start_coordinator()
            self.assertGreaterEqual(len(tried.ctl("rounds", "ls")), done)
            if tried.ctl("jobs", "show", job)[0]["state"] == "paused":  # the start was not durable
                tried.ctl("jobs", "start", job)
            self.assert_ends_well(tried, job)

    def test_a_store_that_cannot_be_written_stops_the_coordinator(self):
        self.fail_at(0, [])  # nor can its log

    def test_a_round_without_room_for_its_updates_stops_the_coordinator(self):
        self.fail_at(UPDATE // 2, ["seg: cannot set the size: File too large", "id=store-failed"])

    def test_a_version_that_cannot_be_written_stops_the_coordinator(self):
        self.fail_at((UPDATE + MODEL) // 2, ["safetensors", "File too large", "id=store-failed"])

    def test_an_update_that_cannot_be_written_is_sent_again_when_it_can(self):
        with Disks() as tried:
            tried.begin()
            job = tried.submit_job()
            tried.stop_in_training("one", job)
            tried.limit("coordinator", UPDATE // 2)
            tried.processes["one"].send_signal(signal.SIGCONT)
            fleet.wait_until(lambda: "seg: cannot write" in tried.log("coordinator"), "it fails")
            fleet.wait_until(lambda: tried.status()["receipts"].get("RETRY_LATER"), "it is told")
            tried.limit("coordinator", UNLIMITED)
            self.assert_ends_well(tried, job)

    def test_a_device_that_cannot_keep_its_update_does_not_send_it(self):
        with Disks() as tried:
            tried.begin()
            job = tried.submit_job()
            tried.pause(job)
            fleet.wait_until(lambda: tried.status()["on_newest_version"] == 1, "it is installed")
            tried.limit("one", UPDATE // 2)
            tried.ctl("jobs", "start", job)
            fleet.wait_until(lambda: "cannot write" in tried.log("one"), "it fails")
            self.assertIsNone(tried.processes["one"].poll())
            fleet.wait_until(lambda: any(row["state"] == "abandoned"
                                         for row in tried.ctl("rounds", "ls")), "it declines")
            whys = [lease["why"] for row in tried.ctl("rounds", "ls")
                    for lease in tried.ctl("rounds", "show", row["id"])
                    if row["state"] == "abandoned"]
            self.assertIn("DECLINED_FAILED", whys)
            tried.limit("one", UNLIMITED)
            tried.wait_for_job(job)
            rounds = [row for row in tried.ctl("rounds", "ls") if row["state"] == "committed"]
            self.assertEqual([row["accepted"] for row in rounds], [1] * len(rounds))


if __name__ == "__main__":
    fleet.main()
