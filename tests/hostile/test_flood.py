#!/usr/bin/env python3
"""Crowds of strangers, tokens that many have, captured rounds: the short form of tests/hostile/run."""
import flood
import hostile
import proxy
from hostile import Peer, fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{i % 2}" for i in range(40)]
GROWTH_KIB = 8 << 10
FLOOR_US = 20000  # other tests run beside this one; tests/hostile/run has the machine for itself


class FloodTest(fleet.Case):
    def test_honest_devices_do_not_notice_a_crowd(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for what, (quiet, crowded) in zip(["answer", "visit"],
                                              flood.p99_of(tried, 20, 0.5, 20)):
                self.assertLess(crowded, max(2 * quiet, FLOOR_US), what)
            self.assert_books_balance(tried)
            closed = tried.status()["closed"]
            self.assertEqual(closed.get("full", 0), 0)

    def test_a_crowd_for_which_there_is_no_room_keeps_nobody_out(self):
        """Whoever says nothing has his place for a moment when all places are taken."""
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            with flood.crowd(tried, 1500, 1500):
                tried.start_device("one")
                tried.wait_connected(1)
                tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=1, cohort=1))
            self.assert_books_balance(tried)

    def test_strangers_hear_nothing_and_cost_nothing(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            count, heard, growth = flood.strangers(tried, 1)
            self.assertGreater(count, 50)
            self.assertEqual(heard, 0)
            if not fleet.is_sanitized():  # they keep what was freed
                self.assertLess(growth, GROWTH_KIB)
            self.assert_books_balance(tried)

    def test_a_token_that_many_prove_at_once_enrols_one(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            codes = flood.enrol_at_once(tried, 100)
            self.assertEqual((codes.count("ACCEPTED"), codes.count("NOT_ELIGIBLE")), (1, 99))
            self.assertEqual([row["name"] for row in tried.ctl("devices", "ls")], ["wanted"])

    def test_a_captured_round_counts_nothing(self):
        with proxy.Proxy() as watch, fleet.Fleet(url=watch.url) as tried:
            watch.target_port = tried.port
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            watch.take()
            tried.start_device("one")
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=1, cohort=1))
            said, _ = watch.take()
            tried.end("one")
            tried.submit(SPEC, ROWS, rounds=1, cohort=1)  # it waits for somebody
            before, digest = tried.status(), tried.model_digest()
            with Peer(tried) as peer:
                for i in range(3):
                    self.assertEqual(peer.ask("connect", i), ["ok"])
                    peer.ask("send", i, said)
                    self.assertEqual(peer.ask("hear", i, hostile.WAIT_MS), ["closed", "0"])
            after = tried.status()
            self.assertEqual(after["closed"].get("replay"), 3)
            self.assertEqual([after[key] for key in ["uploads_begun", "receipts", "version"]],
                             [before[key] for key in ["uploads_begun", "receipts", "version"]])
            self.assertEqual(tried.model_digest(), digest)
            self.assert_books_balance(tried)


if __name__ == "__main__":
    fleet.main()
