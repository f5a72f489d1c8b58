#!/usr/bin/env python3
"""Federated Newton: the pooled solution, the same bytes in both modes, whoever dies; refusals."""
import csv
import fractions
import json
import math
import pathlib
import random
import signal
import struct
import tempfile

import fleet

DEVICES = 4
EXACT = 1e-9
LINEAR = fleet.SOURCE / "simulations/scenarios/linear.ini"


def to_float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def solve(matrix, right):
    """Gauss with pivots; exact for fractions."""
    rows = [list(row) + [value] for row, value in zip(matrix, right)]
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda i: abs(rows[i][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for i in range(size):
            if i != column:
                factor = rows[i][column] / rows[column][column]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[column])]
    return [rows[i][size] / rows[i][i] for i in range(size)]


def least_squares(rows):
    """Of (features..., target), with an intercept, in exact fractions."""
    design = [[fractions.Fraction(value) for value in row[:-1]] + [fractions.Fraction(1)]
              for row in rows]
    size = len(design[0])
    normal = [[sum(x[i] * x[j] for x in design) for j in range(size)] for i in range(size)]
    right = [sum(x[i] * fractions.Fraction(row[-1]) for x, row in zip(design, rows))
             for i in range(size)]
    return solve(normal, right)


def reweighted_least_squares(rows, ridge, iterations=25):
    """Logistic regression on all rows at once; (features..., label)."""
    design = [list(row[:-1]) + [1.0] for row in rows]
    size = len(design[0])
    at = [0.0] * size
    for _ in range(iterations):
        hessian = [[ridge * len(rows) * (i == j) for j in range(size)] for i in range(size)]
        right = [0.0] * size
        for x, row in zip(design, rows):
            score = sum(a * b for a, b in zip(at, x))
            p = 1 / (1 + math.exp(-score))
            weight = p * (1 - p)
            working = weight * score + row[-1] - p
            for i in range(size):
                right[i] += working * x[i]
                for j in range(size):
                    hessian[i][j] += weight * x[i] * x[j]
        at = solve(hessian, right)
    return at


def mean_square(rows, coefficients):
    return sum((sum(a * b for a, b in zip(coefficients, list(row[:-1]) + [1])) - row[-1]) ** 2
               for row in rows) / len(rows)


class Scenario:
    """A run of the simulator, of files that the test wrote or of a shipped scenario."""

    def __init__(self, case, scenario, mode, *sets):
        with tempfile.TemporaryDirectory(prefix="trib-sim-") as out:
            where = pathlib.Path(out) / "out"
            done = fleet.run("tributary-sim", "run", scenario, "--mode",
                             fleet.mode_of(mode), "--json", "--out",
                             where, *[word for pair in sets for word in ("--set", pair)])
            if done.returncode == 2 and "meson option test_noise" in done.stderr:
                case.skipTest("a build without -Dtest_noise=true refuses predictable noise")
            case.assertEqual(done.returncode, 0, done.stderr)
            self.stderr = done.stderr
            self.params = fleet.Model(where / "model.safetensors").floats()
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.rounds = [event for event in events if event["event"] == "round"]
        self.digest = events[-1]["model_digest"]

    def outcome(self):
        """What must not depend on the mode."""
        return [(r["state"], r.get("reason"), r.get("kind"), r.get("tally"), r["metrics"])
                for r in self.rounds] + [self.digest]


class Played(fleet.Case):
    def both_modes(self, scenario, *sets):
        plays = [Scenario(self, scenario, mode, *sets) for mode in ["inprocess", "processes"]]
        self.assertEqual(plays[0].outcome(), plays[1].outcome())
        return plays[0]

    def write_scenario(self, folder, spec, train, test, **keys):
        for name, rows in [("train", train), ("test", test)]:
            with open(folder / f"{name}.csv", "w", newline="") as file:
                csv.writer(file).writerows(rows)
        lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
        path = folder / "newton.ini"
        path.write_text(f"[model]\nspec = {spec}\n[data]\nformat = csv\ntrain = train.csv\n"
                        f"test = test.csv\n[partition]\nkind = iid\nclients = {DEVICES}\n"
                        f"[round]\ncohort = {DEVICES}\n{lines}[strategy]\nname = newton\n"
                        "[privacy]\nmode = off\n")
        return path


