#!/usr/bin/env python3
"""Devices that were away for too long are marked, also after a restart of the coordinator."""
import datetime
import time

import fleet

ROWS = [f"{i % 16},{(i * 7) % 16},{i % 2}" for i in range(40)]
STALE_S = 3


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class StaleTest(fleet.Case):
    def set_days(self, tried, days):
        path = tried.dir / "tributary.ini"
        text = path.read_text().split("[devices]")[0]
        path.write_text(text + (f"[devices]\nstale_days = {days}\n" if days is not None else ""))

    def restart(self, tried, days):
        tried.kill("coordinator")
        self.set_days(tried, days)
        tried.start_coordinator()
        tried.wait_connected(1)

    def test_a_device_that_stays_away_is_marked(self):
        with fleet.Fleet() as tried:
            self.set_days(tried, STALE_S / 86400)
            tried.start_coordinator()
            for name in ("d0", "d1"):
                tried.add_device(name, ROWS)
                tried.start_device(name)
            tried.wait_connected(2)
            time.sleep(STALE_S + 1)
            self.assertFalse(tried.device("d0")["stale"])  # it is there, however long ago it came
            self.assertFalse(tried.device("d1")["stale"])
            self.assertEqual(tried.status()["stale"], 0)
            left = time.time()
            tried.kill("d1")
            fleet.wait_until(lambda: tried.device("d1")["stale"], "d1 is stale")
            self.assertGreater(time.time() - left, STALE_S)
            self.assertFalse(tried.device("d0")["stale"])
            self.assertEqual(tried.status()["stale"], 1)
            self.assertIn("stale", tried.try_ctl("devices", "ls").stdout.splitlines()[0])

            self.restart(tried, STALE_S / 86400)  # what was seen is durable
            row = tried.device("d1")
            self.assertTrue(row["stale"])
            self.assertGreater(moment(row["seen"]), moment(row["enrolled"]) + STALE_S)
            self.assertLess(abs(moment(row["seen"]) - left), STALE_S)
            self.assertFalse(tried.device("d0")["stale"])

            self.restart(tried, 0)  # never
            self.assertFalse(tried.device("d1")["stale"])
            self.restart(tried, None)  # after 30 days
            self.assertFalse(tried.device("d1")["stale"])
            self.restart(tried, STALE_S / 86400)
            self.assertTrue(tried.device("d1")["stale"])
            tried.ctl("devices", "revoke", "d1")  # of those nobody expects anything
            self.assertFalse(tried.device("d1")["stale"])
            self.assertEqual(tried.status()["stale"], 0)

    def test_a_wrong_number_of_days_is_named(self):
        with fleet.Fleet() as tried:
            self.set_days(tried, -1)
            done = fleet.run("tributary-coordinator", "run", tried.dir)
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr, r"tributary.ini:\d+: .*stale_days")


if __name__ == "__main__":
    fleet.main()
