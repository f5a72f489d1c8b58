#!/usr/bin/env python3
"""Rounds in which each group of devices has its share."""
import fleet

SPEC = "64 - dense 10 softmax"
GROUPS = ["town"] * 6 + ["country"] * 2


class StratifyTest(fleet.Case):
    def begin(self, tried):
        self.rows = fleet.digits()
        tried.begin_groups(GROUPS, [self.rows[200 + 50 * i:250 + 50 * i]
                                    for i in range(len(GROUPS))])

    def countries(self, tried, **keys):
        """How many devices of the country each round counted."""
        job = tried.submit(SPEC, self.rows[:200], rounds=6, cohort=4, **keys)
        tried.wait_for_job(job)
        counted = []
        for r in tried.ctl("rounds", "ls", "--job", job):
            leases = tried.ctl("rounds", "show", r["id"])
            names = [row["device"] for row in leases if row.get("lease") == "COUNTED"
                     or row.get("lease") == "counted"]
            self.assertEqual(len(names), 4, leases)
            counted.append(sum(GROUPS[int(name[1:])] == "country" for name in names))
        return counted

    def test_groups_have_their_shares(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            self.assertEqual(self.countries(tried, stratify_by="group"), [1] * 6)
            self.assertEqual(self.countries(tried, stratify_by="group", equal_shares="yes"),
                             [2] * 6)
            self.assertNotEqual(self.countries(tried), [1] * 6)  # as they are drawn
            alone = tried.write_job(SPEC, self.rows[:200], rounds=1, cohort=4, equal_shares="yes")
            refused = tried.try_ctl("jobs", "submit", alone)
            self.assertEqual(refused.returncode, 2)
            self.assertIn("round.equal_shares: wants stratify_by", refused.stderr)


if __name__ == "__main__":
    fleet.main()
