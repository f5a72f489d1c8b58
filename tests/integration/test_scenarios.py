#!/usr/bin/env python3
"""Shipped scenarios that take less than a second reach what tests/bench/scenarios says they must."""
import json
import subprocess
import sys

import fleet

QUICK = "heart", "bike", "linear"


class ScenariosTest(fleet.Case):
    def check(self, name):
        done = subprocess.run([sys.executable, fleet.SOURCE / "tests/bench/scenarios", "--build",
                               fleet.build, "--json", name], capture_output=True, text=True,
                              timeout=fleet.PATIENCE_S, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(found["scenario"], name)
        if not found["expected"]:
            self.assertFalse(found["reached"])
            self.skipTest(f"{name}: {found['measured']}")
        self.assertTrue(found["reached"], found)
        self.assertEqual(done.returncode, 0)
        print(f"{name}: {found['measured']}")

    @fleet.sweep
    def test_they_reach_what_they_must(self):
        for name in QUICK:
            with self.subTest(scenario=name):
                self.check(name)


if __name__ == "__main__":
    fleet.main()
