#!/usr/bin/env python3
"""The audit log: real commands leave records, and what is done to the records is found."""
import json
import os
import signal
import subprocess
import unittest

import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
STRANGER = 64001


class AuditTest(fleet.Case):
    def records(self, tried, *words):
        return tried.ctl("audit", "ls", *words)

    def actions(self, tried):
        return [(row["role"], row["action"], row["outcome"].split(":")[0])
                for row in self.records(tried)]

    def verify(self, tried, *words):
        return tried.try_ctl("audit", "verify", *words)

    def tamper(self, tried, *statements):
        self.assertEqual(tried.end("coordinator"), 0)
        tried.poke_store(*statements)
        tried.start_coordinator()

    def test_what_is_done_is_recorded(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("d0", ROWS)
            tried.start_device("d0")
            tried.wait_connected(1)
            job = tried.submit(SPEC, ROWS, rounds=1, cohort=1)
            tried.wait_for_job(job)
            tried.ctl("devices", "revoke", "d0")
            self.assertEqual(tried.try_ctl("devices", "revoke", "absent").returncode, 2)
            tried.end("d0")
            self.assertEqual(tried.end("coordinator"), 0)
            tried.start_coordinator()
            self.assertEqual(self.actions(tried), [
                ("coordinator", "start", "ok"),
                ("admin", "devices token", "ok"),
                ("device", "enrol", "ok"),
                ("admin", "jobs submit", "ok"),
                ("coordinator", "version published", "ok"),
                ("coordinator", "version published", "ok"),
                ("admin", "devices revoke", "ok"),
                ("admin", "devices revoke", "failed"),
                ("coordinator", "stop", "ok"),
                ("coordinator", "start", "ok"),
            ])
            rows = self.records(tried)
            self.assertEqual([row["record"] for row in rows], list(range(1, 11)))
            self.assertEqual(rows[1]["subject"], "--name d0")
            self.assertRegex(rows[1]["actor"], rf"\({os.getuid()}\)$")
            self.assertIn(f"d0 key={tried.device('d0')['key']} by=token", rows[2]["subject"])
            self.assertRegex(rows[3]["subject"], r"job\.ini blake2b=[0-9a-f]{64}$")
            self.assertRegex(rows[4]["subject"], r"^1\.1 kind=initial job=1 ")
            self.assertRegex(rows[5]["subject"],
                             r"^1\.2 kind=round job=1 round=1 digest=[0-9a-f]{64}$")
            self.assertEqual(rows[7]["subject"], "absent")
            self.assertIn("no device of that name", rows[7]["outcome"])
            self.assertEqual(self.records(tried, "--since", 9), rows[8:])
            self.assertEqual(self.records(tried, "--since", 3, "--limit", 2), rows[2:4])
            whole = tried.ctl("audit", "verify")[0]
            self.assertEqual((whole["whole"], whole["records"], whole["signed_up_to"]),
                             (True, 10, 10))
            # looking leaves no record
            self.assertEqual(len(self.records(tried)), 10)

    def test_the_coordinator_reads_its_log_by_itself(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for i in range(3):
                tried.token("--name", f"d{i}")

            def hop():
                rows = [json.loads(line) for line in
                        tried.try_ctl("doctor", "--json").stdout.splitlines()]
                return next(row for row in rows if row["hop"] == "audit log")

            self.tamper(tried)
            fleet.wait_until(lambda: hop()["detail"] != "0 records were read through", "it is read")
            self.assertTrue(hop()["ok"])
            self.assertRegex(hop()["detail"], r"^[5-9] records were read through$")
            self.tamper(tried, "UPDATE audit SET actor='nobody' WHERE number=2")
            fleet.wait_until(lambda: not hop()["ok"], "it is found")
            self.assertIn("audit verify", hop()["detail"])
            self.assertIn("id=audit-broken record 2 is not the one that was written there",
                          tried.log("coordinator"))
            self.assertEqual(tried.status()["devices"], 0)  # it serves

    def test_an_abandoned_round_is_recorded(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("d0", ROWS)
            device = tried.start_device("d0")
            tried.wait_connected(1)
            device.send_signal(signal.SIGSTOP)
            job = tried.submit(SPEC, ROWS, rounds=5, cohort=1)
            fleet.wait_until(lambda: tried.status()["round_state"] in ("selecting", "collecting"),
                             "a round is open")
            tried.ctl("jobs", "cancel", job)
            device.send_signal(signal.SIGCONT)
            tried.wait_for_job(job, "cancelled")
            self.assertIn(("coordinator", "round abandoned", "cancelled"), self.actions(tried))
            self.assertIn(("admin", "jobs cancel", "ok"), self.actions(tried))

    @unittest.skipIf(os.geteuid() != 0, "only root can ask as somebody else")
    def test_a_refused_command_is_recorded_with_who_it_was(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.root.chmod(0o711)
            tried.dir.chmod(0o711)
            (tried.dir / "admin.sock").chmod(0o666)
            done = subprocess.run(
                [fleet.program("tributaryctl"), "--dir", str(tried.dir), "models", "ls"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd="/", user=STRANGER, group=STRANGER, extra_groups=[])
            self.assertEqual(done.returncode, 3)
            last = self.records(tried)[-1]
            self.assertEqual((last["actor"], last["role"], last["action"]),
                             (f"uid {STRANGER}({STRANGER})", "none", "models ls"))
            self.assertTrue(last["outcome"].startswith("refused: models ls wants the role viewer"))

    def test_a_killed_coordinator_goes_on_with_the_chain(self):
        with fleet.Fleet() as tried:
            for _ in range(3):
                tried.start_coordinator()
                tried.token()
                tried.kill("coordinator")
            tried.start_coordinator()
            self.assertEqual([action for _, action, _ in self.actions(tried)],
                             ["start", "devices token"] * 3 + ["start"])
            self.assertEqual(self.verify(tried).returncode, 0)

    def test_what_is_done_to_the_records_is_found_and_named(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for _ in range(4):
                tried.token()
            head = tried.ctl("audit", "verify")[0]["head"]
            self.assertEqual(self.verify(tried, "--head", head).returncode, 0)
            self.assertEqual(self.verify(tried, "--head", "5:abc").returncode, 2)
            self.tamper(tried, "CREATE TABLE kept AS SELECT * FROM audit")
            self.assertEqual(self.verify(tried, "--head", head).returncode, 0)
            for statements, found in [
                    (["UPDATE audit SET actor='somebody(0)' WHERE number=3"],
                     "record 3 is not the one that was written there: it was changed or moved"),
                    (["DELETE FROM audit WHERE number=4"],
                     "record 4 is gone: the next one is 5"),
                    (["DELETE FROM audit WHERE number>=5"],
                     "record 6 is gone, and all behind it, though a checkpoint signed record 6"),
            ]:
                self.tamper(tried, "DELETE FROM audit", "INSERT INTO audit SELECT * FROM kept",
                            "DELETE FROM audit_checkpoint WHERE number>6", *statements)
                done = self.verify(tried)
                with self.subTest(statements=statements):
                    self.assertEqual(done.returncode, 5, done.stdout)
                    self.assertIn(f"the audit log is not whole: {found}", done.stderr)


if __name__ == "__main__":
    fleet.main()
