#!/usr/bin/env python3
"""tributary-sim as a user meets it: the same model in both modes, exit codes, files, no strays."""
import contextlib
import csv
import json
import os
import pathlib
import pty
import signal
import subprocess
import tempfile
import xml.etree.ElementTree

import fleet

SCENARIOS = fleet.SOURCE / "simulations/scenarios"
ROUND_FIELDS = ["event", "round", "version", "asked", "accepted", "refused", "loss", "metric",
                "value", "metrics", "epsilon_pure", "epsilon", "delta", "bytes_up", "bytes_down",
                "seconds"]
DONE_FIELDS = ["event", "rounds", "version", "metric", "value", "best", "best_round", "model",
               "model_digest", "seconds"]

def settings(*texts):
    return [word for text in texts for word in ("--set", text)]


# Twenty devices that add all of the noise themselves: little privacy for a useful model.
LOCAL = settings("privacy.mode=local", "privacy.target_epsilon=64", "partition.clients=20",
                 "round.cohort=20", "round.rounds=20", "round.local_epochs=20", "round.batch=16",
                 "round.learning_rate=0.1", "strategy.server_learning_rate=1",
                 "strategy.tail_average=0.5")
TWENTY = ["partition.clients=20", "round.cohort=20"]
# Where the number of devices says nothing: each is a process, which costs more than what it learns.
FEW = settings("partition.clients=4", "round.cohort=4")
ENDLESS = ["--set", "round.rounds=100000"]


class Run:
    """One finished run of the simulator: its exit status and what it said."""

    def __init__(self, out, *words):
        self.out = pathlib.Path(out)
        self.done = fleet.run("tributary-sim", "run", *words, "--json", "--out", out)
        self.status = self.done.returncode
        events = [json.loads(line) for line in self.done.stdout.splitlines()]
        self.rounds = [event for event in events if event["event"] == "round"]
        self.last = events[-1] if events else None


class SimTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-sim-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def play(self, scenario, mode, *words, status=0):
        run = Run(self.dir / mode, SCENARIOS / f"{scenario}.ini", "--mode", mode, *words)
        self.assertEqual(run.status, status, run.done.stderr)
        return run

    def play_both(self, scenario, *words):
        processes = self.play(scenario, fleet.mode_of("processes"), *words)
        inprocess = self.play(scenario, "inprocess", *words)
        self.assertEqual(processes.last["model_digest"], inprocess.last["model_digest"])
        return processes

    def lines_of(self, mode):
        lines = (self.dir / mode / "rounds.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @contextlib.contextmanager
    def endless_run(self):
        """A run in the middle of its rounds, with the processes that it started."""
        (self.dir / "tmp").mkdir()
        words = [fleet.program("tributary-sim"), "run", str(SCENARIOS / "digits-off.ini"), *ENDLESS,
                 *FEW, "--mode", "processes", "--json", "--out", str(self.dir / "out")]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "TMPDIR": str(self.dir / "tmp")}) as sim:
            try:
                self.assertEqual(json.loads(sim.stdout.readline())["event"], "round")
                yield sim, fleet.children_of(sim.pid)
            finally:
                sim.kill()

    def assert_nothing_left(self, children):
        self.assertEqual([pid for pid in children if fleet.is_alive(pid, children[pid])], [])
        self.assertEqual(list((self.dir / "tmp").iterdir()), [])

    # ---- What is learnt

    @fleet.sweep
    def test_digits_give_the_same_model_in_both_modes(self):
        run = self.play_both("digits-off")
        self.assertGreaterEqual(run.last["value"], 0.94)

    def test_breast_cancer_gives_the_same_model_in_both_modes(self):
        run = self.play_both("breast-cancer", *settings("round.rounds=60"))
        self.assertGreaterEqual(run.last["value"], 0.94)

    @fleet.sweep
    def test_every_way_to_fit_gives_the_same_model_in_both_modes(self):
        ways = {
            "plain": [],
            "nesterov": ["round.optimizer=nesterov", "round.momentum=0.9",
                         "round.learning_rate=0.02"],
            "adam": ["round.optimizer=adam", "round.learning_rate=0.005"],
            "adamw": ["round.optimizer=adam", "round.learning_rate=0.005",
                      "round.decoupled_decay=yes", "round.weight_decay=0.1"],
            "l1": ["round.l1=0.001"],
            "fedprox": ["round.proximal_mu=0.1"],
            "clip": ["round.clip_norm=0.5"],
            "step": ["round.lr_schedule=step", "round.lr_step_rounds=1"],
            "cosine": ["round.lr_schedule=cosine", "round.lr_over=steps", "round.lr_min=0.001"],
            "plateau": ["round.lr_schedule=plateau", "round.lr_step_rounds=1",
                        "round.learning_rate=0.9", "round.lr_gamma=0.1"],
            "early": ["round.validation_fraction=0.2", "round.patience=2"],
            "own": ["round.class_weights=own", "partition.kind=dirichlet"],
            "balanced": ["round.class_weights=balanced", "partition.kind=dirichlet"],
            "dropout": ["model.spec=64 - dropout 0.1 - dense 16 relu - dropout 0.3 - "
                        "dense 10 softmax"],
        }
        digests = {}
        for name, words in ways.items():
            with self.subTest(name):
                run = self.play_both("digits-off", *FEW, *settings("round.rounds=4", *words))
                self.assertGreaterEqual(run.last["value"], 0.8)
                digests[name] = run.last["model_digest"]
        self.assertEqual(len(set(digests.values())), len(ways))  # and each makes a difference

    def assert_spent(self, run, epsilon):
        spent = [event["epsilon"] for event in run.rounds]
        self.assertEqual(spent, sorted(spent))
        self.assertGreater(spent[0], 0)
        self.assertLessEqual(spent[-1], epsilon)
        self.assertGreater(spent[-1], 0.95 * epsilon)
        for event in run.rounds:
            self.assertLessEqual(event["epsilon"], event["epsilon_pure"])
            self.assertEqual(event["delta"], 1e-5)
            told = event["privacy"]  # never a bare epsilon
            self.assertEqual(told["unit"], "one device (zero-out)")
            self.assertIn(told["ledger"], ["pure", "zcdp"])
            self.assertIn("coordinator", told["adversary"])
            self.assertAlmostEqual(told["epsilon_pure_round"] * event["round"],
                                   event["epsilon_pure"])
            self.assertGreater(told["noise_std"], 0)
            self.assertGreaterEqual(told["snr"], 0)

    @fleet.sweep
    def test_masked_devices_learn_the_digits_at_epsilon_8(self):
        run = self.play("digits", "inprocess")
        self.assertGreaterEqual(run.rounds[0]["asked"], 60)
        self.assertGreaterEqual(run.last["value"], 0.88)
        self.assert_spent(run, 8)
        for event in run.rounds:
            told = event["privacy"]
            self.assertEqual(told["shares"], told["threshold"] - told["colluders"])
            self.assertEqual(told["survivors"], event["accepted"])
            self.assertAlmostEqual(told["noise_excess"], event["accepted"] / told["shares"])

    @fleet.sweep
    def test_local_noise_leaves_most_of_the_model_and_says_what_it_costs(self):
        run = self.play("digits", "inprocess", *LOCAL)
        self.assertGreaterEqual(run.last["value"], 0.80)
        self.assert_spent(run, 64)

    @fleet.sweep
    def test_a_signal_that_drowns_is_refused_unless_accepted_by_name(self):
        drowned = [*LOCAL, *FEW, *settings("privacy.target_epsilon=1", "round.rounds=2",
                                           "round.beat_baseline=no")]  # noise, and nothing else
        for mode in ["processes", "inprocess"]:
            run = self.play("digits", mode, *drowned, status=4)
            self.assertIn("below 0.05", run.done.stderr)
            self.assertEqual(run.rounds, [])
            self.assertFalse(run.out.exists())  # refused before anything began
            run = self.play("digits", mode, *drowned, "--accept-drowned-signal")
            self.assertEqual(len(run.rounds), 2)
            self.assertIn("below 0.05", run.done.stderr)

    @fleet.sweep
    def test_seeded_noise_gives_the_same_model_in_both_modes(self):
        seeded = settings("privacy.test_seed=7", "round.rounds=3", *TWENTY)
        probe = Run(self.dir / "probe", SCENARIOS / "digits.ini", "--mode", "inprocess", *seeded)
        if probe.status == 2 and "meson option test_noise" in probe.done.stderr:
            self.skipTest("a build without -Dtest_noise=true refuses predictable noise")
        run = self.play_both("digits", *seeded)
        other = self.play("digits", "inprocess", *seeded, "--set", "privacy.test_seed=8")
        self.assertNotEqual(run.last["model_digest"], other.last["model_digest"])
        for mode in ["local", "central"]:
            self.play_both("digits", *seeded, *FEW,
                           *settings(f"privacy.mode={mode}", "round.beat_baseline=no"),
                           "--accept-drowned-signal")

    @fleet.sweep
    def test_silent_devices_are_the_same_ones_in_both_modes(self):
        run = self.play_both("digits-off", *settings(
            "faults.dropout=0.3", "round.rounds=2", "round.min_accepted=1", "round.report_ms=2500",
            "partition.clients=10", "round.cohort=10"))
        counted = [event["accepted"] for event in run.rounds]
        self.assertEqual([event["state"] for event in run.rounds], ["committed"] * 2)
        again = self.lines_of("inprocess")
        self.assertEqual(counted, [event["accepted"] for event in again])
        self.assertTrue(all(0 < count < 10 for count in counted), counted)
        logs = [path.read_text() for path in (run.out / "logs").glob("d*.log")]
        silent = sum(log.count(" silent") for log in logs)
        self.assertEqual(silent, 2 * 10 - sum(counted))  # they took the task, and sent nothing

    def test_unseeded_noise_is_never_the_same(self):
        few = settings("round.rounds=1", *TWENTY)
        first = self.play("digits", "inprocess", *few)
        second = self.play("digits", "inprocess", *few)
        self.assertNotEqual(first.last["model_digest"], second.last["model_digest"])

    # ---- What is said and written

    def test_events_have_the_promised_fields(self):
        run = self.play("digits-off", "processes", "--set", "round.rounds=3")
        self.assertEqual(len(run.rounds), 3)
        for number, event in enumerate(run.rounds, 1):
            self.assertEqual(list(event)[:len(ROUND_FIELDS)], ROUND_FIELDS)
            self.assertEqual((event["round"], event["version"], event["state"]),
                             (number, number + 1, "committed"))
            self.assertEqual((event["asked"], event["accepted"], event["refused"]), (20, 20, 0))
            self.assertEqual((event["epsilon"], event["epsilon_pure"], event["delta"]), (None,) * 3)
            self.assertEqual(event["value"], event["metrics"]["accuracy"])
            # 650 parameters in 24-bit words from 20 devices, and 32-bit words to them
            self.assertGreater(event["bytes_up"], 20 * 650 * 3)
            self.assertGreater(event["bytes_down"], 19 * 650 * 4)
        self.assertEqual(list(run.last)[:len(DONE_FIELDS)], DONE_FIELDS)
        self.assertEqual([run.last[name] for name in DONE_FIELDS[:3]], ["done", 3, 4])
        best = max(run.rounds, key=lambda event: event["value"])
        self.assertEqual((run.last["best"], run.last["best_round"]), (best["value"], best["round"]))

    def test_out_holds_what_was_promised(self):
        for mode in ["processes", "inprocess"]:
            run = self.play("digits-off", mode, *FEW, "--set", "round.rounds=2")
            model = fleet.Model(run.out / "model.safetensors")
            self.assertEqual(run.last["model"], str(run.out / "model.safetensors"))
            self.assertEqual(run.last["model_digest"], model.digest())
            self.assertEqual(model.metadata["digest"], model.digest())
            self.assertEqual(model.metadata["spec"], "64 - dense 10 softmax")
            self.assertEqual({name: tensor["shape"] for name, tensor in model.header.items()},
                             {"0.weight": [10, 64], "0.bias": [10]})
            lines = (run.out / "rounds.jsonl").read_text().splitlines()
            self.assertEqual([json.loads(line) for line in lines], run.rounds)
            with open(run.out / "rounds.csv", newline="") as file:
                rows = list(csv.DictReader(file))
            self.assertEqual([int(row["version"]) for row in rows], [2, 3])
            self.assertEqual([float(row["value"]) for row in rows],
                             [event["value"] for event in run.rounds])
            root = xml.etree.ElementTree.parse(run.out / "report.svg").getroot()
            self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        logs = {path.name for path in (self.dir / "processes/logs").iterdir()}
        self.assertEqual(logs, {"coordinator.log", *(f"d{i:04}.log" for i in range(4))})

    def test_a_bar_is_drawn_on_a_terminal_only(self):
        words = ["run", SCENARIOS / "digits-off.ini", "--mode", "inprocess", "--out",
                 self.dir / "out", "--set", "round.rounds=3"]
        plain = fleet.run("tributary-sim", *words)
        self.assertEqual(plain.returncode, 0, plain.stderr)
        self.assertNotRegex(plain.stdout, r"[\r\x1b]|\[#*\.*\] ")
        main, end = pty.openpty()
        with subprocess.Popen([fleet.program("tributary-sim"), *map(str, words)], stdout=end,
                              stderr=subprocess.DEVNULL) as sim:
            os.close(end)
            seen = b""
            with contextlib.suppress(OSError):  # the terminal ends with its last writer
                while piece := os.read(main, 65536):
                    seen += piece
        os.close(main)
        self.assertEqual(sim.returncode, 0)
        self.assertRegex(seen, rb"\[#+\.+\] 1 of 3\r\x1b\[K")

    def test_every_key_is_listed_with_its_default_and_can_be_set(self):
        done = fleet.run("tributary-sim", "keys")
        self.assertEqual(done.returncode, 0, done.stderr)
        keys = [line.split()[0] for line in done.stdout.splitlines()]
        self.assertEqual(len(keys), len(set(keys)))
        run = self.play("digits-off", "inprocess", *settings("round.rounds=1",
                                                             "client.policy.min_cohort=33"))
        section, resolved = None, {}
        for line in (run.out / "scenario.ini").read_text().splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif " = " in line and not line.startswith((";", "#")):
                name, value = line.split(" = ", 1)
                resolved[f"{section}.{name}"] = value
        self.assertLessEqual(set(resolved), set(keys))
        self.assertEqual(resolved["client.policy.min_cohort"], "33")  # split at the last dot

    def test_the_scenario_as_resolved_gives_the_same_model_again(self):
        first = self.play("digits-off", "inprocess", "--set", "round.rounds=2")
        again = Run(self.dir / "again", first.out / "scenario.ini", "--mode", "inprocess")
        self.assertEqual(again.status, 0, again.done.stderr)
        self.assertEqual(again.last["model_digest"], first.last["model_digest"])

    # ---- Exit codes

    def test_a_missing_scenario_is_a_usage_error(self):
        run = Run(self.dir / "out", self.dir / "absent.ini")
        self.assertEqual(run.status, 2)
        self.assertIn("absent.ini", run.done.stderr)

    def test_missing_data_is_told_from_a_missing_scenario(self):
        run = self.play("digits-off", "inprocess", "--set", f"data.train={self.dir}/absent.csv",
                        status=5)
        self.assertIn("absent.csv", run.done.stderr)

    def test_a_wrong_key_is_named_with_its_line(self):
        path = self.dir / "wrong.ini"
        for text, line in [("[model]\nspec = 2 - dense 2\nsped = 1\n", 3),
                           ("[round]\nrounds = 1\nrounds = 2\n", 3),
                           ("[round]\nrounds = many\n", 2)]:
            path.write_text(text)
            run = Run(self.dir / "out", path)
            self.assertEqual(run.status, 2)
            self.assertIn(f"wrong.ini:{line}:", run.done.stderr)
        run = self.play("digits-off", "inprocess", "--set", "round.ronds=1", status=2)
        self.assertIn("ronds", run.done.stderr)

    def test_a_target_ends_the_run_when_it_is_met_and_fails_it_when_it_is_missed(self):
        target = [*FEW, "--set", "round.target_metric=accuracy", "--set"]
        for mode in ["processes", "inprocess"]:
            run = self.play("digits-off", mode, *target, "round.target_value=0.9")
            self.assertGreaterEqual(run.rounds[-1]["value"], 0.9)
            self.assertTrue(all(event["value"] < 0.9 for event in run.rounds[:-1]))
            run = self.play("digits-off", mode, *target, "round.target_value=0.999",
                            "--set", "round.rounds=2", "--quiet", status=7)
            self.assertEqual(run.last["event"], "done")
            self.assertIn("round.target_value: accuracy 0.999 was not reached; version 3 has "
                          f"{run.last['value']:.4f}\n", run.done.stderr)

    def test_an_interrupted_run_keeps_its_model_and_leaves_nothing_behind(self):
        with self.endless_run() as (sim, children):
            self.assertEqual(len(children), 5)
            sim.send_signal(signal.SIGINT)
            output, _ = sim.communicate(timeout=fleet.PATIENCE_S)
            self.assertEqual(sim.returncode, 7)
        self.assert_nothing_left(children)
        last = json.loads(output.splitlines()[-1])
        self.assertEqual(last["event"], "done")
        self.assertEqual(last["model_digest"],
                         fleet.Model(self.dir / "out/model.safetensors").digest())

    def test_a_killed_client_ends_the_run_and_its_log_is_shown(self):
        with self.endless_run() as (sim, children):
            victim = next(pid for pid, line in children.items() if "tributary-client" in line)
            os.kill(victim, signal.SIGKILL)
            _, errors = sim.communicate(timeout=fleet.PATIENCE_S)
            self.assertEqual(sim.returncode, 6)
        self.assert_nothing_left(children)
        self.assertRegex(errors, r"d\d{4} was killed by signal 9")
        self.assertRegex(errors, r"--- last lines of \S+/d\d{4}\.log\n(.*\n)*.*receipt=ACCEPTED\n")

    def test_a_killed_coordinator_ends_the_run(self):
        with self.endless_run() as (sim, children):
            victim = next(pid for pid, line in children.items() if "tributary-coordinator" in line)
            os.kill(victim, signal.SIGKILL)
            _, errors = sim.communicate(timeout=fleet.PATIENCE_S)
            self.assertEqual(sim.returncode, 6)
        self.assert_nothing_left(children)
        self.assertIn("coordinator was killed by signal 9", errors)

    def test_a_killed_simulator_takes_its_children_along(self):
        with self.endless_run() as (sim, children):
            sim.kill()
            sim.wait()
            fleet.wait_until(lambda: not any(fleet.is_alive(*child) for child in children.items()),
                             "the children are gone", patience_s=10)


if __name__ == "__main__":
    fleet.main()
