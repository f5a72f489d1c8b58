#!/usr/bin/env python3
"""Baselines beside every evaluation, the gate on them, and the best version that comes back."""
import contextlib
import json
import pathlib
import signal
import tempfile

import fleet

DIGITS = fleet.SOURCE / "simulations/scenarios/digits-off.ini"
SPEC = "64 - dense 10 softmax"
WORSE = ["round.learning_rate=0.000001", "round.rounds=2"]  # hardly learns: random guesses
REFUSED = 7


# Each device is a process, which costs more than what it learns.
FEW = ["partition.clients=4", "round.cohort=4"]


class Played:
    def __init__(self, case, mode, *sets, status=0):
        with tempfile.TemporaryDirectory(prefix="trib-gate-") as out:
            where = pathlib.Path(out) / "out"
            done = fleet.run("tributary-sim", "run", DIGITS, "--mode",
                             fleet.mode_of(mode), "--json", "--out",
                             where, *[word for pair in [*FEW, *sets] for word in ("--set", pair)])
            case.assertEqual(done.returncode, status, done.stderr)
            self.stderr = done.stderr
            self.params = fleet.Model(where / "model.safetensors").params
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.rounds, self.done = events[:-1], events[-1]

    def outcome(self):
        kept = {key: value for key, value in self.done.items() if key not in ("seconds", "model")}
        return [(r["round"], r["version"], r["metrics"]) for r in self.rounds] + [kept]


