#!/usr/bin/env python3
"""tributary-sim privacy: the calculator against published values, and its mistakes by name."""
import csv
import json
import math

import fleet

KEYS = ["scale", "epsilon_pure", "epsilon_zcdp", "epsilon_rdp", "epsilon_pld", "epsilon", "ledger"]
FLEET = ["--mode", "distributed", "--params", 10000, "--cohort", 1000, "--rounds", 100]


class PrivacyCalculatorTest(fleet.Case):
    def ask(self, *arguments):
        done = fleet.run("tributary-sim", "privacy", *arguments, "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return json.loads(done.stdout)

    def test_numbers_are_those_of_the_reference(self):
        with open(fleet.SOURCE / "tests/vectors/accounting.csv", encoding="ascii") as file:
            rows = list(csv.DictReader(file))
        for row in rows[::7]:
            got = self.ask("--mechanism", row["mechanism"], "--scale", row["param"], "--sampling",
                           row["q"], "--rounds", row["rounds"], "--delta", row["delta"])
            self.assertEqual(list(got), KEYS)
            if row["mechanism"] == "gaussian":
                self.assertIsNone(got["epsilon_pure"])
            else:
                self.assertAlmostEqual(got["epsilon_pure"] / float(row["eps_pure"]), 1, 9)
            if float(row["q"]) < 1:
                self.assertIsNone(got["epsilon_zcdp"])
            else:
                self.assertAlmostEqual(got["epsilon_zcdp"] / float(row["eps_zcdp"]), 1, 5)
            expected = float(row["eps_ref"])
            self.assertGreaterEqual(got["epsilon_pld"], expected * (1 - 1e-6))
            self.assertLessEqual(got["epsilon_pld"], expected * (1 + 2e-3) + 1e-4)
            all_ = {name: got["epsilon_" + name] for name in ["pure", "zcdp", "rdp", "pld"]}
            self.assertEqual(got["epsilon"], min(v for v in all_.values() if v is not None))
            self.assertEqual(got["epsilon"], all_[got["ledger"]])

    def test_a_target_gives_the_smallest_scale(self):
        for what in [["--rounds", 100], ["--mechanism", "gaussian", "--rounds", 10],
                     ["--rounds", 50, "--sampling", 0.1, "--delta", 1e-5]]:
            found = self.ask(*what, "--target-epsilon", 3)
            self.assertLessEqual(found["epsilon"], 3)
            below = self.ask(*what, "--scale", found["scale"] * 0.999)
            self.assertGreater(below["epsilon"], 3)

    def test_a_fleet_is_told_by_its_proven_ledgers(self):
        got = self.ask(*FLEET, "--target-epsilon", 8)
        self.assertEqual(list(got)[:9], KEYS + ["noise_multiplier", "snr"])
        self.assertLessEqual(got["epsilon"], 8)
        self.assertGreater(got["epsilon"], 7.9)
        self.assertEqual(got["ledger"], "zcdp")
        self.assertIsNone(got["epsilon_rdp"])
        self.assertIsNone(got["epsilon_pld"])
        z = got["noise_multiplier"]
        self.assertAlmostEqual(z, 6.9, 1)
        self.assertEqual((got["threshold"], got["colluders"], got["noise_shares"]), (750, 100, 650))
        expected = 0.5 * 1000 / (math.sqrt(2) * z * 100) * math.sqrt(0.65)
        self.assertAlmostEqual(got["snr"], expected, 9)
        again = self.ask(*FLEET, "--scale", z)
        self.assertEqual(again["epsilon"], got["epsilon"])

    def test_sampling_helps_a_fleet_against_outsiders_only(self):
        alone = self.ask(*FLEET, "--target-epsilon", 8)
        self.assertNotIn("epsilon_outsiders", alone)
        sampled = self.ask(*FLEET, "--target-epsilon", 8, "--sampling", 0.1)
        self.assertEqual(sampled["epsilon"], alone["epsilon"])
        self.assertLess(sampled["epsilon_outsiders"], alone["epsilon"])
        text = fleet.run("tributary-sim", "privacy", *FLEET, "--target-epsilon", 8, "--sampling",
                         0.1).stdout
        self.assertRegex(text, r"against outsiders .*never against the coordinator")

    def test_the_table_says_what_json_says(self):
        done = fleet.run("tributary-sim", "privacy", "--scale", 1, "--rounds", 10)
        self.assertEqual(done.returncode, 0)
        got = self.ask("--scale", 1, "--rounds", 10)
        for name, value in [("pure", got["epsilon_pure"]), ("zCDP", got["epsilon_zcdp"]),
                            ("RDP", got["epsilon_rdp"]), ("PLD", got["epsilon_pld"])]:
            self.assertRegex(done.stdout, rf"epsilon, {name} +{value:.6g} ")

    def test_mistakes_name_the_option(self):
        for words, option in [
                ([], "--scale"), (["--scale", 1, "--target-epsilon", 1], "--target-epsilon"),
                (["--scale", 0], "--scale"), (["--scale", -1], "--scale"),
                (["--scale", "nan"], "--scale"), (["--scale", "inf"], "--scale"),
                (["--target-epsilon", 0], "--target-epsilon"),
                (["--target-epsilon", "nan"], "--target-epsilon"),
                (["--scale", 1, "--mechanism", "snow"], "--mechanism"),
                (["--scale", 1, "--sampling", 0], "--sampling"),
                (["--scale", 1, "--sampling", 1.5], "--sampling"),
                (["--scale", 1, "--rounds", 0], "--rounds"),
                (["--scale", 1, "--rounds", 1000001], "--rounds"),
                (["--scale", 1, "--delta", 0], "--delta"), (["--scale", 1, "--delta", 1], "--delta"),
                (["--scale", 1, "--params", 5], "--mode"), (["--scale", 1, "--clip-l2", 5], "--mode"),
                (["--scale", 1, "--mode", "off"], "--mode"),
                (["--scale", 1, "--mode", "local"], "--params"),
                (["--scale", 1, "--mode", "local", "--params", 5], "--cohort"),
                (["--scale", 1, *FLEET, "--clip-l1", -1], "--clip-l1"),
                (["--scale", 1, *FLEET, "--clip-l2", 0], "--clip-l2"),
                (["--scale", 1, *FLEET, "--mechanism", "gaussian"], "--mechanism"),
                (["--scale", 1, *FLEET, "--threshold-frac", 0.5], "--mode"),
                (["--target-epsilon", 1e-6, *FLEET], "--mode")]:
            done = fleet.run("tributary-sim", "privacy", *words)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertIn(option, done.stderr, words)


if __name__ == "__main__":
    fleet.main()
