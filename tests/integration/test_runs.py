#!/usr/bin/env python3
"""A model that is sealed once for many: who could change it for somebody else changes nothing."""
import os

import fleet

SPEC = "64 - dense 10 softmax"


class RunsTest(fleet.Case):
    def test_a_run_that_another_device_forged_is_fetched_again_sealed_for_one(self):
        """The planted bug does what somebody can who was sent the same run and holds a connection."""
        if not fleet.crash_points("tributary-coordinator"):
            self.skipTest("a build without -Dcrash_points=true")
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator(environment={**os.environ, "TRIB_PLANT": "forged-run"})
            for name, part in ("d0", rows[200:300]), ("d1", rows[300:400]):
                tried.add_device(name, part)
                tried.start_device(name)
            tried.wait_connected(2)
            tried.wait_for_job(tried.submit(SPEC, rows[:100], rounds=2, cohort=2))
            head = tried.status()["version"]
            for name in "d0", "d1":
                log = tried.log(name)
                self.assertIn("does not match its digest; fetched again, sealed for us alone", log)
                self.assertNotIn("id=model-refused", log)
                fleet.wait_until(lambda name=name: tried.device(name)["version"] == head,
                                 f"{name} has version {head}")
            self.assertNotIn("id=install-refused", tried.log("coordinator"))


if __name__ == "__main__":
    fleet.main()
