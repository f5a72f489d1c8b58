#!/usr/bin/env python3
"""A backup under load, and a coordinator that is made from it on an empty place."""
import os
import re
import shutil
import signal

import fleet

SPEC = "2 - dense 2 softmax"
OTHER = "2 - dense 3 relu - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(60)]
KEYS = ["coordinator.key", "roster.key"]


class BackupTest(fleet.Case):
    def back_up(self, tried, *options):
        rows = tried.ctl("backup", tried.root / "backup", *options)
        self.assertEqual(len(rows), 1)
        self.assertEqual(rows[0]["backup"], str(tried.root / "backup"))
        return rows[0]

    def restore(self, tried, target="again", *options):
        return fleet.run("tributary-coordinator", "restore", tried.root / "backup",
                         tried.root / target, "--verify", *options)

    def assert_restores(self, tried, target="again", *options):
        done = self.restore(tried, target, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        tried.dir = tried.root / target
        return done

    def begin(self, tried, devices=2):
        tried.start_coordinator()
        for i in range(devices):
            tried.add_device(f"d{i}", ROWS)
            tried.start_device(f"d{i}")
        tried.wait_connected(devices)

    def go_on_from_a_backup(self, tried, job):
        """Back up in the middle of the job, go on, lose all, restore: devices go on."""
        fleet.wait_until(lambda: tried.status()["version"] >= 3, "there are versions")
        kept = self.back_up(tried)
        generation, version = map(int, kept["version"].split("."))
        self.assertEqual(generation, 1)
        fleet.wait_until(lambda: tried.status()["version"] >= version + 2, "two more versions")
        tried.kill("coordinator")
        lost = tried.dir
        said = self.assert_restores(tried).stdout
        self.assertIn(f"version 1.{version} of the backup is 2.{version + 1} now", said)
        shutil.rmtree(lost)
        tried.start_coordinator()
        ended = tried.wait_for_job(job)
        self.assertGreaterEqual(ended["rounds_done"], 1)
        models = tried.ctl("models", "ls")
        self.assertEqual([row["version"] for row in models], list(range(1, len(models) + 1)))
        self.assertEqual([row["generation"] for row in models],
                         [1] * version + [2] * (len(models) - version))
        self.assertGreater(len(models), version + 1)  # it learnt on
        self.assertEqual(models[version]["kind"], "restored")
        head = len(models)
        fleet.wait_until(lambda: tried.status()["on_newest_version"] == 2, "devices have it")
        for name in ["d0", "d1"]:
            self.assertEqual(tried.device(name)["version"], head)
        whole = tried.ctl("audit", "verify", "--head", kept["audit_head"])[0]
        self.assertTrue(whole["whole"])
        self.assertIn("restore", [row["action"] for row in tried.ctl("audit", "ls", "--since", 1)])
        self.assert_books_balance(tried)

    def test_devices_go_on_after_a_restore(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            # A round takes hundredths of a second, and a question to a sanitized coordinator tenths.
            self.go_on_from_a_backup(
                tried, tried.submit(SPEC, ROWS, rounds=300, cohort=2, strategy="fedadam"))

    def test_what_the_strategy_remembers_goes_on(self):
        """A job that was backed up in its middle ends with the model of one that nothing befell."""
        with fleet.Fleet() as tried:
            self.begin(tried)
            path = tried.write_job(SPEC, ROWS, rounds=120, cohort=2, strategy="fedadam")
            tried.wait_for_job(tried.ctl("jobs", "submit", path)[0]["job"])
            wanted = tried.model_digest()
            tried.wait_for_job(tried.submit(OTHER, ROWS, rounds=1, cohort=2))  # the next begins anew
            job = tried.ctl("jobs", "submit", path)[0]["job"]
            fleet.wait_until(lambda: tried.ctl("jobs", "show", job)[0]["rounds_done"] >= 3, "it runs")
            tried.ctl("jobs", "pause", job)
            fleet.wait_until(lambda: tried.ctl("jobs", "show", job)[0]["state"] == "paused", "it waits")
            fleet.wait_until(lambda: not tried.status()["round"], "no round is open")
            self.back_up(tried)
            moments = list((tried.root / "backup/updates").iterdir())
            self.assertEqual(len(moments), 1)
            tried.kill("coordinator")
            self.assert_restores(tried)
            tried.start_coordinator()
            tried.wait_connected(2)
            tried.ctl("jobs", "start", job)
            tried.wait_for_job(job)
            self.assertEqual(tried.model_digest(), wanted)

    def test_what_it_remembered_wrongly_does_not_stop_a_restore(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            job = tried.submit(SPEC, ROWS, rounds=1000, cohort=2, strategy="fedadam")
            fleet.wait_until(lambda: tried.ctl("jobs", "show", job)[0]["rounds_done"] >= 3, "it runs")
            tried.ctl("jobs", "pause", job)
            fleet.wait_until(lambda: not tried.status()["round"], "no round is open")
            path, = (tried.dir / "updates").glob("*.moments")
            damaged = bytearray(path.read_bytes())
            damaged[-1] ^= 1
            path.write_bytes(damaged)
            self.back_up(tried)
            tried.end("coordinator")
            said = self.assert_restores(tried).stderr
            self.assertRegex(said, r"id=moments-corrupt .*moments is damaged: they begin anew")
            tried.start_coordinator()
            tried.wait_connected(2)
            tried.ctl("jobs", "start", job)
            before = tried.status()["version"]
            fleet.wait_until(lambda: tried.status()["version"] > before, "it learns on")

    def test_a_round_whose_updates_are_lost_is_abandoned(self):
        self.lose_a_round()

    def test_a_sealed_round_whose_updates_are_lost_is_abandoned(self):
        self.lose_a_round("UPDATE round SET state=3", "UPDATE lease SET state=3")  # SEALED, COUNTED

    def lose_a_round(self, *statements):
        with fleet.Fleet() as tried:
            self.begin(tried)
            tried.processes["d1"].send_signal(signal.SIGSTOP)  # the round stays open
            job = tried.submit(SPEC, ROWS, rounds=3, cohort=2)
            fleet.wait_until(lambda: tried.status()["counted"] == 1, "one update is in")
            self.back_up(tried)
            tried.kill("coordinator")
            self.assert_restores(tried)
            tried.poke_store(*statements)
            tried.processes["d1"].send_signal(signal.SIGCONT)
            tried.start_coordinator()
            tried.wait_for_job(job)
            rounds = tried.ctl("rounds", "ls")
            self.assertEqual([(row["state"], row.get("reason") or "") for row in rounds],
                             [("abandoned", "restarted")] + [("committed", "")] * 2)
            self.assertGreater(rounds[1]["id"], rounds[0]["id"] + 1000)

    def test_tokens_of_a_backup_are_void(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            token = tried.token("--name", "d0")
            self.back_up(tried)
            tried.end("coordinator")
            self.assert_restores(tried)
            tried.start_coordinator()
            self.assertEqual(tried.enrol(token, "d0").returncode, 3)
            self.assertEqual(tried.enrol(tried.token("--name", "d1"), "d1").returncode, 0)

    def test_a_backup_that_was_restored_before_gets_a_generation_of_its_own(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=1, cohort=2))
            self.back_up(tried)
            tried.end("coordinator")
            self.assert_restores(tried, "first")
            tried.start_coordinator()
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=3, cohort=2))
            fleet.wait_until(lambda: tried.status()["on_newest_version"] == 2, "devices have it")
            tried.end("coordinator")
            self.assert_restores(tried, "second")  # the devices are ahead of it
            tried.start_coordinator()
            fleet.wait_until(lambda: "MODEL_" in str([row["install"] for row in
                                                      tried.ctl("devices", "ls")]), "it is refused")
            # Both sides say which one that was.
            self.assertRegex(tried.log("coordinator"), r"id=install-refused device=d. generation=2 "
                                                       r"version=3 code=MODEL_OLDER")
            said = (r"id=model-refused generation=2 version=3 code=MODEL_OLDER refused=1 "
                    r"keeping_generation=2 keeping=6\n")
            fleet.wait_until(lambda: re.search(said, tried.log("d0") + tried.log("d1")), "it is said")
            tried.end("coordinator")
            done = self.restore(tried, "third", "--generation", 1)
            self.assertEqual(done.returncode, 2)
            self.assertIn("--generation 1: want one above that of the backup", done.stderr)
            said = self.assert_restores(tried, "third", "--generation", 3).stdout
            self.assertIn("is 3.3 now", said)
            tried.start_coordinator()
            fleet.wait_until(lambda: tried.status()["on_newest_version"] == 2, "devices have it")
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=1, cohort=2))
            rounds = [row["id"] for row in tried.ctl("rounds", "ls")]
            self.assertEqual(rounds[1], rounds[0] + 2000001)
            tried.end("coordinator")
            self.assert_restores(tried, "fourth")  # of generation 2: theirs is 3
            tried.start_coordinator()
            fleet.wait_until(lambda: "id=device-ahead" in tried.log("coordinator"), "it is said")

    def test_what_the_configuration_names_comes_along(self):
        with fleet.Fleet() as tried:
            for name in "http.token", "allow.txt":
                (tried.dir / name).write_text("# none\n" if name != "http.token" else "s" * 32)
                (tried.dir / name).chmod(0o600)
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write("[http]\nlisten = 127.0.0.1:0\ntoken_file = http.token\n"
                           f"[enrol]\nallow_list = {tried.dir}/../coordinator/allow.txt\n")
            tried.start_coordinator()
            self.back_up(tried)
            tried.end("coordinator")
            self.assertEqual((tried.root / "backup/http.token").stat().st_mode & 0o777, 0o600)
            self.assertTrue((tried.root / "backup/allow.txt").exists())
            self.assert_restores(tried)
            tried.start_coordinator()

    def test_the_token_is_a_key(self):
        with fleet.Fleet() as tried:
            (tried.dir / "http.token").write_text("s" * 32)
            (tried.dir / "http.token").chmod(0o600)
            (tried.dir / ".allow").write_text("# none\n")
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write("[http]\nlisten = 127.0.0.1:0\ntoken_file = http.token\n"
                           "[enrol]\nallow_list = .allow\n")
            tried.start_coordinator()
            self.back_up(tried, "--no-keys")
            self.assertFalse((tried.root / "backup/http.token").exists())
            self.assertIn("id=backup-left-out", tried.log("coordinator"))  # no plain name
            tried.end("coordinator")
            kept = tried.dir
            said = self.assert_restores(tried, "again", "--keys", kept).stderr
            self.assertIn(f"id=restore-wants-file {tried.dir}/.allow is not there", said)
            self.assertNotIn("http.token", said)
            self.assertEqual((tried.dir / "http.token").stat().st_mode & 0o777, 0o600)
            (tried.dir / ".allow").write_text("# none\n")
            tried.start_coordinator()
            tried.end("coordinator")
            (kept / "http.token").unlink()
            said = self.assert_restores(tried, "once-more", "--keys", kept).stderr
            self.assertIn(f"{tried.dir}/http.token is not there, and http.token_file", said)

    # ---- Refusals

    def flip(self, path, place):
        data = bytearray(path.read_bytes())
        data[place % len(data)] ^= 4
        path.write_bytes(data)

    def test_a_flipped_bit_in_any_file_is_refused_by_name(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=1, cohort=2))
            self.back_up(tried)
            backup = tried.root / "backup"
            files = sorted(path for path in backup.rglob("*") if path.is_file())
            self.assertEqual(len(files), 8)  # BACKUP, 5 of fixed names, 2 versions
            self.assertEqual(backup.stat().st_mode & 0o777, 0o700)
            self.assertEqual({path.stat().st_mode & 0o777 for path in files}, {0o600})
            for path in files:
                whole = path.read_bytes()
                for place in [len(whole) // 2, -1]:
                    self.flip(path, place)
                    done = self.restore(tried)
                    with self.subTest(file=path.name, place=place):
                        self.assertEqual(done.returncode, 5, done.stderr)
                        self.assertIn(path.name, done.stderr)
                        self.assertFalse((tried.root / "again").exists())
                    path.write_bytes(whole)
                path.rename(tried.root / "aside")
                done = self.restore(tried)
                self.assertIn(done.returncode, (2, 5))
                self.assertIn(path.name, done.stderr)
                (tried.root / "aside").rename(path)
            self.assert_restores(tried)

    def test_a_place_that_is_not_empty_is_refused(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.back_up(tried)
            again = tried.try_ctl("backup", tried.root / "backup")
            self.assertEqual(again.returncode, 2)
            self.assertIn("is not empty", again.stderr)
            (tried.root / "again").mkdir()
            (tried.root / "again/file").write_text("mine")
            done = self.restore(tried)
            self.assertEqual(done.returncode, 2)
            self.assertIn("again: is not empty", done.stderr)
            self.assertEqual(os.listdir(tried.root / "again"), ["file"])
            self.assertEqual(self.restore(tried, "coordinator").returncode, 2)

    def test_a_path_that_is_not_there_is_named(self):
        with fleet.Fleet() as tried:
            done = self.restore(tried)
            self.assertEqual(done.returncode, 2)
            self.assertIn("backup: is not there: want the directory of a backup", done.stderr)
            (tried.root / "backup").mkdir()
            done = self.restore(tried)
            self.assertEqual(done.returncode, 2)
            self.assertIn("BACKUP: is not there: no backup", done.stderr)
            tried.start_coordinator()
            (tried.root / "backup").rmdir()
            self.back_up(tried, "--no-keys")
            done = self.restore(tried, "again", "--keys", tried.root / "nowhere")
            self.assertEqual(done.returncode, 2)
            self.assertIn("nowhere: is not there", done.stderr)

    def test_keys_may_be_kept_elsewhere(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            kept = self.back_up(tried, "--no-keys")
            self.assertFalse(kept["keys"])
            for name in KEYS:
                self.assertFalse((tried.root / "backup" / name).exists())
            tried.end("coordinator")
            done = self.restore(tried)
            self.assertEqual(done.returncode, 2)
            self.assertIn("no coordinator.key there; a backup made with --no-keys wants --keys DIR",
                          done.stderr)
            with fleet.Fleet() as other:  # keys that did not sign it
                done = self.restore(tried, "again", "--keys", other.dir)
                self.assertEqual(done.returncode, 5)
                self.assertIn("BACKUP: is not what the coordinator of these keys signed",
                              done.stderr)
            self.assert_restores(tried, "again", "--keys", tried.dir)
            for name in KEYS:
                self.assertEqual((tried.dir / name).stat().st_mode & 0o777, 0o600)
            tried.start_coordinator()


if __name__ == "__main__":
    fleet.main()
