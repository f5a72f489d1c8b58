#!/usr/bin/env python3
"""A coordinator that gets other keys, and devices that follow, at once or a year later."""
import json
import os
import shutil
import signal

import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
POINTS = {"tributary-client": {"keys.followed", "keys.pinned"},
          "tributary-coordinator": {"keys.made", "keys.stated", "keys.swapped", "keys.retired"}}


class KeysTest(fleet.Case):
    def rotate(self, tried, *options, env=None):
        return fleet.run("tributary-coordinator", "keys", "rotate", tried.dir, *options, env=env)

    def rotated(self, tried, *options):
        """The coordinator stops, gets other keys, and goes on."""
        if "coordinator" in tried.processes:
            tried.end("coordinator")
        done = self.rotate(tried, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        tried.start_coordinator()

    def pinned(self, tried, name):
        text = (tried.root / name / "enrolment.ini").read_text()
        return dict(line.split(" = ") for line in text.splitlines() if " = " in line)

    def wait_pinned(self, tried, name, sequence):
        fleet.wait_until(lambda: self.pinned(tried, name).get("key_sequence") == str(sequence),
                         f"{name} follows to {sequence}")

    def train(self, tried, cohort=1):
        tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=1, cohort=cohort))

    def test_a_fleet_follows_while_a_job_runs(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for name in ("one", "two"):
                tried.add_device(name, ROWS)
                tried.start_device(name)
            tried.wait_connected(2)
            first = self.pinned(tried, "one")
            job = tried.submit(SPEC, ROWS, rounds=30, cohort=2, mode="local",
                               privacy={"noise_multiplier": 0.1})
            fleet.wait_until(lambda: tried.ctl("jobs", "show", job)[0]["rounds_done"] >= 2, "it runs")
            self.rotated(tried)
            self.assertNotEqual((tried.dir / "coordinator.pub").read_text().strip(), tried.key)
            for name in ("one", "two"):
                self.wait_pinned(tried, name, 1)
            tried.wait_for_job(job)
            listed = tried.ctl("keys", "list")[0]
            self.assertEqual([listed[key] for key in ("id", "changed", "former", "followed",
                                                      "behind", "unheard")],
                             [1, "signing transport", "answered", 2, 0, 0])
            now = self.pinned(tried, "one")
            self.assertEqual((now["coordinator_key"], now["release_key"]),
                             (listed["coordinator_key"], listed["release_key"]))
            self.assertEqual(now["first_key"], first["coordinator_key"])
            self.assertIn("id=keys-pinned", tried.log("one"))
            self.assertNotIn("id=install-refused", tried.log("coordinator"))
            spent = fleet.run("tributary-client", "privacy", tried.root / "one", "--json").stdout
            whom = {entry["coordinator"] for entry in json.loads(spent)["entries"]}
            self.assertEqual(whom, {first["url"]})  # before and after, for one and the same

            # What the old key signed is good to the coordinator still; and one key alone may change.
            self.rotated(tried, "--signing")
            exported = tried.root / "second.safetensors"
            self.assertEqual(tried.try_ctl("models", "export", 2, "--out", exported).returncode, 0)
            self.assertTrue(tried.ctl("audit", "verify")[0]["whole"])
            for name in ("one", "two"):
                self.wait_pinned(tried, name, 2)

    def test_who_was_away_follows_later_until_the_key_is_retired(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for name in ("away", "never"):
                tried.add_device(name, ROWS)
                tried.start_device(name)
            tried.wait_connected(2)
            self.train(tried, cohort=2)  # a model that the first keys signed
            fleet.wait_until(lambda: all(row["version"] == 2 for row in tried.ctl("devices", "ls")),
                             "they have it")
            for name in ("away", "never"):
                tried.end(name)
            self.rotated(tried)
            self.rotated(tried, "--signing")
            tried.start_device("away")  # two statements at once, over the key of years ago
            self.wait_pinned(tried, "away", 2)
            shown = fleet.run("tributary-client", "status", tried.root / "away", "--json").stdout
            self.assertIn('"key_sequence":2', shown)
            self.assertIn('"version":2', shown)  # its model, signed by a key that is pinned no more
            listed = tried.ctl("keys", "list")
            self.assertEqual([(row["followed"], row["unheard"]) for row in listed], [(1, 1)] * 2)

            # Retired: who never followed is told so, and nothing else can be done for it.
            self.assertEqual(tried.try_ctl("keys", "retire", 2).returncode, 2)  # of one key only
            tried.ctl("keys", "retire", 1)
            self.assertFalse((tried.dir / "former-1.key").exists())
            fleet.wait_until(lambda: tried.status()["closed"].get("retired") == 1, "it is closed")
            tried.start_device("never")
            fleet.wait_until(lambda: "id=coordinator-silent code=AUTH" in tried.log("never"),
                             "it says why")
            self.assertEqual(self.pinned(tried, "never").get("key_sequence"), None)
            tried.end("never")
            done = fleet.run("tributary-client", "rotate", tried.root / "never")
            self.assertEqual(done.returncode, 3)
            self.assertIn("does not accept this token or key", done.stderr)
            tried.wait_connected(1)  # the other one, by the key it has followed to
            actions = [(row["action"], row["subject"].split(" keep")[0])
                       for row in tried.ctl("audit", "ls") if row["action"].startswith("keys")]
            self.assertEqual(actions, [("keys rotate", "statement 1 signing transport"),
                                       ("keys rotate", "statement 2 signing"),
                                       ("keys retire", "2"), ("keys retire", "1")])

    @fleet.sweep
    def test_a_token_and_a_backup_from_before(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            self.train(tried)
            token = tried.token("--name", "late")
            tried.ctl("backup", tried.root / "before")
            tried.ctl("backup", tried.root / "bare", "--no-keys")
            self.rotated(tried)
            self.wait_pinned(tried, "one", 1)
            self.assertEqual(tried.enrol(token, "late").returncode, 0)  # it names the old key
            self.assertEqual(self.pinned(tried, "late").get("key_sequence"), None)
            tried.write_data("late", ROWS)
            tried.start_device("late")
            self.wait_pinned(tried, "late", 1)
            tried.add_device("new", ROWS)  # a new token: nothing to follow
            self.assertEqual(self.pinned(tried, "new")["key_sequence"], "1")
            tried.ctl("backup", tried.root / "after")
            self.assertTrue((tried.root / "after/former-1.key").exists())

            # A backup has the keys of its time; an older one goes with the keys of today.
            tried.end("coordinator")
            kept = tried.root / "kept"
            kept.mkdir()
            for name in ("coordinator.key", "roster.key", "keys.chain", "former-1.key"):
                shutil.copy(tried.dir / name, kept)
            for i, words in enumerate([("after",), ("before", "--keys", kept),
                                       ("bare", "--keys", kept)]):
                shutil.rmtree(tried.dir)
                done = fleet.run("tributary-coordinator", "restore", tried.root / words[0],
                                 tried.dir, *words[1:], "--verify", "--generation", 2 + i)
                self.assertEqual(done.returncode, 0, done.stderr)
                tried.start_coordinator()
                tried.wait_connected(2 if i == 0 else 1)  # late enrolled after the older ones
                self.assertTrue(tried.ctl("audit", "verify")[0]["whole"])
                self.assertEqual(tried.ctl("keys", "list")[0]["former"], "answered")
                self.assertNotIn("id=install-refused", tried.log("coordinator"))
                tried.end("coordinator")
            # With its own keys the older one is who the fleet does not believe any more.
            shutil.rmtree(tried.dir)
            done = fleet.run("tributary-coordinator", "restore", tried.root / "before", tried.dir)
            self.assertEqual(done.returncode, 0, done.stderr)
            tried.start_coordinator()
            fleet.wait_until(lambda: "id=coordinator-silent" in tried.log("one"), "not that one")

    def test_a_thief_of_the_old_keys_moves_who_has_not_followed_and_nobody_else(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for name in ("one", "behind"):
                tried.add_device(name, ROWS)
            tried.end("coordinator")
            thief = tried.root / "thief"
            shutil.copytree(tried.dir, thief)
            tried.start_device("one")
            self.rotated(tried)
            self.wait_pinned(tried, "one", 1)
            tried.end("coordinator")
            pinned = self.pinned(tried, "one")

            # Two changes of his own, the second of which has the number that follows.
            os.rename(tried.dir, tried.root / "honest")
            os.rename(thief, tried.dir)
            for _ in range(2):
                self.assertEqual(self.rotate(tried).returncode, 0)
            tried.start_coordinator()
            fleet.wait_until(lambda: "id=coordinator-silent" in tried.log("one"), "it is not moved")
            self.assertEqual(self.pinned(tried, "one"), pinned)
            tried.start_device("behind")  # nothing helps this one: docs/threat-model.md
            self.wait_pinned(tried, "behind", 2)
            tried.end("coordinator")

            # With the new transport key, too, he is heard, and believed nothing.
            honest = (tried.root / "honest/coordinator.key").read_text().splitlines()
            self.forge(tried, honest[0].split()[1])
            tried.start_coordinator()
            fleet.wait_until(lambda: "id=keys-refused code=KEYS_FOREIGN" in tried.log("one"),
                             "it refuses the statement")
            self.assertEqual(self.pinned(tried, "one"), pinned)
            self.assertIn("id=keys-refused device=one code=KEYS_FOREIGN", tried.log("coordinator"))

    def forge(self, tried, secret):
        """A chain of the thief's own that ends with a transport key he stole."""
        for name in ("keys.chain", "former-1.key", "former-2.key"):
            (tried.dir / name).unlink()
        path = tried.dir / "coordinator.key"
        release = path.read_text().splitlines()[1]
        path.write_text(f"x25519 {secret}\n{release}\n")
        for _ in range(2):
            done = self.rotate(tried, "--signing")
            self.assertEqual(done.returncode, 0, done.stderr)
        (tried.dir / "store.db").unlink()
        shutil.copy(tried.root / "honest/store.db", tried.dir)

    def test_days_that_are_over_and_what_rotate_refuses(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            done = self.rotate(tried)
            self.assertEqual(done.returncode, 2)
            self.assertIn("another coordinator runs on it", done.stderr)
            self.assertFalse((tried.dir / "keys.chain").exists())
            tried.end("coordinator")
            self.assertEqual(self.rotate(tried, "--keep-days", 3651).returncode, 2)
            secret = (tried.dir / "coordinator.key").read_text().splitlines()[0]
            self.assertEqual(self.rotate(tried, "--keep-days", 0).returncode, 0)
            former = tried.dir / "former-1.key"
            self.assertFalse(former.exists())
            former.touch(0o600)
            former.write_text(f"{secret}\n")  # as if its days had been until now
            tried.start_coordinator()
            fleet.wait_until(lambda: not former.exists(), "it is retired by itself")
            fleet.wait_until(lambda: tried.ctl("keys", "list")[0]["former"] == "retired", "said")
            last = tried.ctl("audit", "ls")[-1]
            self.assertEqual((last["actor"], last["action"], last["subject"]),
                             ("coordinator", "keys retire", "1: its days are over"))
            tried.start_device("one")
            fleet.wait_until(lambda: "id=coordinator-silent" in tried.log("one"), "it is shut out")

    @fleet.sweep
    def test_a_kill_at_any_moment_leaves_keys_that_devices_follow(self):
        for name, wanted in POINTS.items():
            points = [point for point in fleet.crash_points(name, every=True)
                      if point.startswith("keys.")]
            if not points:
                self.skipTest("a build without crash points")
            self.assertEqual(set(points), wanted)
            for point in points:
                with self.subTest(point=point), fleet.Fleet() as tried:
                    self.die_at(tried, point, name == "tributary-client")

    def die_at(self, tried, point, is_client):
        dies = {**os.environ, "TRIB_CRASH": f"{point}:1"}
        tried.start_coordinator()
        tried.add_device("one", ROWS)
        tried.start_device("one")
        tried.wait_connected(1)
        self.train(tried)
        tried.end("one")
        tried.end("coordinator")
        is_rotation = not is_client and point != "keys.retired"
        done = self.rotate(tried, env=dies if is_rotation else None)
        self.assertEqual(done.returncode, -signal.SIGKILL if is_rotation else 0)
        tried.start_coordinator(dies if point == "keys.retired" else None)
        changed = point != "keys.made"
        self.assertEqual(len(tried.ctl("keys", "list")), changed)
        process = tried.start_device("one", dies if is_client else None)
        if is_client:
            self.assertEqual(process.wait(20), -signal.SIGKILL)
            self.assertEqual(self.pinned(tried, "one").get("key_sequence"),
                             "1" if point == "keys.pinned" else None)
            self.assertEqual(fleet.run("tributary-client", "status", tried.root / "one")
                             .returncode, 0)
            tried.start_device("one")
        if changed:
            self.wait_pinned(tried, "one", 1)
        if point == "keys.retired":
            tried.try_ctl("keys", "retire", 1)
            self.assertEqual(tried.processes.pop("coordinator").wait(20), -signal.SIGKILL)
            tried.start_coordinator()
            self.assertEqual(tried.ctl("keys", "list")[0]["former"], "retired")
        self.assertFalse((tried.dir / "coordinator.key.next").exists())
        fleet.wait_until(lambda: tried.device("one")["version"] == 2, "it has its model still")
        self.assertTrue(tried.ctl("audit", "verify")[0]["whole"])
        actions = [row["action"] for row in tried.ctl("audit", "ls")
                   if row["action"] == "keys rotate"]
        self.assertEqual(len(actions), changed)
        if point in {"keys.made", "keys.stated"}:
            self.rotated(tried)
            self.wait_pinned(tried, "one", 1 + changed)


if __name__ == "__main__":
    fleet.main()
