#!/usr/bin/env python3
"""Devices that get other keys and stay the devices they are."""
import os
import shutil
import signal

import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
POINTS = {"tributary-client": {"rotate.made", "rotate.known", "rotate.swapped"},
          "tributary-coordinator": {"rotate.next", "rotate.promoted"}}


class RotateTest(fleet.Case):
    def begin(self, tried, environment=None):
        tried.start_coordinator(environment)
        tried.add_device("one", ROWS)

    def rotate(self, tried, name="one", **options):
        return fleet.run("tributary-client", "rotate", tried.root / name, **options)

    def train(self, tried):
        """The device takes part under whatever keys it has."""
        tried.start_device("one")
        tried.wait_connected(1)
        tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=1, cohort=1, mode="local",
                                        privacy={"noise_multiplier": 0.1}))
        tried.end("one")

    def privacy(self, tried):
        done = fleet.run("tributary-client", "privacy", tried.root / "one", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_a_device_with_other_keys_is_the_same_device(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            self.train(tried)
            before, spent = tried.device("one"), self.privacy(tried)
            self.assertIn('"rounds":1', spent)
            exported = tried.try_ctl("roster", "export").stdout
            shutil.copytree(tried.root / "one", tried.root / "stolen")
            done = self.rotate(tried)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertFalse((tried.root / "one/device.key.next").exists())
            self.assertEqual((tried.root / "one/device.key").stat().st_mode & 0o777, 0o600)
            after = tried.device("one")
            self.assertNotEqual(after["key"], before["key"])
            self.assertEqual(self.privacy(tried), spent)  # what was spent stays spent
            sign_key = next(line for line in tried.try_ctl("roster", "export").stdout.splitlines()
                            if line.startswith("one "))
            self.assertNotIn(sign_key, exported)
            self.assertIn(sign_key.split()[1], fleet.run(
                "tributary-client", "status", tried.root / "one").stdout)
            self.assertEqual(self.rotate(tried, "stolen").returncode, 3)  # its keys are nobody's
            self.assertIn("id=device-rotated device=one", tried.log("coordinator"))
            for _ in range(2):
                self.train(tried)
                self.assertEqual(self.rotate(tried).returncode, 0)
                tried.end("coordinator")
                tried.start_coordinator()
            self.assertIn('"rounds":3', self.privacy(tried))
            self.assertEqual(len(tried.ctl("devices", "ls")), 1)
            actions = [row["action"] for row in tried.ctl("audit", "ls") if row["role"] == "device"]
            self.assertEqual(actions, ["enrol"] + ["next key", "new key"] * 3)

    def test_who_may_not(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            tried.add_device("two", ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            done = self.rotate(tried)
            self.assertEqual(done.returncode, 2)
            self.assertIn("another client runs on this state directory", done.stderr)
            tried.end("one")
            shutil.copy(tried.root / "two/device.key", tried.root / "one/device.key.next")
            self.assertEqual(self.rotate(tried).returncode, 3)  # the key of another device
            (tried.root / "one/device.key.next").unlink()
            tried.ctl("devices", "revoke", "two")
            self.assertEqual(self.rotate(tried, "two").returncode, 3)
            self.train(tried)
            tried.end("coordinator")
            self.assertEqual(self.rotate(tried).returncode, 3)
            tried.start_coordinator()
            self.assertEqual(self.rotate(tried).returncode, 0)
            self.train(tried)

    @fleet.sweep
    def test_a_kill_at_any_moment_leaves_keys_that_are_known(self):
        for name, wanted in POINTS.items():
            points = [point for point in fleet.crash_points(name, every=True)
                      if point.startswith("rotate.")]
            if not points:
                self.skipTest("a build without crash points")
            self.assertEqual(set(points), wanted)
            for point in points:
                with self.subTest(point=point), fleet.Fleet() as tried:
                    dies = {**os.environ, "TRIB_CRASH": f"{point}:1"}
                    is_client = name == "tributary-client"
                    self.begin(tried, None if is_client else dies)
                    done = self.rotate(tried, env=dies if is_client else None)
                    self.assertNotEqual(done.returncode, 0)
                    if is_client:
                        self.assertEqual(done.returncode, -signal.SIGKILL)
                        tried.end("coordinator")
                    else:
                        process = tried.processes.pop("coordinator")
                        self.assertEqual(process.wait(20), -signal.SIGKILL)
                    tried.start_coordinator()
                    self.train(tried)
                    self.assertEqual(self.rotate(tried).returncode, 0)
                    self.assertEqual(len(tried.ctl("devices", "ls")), 1)


if __name__ == "__main__":
    fleet.main()
