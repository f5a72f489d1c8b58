#!/usr/bin/env python3
"""Sampling, augmentation, frozen layers, server optimisers: the same in both modes, and what stays stays."""
import json
import pathlib
import tempfile

import fleet

SCENARIOS = fleet.SOURCE / "simulations/scenarios"
TWO_LAYERS = "model.spec=64 - dense 16 relu - dense 10 softmax"


class WaysTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-ways-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def play(self, mode, *sets, status=0):
        """Four rounds of the digits; the last line and the model."""
        words = [word for text in ("round.rounds=4", *sets) for word in ("--set", text)]
        out = self.dir / mode
        done = fleet.run("tributary-sim", "run", SCENARIOS / "digits-off.ini", "--mode", mode,
                         "--json", "--out", out, *words)
        self.assertEqual(done.returncode, status, done.stderr)
        if status:
            return done.stderr, None
        return json.loads(done.stdout.splitlines()[-1]), fleet.Model(out / "model.safetensors")

    def test_every_way_gives_the_same_model_in_both_modes(self):
        picture = "model.spec=1x8x8 - dense 10 softmax"
        uneven = ("partition.kind=dirichlet", "partition.alpha=1")
        ways = {
            "plain": uneven,
            "over": (*uneven, "round.sampling=over"),
            "under": (*uneven, "round.sampling=under", "round.sampling_ratio=0.5"),
            "smote": (*uneven, "round.sampling=smote", "round.validation_fraction=0.2"),
            "jitter": ("round.augment=jitter:0.1",),
            "mixup": ("round.augment=mixup:0.2", "round.validation_fraction=0.2"),
            "picture": (picture, "round.augment=shift:1, rotate:10, crop:0.9"),
            "all": (picture, "round.augment=shift:1, jitter:0.05, mixup:0.2",
                    "round.sampling=smote", "round.sampling_ratio=0.9"),
            "freeze": (TWO_LAYERS, "round.freeze=0"),
            "fedadam": ("strategy.name=fedadam", "strategy.server_learning_rate=0.1"),
            "fedavgm": ("strategy.name=fedavgm", "strategy.beta1=0.5"),
            "trunk": (TWO_LAYERS, "round.trunk=0", "round.trunk_rate=0.2"),
        }
        digests = set()
        for name, words in ways.items():
            with self.subTest(name):
                last, _ = self.play("processes", *words)
                self.assertEqual(self.play("inprocess", *words)[0]["model_digest"],
                                 last["model_digest"])
                self.assertGreater(last["value"], 0.6)
                digests.add(last["model_digest"])
        self.assertEqual(len(digests), len(ways))  # and each makes a difference

    def test_frozen_layers_stay_bit_for_bit_also_under_noise(self):
        frozen = 64 * 16 + 16
        drawn, start = self.play("inprocess", TWO_LAYERS, "round.rounds=1",
                                 "round.learning_rate=0")
        for mode in ("inprocess", "processes"):
            for noise in (["privacy.mode=local", "privacy.target_epsilon=64"],
                          ["privacy.mode=off"]):
                last, model = self.play(mode, TWO_LAYERS, "round.freeze=0", *noise)
                self.assertNotEqual(last["model_digest"], drawn["model_digest"])
                self.assertEqual(model.params[:4 * frozen], start.params[:4 * frozen])
                changed = sum(a != b for a, b in zip(model.floats()[frozen:],
                                                     start.floats()[frozen:]))
                self.assertGreater(changed, 100)

    def test_what_cannot_be_is_refused_with_its_key(self):
        for words, text in {
            ("round.augment=shift:1",): "round.augment: shift, rotate and crop want pictures",
            ("round.augment=blur:1",): "round.augment: 'blur' is not jitter",
            ("round.sampling=smote", "round.batch=0"): "round.batch: must not be 0",
            ("round.freeze=0",): "round.freeze: leaves nothing to learn",
        }.items():
            self.assertIn(text, self.play("inprocess", *words, status=2)[0])


if __name__ == "__main__":
    fleet.main()
