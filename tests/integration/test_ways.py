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
        """Four rounds of the digits on four devices; the last line and the model."""
        few = ("round.rounds=4", "partition.clients=4", "round.cohort=4")
        words = [word for text in (*few, *sets) for word in ("--set", text)]
        out = self.dir / mode
        done = fleet.run("tributary-sim", "run", SCENARIOS / "digits-off.ini", "--mode",
                         fleet.mode_of(mode), "--json", "--out", out, *words)
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

    def test_layers_of_another_architecture_are_a_head_start(self):
        """A trained lower layer under a new top reaches the target in fewer rounds than a drawn one."""
        child = "model.spec=64 - dense 16 relu - dense 12 relu - dense 10 softmax"
        short = ("round.local_epochs=1", "round.rounds=60", "round.target_metric=accuracy",
                 "round.target_value=0.8")
        parent, file = self.play("inprocess", TWO_LAYERS, "round.rounds=8")
        init = self.dir / "parent.safetensors"
        (self.dir / "inprocess" / "model.safetensors").rename(init)
        warm_words = (child, *short, f"model.init={init}", "model.init_map=0:0", "round.trunk=0",
                      "round.trunk_rate=0.5")
        cold, _ = self.play("inprocess", child, *short)
        warm, model = self.play("inprocess", *warm_words)
        print(f"rounds to 0.8: {warm['rounds']} warm, {cold['rounds']} cold")
        self.assertLess(warm["rounds"], cold["rounds"])
        self.assertEqual(model.metadata["parent"], parent["model_digest"])
        self.assertEqual(self.play("processes", *warm_words)[0]["model_digest"],
                         warm["model_digest"])
        _, stays = self.play("inprocess", child, "round.rounds=1", f"model.init={init}",
                             "model.init_map=0:0", "round.freeze=0")
        size = 4 * (64 * 16 + 16)
        self.assertEqual(stays.params[:size], file.params[:size])

        for words, text in {
            ("model.init_map=0:1",): "'0.weight' has the shape (16, 64), the model wants (12, 16)",
            ("model.init_map=7:0",): "there is no '7.weight' for layer 0",
            ("model.init_map=0:9",): "the map names layer 9, where the model has nothing to learn",
            ("model.init_map=0:0,1:0",): "the map names layer 0 twice",
            ("model.init_map=0-0",): "the map wants pairs OLD:NEW",
        }.items():
            said, _ = self.play("inprocess", child, f"model.init={init}", *words, status=2)
            self.assertIn(text, said)
        said, _ = self.play("inprocess", child, f"model.init={init}", status=2)
        self.assertIn("is of the model", said)  # without a map

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
