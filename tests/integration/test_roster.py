#!/usr/bin/env python3
"""Who vouches for the members of secure aggregation, and what happens where nobody does."""
import json
import re

import fleet

DEVICES = ["d0", "d1", "d2", "d3"]
ROWS = [f"{i % 16},{(i * 7) % 16},{i % 2}" for i in range(40)]
SPEC = "2 - dense 2 softmax"


class RosterTest(fleet.Case):
    def setUp(self):
        self.fleet = self.enterContext(fleet.Fleet())
        self.key_file = self.fleet.root / "offline.key"
        done = fleet.run("tributary-coordinator", "roster", "key", "--key", self.key_file)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.key = done.stdout.strip()

    # ---- What an operator does

    def go_offline(self, key=None):
        """The coordinator signs no more; start it and enrol."""
        with open(self.fleet.dir / "tributary.ini", "a") as file:
            file.write(f"[secagg]\nroster = offline\nroster_pk = {key or self.key}\n")
        self.fleet.start_coordinator()

    def enrol(self, **pins):
        """Each device and the roster key in its policy: ours, unless `pins` says otherwise."""
        for name in DEVICES:
            self.fleet.add_device(name, ROWS)
            pin = pins.get(name, self.key)
            with open(self.fleet.root / name / "client.ini", "a") as file:
                file.write("min_cohort = 3\n" + (f"roster_pk = {pin}\n" if pin else ""))
            path = self.fleet.root / name / "client.ini"
            path.write_text(path.read_text().replace("off,local", "distributed"))

    def start_devices(self):
        for name in DEVICES:
            self.fleet.start_device(name)
        self.fleet.wait_connected(len(DEVICES))

    def promised(self, name):
        """What the device says of its only round: to people, and to programs."""
        text, as_json = (fleet.run("tributary-client", "privacy", self.fleet.root / name, *options)
                         for options in [[], ["--json"]])
        entry, = json.loads(as_json.stdout)["entries"]
        self.assertIn(f"; against {entry['adversary']}\n", text.stdout)
        return entry

    def submit(self):
        """A distributed job of one round."""
        path = self.fleet.write_job(SPEC, ROWS, mode="distributed\ntarget_epsilon = 100000",
                                    rounds=1, cohort=len(DEVICES), select_ms=2000,
                                    report_ms=30000)
        with open(path, "a") as file:
            file.write("[secagg]\nmin_cohort = 3\nthreshold_frac = 0.75\n"
                       "max_colluders_frac = 0\nphase_ms = 3000\n")
        return self.fleet.ctl("jobs", "submit", path)[0]

    def export(self, *options):
        done = self.fleet.try_ctl("roster", "export", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def sign(self, text, key_file=None):
        """What the owner of the roster key makes of an export; the path of the signed file."""
        exported, signed = self.fleet.root / "export.txt", self.fleet.root / "signed.txt"
        exported.write_text(text)
        done = fleet.run("tributary-coordinator", "roster", "sign", "--key",
                         key_file or self.key_file, exported, signed)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.whom = done.stderr
        return signed

    def roster(self):
        return {row["name"]: row["rostered"] for row in self.fleet.ctl("devices", "ls")}

    def assert_refuses(self, done, *texts):
        self.assertEqual(done.returncode, 2, done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)

    def wait_for_log(self, text):
        fleet.wait_until(lambda: text in self.fleet.log("coordinator"), f"the log says {text}")

    # ---- Tests

    def test_a_job_waits_for_the_roster_and_then_commits(self):
        self.go_offline()
        self.enrol()
        self.start_devices()
        submitted = self.submit()
        self.assertIn("a coordinator that may lie", submitted["privacy"])
        self.assertIn("0 are rostered and 4 are UNROSTERED", submitted["warning"])
        self.wait_for_log("id=roster-short")
        self.assertEqual(set(self.roster().values()), {"UNROSTERED"})
        self.assertRegex(self.fleet.try_ctl("doctor").stdout, r"roster +no +0 of 4 devices are vouched")
        status = self.fleet.status()
        self.assertEqual([status[name] for name in ["roster", "rostered", "unrostered", "round"]],
                         ["offline", 0, 4, 0])

        loaded = self.fleet.ctl("roster", "load", self.sign(self.export("--unsigned")))[0]
        self.assertEqual(loaded, {"loaded": 4, "rostered": 4, "unrostered": 0})
        self.assertEqual(set(self.roster().values()), {"yes"})
        self.assertRegex(self.fleet.try_ctl("doctor").stdout, r"roster +yes +4 of 4 devices are")
        self.fleet.wait_for_job(submitted["job"])
        rounds = self.fleet.ctl("rounds", "ls")
        self.assertEqual([(row["state"], row["accepted"]) for row in rounds],
                         [("committed", 4)], rounds)
        entry = self.promised("d0")
        self.assertIn(f"against {entry['adversary']}:", submitted["privacy"])
        self.assertEqual((entry["roster"], entry["members"], entry["colluders"]),
                         ("offline", 4, 0))
        for name in DEVICES:
            self.assertIn(f" {name}\n", self.whom)
        self.assertEqual(len(self.export("--unsigned").splitlines()), 1)

    def test_an_export_names_the_key_that_each_device_shows(self):
        self.go_offline()
        self.enrol()
        for line in self.export().splitlines()[1:]:
            name, key = line.split()
            shown = fleet.run("tributary-client", "status", self.fleet.root / name, "--json")
            self.assertEqual(json.loads(shown.stdout)["sign_key"], key)

    def test_a_loaded_roster_survives_a_kill_and_counts_under_its_key_only(self):
        self.go_offline()
        self.enrol()
        self.fleet.ctl("roster", "load", self.sign(self.export()))
        self.fleet.kill("coordinator")
        self.fleet.start_coordinator()
        self.assertEqual(set(self.roster().values()), {"yes"})

        other = fleet.run("tributary-coordinator", "roster", "key", "--key",
                          self.fleet.root / "other.key").stdout.strip()
        path = self.fleet.dir / "tributary.ini"
        path.write_text(path.read_text().replace(self.key, other))
        self.fleet.kill("coordinator")
        self.fleet.start_coordinator()
        self.assertEqual(set(self.roster().values()), {"UNROSTERED"})
        self.assertIn("id=roster-foreign", self.fleet.log("coordinator"))

    def test_one_wrong_line_and_nothing_is_loaded(self):
        self.go_offline()
        self.enrol()
        other = self.fleet.root / "other.key"
        self.assertEqual(fleet.run("tributary-coordinator", "roster", "key", "--key",
                                   other).returncode, 0)
        export = self.export()
        good = self.sign(export).read_text().splitlines(keepends=True)
        foreign = self.sign(export, other).read_text().splitlines(keepends=True)
        key = {line.split()[0]: line.split()[1] for line in good[1:]}
        mixed = self.fleet.root / "mixed.txt"
        for lines, says in [
                (good[:3] + foreign[3:], f"{mixed}:4: the signature of d2"),
                (foreign, f"{mixed}:2: the signature of d0"),
                (good[:2] + [good[2].replace("d1", "d9")] + good[3:],
                 f"{mixed}:3: d9: no device of that name"),
                (good[:2] + [good[2].replace(key["d1"], self.key)] + good[3:],
                 f"{mixed}:3: d1: the key is not the one"),
                (good[:4] + [good[4][:-9] + "\n"], f"{mixed}:5: the signature is not 64 bytes"),
                (good + good[1:2], f"{mixed}:6: the name was there before"),
                ([good[0].replace("default", "meters")] + good[1:],
                 f"{mixed}:1: is of population meters"),
                (export.splitlines(keepends=True), f"{mixed}:1: nobody signed it")]:
            mixed.write_text("".join(lines))
            self.assert_refuses(self.fleet.try_ctl("roster", "load", mixed), says)
            self.assertEqual(set(self.roster().values()), {"UNROSTERED"})
        self.fleet.ctl("roster", "load", self.sign(export))
        self.assertEqual(set(self.roster().values()), {"yes"})

    def test_a_device_that_trusts_another_key_declines(self):
        other = fleet.run("tributary-coordinator", "roster", "key", "--key",
                          self.fleet.root / "other.key").stdout.strip()
        self.assert_declines(d3=other)
        self.assertIn("another key vouches", self.fleet.log("d3"))

    def test_a_device_without_a_roster_key_declines(self):
        self.assert_declines(d3=None)
        self.assertIn("client.policy.roster_pk is wanted", self.fleet.log("d3"))

    def assert_declines(self, **pins):
        """d3 declines and is counted; the round goes on with the others."""
        self.go_offline()
        self.enrol(**pins)
        self.fleet.ctl("roster", "load", self.sign(self.export()))
        self.start_devices()
        self.fleet.wait_for_job(self.submit()["job"])
        self.assertEqual(self.fleet.status()["declined"], {"DECLINED_ROSTER": 1})
        self.assertIn("device=d3 declined code=DECLINED_ROSTER", self.fleet.log("coordinator"))
        rounds = self.fleet.ctl("rounds", "ls")
        self.assertEqual([(row["state"], row["accepted"]) for row in rounds],
                         [("committed", 3)], rounds)

    def test_a_revoked_device_is_neither_exported_nor_loaded(self):
        self.go_offline()
        self.enrol()
        signed = self.sign(self.export())
        self.fleet.ctl("devices", "revoke", "d1")
        self.assertEqual([line.split()[0] for line in self.export().splitlines()[1:]],
                         ["d0", "d2", "d3"])
        self.assert_refuses(self.fleet.try_ctl("roster", "load", signed),
                            f"{signed}:3: d1: the device is revoked")
        self.assertEqual(self.fleet.ctl("roster", "load", self.sign(self.export()))[0]["loaded"], 3)
        self.assertEqual(self.roster(), {"d0": "yes", "d1": None, "d2": "yes", "d3": "yes"})

    def test_a_coordinator_that_signs_itself_says_so(self):
        self.fleet.start_coordinator()
        self.enrol(d0=None, d1=None, d2=None, d3=None)
        # A pin of the very key that the coordinator holds is no better than none.
        own = re.search("roster_key = (.*)",
                        (self.fleet.root / "d1" / "enrolment.ini").read_text())[1]
        with open(self.fleet.root / "d1" / "client.ini", "a") as file:
            file.write(f"roster_pk = {own}\n")
        self.assertEqual(set(self.roster().values()), {"by coordinator"})
        self.assertEqual(self.fleet.status()["roster"], "by coordinator")
        self.assert_refuses(self.fleet.try_ctl("roster", "load", self.sign(self.export())),
                            "signs its roster itself")
        self.start_devices()
        submitted = self.submit()
        self.assertIn("a coordinator that is honest about who its devices are",
                      submitted["privacy"])
        self.fleet.wait_for_job(submitted["job"])
        self.assertEqual(self.fleet.ctl("rounds", "ls")[0]["accepted"], 4)
        for name in ["d0", "d1"]:
            entry = self.promised(name)
            self.assertIn(f"against {entry['adversary']}:", submitted["privacy"])
            self.assertEqual(entry["roster"], "coordinator")

    def test_the_key_is_made_once_and_signs_exports_only(self):
        made = self.key_file.read_bytes()
        self.assertEqual(self.key_file.stat().st_mode & 0o777, 0o600)
        again = fleet.run("tributary-coordinator", "roster", "key", "--key", self.key_file)
        self.assert_refuses(again, "never written over")
        self.assertEqual(self.key_file.read_bytes(), made)
        self.assert_refuses(fleet.run("tributary-coordinator", "roster", "sign"),
                            "--key FILE is wanted")
        signed = self.sign("tributary-roster 1 unsigned default\n")
        self.assert_refuses(fleet.run("tributary-coordinator", "roster", "sign", "--key",
                                      self.key_file, signed), f"{signed}:1: is signed already")
        through = fleet.run("tributary-coordinator", "roster", "sign", "--key", self.key_file,
                            stdin=None, input="tributary-roster 1 unsigned default\nd0\n")
        self.assert_refuses(through, "/dev/stdin:2: wants a name and a key")


if __name__ == "__main__":
    fleet.main()
