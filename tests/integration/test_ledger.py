#!/usr/bin/env python3
"""The device's own privacy budget: what it spends is written down, kept, and is the most it gives."""
import json
import math
import pathlib
import re
import tempfile

import fleet

SPEC = "64 - dense 10 softmax"
LOCAL = "local\nclip_l2 = 1\nnoise_multiplier = 0.2"
ROUND = {"local_epochs": 1, "batch": 16, "learning_rate": 0.1}


class Budgets(fleet.Fleet):
    def begin(self, names):
        self.rows = fleet.digits()
        self.start_coordinator()
        for i, name in enumerate(names):
            self.add_device(name, self.rows[200 + 100 * i:300 + 100 * i])

    def allow(self, name, **keys):
        """Add to a device's policy, the last section of its client.ini."""
        with open(self.root / name / "client.ini", "a") as file:
            file.writelines(f"{key} = {value!r}\n" for key, value in keys.items())

    def train(self, rounds, mode=LOCAL, **keys):
        return self.wait_for_job(self.submit(SPEC, self.rows[:200], mode=mode, rounds=rounds,
                                             **{**ROUND, **keys}))["job"]

    def privacy(self, name):
        done = fleet.run("tributary-client", "privacy", self.root / name, "--json")
        if done.returncode:
            raise AssertionError(f"privacy: exit {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def spent(self, name):
        return self.privacy(name)["total"]["rounds"]


class LedgerTest(fleet.Case):
    def test_a_device_takes_part_until_its_budget_is_used_up(self):
        with Budgets() as tried:
            tried.begin(["d0", "d1", "d2"])
            for name in ["d1", "d2"]:
                tried.start_device(name)
            tried.wait_connected(2)
            first = tried.train(1, cohort=2)
            entry, = tried.privacy("d1")["entries"]
            cost = entry["epsilon_pure"]
            self.assertGreater(cost, 0)
            self.assertEqual(cost, entry["s1"] / entry["t"])

            tried.allow("d0", budget_epsilon_pure_total=3 * cost)
            tried.start_device("d0")
            tried.wait_connected(3)
            self.assertIsNone(tried.device("d0")["declined"])
            second = tried.train(5, cohort=3, min_accepted=2)

            kept = tried.privacy("d0")  # while it runs
            self.assertEqual([row["epsilon_pure"] for row in kept["entries"]], [cost] * 3)
            self.assertEqual({row["job"] for row in kept["entries"]}, {second})
            self.assertEqual({(row["kind"], row["mode"], row["population"], row["unit"])
                              for row in kept["entries"]},
                             {("reserve", "local", "default", "one device, zero-out")})
            self.assertEqual(kept["total"]["rounds"], 3)
            self.assertAlmostEqual(kept["total"]["epsilon_pure"], 3 * cost, delta=1e-12 * cost)
            self.assertEqual(kept["budget"]["epsilon_pure"]["left"], 0)
            self.assertIn(kept["total"]["ledger"], ["pure", "zcdp"])
            self.assertLessEqual(kept["total"]["epsilon"], kept["total"]["epsilon_pure"])
            self.assertEqual(tried.spent("d1"), 6)
            self.assertEqual({row["job"] for row in tried.privacy("d1")["entries"]},
                             {first, second})

            self.assertEqual(tried.device("d0")["declined"], "DECLINED_BUDGET")
            self.assertIsNone(tried.device("d1")["declined"])
            ended = tried.ctl("rounds", "ls", "--job", second)
            self.assertEqual([row["accepted"] for row in ended], [3, 3, 3, 2, 2])
            leases = tried.ctl("rounds", "show", ended[-1]["id"])
            self.assertEqual([(row["lease"], row["why"]) for row in leases
                              if row["device"] == "d0"], [("released", "DECLINED_BUDGET")])

            # Another job finds it used up, and so it is after a restart.
            self.assertEqual(tried.end("d0"), 0)
            tried.start_device("d0")
            tried.wait_connected(3)
            tried.train(1, cohort=3, min_accepted=2)
            self.assertEqual(tried.spent("d0"), 3)

            text = fleet.run("tributary-client", "privacy", tried.root / "d0").stdout
            self.assertIn("against everyone including the coordinator", text)
            self.assertRegex(text, r"left +0 of ")
            for line in text.splitlines():  # never an epsilon alone
                if "(epsilon" in line:
                    self.assertRegex(line, r"\(epsilon \S+, delta \S+\) by (pure|zcdp)")

    def test_mode_off_costs_nothing(self):
        with Budgets() as tried:
            tried.begin(["d0"])
            tried.allow("d0", budget_epsilon_pure_total=1e-9)
            tried.start_device("d0")
            tried.wait_connected(1)
            tried.train(2, mode="off", cohort=1)
            self.assertEqual(tried.privacy("d0")["entries"], [])

    @fleet.sweep
    def test_a_crash_counts_as_spent_from_the_moment_the_charge_is_written(self):
        points = [point for point in fleet.crash_points("tributary-client")
                  if point.startswith(("ledger.", "budget."))]
        if not points:
            self.skipTest("a build without -Dcrash_points=true")
        self.assertGreaterEqual(len(points), 6)
        with Budgets() as tried:
            tried.begin(["d0", "d1"])
            self.assertEqual(
                tried.start_device("d0", {"TRIB_CRASH": "ledger.begun:1"}).wait(fleet.PATIENCE_S),
                -9)
            points.remove("ledger.begun")
            for name in ["d0", "d1"]:
                tried.start_device(name)
            tried.wait_connected(2)
            tried.train(2, cohort=2)
            expected = 2
            self.assertEqual(tried.spent("d0"), expected)
            for point in points:
                for hit in [1, 2]:
                    tried.end("d0")
                    process = tried.start_device("d0", {"TRIB_CRASH": f"{point}:{hit}"})
                    tried.wait_connected(2)
                    job = tried.submit(SPEC, tried.rows[:200], mode=LOCAL, rounds=2, cohort=2,
                                       **ROUND)
                    self.assertEqual(process.wait(fleet.PATIENCE_S), -9, point)
                    tried.start_device("d0")
                    tried.wait_for_job(job)
                    ended = tried.ctl("rounds", "ls", "--job", job)
                    self.assertEqual([row["accepted"] for row in ended], [2, 2], point)
                    # The round that was begun anew is charged anew, unless nothing was written.
                    expected += 2 if point == "ledger.before" else 3
                    self.assertEqual(tried.spent("d0"), expected, f"{point}:{hit}")
            self.assertEqual(tried.privacy("d0")["total"]["epsilon_pure"],
                             sum(row["epsilon_pure"] for row in tried.privacy("d0")["entries"]))

    def test_a_device_whose_ledger_was_changed_does_not_start(self):
        with Budgets() as tried:
            tried.begin(["d0"])
            tried.start_device("d0")
            tried.wait_connected(1)
            tried.train(2, cohort=1)
            self.assertEqual(tried.end("d0"), 0)
            path = tried.root / "d0" / "privacy.ledger"
            whole = path.read_bytes()
            for bad in [whole[:-1], whole[:160], whole[:80] + b"\xff" + whole[81:], b""]:
                path.write_bytes(bad)
                self.assertEqual(tried.start_device("d0").wait(fleet.PATIENCE_S), 6)
                self.assertIn("id=ledger-corrupt", tried.log("d0"))
                done = fleet.run("tributary-client", "privacy", tried.root / "d0")
                self.assertEqual((done.returncode, done.stdout), (6, ""))
                self.assertIn("takes no part", done.stderr)
            path.write_bytes(whole)
            tried.start_device("d0")
            tried.wait_connected(1)
            self.assertEqual(tried.spent("d0"), 2)

    def test_the_log_does_not_tell_what_was_learned(self):
        with Budgets() as tried:
            tried.begin(["d0"])
            tried.start("d0", [fleet.program("tributary-client"), "run", "--log-level", "debug",
                               tried.root / "d0"])
            tried.wait_connected(1)
            tried.train(1, mode="off", cohort=1)  # one device: the model's change is its delta
            files = [tried.root / f"v{version}.safetensors" for version in [1, 2]]
            for version, path in enumerate(files, 1):
                done = tried.try_ctl("models", "export", version, "--out", path)
                self.assertEqual(done.returncode, 0, done.stderr)
            before, after = (fleet.Model(path).floats() for path in files)
            delta = [b - a for a, b in zip(before, after)]
            texts = {f"{abs(x):.{digits}g}" for x in delta + list(after) for digits in [5, 6, 9]}
            told = {text for text in texts if len(text.replace(".", "").strip("0")) >= 5}
            self.assertGreater(len(told), 500)
            self.assertTrue(any(math.fabs(x) > 1e-3 for x in delta))

            def leaks(log):
                return told & set(re.findall(r"\d+\.?\d*(?:e-?\d+)?", log))

            log = tried.log("d0")
            self.assertIn("receipt=ACCEPTED", log)
            self.assertEqual(leaks(log), set())
            self.assertTrue(leaks(f"{log}\ndelta[3]={sorted(told)[7]}"))  # it would be found

    def play(self, mode, settings):
        sets = [word for text in settings for word in ("--set", text)]
        with tempfile.TemporaryDirectory() as folder:
            done = fleet.run("tributary-sim", "run",
                             fleet.SOURCE / "simulations/scenarios/digits.ini", "--mode", mode,
                             "--json", "--quiet", "--out", pathlib.Path(folder) / "run", *sets)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertTrue(events, done.stderr)
        return events

    def assert_both_agree(self, *settings):
        """Two rounds a device: (round, state, accepted, version) of each round, and how it was
        without a limit."""
        settings = [*settings, "round.local_epochs=1", "privacy.test_seed=5",
                    "round.select_ms=3000", "privacy.target_epsilon=0"]
        free = self.play("inprocess", settings)
        limit = f"client.policy.budget_epsilon_pure_total={2 * free[0]['epsilon_pure']!r}"
        played = [self.play(mode, [*settings, limit]) for mode in ["inprocess", "processes"]]
        told, other = ([(row["round"], row["state"], row["accepted"], row["version"])
                        for row in events if row["event"] == "round"] for events in played)
        self.assertEqual(told, other)
        self.assertEqual(played[0][-1]["model_digest"], played[1][-1]["model_digest"])
        return told, [row for row in free if row["event"] == "round"]

    def test_simulated_devices_have_the_same_budget_in_both_modes(self):
        told, free = self.assert_both_agree(
            "privacy.mode=local", "partition.clients=5", "round.cohort=3", "round.rounds=6",
            "round.min_accepted=1", "privacy.noise_multiplier=0.2")
        self.assertEqual(sum(row[2] for row in told), 10)  # five devices that give two rounds each
        self.assertEqual(sum(row["accepted"] for row in free), 18)

    def test_a_masked_round_is_charged_like_any_other(self):
        told, free = self.assert_both_agree(
            "privacy.mode=distributed", "partition.clients=24", "round.cohort=24",
            "round.rounds=3", "privacy.noise_multiplier=0.5")
        self.assertEqual([row[1:3] for row in told],
                         [("committed", 24), ("committed", 24), ("abandoned", 0)])
        self.assertEqual([row["accepted"] for row in free], [24, 24, 24])


if __name__ == "__main__":
    fleet.main()
