#!/usr/bin/env python3
"""What a class weighs comes from the labels of all devices, and outlives the coordinator."""
import fleet


def label(row):
    return int(row.rsplit(",", 1)[1])


class Unequal(fleet.Fleet):
    """Two devices with classes of their own, some of them rare; jobs take turns, to begin anew."""

    def begin(self):
        rows = fleet.digits()
        self.test = rows[:200]
        low = [row for row in rows[200:] if label(row) < 5]
        parts = {"d0": [row for i, row in enumerate(low) if label(row) == 0 or i % 9 == 0],
                 "d1": [row for row in rows[200:] if label(row) >= 5]}
        self.counts = [sum(label(row) == digit for part in parts.values() for row in part)
                       for digit in range(10)]
        self.turn = 0
        self.start_coordinator()
        for name, part in parts.items():
            self.add_device(name, part)
            self.start_device(name)
        self.wait_connected(2)

    def path(self):
        self.turn += 1
        spec = ["64 - dense 10 softmax", "64 - dense 8 tanh - dense 10 softmax"][self.turn % 2]
        return self.write_job(spec, self.test, rounds=2, cohort=2, select_ms=20000,
                              class_weights="balanced")

    def outcome(self, job):
        return ([(r["state"], r["kind"], r["tally"]) for r in self.ctl("rounds", "ls", "--job", job)],
                self.model_digest())


class ClassWeightsTest(fleet.TurnsCase):
    def test_labels_are_counted_once_wherever_the_coordinator_dies(self):
        with Unequal() as tried:
            tried.begin()
            expected = {}
            for _ in range(2):
                job = tried.ctl("jobs", "submit", tried.path())[0]["job"]
                tried.wait_for_job(job)
                expected[tried.turn % 2] = tried.outcome(job)
                rounds, _ = expected[tried.turn % 2]
                self.assertEqual([r[:2] for r in rounds],
                                 [("committed", "classes")] + [("committed", "train")] * 2)
                self.check(tried.counts, rounds[0][2])
            points = [p for p in ["version.written", "commit.durable", "round.ended"]
                      if p in fleet.crash_points("tributary-coordinator")]
            deaths = sum(self.die_and_go_on(tried, f"{point}:{time}", expected)
                         for point in points for time in [1, 2])
            self.assertGreaterEqual(deaths, len(points))

    def check(self, counts, report):
        self.assertEqual(report["counts"], counts)
        self.assertEqual(report["rows"], sum(counts))
        for count, weight in zip(counts, report["weights"]):
            self.assertAlmostEqual(weight, sum(counts) / (10 * count), 5)


if __name__ == "__main__":
    fleet.main()
