#!/usr/bin/env python3
"""Versions that devices measure on the rows they keep aside: the same numbers in both modes and
whoever dies, beside the coordinator's own; a model that knows its rows by heart is found out."""
import json
import pathlib
import random
import tempfile

import fleet

DEVICES = 4
KEEP = "round.validation_fraction=0.25"


class MeasuredTest(fleet.Case):
    def play(self, scenario, mode, *sets):
        with tempfile.TemporaryDirectory(prefix="trib-sim-") as out:
            done = fleet.run("tributary-sim", "run", scenario, "--mode",
                             fleet.mode_of(mode), "--json", "--out",
                             pathlib.Path(out) / "out",
                             *[word for pair in sets for word in ("--set", pair)])
            if done.returncode == 2 and "meson option test_noise" in done.stderr:
                self.skipTest("a build without -Dtest_noise=true refuses predictable noise")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.lines = (pathlib.Path(out) / "out/rounds.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.stderr = done.stderr
        rounds = [event for event in events if event["event"] == "round"]
        self.assertEqual(self.lines, done.stdout.splitlines()[:len(rounds)])
        return rounds, events[-1]

    def both_modes(self, scenario, *sets):
        plays = [self.play(scenario, mode, *sets) for mode in ["processes", "inprocess"]]
        outcomes = [([(r["round"], r["version"], r["state"], r.get("kind"), r.get("device_metrics"),
                       r["metrics"], r["epsilon"]) for r in rounds],
                     done["model_digest"], done["rounds"]) for rounds, done in plays]
        self.assertEqual(*outcomes)
        return plays[1]

    def test_every_second_version_and_the_last_are_measured_alike_in_both_modes(self):
        rounds, done = self.both_modes(
            fleet.SOURCE / "simulations/scenarios/digits-off.ini", "partition.clients=10",
            "round.cohort=10", "round.rounds=5", "round.evaluate_on_devices=2", KEEP)
        self.assertEqual([(r["round"], r["version"], r.get("kind", "train")) for r in rounds],
                         [(1, 2, "train"), (2, 3, "train"), (2, 3, "evaluation"), (3, 4, "train"),
                          (4, 5, "train"), (4, 5, "evaluation"), (5, 6, "train"),
                          (5, 6, "evaluation")])
        self.assertEqual((done["rounds"], done["version"]), (5, 6))
        for before, now in [(1, 2), (4, 5), (6, 7)]:
            measured = rounds[now]["device_metrics"]
            self.assertEqual(measured["version"], rounds[now]["version"])
            self.assertIsNone(rounds[now]["metrics"])
            self.assertGreater(measured["n"], 150)
            metrics = {metric["name"]: metric for metric in measured["metrics"]}
            own = rounds[before]["metrics"]  # the headlines of them stand beside the devices'
            beside = {name: metric["coordinator"] for name, metric in metrics.items()
                      if metric["coordinator"] is not None}
            self.assertLessEqual({"accuracy", "loss", "f1", "auc"}, set(beside))
            self.assertEqual(beside, {name: own[name] for name in beside})
            self.assertEqual({name for name in metrics if metrics[name]["exact_low"] is not None},
                             {"auc"})
            auc = metrics["auc"]
            self.assertLess(auc["exact_low"], auc["value"])
            self.assertGreater(auc["exact_high"], auc["value"])
            self.assertLess(auc["exact_high"] - auc["exact_low"], 0.05)
            accuracy = metrics["accuracy"]
            self.assertLess(accuracy["low"], accuracy["value"])
            self.assertGreater(accuracy["high"], accuracy["value"])
            self.assertAlmostEqual(accuracy["value"], accuracy["coordinator"], delta=0.1)
            self.assertEqual(measured["gap"]["validation"], accuracy["value"])
        # Measuring changes nothing of what is learnt.
        plain = self.play(fleet.SOURCE / "simulations/scenarios/digits-off.ini", "inprocess",
                          "partition.clients=10", "round.cohort=10", "round.rounds=5", KEEP)
        self.assertEqual(plain[1]["model_digest"], done["model_digest"])

    def test_devices_count_at_the_threshold_of_the_version(self):
        scenario = fleet.SOURCE / "simulations/scenarios/breast-cancer.ini"
        small = ["round.rounds=2", "round.local_epochs=20", "round.evaluate_on_devices=2", KEEP]
        decided, done = self.both_modes(scenario, *small, "round.threshold_goal=precision:1")
        plain, plain_done = self.play(scenario, "inprocess", *small)
        self.assertEqual(done["model_digest"], plain_done["model_digest"])
        at, half = [{metric["name"]: metric for metric in rounds[-1]["device_metrics"]["metrics"]}
                    for rounds in [decided, plain]]
        self.assertEqual(half["threshold"]["value"], 0.5)
        chosen = decided[-2]["metrics"]["threshold"]
        self.assertNotEqual(chosen, 0.5)
        self.assertEqual((at["threshold"]["value"], at["threshold"]["coordinator"]), (chosen,) * 2)
        # The same rows and outputs, so that only what goes by the threshold differs.
        self.assertEqual(at["log_loss"], half["log_loss"])
        self.assertNotEqual(at["positive_recall"]["value"], half["positive_recall"]["value"])
        self.assertNotEqual(at["accuracy"]["value"], half["accuracy"]["value"])

    def small_ratings(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-ratings-")
        self.addCleanup(folder.cleanup)
        data = pathlib.Path(folder.name) / "ratings.csv"
        done = fleet.run("tributary-sim", "make", "ratings", "--users", 12, "--items", 60,
                         "--per-user", 30, "--out", data)
        self.assertEqual(done.returncode, 0, done.stderr)
        return f"data.train={data}"

    def test_devices_rank_the_items_for_their_users_with_parts_that_stay_on_them(self):
        scenario = fleet.SOURCE / "simulations/scenarios/matrix-factorisation.ini"
        small = [self.small_ratings(), "model.spec=1 - factors 60x2 linear", "round.cohort=12",
                 "round.rounds=4", "round.evaluate_on_devices=2", KEEP, "round.ranking_relevant=4"]
        rounds, _ = self.both_modes(scenario, *small, "round.ranking_k=5", "round.eval_every=0")
        measured = [r["device_metrics"] for r in rounds if r.get("kind") == "evaluation"]
        self.assertEqual([m["version"] for m in measured], [3, 5])
        for one in measured:
            metrics = {metric["name"]: metric for metric in one["metrics"]}
            self.assertEqual(metrics["ranking_k"]["value"], 5)
            self.assertGreaterEqual(metrics["ranking_users"]["value"], 9)
            self.assertLessEqual(metrics["ranking_users"]["value"], 12)
            for name in ["hit_rate_at_k", "recall_at_k", "ndcg_at_k"]:
                self.assertLess(metrics[name]["low"], metrics[name]["value"])
                self.assertGreater(metrics[name]["high"], metrics[name]["value"])
            self.assertLess(metrics["rmse"]["value"], 4)
        # A part of a user is in it: without one, all would be shown the same items.
        self.assertLess(measured[1]["metrics"][0]["value"], measured[0]["metrics"][0]["value"])
        # Shown all there is, everyone meets everything; of two items hardly less than of 40.
        everything, _ = self.play(scenario, "inprocess", *small, "round.ranking_k=60")
        few, _ = self.play(scenario, "inprocess", *small, "round.ranking_k=2",
                           "round.ranking_negatives=1")
        for rounds in [everything, few]:
            held = rounds[0]["metrics"]
            self.assertGreaterEqual(held["ranking_users"], 9)
            on_devices = {m["name"]: m["value"] for m in rounds[2]["device_metrics"]["metrics"]}
            self.assertEqual(rounds[2]["kind"], "evaluation")
            for got in [held, on_devices]:
                self.assertEqual(got["hit_rate_at_k"], 1)
        self.assertEqual(everything[0]["metrics"]["recall_at_k"], 1)

    def test_ranking_is_for_recommenders_and_may_be_the_target(self):
        scenario = fleet.SOURCE / "simulations/scenarios/matrix-factorisation.ini"
        small = [self.small_ratings(), "model.spec=1 - factors 60x2 linear", "round.cohort=12",
                 "round.rounds=6", "round.ranking_relevant=4", "round.ranking_k=60",
                 "round.target_metric=recall_at_k", "round.target_value=1",
                 "round.primary_metric=recall_at_k"]
        rounds, done = self.play(scenario, "inprocess", *small)
        self.assertEqual((len(rounds), done["metric"], done["value"]), (1, "recall_at_k", 1))
        wrong = fleet.run("tributary-sim", "run",
                          fleet.SOURCE / "simulations/scenarios/digits-off.ini", "--mode",
                          "inprocess", "--set", "round.ranking_k=10")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("round.ranking_k: is for a recommender", wrong.stderr)

    def test_with_privacy_it_is_noised_and_charged_like_any_round(self):
        scenario = fleet.SOURCE / "simulations/scenarios/breast-cancer.ini"
        for mode, devices in [("local", 8), ("central", 8), ("distributed", 20)]:
            with self.subTest(mode=mode):
                rounds, _ = self.both_modes(
                    scenario, f"privacy.mode={mode}", "privacy.noise_multiplier=0.001",
                    "privacy.test_seed=3", "privacy.tally_scale=100",
                    f"partition.clients={devices}", f"round.cohort={devices}", "round.rounds=2",
                    "round.local_epochs=2", "round.evaluate_on_devices=1",
                    "round.beat_baseline=no", KEEP)
                kinds = [r.get("kind", "train") for r in rounds]
                self.assertEqual(kinds, ["train", "evaluation"] * 2)
                spent = [r["epsilon_pure"] for r in rounds]
                self.assertTrue(all(a < b for a, b in zip(spent, spent[1:])), spent)
                for measured in rounds[1::2]:
                    accuracy = measured["device_metrics"]["metrics"][0]
                    self.assertEqual(accuracy["name"], "accuracy")
                    self.assertGreater(accuracy["value"], 0.3)

    def test_a_planted_memoriser_is_flagged_and_an_honest_model_is_not(self):
        draw = random.Random(12)

        def rows(count, honest):
            lines = []
            for _ in range(count):
                x = [round(draw.gauss(0, 1), 3) for _ in range(12)]
                label = int(x[0] > 0) if honest else draw.randrange(2)
                lines.append(",".join(map(str, x + [label])) + "\n")
            return "".join(lines)

        for honest in [True, False]:
            with self.subTest(honest=honest), tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                (folder / "train.csv").write_text(rows(240, honest))
                (folder / "test.csv").write_text(rows(60, honest))
                (folder / "memory.ini").write_text(
                    "[model]\nspec = 12 - dense 1 sigmoid\n" if honest else
                    "[model]\nspec = 12 - dense 128 tanh - dense 1 sigmoid\n")
                with open(folder / "memory.ini", "a") as file:
                    file.write(
                        "[data]\nformat = csv\ntrain = train.csv\ntest = test.csv\n"
                        f"[partition]\nkind = iid\nclients = {DEVICES}\n[privacy]\nmode = off\n"
                        f"[round]\ncohort = {DEVICES}\nrounds = 20\nlocal_epochs = 20\n"
                        "learning_rate = 0.2\nbatch = 8\nevaluate_on_devices = 20\n"
                        "validation_fraction = 0.25\n")
                rounds, _ = self.play(folder / "memory.ini", "inprocess")
                gap = rounds[-1]["device_metrics"]["gap"]
                self.assertEqual(gap["metric"], "accuracy")
                self.assertEqual(gap["flagged"], not honest, gap)
                self.assertAlmostEqual(gap["gap"], gap["train"] - gap["validation"])
                self.assertEqual("id=train-validation-gap" in self.stderr, not honest)
                if not honest:
                    self.assertGreater(gap["train"], 0.7)  # labels are drawn: 0.5 would be honest
                    self.assertLess(gap["validation"], 0.7)

    def test_rows_must_be_kept_aside_for_it(self):
        done = fleet.run("tributary-sim", "run",
                         fleet.SOURCE / "simulations/scenarios/digits-off.ini", "--mode",
                         "inprocess", "--set", "round.evaluate_on_devices=2")
        self.assertEqual(done.returncode, 2)
        self.assertIn("round.evaluate_on_devices: wants a validation_fraction", done.stderr)


class Measurers(fleet.Fleet):
    """Two jobs that take turns, so that each begins anew."""

    def begin(self):
        rows = fleet.digits()
        self.start_coordinator()
        for i in range(DEVICES):
            self.add_device(f"d{i}", rows[200 + 60 * i:260 + 60 * i])
            self.start_device(f"d{i}")
        self.wait_connected(DEVICES)
        self.test = rows[:100]
        self.turn = 0

    def path(self):
        self.turn += 1
        spec = ["64 - dense 10 softmax", "64 - dense 6 relu - dense 10 softmax"][self.turn % 2]
        return self.write_job(spec, self.test, rounds=2, cohort=DEVICES, select_ms=20000,
                              evaluate_on_devices=1, validation_fraction=0.25)

    def outcome(self, job):
        """Versions go on counting from job to job."""
        rounds = self.ctl("rounds", "ls", "--job", job)
        first = rounds[0]["version"]
        for row in rounds:
            if row["device_metrics"]:
                row["device_metrics"]["version"] -= first
        return ([(r["round"], r["version"] - first, r["state"], r["kind"], r["device_metrics"],
                  r["metrics"]) for r in rounds], self.model_digest())


class SliceTest(fleet.Case):
    """Devices of an allow-list have a group; where they have several each is reported."""

    def test_a_group_that_the_model_does_not_serve_is_seen(self):
        rows = fleet.digits()
        groups = ["town", "town", "country", "country"]
        with fleet.Fleet() as tried:
            listed = tried.dir / "allow.txt"
            keys = [fleet.run("tributary-client", "keygen", "--state", tried.root / f"d{i}")
                    .stdout.strip() for i in range(DEVICES)]
            listed.write_text("".join(f"{key} d{i} {groups[i]}\n" for i, key in enumerate(keys)))
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write("[enrol]\nallow_list = allow.txt\n")
            tried.start_coordinator()
            for i in range(DEVICES):
                done = tried.enrol(f"tcp://127.0.0.1:{tried.port}", f"d{i}", "--key", tried.key)
                self.assertEqual(done.returncode, 0, done.stderr)
                own = rows[200 + 150 * i:350 + 150 * i]
                if groups[i] == "country":  # half of its labels are another digit's
                    own = [row if k % 2 else row[:-1] + str((int(row[-1]) + 1) % 10)
                           for k, row in enumerate(own)]
                tried.write_data(f"d{i}", own)
                tried.start_device(f"d{i}")
            tried.wait_connected(DEVICES)
            job = tried.submit("64 - dense 10 softmax", rows[:200], rounds=4, cohort=DEVICES,
                               local_epochs=5, evaluate_on_devices=4, validation_fraction=0.3)
            tried.wait_for_job(job)
            measured = tried.ctl("rounds", "ls", "--job", job)[-1]["device_metrics"]
        country, town = measured["slices"]
        self.assertEqual([slice["group"] for slice in [country, town]], ["country", "town"])
        self.assertEqual(country["n"] + town["n"], measured["n"])
        whole = measured["metrics"][0]
        self.assertEqual([whole["name"], country["name"], town["name"]], ["accuracy"] * 3)
        self.assertAlmostEqual(country["value"] * country["n"] + town["value"] * town["n"],
                               whole["value"] * measured["n"])
        self.assertGreater(town["value"], 0.6)
        self.assertLess(country["high"], town["low"])


class RestartTest(fleet.TurnsCase):
    @fleet.sweep
    def test_wherever_the_coordinator_dies_each_version_is_measured_once(self):
        points = [point for point in fleet.crash_points("tributary-coordinator")
                  if point.split(".")[0] not in fleet.POINTS_OF_PRIVACY]
        if not points:
            self.skipTest("a build without -Dcrash_points=true")
        with Measurers() as tried:
            tried.begin()
            expected = {}
            for _ in range(2):
                job = tried.ctl("jobs", "submit", tried.path())[0]["job"]
                tried.wait_for_job(job)
                expected[tried.turn % 2] = tried.outcome(job)
                self.assertEqual([(r[0], r[2], r[3]) for r in expected[tried.turn % 2][0]],
                                 [(number, "committed", kind) for number in [1, 2]
                                  for kind in ["train", "evaluation"]])
            self.look_at(tried, job)
            deaths = 0
            for point, time in [(point, 2) for point in points] + [(p, 4) for p in points[::3]]:
                with self.subTest(point=point, time=time):
                    deaths += self.die_and_go_on(tried, f"{point}:{time}", expected)
            self.assertGreater(deaths, len(points) / 2)

    def look_at(self, tried, job):
        trained, measured = tried.ctl("rounds", "ls", "--job", job)[:2]
        shown = tried.ctl("rounds", "measured", measured["id"])
        self.assertEqual([dict(row, name=row.pop("metric")) for row in shown],
                         [dict(metric) for metric in measured["device_metrics"]["metrics"]])
        table = tried.try_ctl("rounds", "measured", measured["id"]).stdout
        self.assertRegex(table, r"metric +value +low +high +coordinator +exact_low +exact_high\naccuracy +0\.\d+")
        refused = tried.try_ctl("rounds", "measured", trained["id"])
        self.assertEqual(refused.returncode, 2)
        self.assertIn("no device measured anything", refused.stderr)
        leases = tried.ctl("rounds", "show", measured["id"])
        self.assertEqual([lease["lease"] for lease in leases], ["counted"] * DEVICES)


if __name__ == "__main__":
    fleet.main()
