#!/usr/bin/env python3
"""The short sweep of all crash points; and that it finds bugs which are planted."""
import fnmatch
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import fleet  # noqa: E402
from world import ELSEWHERE  # noqa: E402

SWEEP = pathlib.Path(__file__).with_name("sweep")
# A bug that only a power cut shows: what is cut off from a coordinator with noise of its own.
UNSYNCED = "the noised sum of round [12] was used, and is gone"
# Where each bug shows when somebody dies there, and what the sweep says of it.
PLANTS = [("reply-early", "segment.synced", "was told ACCEPTED of .*: no row"),
          ("no-idempotency", "receipt.before", "was told (ALREADY_COUNTED|ROUND_CLOSED) of .*, which counts"),
          ("refuse-early", "refuse.leases", "was told NORM in round .*, and may be asked again"),
          ("head-early", "central.*", "version .* has no file"),
          ("noise-again", "central.*", "noised sum .*: was .*, is "),
          ("rows-again", "upload.begin", "another model than without kills")]
# The sweep, of programs that list points which nobody passes, and does not wait for them for long.
GHOSTS = ["commit.ghost", "enrol.ghost"]
WITH_GHOSTS = f"""
import runpy, sys
sys.path.insert(0, {str(SWEEP.parent)!r})
import oracle, world
of_program = oracle.fleet.crash_points
oracle.fleet.crash_points = lambda *what, **how: [*of_program(*what, **how), *{GHOSTS}]
world.PATIENCE_S = 3
runpy.run_path({str(SWEEP)!r}, run_name="__main__")
"""


def swept_by(page):
    """(pattern of points, test or None for the sweep) of each row of the table in the page."""
    table = page[page.index("| points | where | swept by |"):]
    for row in table[:table.index("\n\n")].splitlines()[2:]:
        points, _, test = [cell.strip() for cell in row.strip("|").split(" | ")]
        before = ""
        for point in re.findall(r"`([^`]+)`", points):
            point = before + point if point.startswith(".") else point  # `segment.written`, `.synced`
            before = point.split(".")[0]
            yield point, (re.search(r"test_(\w+)\.py", test) or [None, None])[1]


class CrashTest(fleet.Case):
    def setUp(self):
        if not fleet.crash_points("tributary-client"):
            self.skipTest("a build without -Dcrash_points=true")

    def sweep(self, *options, program=(SWEEP,)):
        return subprocess.run([sys.executable, "-B", *program, fleet.build, *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=fleet.PATIENCE_S)

    def test_every_point_once_and_kills_at_random(self):
        done = self.sweep("--short")
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("every promise was kept", done.stdout)
        points = int(re.search(r"points=(\d+)", done.stdout)[1])
        self.assertGreaterEqual(points, 100)

    def test_no_point_is_forgotten(self):
        """Each is in the page, under the one that sweeps it: the sweep, or the test that it leaves it to."""
        page = (fleet.SOURCE / "docs/durability.md").read_text()
        rows = list(swept_by(page))
        every = {point for name in ["coordinator", "client"]
                 for point in fleet.crash_points(f"tributary-{name}", every=True)}
        for point in sorted(every):
            with self.subTest(point=point):
                tests = [test for pattern, test in rows if fnmatch.fnmatch(point, pattern)]
                self.assertEqual(tests, [ELSEWHERE.get(point.split(".")[0])])
        self.assertEqual([pattern for pattern, _ in rows if not fnmatch.filter(every, pattern)], [])
        for prefix, test in ELSEWHERE.items():
            text = (fleet.SOURCE / f"tests/integration/test_{test}.py").read_text()
            self.assertRegex(text, rf'"{prefix}\.', prefix)

    @fleet.sweep  # of the sweep, which has to see them: no code of ours that is not run above
    def test_planted_bugs_are_found(self):
        for plant, points, said in PLANTS:
            with self.subTest(plant=plant):
                done = self.sweep("--points", points, "--kills", "10", "--plant", plant)
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertRegex(done.stdout, f"a promise was broken: .*{said}")

    def test_a_noised_sum_that_is_not_synced_is_found(self):
        if not (fleet.build / "tests/fault/fault_power").exists():
            self.skipTest("a build without tests/fault")
        done = subprocess.run([fleet.build / "tests/fault/fault_power", "short", "1", "central"],
                              env={**os.environ, "TRIB_PLANT": "sum-unsynced"}, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=fleet.PATIENCE_S)
        self.assertEqual(done.returncode, 6, done.stdout)
        self.assertRegex(done.stdout, UNSYNCED)
        self.assertEqual(set(re.findall("WRONG: (.*)", done.stdout)),
                         set(re.findall(UNSYNCED, done.stdout)))

    def test_a_point_that_is_listed_and_never_passed_is_said(self):
        done = self.sweep("--points", "*.ghost", "--short", "--kills", "1",
                          program=("-c", WITH_GHOSTS))
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        missed = re.findall(r"never passed: ([a-z]+)\d* (\S+):1\n", done.stdout)
        self.assertEqual(sorted(missed), [("coordinator", "commit.ghost"),
                                          ("coordinator", "enrol.ghost"),
                                          ("d", "commit.ghost"), ("x", "enrol.ghost")])
        self.assertNotIn("every promise was kept", done.stdout)

    def test_a_pattern_that_matches_no_point_is_said(self):
        done = self.sweep("--points", "no.such.point")
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertIn("no point matches", done.stderr)


if __name__ == "__main__":
    fleet.main()
