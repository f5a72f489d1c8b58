#!/usr/bin/env python3
"""A rehearsal's memory is that of its rows and of one model, however many clients share the rows."""
import os
import pathlib
import random
import struct
import subprocess
import tempfile

import fleet

ROWS, WIDTH = 12000, 784
SPEC = f"{WIDTH} - dense 10 softmax"
CROWDS = 1000, 10000
MORE_MAX = 600  # bytes for each client more; a vector of its own would be 31,400


class CrowdTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-crowd-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        pixels = random.Random(1).randbytes(ROWS * WIDTH)
        (self.dir / "x").write_bytes(struct.pack(">IIII", 0x803, ROWS, 28, 28) + pixels)
        (self.dir / "y").write_bytes(struct.pack(">II", 0x801, ROWS)
                                     + bytes(i % 10 for i in range(ROWS)))

    def peak(self, clients):
        """The largest resident size of a run of two rounds in which every client trains, in bytes."""
        scenario, out = self.dir / f"{clients}.ini", self.dir / f"run{clients}"
        scenario.write_text(
            f"[model]\nspec = {SPEC}\n[data]\nformat = idx\ntrain = x\ntrain_labels = y\n"
            f"scale = 255\ntest_fraction = 0.1\n[partition]\nclients = {clients}\n"
            f"[round]\nrounds = 2\ncohort = {clients}\nbatch = 0\nbeat_baseline = no\n[privacy]\nmode = off\n")
        log = self.dir / f"{clients}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [fleet.program("tributary-sim"), "run", scenario, "--mode", "inprocess",
                 "--json", "--quiet", "--out", out], stdout=file, stderr=file)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0, log.read_text())
        self.assertIn(f'"accepted":{clients}', log.read_text())
        return usage.ru_maxrss * 1024

    @fleet.sweep  # sanitizers have memory of their own
    def test_ten_thousand_clients_hold_what_a_thousand_do(self):
        few, many = map(self.peak, CROWDS)
        self.assertGreater(few, 4 * ROWS * WIDTH)  # the rows are in it
        self.assertLess(many - few, MORE_MAX * (CROWDS[1] - CROWDS[0]))
        print(f"at most {few / 1e6:.1f} MB with {CROWDS[0]} clients, {many / 1e6:.1f} MB with "
              f"{CROWDS[1]}")


if __name__ == "__main__":
    fleet.main()
