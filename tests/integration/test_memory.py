#!/usr/bin/env python3
"""What a device holds while it trains: a client whose libraries are static, and 600 rows of 784."""
import pathlib
import random
import unittest

import fleet

SPEC = "784 - dense 200 relu - dense 10 softmax"
ROWS = 600
PEAK_MAX = 8_000_000  # bytes


def rows(count):
    """As long as MNIST's, of whole numbers as pixels are."""
    rng = random.Random(1)
    return [",".join(str(rng.randrange(256)) for _ in range(784)) + f",{row % 10}"
            for row in range(count)]


def peak_of(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


class MemoryTest(fleet.Case):
    def test_a_device_that_trains_holds_less_than_eight_megabytes(self):
        program = fleet.build / "tests/integration/client-static"
        if not program.exists():
            raise unittest.SkipTest("no client with static libraries: some are not installed, or "
                                    "this build has sanitizers")
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("d0", rows(ROWS), scale=255)
            client = tried.start("d0", [program, "run", tried.root / "d0"])
            tried.wait_connected(1)
            job = tried.submit(SPEC, rows(10), scale=255, rounds=3, cohort=1, local_epochs=2,
                               batch=16, learning_rate=0.1)
            before = peak_of(client)
            ended = tried.wait_for_job(job)
            self.assertEqual(ended["rounds_done"], 3)
            fleet.wait_until(lambda: "installed version=4" in tried.log("d0"), "the last model")
            peak = peak_of(client)
            self.assertGreater(peak, before)  # it trained: rows alone are less
            self.assertLessEqual(peak, PEAK_MAX)
            print(f"at most {peak / 1e6:.2f} MB resident, {before / 1e6:.2f} before the job")


if __name__ == "__main__":
    fleet.main()
