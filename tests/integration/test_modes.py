#!/usr/bin/env python3
"""Every privacy mode gives the same model with real processes and in the simulator's one process."""
import json
import pathlib
import tempfile

import fleet


class ModesTest(fleet.Case):
    """What real processes and the simulator's one process make of the same scenario."""

    def play(self, mode, *sets):
        words = ["partition.clients=30", "round.cohort=30", "round.rounds=3", "round.local_epochs=2",
                 "privacy.test_seed=7", *sets]
        with tempfile.TemporaryDirectory(prefix="trib-sim-") as out:
            done = fleet.run("tributary-sim", "run",
                             fleet.SOURCE / "simulations/scenarios/digits.ini", "--mode",
                             fleet.mode_of(mode), "--json", "--out", pathlib.Path(out) / "out",
                             *[word for pair in words for word in ("--set", pair)])
        if done.returncode == 2 and "meson option test_noise" in done.stderr:
            self.skipTest("a build without -Dtest_noise=true refuses predictable noise")
        self.assertEqual(done.returncode, 0, done.stderr)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        accepted = [event["accepted"] for event in events if event["event"] == "round"]
        return events[-1]["model_digest"], accepted

    def test_distributed_gives_the_same_model_in_both_modes_and_without_masks(self):
        sets = ["privacy.mode=distributed"]
        real = self.play("processes", *sets)
        self.assertEqual(real[1], [30] * 3)
        self.assertEqual(self.play("inprocess", *sets), real)
        self.assertEqual(self.play("inprocess", "secagg.inprocess_masks=no", *sets), real)

    def test_dropouts_leave_the_sum_of_the_others_with_masks_and_without(self):
        sets = ["privacy.mode=distributed", "faults.dropout=0.1", "secagg.threshold_frac=0.6"]
        masked = self.play("inprocess", *sets)
        self.assertTrue(all(18 <= accepted <= 30 for accepted in masked[1]), masked)
        self.assertLess(min(masked[1]), 30)
        self.assertEqual(self.play("inprocess", "secagg.inprocess_masks=no", *sets), masked)

    def test_central_gives_the_same_model_in_both_modes(self):
        real = self.play("processes", "privacy.mode=central")
        self.assertEqual(self.play("inprocess", "privacy.mode=central"), real)


if __name__ == "__main__":
    fleet.main()
