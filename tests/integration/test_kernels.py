#!/usr/bin/env python3
"""Which kernels a process takes, and that a model does not depend on which of ours that fuse it was."""
import json
import os
import tempfile

import fleet

SCENARIO = fleet.SOURCE / "simulations/scenarios/digits-off.ini"
FUSED = ["avx512", "avx2", "neon"]
DENSE = "64 - dense 33 relu - dense 10 softmax"
PICTURES = "1x8x8 - conv 5 3x3 same relu - maxpool 2 - dropout 0.1 - dense 10 softmax"
SHORT = ["--set", "round.rounds=2", "--set", "round.local_epochs=3"]


def with_kernel(name):
    return {**os.environ, "TRIB_KERNEL": name}


class KernelsTest(fleet.Case):
    def train(self, kernel, *words, spec=DENSE):
        """Run a short job; returns its digest, and the kernels that the log names."""
        with tempfile.TemporaryDirectory(prefix="trib-kernels-") as out:
            done = fleet.run("tributary-sim", "run", SCENARIO, *SHORT, "--set",
                             f"model.spec={spec}", *words, "--json", "--quiet", "--out", out,
                             env=with_kernel(kernel))
            self.assertEqual(done.returncode, 0, done.stderr)
            last = json.loads(done.stdout.splitlines()[-1])
            self.assertGreater(last["value"], 0.5)
            return last["model_digest"], done.stderr

    def available(self):
        """Those of ours that this machine has: the others say so and are not taken."""
        found = []
        for name in [*FUSED, "plain"]:
            _, log = self.train(name, "--mode", "inprocess")
            if f"kernels={name} " in log:
                self.assertNotIn("warn kernels", log)
                found.append(name)
            else:
                self.assertIn(f"warn kernels: TRIB_KERNEL={name} is not built in, or this machine "
                              "cannot: kernels=", log)
        return found

    def test_a_model_is_the_same_whichever_fused_kernels_trained_it(self):
        names = self.available()
        self.assertIn("plain", names)
        digests = {name: self.train(name, "--mode", "inprocess")[0] for name in names}
        fused = {digests[name] for name in names if name in FUSED}
        self.assertLessEqual(len(fused), 1, digests)
        # Twice with each: repeatable also where nothing is fused.
        for name in names:
            self.assertEqual(self.train(name, "--mode", "inprocess")[0], digests[name])
        # Device processes with the best kernels, a simulation with the least of the fused.
        if fused:
            least = [name for name in names if name in FUSED][-1]
            self.assertEqual(self.train(least, "--mode", "processes")[0], digests[names[0]])

    def test_pictures_and_dropout_are_the_same_bits_too(self):
        # Other kinds of layer: tests/unit/test_kernels_models.c.
        found = {}
        for name in FUSED:
            digest, log = self.train(name, "--mode", "inprocess", spec=PICTURES)
            if f"kernels={name} " in log:
                found[name] = digest
        self.assertLessEqual(len(set(found.values())), 1, found)

    def test_an_unknown_name_warns_and_changes_nothing(self):
        digest, log = self.train("abacus", "--mode", "inprocess")
        self.assertIn("warn kernels: TRIB_KERNEL=abacus is not built in", log)
        self.assertEqual(digest, self.train("", "--mode", "inprocess")[0])

    def test_the_bench_measures_by_the_instructions_that_it_uses(self):
        rates = {}
        for name in ["plain", ""]:
            done = fleet.run("tributary-sim", "bench", "train", "--model", "32 - dense 8 softmax",
                             "--json", env=with_kernel(name))
            self.assertEqual(done.returncode, 0, done.stderr)
            found = json.loads(done.stdout)
            rates[found["kernel"]] = found["calibration_gflops"]
        self.assertIn("plain", rates)
        if fleet.is_sanitized():
            self.skipTest("sanitizers: they take their time from the loops that are compared")
        if "avx512" in rates:  # sixteen lanes and fused, beside four that are not
            self.assertGreater(rates["avx512"], 2 * rates["plain"])


if __name__ == "__main__":
    fleet.main()
