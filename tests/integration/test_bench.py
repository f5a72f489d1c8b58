#!/usr/bin/env python3
"""The simulator's measurements at their smallest: they run, and say what they promise to say."""
import json
import math
import os
import re

import fleet


class BenchTest(fleet.Case):
    def measure(self, *words):
        """The one JSON object of a measurement."""
        done = fleet.run("tributary-sim", "bench", *words, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 1, done.stdout)
        return json.loads(lines[0])

    def assert_positive(self, found, *names):
        for name in names:
            self.assertIsInstance(found[name], (int, float), name)
            self.assertTrue(math.isfinite(found[name]) and found[name] > 0, (name, found))

    def test_the_coordinator_under_load(self):
        for word_bits in [24, 32]:
            found = self.measure("coordinator", "--clients", 2, "--params", 5000, "--rounds", 2,
                                 "--word-bits", word_bits)
            self.assertEqual([found[name] for name in ["clients", "params", "rounds", "word_bits"]],
                             [2, 5000, 2, word_bits])
            self.assert_positive(found, "seconds_per_round", "updates_per_second",
                                 "server_cpu_ms_per_update", "client_cpu_ms_per_update",
                                 "server_peak_rss_bytes", "client_peak_rss_bytes", "bytes_per_update",
                                 "decrypt_ms_per_update")
            self.assertAlmostEqual(found["cpu_to_decrypt_ratio"],
                                   found["server_cpu_ms_per_update"] /
                                   found["decrypt_ms_per_update"])
            # The packed update goes up and the float32 model comes down.
            self.assertGreater(found["bytes_per_update"], 5000 * (word_bits // 8 + 4) * 0.9)
            self.assertLess(found["bytes_per_update"], 5000 * (word_bits // 8 + 4) * 2)
            self.assertAlmostEqual(found["updates_per_second"] * found["seconds_per_round"], 2,
                                   delta=1e-6)

    def test_training(self):
        found = self.measure("train", "--model", "64 - dense 10 softmax", "--batch", 16)
        self.assertEqual((found["model"], found["batch"]), ("64 - dense 10 softmax", 16))
        self.assert_positive(found, "samples_per_second", "gflops", "calibration_gflops", "ratio")
        self.assertAlmostEqual(found["ratio"], found["gflops"] / found["calibration_gflops"])
        # 4 flops a weight in the first layer
        self.assertAlmostEqual(found["gflops"] * 1e9 / found["samples_per_second"], 4 * 64 * 10,
                               delta=1)
        self.assertTrue(found["kernel"])

    def jobs_of_the_page(self):
        """(model, batch, floor, goal) of each row of the table of docs/benchmarks.md."""
        page = (fleet.SOURCE / "docs/benchmarks.md").read_text()
        table = page[page.index("| model | batch | samples/s | floor | goal |"):]
        scenario = (fleet.SOURCE / "simulations/scenarios/mnist-cnn.ini").read_text()
        convolutions = re.search(r"^spec = (.*)$", scenario, re.MULTILINE)[1]
        jobs, model = [], None
        for row in table[:table.index("\n\n")].splitlines()[2:]:
            name, batch, _, floor, goal = [cell.strip() for cell in row.split("|")[1:6]]
            model = convolutions if "mnist-cnn.ini" in name else name.strip("`") or model
            jobs.append((model, int(batch), *[float(number.replace("k", "e3").replace("M", "e6"))
                                              for number in (floor, goal)]))
        return jobs

    @fleet.sweep
    def test_all_jobs_are_those_of_the_page_and_a_missed_floor_is_an_exit_code(self):
        wanted = self.jobs_of_the_page()
        self.assertEqual(len(wanted), 13)
        for kernel in "plain", None:
            environment = {**os.environ, **({"TRIB_KERNEL": kernel} if kernel else {})}
            done = fleet.run("tributary-sim", "bench", "train", "--all", "--slice-ms", 1, "--json",
                             env=environment)
            found = list(map(json.loads, done.stdout.splitlines()))
            self.assertEqual([(job["model"], job["batch"], job["floor"], job["goal"])
                              for job in found], wanted)
            missed = [job for job in found if job["ratio"] < job["floor_ratio"]]
            self.assertEqual(missed, [job for job in found if job["ratio_met"] == "neither"])
            self.assertEqual(done.returncode, 7 if missed else 0, done.stderr)
            if kernel:  # these are no match for their own loop where products are large
                self.assertTrue(missed)
                self.assertEqual({job["kernel"] for job in found}, {kernel})

    def test_starting(self):
        found = self.measure("start")
        self.assert_positive(found, "client_start_ms", "client_rss_bytes", "handshakes_per_second")

    def test_without_json_they_say_it_in_a_line(self):
        for words, unit in [(["start"], "handshakes/s"),
                            (["train", "--model", "4 - dense 2 softmax"], "samples/s"),
                            (["coordinator", "--clients", 1, "--params", 100, "--rounds", 1],
                             "updates/s")]:
            done = fleet.run("tributary-sim", "bench", *words)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(done.stdout.splitlines()), 1)
            self.assertIn(unit, done.stdout)

    def test_what_cannot_be_measured_is_a_usage_error(self):
        for words in [["coordinator", "--clients", 0], ["coordinator", "--word-bits", 12],
                      ["coordinator", "--params", 1], ["train"],
                      ["train", "--model", "4 - telepathy 2"],
                      ["train", "--model", "4 - dense 2 softmax", "--batch", 0],
                      ["train", "--all", "--slice-ms", 0],
                      ["train", "--all", "--slice-ms", 10001]]:
            self.assertEqual(fleet.run("tributary-sim", "bench", *words).returncode, 2, words)


if __name__ == "__main__":
    fleet.main()
