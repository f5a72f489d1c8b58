#!/usr/bin/env python3
"""tributaryctl doctor names the hop that fails, from the directory to the job that waits."""
import json
import os
import resource
import signal
import subprocess

import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(60)]
NOBODY = 65534
UNLIMITED = resource.RLIM_INFINITY


class DoctorTest(fleet.Case):
    def assert_names(self, tried, hop, *texts, status=6):
        """The first hop that fails is this one, on stdout and on stderr; those before it are well."""
        done = tried.try_ctl("doctor", "--json")
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        hops = [json.loads(line) for line in done.stdout.splitlines()]
        first = next(row for row in hops if not row["ok"])
        self.assertEqual(first["hop"], hop)
        self.assertTrue(done.stderr.startswith(f"{hop}: "), done.stderr)
        for text in texts:
            self.assertIn(text, first["detail"])
            self.assertIn(text, done.stderr)
        table = tried.try_ctl("doctor")
        self.assertEqual(table.returncode, status)
        self.assertRegex(table.stdout, rf"(?m)^{hop} +no ")

    def assert_well(self, tried):
        done = tried.try_ctl("doctor", "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        hops = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertTrue(all(row["ok"] for row in hops), hops)
        self.assertEqual([row["hop"] for row in hops],
                         ["directory", "admin socket", "fleet port", "disk", "store", "audit log", "held-out data",
                          "enrolment", "roster", "devices", "device keys", "models on devices", "tasks",
                          "job"])

    # ---- On the way to the coordinator

    def test_a_directory_that_is_no_coordinators_is_named(self):
        with fleet.Fleet() as tried:
            whole, tried.dir = tried.dir, tried.root / "absent"
            self.assert_names(tried, "directory", "absent", "No such file", status=3)
            tried.dir.mkdir()
            self.assert_names(tried, "directory", "tributary.ini", "init", status=3)
            tried.dir = whole

    def test_a_coordinator_that_does_not_run_is_named(self):
        with fleet.Fleet() as tried:
            self.assert_names(tried, "admin socket", "admin.sock is not there", status=3)
            tried.start_coordinator()
            self.assertEqual(tried.end("coordinator"), 0)
            self.assert_names(tried, "admin socket", "admin.sock is not there", status=3)

    def test_a_coordinator_that_was_killed_is_told_from_one_that_was_stopped(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.kill("coordinator")
            self.assert_names(tried, "admin socket", "nobody listens", "killed", status=3)
            other = tried.try_ctl("devices", "ls")  # every command says so
            self.assertEqual(other.returncode, 3)
            self.assertIn("nobody listens", other.stderr)

    def test_a_coordinator_that_hangs_is_named(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.processes["coordinator"].send_signal(signal.SIGSTOP)
            done = tried.try_ctl("doctor")
            tried.processes["coordinator"].send_signal(signal.SIGCONT)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertRegex(done.stdout, r"(?m)^directory +yes ")
            self.assertRegex(done.stdout, r"(?m)^admin socket +no .*timed out.*hangs")
            self.assertTrue(done.stderr.startswith("admin socket: "), done.stderr)
            self.assert_names(tried, "enrolment")

    def test_wrong_permissions_are_named(self):
        if os.geteuid() != 0:
            self.skipTest("only root can ask as somebody else")
        with fleet.Fleet() as tried:
            tried.start_coordinator()

            def ask():
                return subprocess.run([fleet.program("tributaryctl"), "--dir", tried.dir, "doctor"],
                                      user=NOBODY, group=NOBODY, extra_groups=[], text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)

            try:
                closed = ask()
            except PermissionError:
                self.skipTest("the programs lie where nobody else may run them")
            self.assertEqual(closed.returncode, 3)
            self.assertIn("directory: ", closed.stderr)
            self.assertIn("Permission denied", closed.stderr)
            for folder in [tried.root, tried.dir]:
                folder.chmod(0o755)
            foreign = ask()
            self.assertEqual(foreign.returncode, 3)
            self.assertIn("admin socket: ", foreign.stderr)
            self.assertIn(f"not for uid {NOBODY}", foreign.stderr)

    # ---- Behind it

    def test_devices_that_decline_are_named_and_a_job_says_that_it_learnt_nothing(self):
        """What a newcomer forgets: a device allows no privacy mode off unless its owner says so."""
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for name, modes in [("careful", "distributed"), ("bold", "off")]:
                tried.add_device(name, ROWS, modes=modes)
            tried.start_device("careful")
            tried.wait_connected(1)
            job = tried.submit(SPEC, ROWS, rounds=2, cohort=1, beat_baseline="yes")
            tried.wait_for_job(job)
            ended = tried.ctl("jobs", "show", job)[0]
            self.assertEqual(ended["reason"],
                             "no round made a version: rounds ls and devices ls say why")
            self.assertIsNone(ended["advice"])
            self.assert_names(tried, "tasks", "1 of 1 connected devices declined", "careful",
                              "DECLINED_POLICY")
            tried.start_device("bold")
            tried.wait_connected(2)
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=2, cohort=1, over_selection=2))
            self.assert_well(tried)  # one of two may have its reasons

    def test_each_hop_of_a_fleet_that_is_being_set_up_is_named_until_all_are_well(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.assert_names(tried, "enrolment", "devices token")
            for name in ["one", "two"]:
                tried.add_device(name, ROWS)
            self.assert_names(tried, "devices", "0 of 2")
            tried.start_device("one")
            tried.wait_connected(1)
            self.assert_well(tried)
            job = tried.submit(SPEC, ROWS, rounds=2, cohort=2, min_accepted=2)
            fleet.wait_until(lambda: tried.try_ctl("doctor").returncode, "the job waits")
            self.assert_names(tried, "job", "1 devices connected, it wants 2")
            tried.start_device("two")
            tried.wait_for_job(job)
            self.assert_well(tried)

    def test_a_disk_that_takes_nothing_more_is_named(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            process = tried.processes["coordinator"]
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, UNLIMITED))
            self.assert_names(tried, "store", "cannot be written")
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
            self.assert_well(tried)
            self.assertEqual(list(tried.dir.glob("doctor*")), [])

    def test_held_out_data_that_went_away_are_named_by_doctor_and_by_a_restart(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            path = tried.write_job(SPEC, ROWS, rounds=2, cohort=1)
            test = path.parent / "test.csv"
            moved = test.rename(path.parent / "moved.csv")
            refused = tried.try_ctl("jobs", "submit", path)
            self.assertEqual(refused.returncode, 5, refused.stderr)
            self.assertIn("test.csv", refused.stderr)
            moved.rename(test)
            tried.kill("one")  # so that the job stays active
            fleet.wait_until(lambda: tried.status()["connected"] == 0, "it is gone")
            job = tried.ctl("jobs", "submit", path)[0]["job"]
            test.rename(moved)
            hops = {row["hop"]: row for row in
                    map(json.loads, tried.try_ctl("doctor", "--json").stdout.splitlines())}
            self.assertFalse(hops["held-out data"]["ok"])
            self.assertIn("test.csv", hops["held-out data"]["detail"])

            self.assertEqual(tried.end("coordinator"), 0)
            again = fleet.run("tributary-coordinator", "run", tried.dir)
            self.assertEqual(again.returncode, 5, again.stderr)
            self.assertIn("test.csv", again.stderr)
            moved.rename(test)
            tried.start_coordinator()
            tried.start_device("one")
            tried.wait_for_job(job)

    def test_a_store_that_somebody_else_has_is_named(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            second = fleet.run("tributary-coordinator", "run", tried.dir)
            self.assertNotEqual(second.returncode, 0)
            self.assertIn("store", second.stderr)
            self.assertRegex(second.stderr, "another coordinator runs on it")
            self.assertEqual(tried.end("coordinator", signal.SIGTERM), 0)


if __name__ == "__main__":
    fleet.main()
