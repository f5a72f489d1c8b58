#!/usr/bin/env python3
"""What applications count on devices: an A/B trial whose uplift was planted, versions and groups apart,
whoever is killed; and what was not declared."""
import ctypes
import pathlib
import random
import signal
import subprocess

import fleet

GROUPS = ["a", "a", "b", "b"]
CHANCES = {"a": 0.10, "b": 0.16}
TRIALS = 2000  # of a device
SPEC = "64 - dense 10 softmax"


class Config(ctypes.Structure):
    """The beginning of struct trib_client_config, with room for the rest."""
    _fields_ = [("struct_size", ctypes.c_uint32), ("state_dir", ctypes.c_char_p),
                ("coordinator_url", ctypes.c_char_p), ("trainer", ctypes.c_void_p),
                ("rest", ctypes.c_char * 512)]


class CountersTest(fleet.Case):
    def begin(self, tried):
        self.rows = fleet.digits()
        tried.begin_groups(GROUPS, [self.rows[200 + 60 * i:260 + 60 * i]
                                    for i in range(len(GROUPS))])

    def learn(self, tried, counters="clicks:rate, minutes:sum:0:60", **keys):
        """A round of a job, which makes a version and collects; what was collected, by name."""
        job = tried.submit(SPEC, self.rows[:100], rounds=1, cohort=len(GROUPS), count_every=1,
                           counters=counters, **keys)
        tried.wait_for_job(job)
        rounds = tried.ctl("rounds", "ls", "--job", job)
        self.assertEqual([r["kind"] for r in rounds], ["train", "counters"])
        version = rounds[-1]["version"]
        for i in range(len(GROUPS)):
            fleet.wait_until(lambda i=i: f"version     {version}\n" in fleet.run(
                "tributary-client", "status", tried.root / f"d{i}").stdout, f"d{i} has it")
        report = rounds[-1]["tally"]
        self.assertEqual(report["version"], version)
        return version, rounds[-1]["id"], {row["name"]: row for row in report["counters"]}

    def count(self, tried, device, name, what, status=0):
        done = fleet.run("tributary-client", "count", tried.root / device, name, what)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def draw(self, draw, chance):
        return sum(draw.random() < chance for _ in range(TRIALS))

    def test_a_trial_shows_the_uplift_that_was_planted_and_nothing_twice(self):
        draw = random.Random(7)
        with fleet.Fleet() as tried:
            self.begin(tried)
            said = self.count(tried, "d0", "clicks", "1/2", status=2)
            self.assertIn("no counter 'clicks' is declared", said)
            first, _, nothing = self.learn(tried)
            self.assertEqual(nothing, {})
            self.assertIn("no counter 'astrology'", self.count(tried, "d0", "astrology", "1/2", 2))
            self.assertIn("is a rate", self.count(tried, "d0", "clicks", "5", 2))
            self.assertIn("takes 0 to 60, not 61", self.count(tried, "d0", "minutes", "61", 2))
            self.assertIn("3/2", self.count(tried, "d0", "clicks", "3/2", 2))
            sums = {"a": 0, "b": 0}
            for i, group in enumerate(GROUPS):
                clicks = self.draw(draw, CHANCES[group])
                sums[group] += clicks
                self.count(tried, f"d{i}", "clicks", f"{clicks}/{TRIALS}")
            for minutes in [1.5, 2.5, 6]:
                self.count(tried, "d3", "minutes", minutes)
            for i in range(len(GROUPS)):  # all that was said is on the disk
                tried.kill(f"d{i}")
                tried.start_device(f"d{i}")
            tried.wait_connected(len(GROUPS))
            second, round_id, got = self.learn(tried)
            self.assertEqual(second, first + 1)
            self.check(got, first, sums)
            minutes = got[f"minutes: version {first}"]
            self.assertEqual((minutes["devices"], minutes["n"]), (4, 3))
            self.assertAlmostEqual(minutes["value"], 10 / 3, places=12)
            table = tried.try_ctl("rounds", "counted", round_id)
            self.assertIn("clicks: group b - group a", table.stdout)
            self.assertEqual(tried.try_ctl("rounds", "counted", round_id - 1).returncode, 2)
            # The next version is an arm of its own. Totals are told again, not added again.
            self.count(tried, "d1", "clicks", "30/100")
            _, _, got = self.learn(tried)
            old, new = got[f"clicks: version {first}"], got[f"clicks: version {second}"]
            self.assertEqual((old["n"], new["n"], new["devices"]), (4 * TRIALS, 100, 1))
            apart = got[f"clicks: version {second} - version {first}"]
            self.assertAlmostEqual(apart["value"], new["value"] - old["value"])
            self.assertGreater(apart["low"], 0)  # 0.30 against 0.13
            self.assertEqual(got["clicks: group a"]["n"], 2 * TRIALS + 100)

    def check(self, got, version, sums):
        whole = got[f"clicks: version {version}"]
        self.assertEqual((whole["devices"], whole["n"]), (4, 4 * TRIALS))
        self.assertAlmostEqual(whole["value"], (sums["a"] + sums["b"]) / (4 * TRIALS), places=12)
        for group, clicks in sums.items():
            arm = got[f"clicks: group {group}"]
            self.assertEqual(arm["n"], 2 * TRIALS)
            self.assertAlmostEqual(arm["value"], clicks / (2 * TRIALS), places=12)
            self.assertLess(arm["low"], CHANCES[group])
            self.assertGreater(arm["high"], CHANCES[group])
        uplift = got["clicks: group b - group a"]
        self.assertLess(uplift["low"], CHANCES["b"] - CHANCES["a"])
        self.assertGreater(uplift["high"], CHANCES["b"] - CHANCES["a"])
        self.assertGreater(uplift["low"], 0)

    def test_whoever_is_killed_while_counting_has_counted_once_or_not_at_all(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            version, _, _ = self.learn(tried)
            draw = random.Random(3)
            acknowledged = unknown = 0
            for _ in range(60):
                counting = subprocess.Popen([fleet.program("tributary-client"), "count",
                                             tried.root / "d0", "clicks", "1/1"],
                                            stderr=subprocess.DEVNULL)
                try:
                    counting.wait(draw.random() * 0.02)
                except subprocess.TimeoutExpired:
                    counting.send_signal(signal.SIGKILL)
                if counting.wait() == 0:
                    acknowledged += 1
                else:
                    unknown += 1
            self.count(tried, "d0", "clicks", "1/1")
            _, _, got = self.learn(tried)
            counted = got[f"clicks: version {version}"]
            self.assertGreaterEqual(counted["n"], acknowledged + 1)
            self.assertLessEqual(counted["n"], acknowledged + unknown + 1)
            self.assertEqual(counted["value"], 1)

    def test_numbers_below_0_are_counted_like_others(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            declared = "temp:sum:-10:60"
            version, _, _ = self.learn(tried, declared)
            for number in ["-3.5", "-.5", "-10", "2"]:
                self.count(tried, "d0", "temp", number)
            self.assertIn("takes -10 to 60, not -11", self.count(tried, "d0", "temp", "-11", 2))
            self.assertIn("want SUCCESSES/TRIALS", self.count(tried, "d0", "temp", "-1/10", 2))
            _, _, got = self.learn(tried, declared)
        temp = got[f"temp: version {version}"]
        self.assertEqual((temp["n"], temp["value"]), (4, -3))

    def test_a_program_counts_by_the_library(self):
        if fleet.is_sanitized():
            self.skipTest("the library wants its sanitizer to be loaded first")
        with fleet.Fleet() as tried:
            self.begin(tried)
            version, _, _ = self.learn(tried)
            tried.end("d2")
            library = ctypes.CDLL(
                str(pathlib.Path(fleet.program("tributary-client")).parent / "libtributary.so"))
            library.trib_trainer_builtin.restype = ctypes.c_void_p
            config = Config()
            library.trib_client_config_init(ctypes.byref(config))
            config.state_dir = str(tried.root / "d2").encode()
            config.trainer = library.trib_trainer_builtin()
            client = ctypes.c_void_p()
            self.assertEqual(library.trib_client_create(ctypes.byref(config),
                                                        ctypes.byref(client)), 0)
            number = ctypes.c_double(2.5)
            trials = ctypes.c_uint64(3), ctypes.c_uint64(10)
            self.assertEqual(library.trib_client_count(client, b"clicks", *trials), 0)
            self.assertEqual(library.trib_client_count_number(client, b"minutes", number), 0)
            self.assertNotEqual(library.trib_client_count(client, b"astrology", *trials), 0)
            library.trib_client_destroy(client)
            tried.start_device("d2")
            tried.wait_connected(len(GROUPS))
            _, _, got = self.learn(tried)
        clicks, minutes = got[f"clicks: version {version}"], got[f"minutes: version {version}"]
        self.assertEqual((clicks["n"], clicks["value"], clicks["devices"]), (10, 0.3, 1))
        self.assertEqual((minutes["n"], minutes["value"]), (1, 2.5))
        self.assertIsNone(minutes["low"])  # of one number nothing is known

    def test_with_privacy_totals_are_noised_and_have_no_intervals(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            private = {"mode": "local", "privacy": {"noise_multiplier": 0.0001,
                                                    "tally_scale": 10000}}
            version, _, _ = self.learn(tried, **private)
            for i in range(len(GROUPS)):
                self.count(tried, f"d{i}", "clicks", "400/1000")
            _, _, got = self.learn(tried, **private)
        whole = got[f"clicks: version {version}"]
        self.assertNotEqual(whole["n"], 4000)  # noised
        self.assertAlmostEqual(whole["n"], 4000, delta=400)
        self.assertAlmostEqual(whole["value"], 0.4, delta=0.1)
        self.assertIsNone(whole["low"])
        self.assertNotIn("clicks: group a", got)

    def test_declarations_that_cannot_be_are_refused(self):
        scenario = fleet.SOURCE / "simulations/scenarios/digits-off.ini"
        for sets, text in {("round.counters=clicks",): "round.counters: 'clicks' is not NAME:rate",
                           ("round.counters=a:rate",): "round.counters: wants a count_every",
                           ("round.count_every=1",): "round.count_every: wants counters",
                           ("round.counters=a:rate", "round.count_every=1"):
                               "round.counters: are for a job of real devices"}.items():
            done = fleet.run("tributary-sim", "run", scenario, "--mode", "inprocess",
                             *[word for one in sets for word in ("--set", one)])
            self.assertEqual(done.returncode, 2, sets)
            self.assertIn(text, done.stderr)


if __name__ == "__main__":
    fleet.main()