class NewtonTest(Played):
    def test_the_shipped_line_is_found_and_is_that_of_all_rows(self):
        # Which rows are held out is the simulator's business: here a copy names them.
        with open(fleet.SOURCE / "simulations/data/linear.csv", newline="") as file:
            rows = [tuple(to_float32(float(cell)) for cell in row)
                    for row in list(csv.reader(file))[1:]]
        self.assertEqual(len(rows), 100)
        shipped = self.both_modes(LINEAR)
        self.assertEqual([r["kind"] for r in shipped.rounds], ["newton"] * 2)
        train, test = rows[:80], rows[80:]
        with tempfile.TemporaryDirectory() as folder:
            path = self.write_scenario(pathlib.Path(folder), "1 - dense 1 linear", train, test,
                                       rounds=1)
            played = self.both_modes(path)
        for play, learnt in [(shipped, None), (played, train)]:
            tally = play.rounds[-1]["tally"]
            slope, intercept = tally["coefficients"]
            count = tally["rows"]
            self.assertGreater(count, 70)
            # Standard errors for noise of 1: x is uniform in [0, 2), of variance 1/3 and mean 1
            self.assertLess(abs(slope - 3), 3 * math.sqrt(3 / count))
            self.assertLess(abs(intercept - 4), 3 * math.sqrt(4 / count))
            if learnt:
                pooled = [float(value) for value in least_squares(learnt)]
                for got, expected in zip(tally["coefficients"], pooled):
                    self.assertLess(abs(got / expected - 1), EXACT)
                self.assertEqual(play.params, tuple(map(to_float32, tally["coefficients"])))
                self.assertLess(abs(mean_square(test, tally["coefficients"])
                                    / mean_square(test, pooled) - 1), EXACT)
                # The published model is the float32 one.
                self.assertLess(abs(play.rounds[-1]["value"] / mean_square(test, pooled) - 1), 1e-6)

    def test_eight_rounds_on_breast_cancer_are_pooled_reweighted_least_squares(self):
        with open(fleet.SOURCE / "simulations/data/breast_cancer.csv", newline="") as file:
            raw = [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]
        columns = list(zip(*raw))
        for i, column in enumerate(columns[:-1]):  # standardised, and as the devices will read it
            mean = sum(column) / len(column)
            std = math.sqrt(sum((value - mean) ** 2 for value in column) / len(column))
            columns[i] = [to_float32(round((value - mean) / std, 6)) for value in column]
        rows = list(zip(*columns))
        random.Random(4).shuffle(rows)
        train, test = rows[:450], rows[450:]
        ridge = 0.01
        with tempfile.TemporaryDirectory() as folder:
            path = self.write_scenario(pathlib.Path(folder), "30 - dense 1 sigmoid", train, test,
                                       rounds=8, weight_decay=ridge)
            play = self.both_modes(path)
        pooled = reweighted_least_squares(train, ridge)
        coefficients = play.rounds[-1]["tally"]["coefficients"]
        for got, expected in zip(coefficients, pooled):
            self.assertLess(abs(got - expected), 1e-8 * max(abs(value) for value in pooled))
            self.assertLess(abs(got / expected - 1), 1e-8)
        self.assertGreater(play.rounds[-1]["value"], 0.95)
        losses = [r["tally"]["loss"] for r in play.rounds]
        self.assertAlmostEqual(losses[0], math.log(2))
        self.assertLess(losses[-1], 0.1)

    def test_a_singular_system_is_refused_by_name_and_the_job_goes_on_with_sgd(self):
        draw = random.Random(3)
        rows = [(x, 2 * x, 1 + x + 0.1 * draw.gauss(0, 1))
                for x in (round(draw.uniform(-1, 1), 3) for _ in range(80))]
        with tempfile.TemporaryDirectory() as folder:
            path = self.write_scenario(pathlib.Path(folder), "2 - dense 1 linear", rows[:60],
                                       rows[60:], rounds=4, learning_rate=0.1, local_epochs=20)
            play = self.both_modes(path)
            ridged = self.both_modes(path, "round.weight_decay=0.001")
        first, *others = play.rounds
        self.assertEqual((first["state"], first["reason"], first["kind"]),
                         ("abandoned", "newton_refused", "newton"))
        self.assertEqual(first["tally"]["refused"], "ill_conditioned")
        self.assertNotIn("coefficients", first["tally"])
        self.assertEqual([(r["state"], r.get("kind")) for r in others], [("committed", None)] * 3)
        self.assertLess(others[-1]["value"], 0.05)
        self.assertIn("id=newton-refused", play.stderr)
        self.assertEqual([r["kind"] for r in ridged.rounds], ["newton"] * 4)

    def test_devices_that_fall_silent_are_left_out_of_the_sums(self):
        play = self.both_modes(LINEAR, "faults.dropout=0.3", "round.report_ms=2000",
                               "round.min_accepted=3")
        counted = [r["accepted"] for r in play.rounds]
        self.assertTrue(3 <= min(counted) < 10, counted)
        for r in play.rounds:
            self.assertLess(r["tally"]["rows"], 81)
            self.assertGreaterEqual(r["tally"]["rows"], 8 * r["accepted"])

    def test_noised_sums_give_the_same_step_in_both_modes(self):
        self.assertIn("tally_scale", fleet.run("tributary-sim", "keys").stdout)
        with tempfile.TemporaryDirectory() as folder:
            draw = random.Random(8)
            rows = [(round(x, 3), round(0.5 * x, 3)) for x in
                    (draw.uniform(-1, 1) for _ in range(400))]
            path = self.write_scenario(pathlib.Path(folder), "1 - dense 1 linear", rows[:360],
                                       rows[360:], rounds=2)
            for mode, devices in [("local", 20), ("central", 20), ("distributed", 20)]:
                with self.subTest(mode=mode):
                    sets = [f"privacy.mode={mode}", "privacy.noise_multiplier=0.02",
                            "privacy.test_seed=7", "privacy.tally_scale=40",
                            f"partition.clients={devices}", f"round.cohort={devices}"]
                    play = self.both_modes(path, *sets)
                    self.assertEqual([r.get("kind") for r in play.rounds], ["newton"] * 2)
                    privacy = [r["privacy"] for r in play.rounds]
                    self.assertGreater(privacy[0]["epsilon_pure_round"], 0)
                    self.assertAlmostEqual(play.rounds[1]["epsilon_pure"],
                                           2 * privacy[0]["epsilon_pure_round"])
                    slope, _ = play.rounds[0]["tally"]["coefficients"]
                    self.assertLess(abs(slope - 0.5), 0.2)
                    self.assertNotEqual(round(slope, 6), 0.5)  # there is noise in it


