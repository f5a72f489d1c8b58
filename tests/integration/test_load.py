#!/usr/bin/env python3
"""A fleet of light devices at one coordinator, and a coordinator that starts with much in its store,
both at a size that takes seconds: tributary-sim load and bench restart hold them to what is promised."""
import json
import resource
import subprocess

import fleet

DEVICES = 300
COHORT = 100


class LoadTest(fleet.Case):
    def run_json(self, *words, **more):
        done = fleet.run("tributary-sim", *words, "--json", **more)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        return done.returncode, json.loads(lines[0])

    def test_many_devices_at_once_idle_and_take_part_in_rounds(self):
        status, found = self.run_json("load", "--devices", DEVICES, "--cohort", COHORT,
                                      "--idle-seconds", 1, "--report-ms", 800, "--train-ms", 100)
        # Time is that of a machine that does other things: what it does not touch has to hold.
        # Red zones around each block are no memory of ours.
        loose = {"storm", "idle"} | ({"memory"} if fleet.is_sanitized() else set())
        self.assertLessEqual(set(found["missed"]), loose, found)
        self.assertEqual(status, 7 if found["missed"] else 0)
        self.assertEqual((found["devices"], found["dials"], found["failed_dials"]),
                         (DEVICES, DEVICES, 0))
        if not fleet.is_sanitized():
            self.assertLess(found["rss_bytes_per_device"], 16384)
        over, late, few = found["rounds"]

        self.assertEqual((over["state"], over["accepted"]), ("committed", COHORT))
        self.assertGreater(over["asked"], COHORT)
        self.assertGreater(over["dropped"], 0)

        self.assertEqual((late["state"], late["asked"]), ("committed", COHORT))
        self.assertGreater(late["dropped"], 0)
        self.assertEqual(late["accepted"], COHORT - late["dropped"] - late["straggled"])
        self.assertEqual(late["expired"], late["dropped"] + late["straggled"])
        self.assertEqual(late["too_late"], late["straggled"])
        self.assertGreaterEqual(late["seconds"], 0.8)

        self.assertEqual((few["state"], few["reason"]), ("abandoned", "few_reported"))
        self.assertLess(few["accepted"], COHORT)

    def test_a_process_that_may_not_open_enough_says_so(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        done = subprocess.run([fleet.program("tributary-sim"), "load", "--devices", "300",
                               "--cohort", "100"], preexec_fn=limit, capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("ulimit -Hn", done.stderr)
        self.assertIn("256", done.stderr)

    def test_a_coordinator_with_much_in_its_store_serves_soon(self):
        status, found = self.run_json("bench", "restart", "--devices", 1000, "--versions", 60,
                                      "--accepted", 50, "--params", 100)
        self.assertEqual([start["after"] for start in found["starts"]],
                         ["made", "killed", "stopped"])
        for start in found["starts"]:
            self.assertGreaterEqual(start["serves_seconds"], start["answers_seconds"])
            self.assertLess(start["serves_seconds"], 10)  # 2 s, of a machine that is not busy
        self.assertEqual(status, 0 if found["is_met"] else 7)
        self.assertGreater(found["store_bytes"], 60 * 50 * 100)
        self.assertEqual(found["window_ms"], 5000)  # 1,000 devices, 1,000 handshakes a second

    def test_what_cannot_be_loaded_is_a_usage_error(self):
        for words in [["load", "--devices", 100, "--cohort", 100], ["load", "--dropout", 0.9],
                      ["load", "--devices", 1000000], ["load", "--report-ms", 0],
                      ["bench", "restart", "--versions", 0],
                      ["bench", "restart", "--devices", 10, "--accepted", 11]]:
            self.assertEqual(fleet.run("tributary-sim", *words).returncode, 2, words)


if __name__ == "__main__":
    fleet.main()