class BaselineTest(fleet.Case):
    def both(self, *sets, status=0):
        plays = [Played(self, mode, *sets, status=status) for mode in ("inprocess", "processes")]
        self.assertEqual(plays[0].outcome(), plays[1].outcome())
        return plays[0]

    def test_each_evaluation_stands_beside_a_baseline(self):
        for kind, low, high in [("prior", 0.08, 0.15), ("linear", 0.85, 0.99)]:
            played = self.both("round.rounds=3", f"round.baseline={kind}",
                               "round.beat_baseline=no")  # 3 rounds do not beat the linear one
            self.assertEqual([r["round"] for r in played.rounds], [1, 2, 3])  # none for the linear one
            for r in played.rounds:
                beside = r["metrics"]["baseline"]
                self.assertEqual((beside["name"], beside["metric"]), (kind, "accuracy"))
                self.assertTrue(low < beside["value"] < high, beside)
                self.assertAlmostEqual(beside["lift"], r["value"] - beside["value"], places=12)
            self.assertEqual(played.done["baseline"]["name"], kind)
        self.assertIsNone(self.both("round.rounds=1", "round.baseline=none").done["baseline"])

    def test_the_gate_stops_a_candidate_that_is_worse(self):
        untrained = Played(self, "inprocess", "round.learning_rate=0", "round.rounds=1",
                           "round.beat_baseline=no")
        # The first is the default.
        for gate in [[], ["round.beat_baseline=yes", "round.baseline=linear"],
                     ["round.beat_baseline=yes", "round.keep=best"]]:
            good = self.both("round.rounds=20", *gate)
            self.assertFalse(good.done["refused"])
            self.assertGreater(good.done["baseline"]["lift"], 0)
            bad = self.both(*WORSE, *gate, status=REFUSED)
            self.assertTrue(bad.done["refused"])
            self.assertIsNone(bad.done["value"])
            self.assertEqual(bad.done["version"], 4)  # one more: what was there before
            self.assertEqual(bad.params, untrained.params)
            self.assertIn("REFUSED", bad.stderr)
        for sets in [["round.beat_baseline=no"], ["round.baseline=none"]]:
            self.assertFalse(Played(self, "inprocess", *WORSE, *sets).done["refused"])
        margin = self.both("round.rounds=3", "round.beat_baseline=yes", "round.baseline_margin=0.95",
                           status=REFUSED)
        self.assertTrue(margin.done["refused"])

    def test_the_best_version_comes_back(self):
        # With a rate that is too high the metric goes up and down; the best is not the last one.
        sets = ["round.learning_rate=1.2", "round.local_epochs=1", "round.rounds=25",
                "round.stop_patience=3"]
        last = self.both(*sets)
        values = [r["value"] for r in last.rounds]
        best = max(range(len(values)), key=lambda i: (values[i], -i))
        self.assertEqual(best + 1 + 3, len(values), values)  # patience, then the end
        self.assertLess(last.done["value"], values[best])
        kept = self.both(*sets, "round.keep=best")
        self.assertEqual(kept.done["value"], values[best])
        self.assertEqual(kept.done["version"], last.done["version"] + 1)
        optimum = Played(self, "inprocess", *sets, f"round.rounds={best + 1}")
        self.assertEqual(kept.done["model_digest"], optimum.done["model_digest"])

    def test_a_curve_is_read(self):
        fine = self.both("round.rounds=20")
        self.assertIn(fine.done["diagnosis"], ("fine", "improving"))
        self.assertEqual(self.both("round.rounds=2").done["diagnosis"], "too_short")
        # A network that knows few rows by heart, as devices say of the rows that they keep aside.
        heart = ["model.spec=64 - dense 64 relu - dense 10 softmax", "data.limit=60",
                 "partition.clients=2", "round.cohort=2", "round.local_epochs=50", "round.batch=8",
                 "round.rounds=4", "round.validation_fraction=0.4", "round.evaluate_on_devices=4"]
        self.assertEqual(self.both(*heart).done["diagnosis"], "overfitting")

    def test_keys_that_do_not_go_together(self):
        for sets, word in [(["round.baseline_margin=0.1", "round.beat_baseline=no"],
                            "beat_baseline"),
                           (["round.baseline_margin=0.1", "round.baseline=none"], "beat_baseline"),
                           (["round.beat_baseline=yes", "round.baseline=none"], "baseline"),
                           (["round.keep=best", "round.eval_every=0"], "keep"),
                           (["round.baseline=linear", "privacy.mode=local",
                             "privacy.target_epsilon=100"], "prior"),
                           (["round.baseline=linear", "model.spec=64 - dense 300 softmax"],
                            "256 classes")]:
            done = fleet.run("tributary-sim", "run", DIGITS, "--mode", "inprocess",
                             *[w for pair in sets for w in ("--set", pair)])
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(word, done.stderr)

    def start(self, tried):
        rows = fleet.digits()
        tried.start_coordinator()
        for i in range(2):
            tried.add_device(f"d{i}", rows[200 + 300 * i:500 + 300 * i])
            tried.start_device(f"d{i}")
        tried.wait_connected(2)
        return rows[:200]

    def test_a_refused_job_leaves_what_was_there_before(self):
        with fleet.Fleet() as tried:
            test = self.start(tried)
            keys = {"cohort": 2, "baseline": "linear", "beat_baseline": "yes"}
            good = tried.submit(SPEC, test, rounds=2, learning_rate=0.1, local_epochs=30, batch=16,
                                cohort=2, beat_baseline="yes")
            shown = tried.wait_for_job(good)
            self.assertEqual(shown["baseline"], "prior")
            self.assertAlmostEqual(shown["lift"], shown["best"] - shown["baseline_value"])
            self.assertEqual(shown["diagnosis"], "too_short")
            self.assertIn("play more", shown["advice"])
            kept = tried.model_digest()
            # It goes on from there and is spoilt: worse than a linear model.
            bad = tried.submit(SPEC, test, rounds=2, learning_rate=5, batch=16, **keys)
            shown = tried.wait_for_job(bad, "refused")
            self.assertEqual(shown["reason"], "the version is not better than the baseline")
            self.assertEqual(shown["baseline"], "linear")
            self.assertEqual(tried.model_digest(), kept)
            self.assertIn("id=gate-refused", tried.log("coordinator"))
            latest = tried.ctl("models", "show", "latest")[0]
            self.assertEqual((latest["kind"], latest["version"]), ("restored", 6))
            fleet.wait_until(lambda: all(row["version"] == 6 for row in tried.ctl("devices", "ls")),
                             "devices have it back")
            # A job of another architecture that fails leaves that model, too.
            tried.wait_for_job(tried.submit("64 - dense 4 relu - dense 10 softmax", test, rounds=1,
                                            learning_rate=0, cohort=2, beat_baseline="yes",
                                            baseline_margin=0.2),
                               "refused")
            self.assertEqual(tried.model_digest(), kept)

    def test_the_first_job_of_a_fleet_that_learns_nothing_is_refused(self):
        with fleet.Fleet() as tried:
            rows = [row.rsplit(",", 1) for row in self.start(tried)]
            test = [f"{row},{(int(label) + 5) % 10}" for row, label in rows]  # other digits
            job = tried.submit(SPEC, test, rounds=2, learning_rate=0.1, batch=16, cohort=2,
                               beat_baseline="auto")
            shown = tried.wait_for_job(job, "refused")
            self.assertEqual(shown["reason"], "the version is not better than the baseline")
            self.assertIn("round.beat_baseline = no", shown["advice"])
            latest = tried.ctl("models", "show", "latest")[0]
            first = tried.ctl("models", "ls")[0]  # there was nothing before: as it was drawn
            self.assertEqual((first["kind"], latest["kind"]), ("initial", "restored"))
            self.assertEqual(latest["model_digest"], first["model_digest"])

    @fleet.sweep
    def test_it_does_not_matter_where_the_coordinator_dies(self):
        points = [p for p in fleet.crash_points("tributary-coordinator")
                  if p in ("round.ended", "commit.durable", "version.written")]
        if not points:
            self.skipTest("a build without -Dcrash_points=true")
        spec = "64 - dense 12 relu - dense 10 softmax"
        with fleet.Fleet() as tried:
            test = self.start(tried)
            tried.wait_for_job(tried.submit(spec, test, rounds=1, learning_rate=0, cohort=2))
            begin = tried.root / "begin.safetensors"
            self.assertEqual(tried.try_ctl("models", "export", "latest", "--out", begin).returncode,
                             0)
            deaths = 0
            for state, baseline, rate in [("refused", "linear", 1e-7), ("done", "prior", 0.1)]:
                keys = {"rounds": 2, "cohort": 2, "baseline": baseline, "beat_baseline": "yes",
                        "keep": "best", "learning_rate": rate, "local_epochs": 30, "batch": 8}
                path = tried.write_job(spec, test, **keys)
                path.write_text(path.read_text().replace("[model]\n", f"[model]\ninit = {begin}\n"))
                wanted = None
                for point in ["none:1"] + [f"{p}:{n}" for p in points for n in (2, 3, 4)]:
                    before = len(tried.ctl("jobs", "ls"))
                    tried.end("coordinator")
                    if not tried.start_coordinator({"TRIB_CRASH": point}, may_die=True):
                        tried.processes.pop("coordinator")
                        tried.start_coordinator()
                    deaths += self.survive(tried, path, before, state)
                    shown = tried.ctl("jobs", "show", tried.ctl("jobs", "ls")[-1]["job"])[0]
                    outcome = (shown["state"], shown["reason"], shown["baseline"], shown["lift"],
                               tried.model_digest())
                    wanted = wanted or outcome
                    self.assertEqual(outcome, wanted, point)
            self.assertGreater(deaths, 6)

    def survive(self, tried, path, before, state):
        """Play the job of that file to its end; did the coordinator die meanwhile?"""
        tried.try_ctl("jobs", "submit", path)
        process = tried.processes["coordinator"]

        def jobs():
            with contextlib.suppress(OSError):
                return tried.query("jobs", "ls")
            return []

        def is_over():
            rows = jobs()
            return process.poll() is not None or (len(rows) > before and
                                                  rows[-1]["state"] != "active")

        fleet.wait_until(is_over, "the coordinator dies, or the job is over")
        died = process.poll() is not None
        if died:
            self.assertEqual(process.returncode, -signal.SIGKILL)
            tried.processes.pop("coordinator")
            tried.start_coordinator()
            if len(jobs()) == before:
                tried.try_ctl("jobs", "submit", path)
        tried.wait_for_job(jobs()[-1]["job"], state)
        return died


if __name__ == "__main__":
    fleet.main()