def objective(rows, at, ridge):
    """The mean log-loss with its penalty, its gradient and its curvature."""
    size = len(at)
    value = ridge / 2 * sum(b * b for b in at)
    gradient = [ridge * b for b in at]
    hessian = [[ridge * (i == j) for j in range(size)] for i in range(size)]
    for row in rows:
        x = list(row[:-1]) + [1.0]
        score = sum(b * v for b, v in zip(at, x))
        p = 1 / (1 + math.exp(-score)) if score > -700 else 0.0
        value += (math.log1p(math.exp(-abs(score))) + max(score, 0) - row[-1] * score) / len(rows)
        for i in range(size):
            gradient[i] -= (row[-1] - p) * x[i] / len(rows)
            for j in range(size):
                hessian[i][j] += p * (1 - p) * x[i] * x[j] / len(rows)
    return value, gradient, hessian


def damped_newton(rows, start, ridge, rounds, halves):
    """Whole steps, halved when the loss rose; the parameters after each round, as float32."""
    at, good, best, path = list(start), None, None, []
    for _ in range(rounds):
        value, gradient, hessian = objective(rows, at, ridge)
        if halves and good and value - best > 1e-9 * (1 + abs(best)):
            coefficients = [(a + b) / 2 for a, b in zip(good, at)]
        else:
            good, best = at, value
            coefficients = [b - d for b, d in zip(at, solve(hessian, gradient))]
        path.append(coefficients)
        at = list(map(to_float32, coefficients))
    return path


