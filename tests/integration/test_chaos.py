#!/usr/bin/env python3
"""Worlds drawn from seeds: they keep every promise, are the same again, and find planted bugs."""
import json
import os
import re
import subprocess

import fleet

WORLDS = 30
# Bugs that are planted in builds for tests (docs/durability.md), worlds to find them in, and what is
# said of them. The last one shows only when somebody dies in a few moments of a round.
PLANTS = [("reply-early", [], r"(books|told): "),
          ("no-idempotency", ["--rounds", "8"],
           r"told: .* was told \w+ of update \w+, which counts"),
          ("refuse-early", [], r"final: \w+ was told \w+ in round \d+, and may be asked again"),
          ("head-early", [], r"head: version \d+ cannot be verified"),
          ("noise-again", ["--rounds", "10", "--mode", "central"],
           r"noise: the noised sum of round \d+ was drawn again")]


class ChaosTest(fleet.Case):
    def chaos(self, *options, **environment):
        return subprocess.run([fleet.program("tributary-sim"), "chaos", *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=fleet.PATIENCE_S,
                              env={**os.environ, **environment}, text=True)

    def test_every_promise_is_kept(self):
        count = 3 if fleet.is_sanitized() else WORLDS  # each takes ten times as long there
        done = self.chaos("--seeds", str(count), "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        worlds = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(sorted(world["seed"] for world in worlds), list(range(1, count + 1)))
        total = {key: sum(world[key] for world in worlds)
                 for key in ("kills", "faults", "accepted", "lies", "refused", "at_once")}
        for key, least in {"kills": 30, "faults": 300, "accepted": 150, "lies": 50,
                           "refused": 50, "at_once": 5_000_000}.items():
            self.assertGreaterEqual(total[key], least * count // WORLDS // 2, total)

    def test_the_same_seed_is_the_same_world(self):
        logs = [self.chaos("--seed", seed, "--log").stdout for seed in ("6", "6", "7")]
        self.assertGreater(logs[0].count("\n"), 100)
        self.assertIn("FAULT", logs[0])
        self.assertEqual(logs[0], logs[1])
        self.assertNotEqual(logs[0], logs[2])

    @fleet.sweep
    def test_planted_bugs_are_found(self):
        if not fleet.crash_points("tributary-client"):
            self.skipTest("a build without -Dcrash_points=true")
        for plant, options, said in PLANTS:
            with self.subTest(plant=plant):
                done = self.chaos("--seeds", "100", *options, TRIB_PLANT=plant)
                self.assertEqual(done.returncode, 6, done.stdout + done.stderr)
                self.assertRegex(done.stderr, said)
                found = re.search(r"seed (\d+), step (\d+): .*\n *again: tributary-sim "
                                  r"(chaos --seed \1 .* --log)", done.stderr)
                words = found[3].split()[1:]
                again = self.chaos(*words, TRIB_PLANT=plant)
                self.assertEqual(again.returncode, 6)
                end = json.loads(again.stdout.splitlines()[-1])
                self.assertEqual(end["steps"], int(found[2]))
                self.assertEqual(self.chaos(*words[:-1]).returncode, 0)

    def test_mistakes_of_the_command_line(self):
        for options in (["--seeds", "0"], ["--rounds", "0"], ["--rounds", "1001"],
                        ["--log", "--seeds", "2"], ["--log", "--json"], ["--mode", "on"], ["7"]):
            with self.subTest(options=options):
                done = self.chaos(*options)
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertIn("chaos", done.stderr)


if __name__ == "__main__":
    fleet.main()
