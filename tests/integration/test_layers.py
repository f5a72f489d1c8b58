#!/usr/bin/env python3
"""Models with convolutions, end to end: the page's example, both modes, and what is refused."""
import json
import pathlib
import re
import shlex
import tempfile

import fleet

PICTURE = "1x8x8 - conv 4 3x3 same relu - maxpool 2 - conv 3 2x2 tanh - dense 10 softmax"


class LayersTest(fleet.Case):
    def simulate(self, *words):
        with tempfile.TemporaryDirectory(prefix="trib-layers-") as folder:
            return fleet.run("tributary-sim", "run", *words, "--json", "--quiet", "--out", folder,
                             cwd=fleet.SOURCE,
                             timeout=4 * fleet.PATIENCE_S)  # two minutes of a core with sanitizers

    def done(self, *words):
        done = self.simulate(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    @fleet.sweep
    def test_the_example_of_the_page_learns_the_digits(self):
        page = (pathlib.Path(fleet.SOURCE) / "docs/models.md").read_text()
        command, = re.findall(r"^    tributary-sim run (.*\\\n .*conv.*)$", page, re.MULTILINE)
        done = self.done(*shlex.split(command.replace("\\\n", " ")))
        linear = self.done("simulations/scenarios/digits-off.ini", "--mode", "inprocess")
        self.assertGreater(done["value"], linear["value"])

    def test_both_modes_give_the_same_bytes(self):
        digests = {self.done("simulations/scenarios/digits-off.ini", "--mode",
                             fleet.mode_of(mode), "--set", f"model.spec={PICTURE}", "--set",
                             "round.rounds=2", "--set", "round.local_epochs=1")["model_digest"]
                   for mode in ("inprocess", "processes")}
        self.assertEqual(len(digests), 1)

    def test_a_model_that_cannot_be_is_refused_before_anything_starts(self):
        for spec, text in [("64 - conv 4 3x3 - dense 10 softmax", "conv wants a picture"),
                           ("1x8x8 - conv 4 9x9 - dense 10 softmax", "larger than the picture"),
                           ("1x8x8 - maxpool 2 - conv 2 3x3", "conv is not for the last layer")]:
            with self.subTest(spec=spec):
                done = self.simulate("simulations/scenarios/digits-off.ini", "--set",
                                     f"model.spec={spec}")
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("model.spec", done.stderr)
                self.assertIn(text, done.stderr)


if __name__ == "__main__":
    fleet.main()