FAR = [6.0, -5.0, 4.0]  # from which whole steps go from bad to worse
RIDGE = 0.002
FAR_ROUNDS = 30


def far_rows():
    draw = random.Random(12)
    rows = []
    for _ in range(200):
        x = [round(draw.uniform(-2, 2), 3) for _ in range(2)]
        rows.append((*map(to_float32, x), int(x[1] - x[0] + draw.gauss(0, 1) > 0)))
    return rows


def write_start(path):
    """FAR as a safetensors file of `2 - dense 1 sigmoid`."""
    header = json.dumps({"0.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
                         "0.bias": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}})
    header += " " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + struct.pack("<3f", *FAR))


class HalvingTest(Played):
    def test_a_start_that_is_far_off_is_reached_by_halving(self):
        rows = far_rows()
        values = [objective(rows, at, RIDGE)[0]
                  for at in [FAR, *damped_newton(rows, FAR, RIDGE, 3, False)]]
        self.assertGreater(values[3], 20 * values[0], values)  # whole steps get lost
        expected = damped_newton(rows, FAR, RIDGE, FAR_ROUNDS, True)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            path = self.write_scenario(folder, "2 - dense 1 sigmoid", rows, rows[:50],
                                       rounds=FAR_ROUNDS, weight_decay=RIDGE)
            write_start(folder / "start.safetensors")
            played = self.both_modes(path, f"model.init={folder / 'start.safetensors'}")
        tallies = [r["tally"] for r in played.rounds]
        self.assertGreater(sum(tally["halved"] for tally in tallies), 2)
        for tally, wanted in zip(tallies, expected):
            for got, value in zip(tally["coefficients"], wanted):
                self.assertLess(abs(got - value), 1e-8 * (1 + abs(value)))
        _, gradient, _ = objective(rows, tallies[-1]["coefficients"], RIDGE)
        self.assertLess(max(map(abs, gradient)), 1e-9)  # at the optimum

    def test_halving_goes_on_after_a_restart(self):
        if not fleet.crash_points("tributary-coordinator"):
            self.skipTest("a build without -Dcrash_points=true")
        rows = far_rows()
        lines = [",".join(map(str, row)) for row in rows]
        outcomes = []
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for i in range(2):
                tried.add_device(f"d{i}", lines[i * 100:i * 100 + 100], scale=1)
                tried.start_device(f"d{i}")
            tried.wait_connected(2)
            start = tried.root / "start.safetensors"
            write_start(start)
            for time in [0, 2, 3, 4, 5, 6]:
                tried.end("coordinator")
                tried.start_coordinator({"TRIB_CRASH": f"round.ended:{time}"} if time else {})
                path = tried.write_job("2 - dense 1 sigmoid", lines[:50], scale=1,
                                       strategy="newton", rounds=12, cohort=2, select_ms=20000,
                                       weight_decay=RIDGE)
                path.write_text(path.read_text().replace("[model]\n", f"[model]\ninit = {start}\n"))
                tried.try_ctl("jobs", "submit", path)
                if time:
                    process = tried.processes.pop("coordinator")
                    self.assertEqual(process.wait(fleet.PATIENCE_S), -signal.SIGKILL)
                    tried.start_coordinator()
                job = tried.ctl("jobs", "ls")[-1]["job"]
                tried.wait_for_job(job)
                tallies = [r["tally"] for r in tried.ctl("rounds", "ls", "--job", job)]
                outcomes.append([(tally["halved"], tally["coefficients"]) for tally in tallies])
                self.assertEqual(outcomes[-1], outcomes[0], time)
        self.assertGreater(sum(halved for halved, _ in outcomes[0][:6]), 2)


