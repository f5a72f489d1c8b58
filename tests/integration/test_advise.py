#!/usr/bin/env python3
"""tributaryctl advise: the answers that the page shows, and what a coordinator has measured."""
import json
import re
import shlex

import fleet

PAGE = fleet.SOURCE / "docs/models.md"
SPEC = "64 - dense 10 softmax"


class AdviseTest(fleet.Case):
    def test_the_page_shows_what_is_answered(self):
        shown = re.findall(r"^    \$ (tributaryctl advise .*)\n    mode +(\w+)\n    why +(.*)$",
                           PAGE.read_text(), re.M)
        self.assertEqual([mode for _, mode, _ in shown], ["batch", "incremental", "online"])
        for line, mode, why in shown:
            done = fleet.run(*shlex.split(line), "--json", env={})
            self.assertEqual(done.returncode, 0, done.stderr)
            answer = json.loads(done.stdout)
            self.assertEqual((answer["mode"], answer["why"]), (mode, why))
            for word in ("stability", "bias", "overhead"):
                self.assertGreater(len(answer[word]), 20)

    def test_what_is_not_said_is_measured(self):
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            missing = tried.try_ctl("advise", "--new-per-day", 1)
            self.assertEqual(missing.returncode, 2)
            self.assertIn("--rows is missing", missing.stderr)
            for i, count in enumerate([100, 300]):
                tried.add_device(f"d{i}", rows[200 + 300 * i:200 + 300 * i + count])
                tried.start_device(f"d{i}")
            tried.wait_connected(2)
            tried.wait_for_job(tried.submit(SPEC, rows[:200], rounds=2, cohort=2,
                                            baseline="linear"))
            answer = tried.ctl("advise", "--new-per-day", 1)[0]
            self.assertEqual((answer["rows"], answer["params"], answer["mode"]),
                             (200, 650, "batch"))
            self.assertEqual(answer["epoch_flops"], 6 * 200 * 650)
            self.assertEqual(tried.ctl("advise", "--new-per-day", 200)[0]["mode"], "online")
            self.assertEqual(tried.ctl("advise", "--new-per-day", 0, "--drift", "slow")[0]["mode"],
                             "incremental")
            seconds = tried.try_ctl("advise")  # of seconds no rate follows
            self.assertEqual(seconds.returncode, 2)
            self.assertIn("--new-per-day is missing", seconds.stderr)


if __name__ == "__main__":
    fleet.main()