class Newtons(fleet.Fleet):
    """Devices with rows of a line, and jobs that take turns so that each begins anew."""

    def begin(self, mode="off", privacy=None):
        self.mode, self.privacy = mode, privacy
        draw = random.Random(6)
        rows = []
        for _ in range(100):
            x = [round(draw.uniform(-1, 1), 3) for _ in range(2)]
            noise = draw.gauss(0, 1)
            rows.append(f"{x[0]},{x[1]},{int(x[0] - x[1] + noise > 0)}")
        self.start_coordinator()
        for i in range(DEVICES):
            self.add_device(f"d{i}", rows[i * 20:i * 20 + 20], scale=1, modes=mode)
            self.start_device(f"d{i}")
        self.wait_connected(DEVICES)
        self.test = rows[80:]
        self.turn = 0

    def path(self):
        self.turn += 1
        spec = ["2 - dense 1 linear", "2 - dense 1 sigmoid"][self.turn % 2]
        return self.write_job(spec, self.test, scale=1, strategy="newton", rounds=2,
                              cohort=DEVICES, select_ms=20000, mode=self.mode,
                              privacy=self.privacy)

    def outcome(self, job):
        rounds = self.ctl("rounds", "ls", "--job", job)
        for r in rounds:
            del r["tally"]["good"]["version"]  # versions are counted over all jobs
        return ([(r["state"], r["kind"], r["tally"]) for r in rounds], self.model_digest())


class RestartTest(fleet.TurnsCase):
    def setUp(self):
        self.points = fleet.crash_points("tributary-coordinator")
        if not self.points:
            self.skipTest("a build without -Dcrash_points=true")

    @fleet.sweep
    def test_wherever_the_coordinator_dies_the_steps_are_the_same(self):
        points = [point for point in self.points
                  if point.split(".")[0] not in fleet.POINTS_OF_PRIVACY]
        deaths = self.die_at([(point, 1) for point in points] +
                             [(point, 3) for point in points[::3]])
        self.assertGreater(deaths, len(points) / 2)

    def test_noise_that_was_added_to_the_sums_is_added_once(self):
        points = ["round.sealed", "central.noised", "central.durable", "version.written"]
        deaths = self.die_at([(point, 2) for point in points], mode="central",
                             privacy={"noise_multiplier": 0.002, "test_seed": 5,
                                      "tally_scale": 20})
        self.assertEqual(deaths, len(points))

    def die_at(self, points, **job):
        """Each job gives what it gave when nobody died; how often somebody did."""
        with Newtons() as tried:
            tried.begin(**job)
            expected = {}
            for _ in range(2):
                job = tried.ctl("jobs", "submit", tried.path())[0]["job"]
                tried.wait_for_job(job)
                expected[tried.turn % 2] = tried.outcome(job)
                self.assertEqual([r[:2] for r in expected[tried.turn % 2][0]],
                                 [("committed", "newton")] * 2)
            deaths = 0
            for point, time in points:
                with self.subTest(point=point, time=time):
                    deaths += self.die_and_go_on(tried, f"{point}:{time}", expected)
            return deaths

    def test_a_refusal_is_remembered_over_a_restart(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator({"TRIB_CRASH": "round.ended:1"})
            rows = [f"{i / 10},{i / 5},{i}" for i in range(40)]
            for i in range(2):
                tried.add_device(f"d{i}", rows[i * 15:i * 15 + 15], scale=1)
                tried.start_device(f"d{i}")
            tried.wait_connected(2)
            path = tried.write_job("2 - dense 1 linear", rows[30:], scale=1, strategy="newton",
                                   rounds=3, cohort=2, learning_rate=0.01)
            tried.try_ctl("jobs", "submit", path)
            process = tried.processes.pop("coordinator")
            self.assertEqual(process.wait(fleet.PATIENCE_S), -signal.SIGKILL)
            tried.start_coordinator()
            job = tried.ctl("jobs", "ls")[-1]["job"]
            tried.wait_for_job(job)
            self.assertEqual([(r["kind"], r["state"], r["reason"])
                              for r in tried.ctl("rounds", "ls", "--job", job)],
                             [("newton", "abandoned", "newton_refused"),
                              ("train", "committed", None), ("train", "committed", None)])


if __name__ == "__main__":
    fleet.main()
