#!/usr/bin/env python3
"""Masked rounds whose devices make and send their keys on a tick, as they do their updates."""
import fleet
import test_secagg


class TickTest(fleet.Case):
    def test_a_masked_round_on_a_tick_is_complete_and_gives_the_same_model(self):
        tick_ms = 1200
        with test_secagg.Cohort() as tried:
            tried.begin()
            models, seconds = [], []
            tick = {"send_tick_ms": tick_ms}
            # The other model in between, so that the first begins anew and does not go on.
            for spec, privacy in [(test_secagg.SPEC, {}), (test_secagg.OTHER, tick),
                                  (test_secagg.SPEC, tick)]:
                job = tried.job(spec, privacy=privacy)
                tried.wait_for_job(job)
                ended = tried.round_of(job)
                self.assertEqual((ended["state"], ended["accepted"]),
                                 ("committed", test_secagg.DEVICES))
                models.append(tried.model_digest())
                seconds.append(ended["seconds"])
            self.assertEqual(models[0], models[2])
            # Keys leave on one tick, updates on a later one.
            self.assertGreaterEqual(seconds[2], tick_ms / 1000, seconds)
            self.assertLess(seconds[0], seconds[2])


if __name__ == "__main__":
    fleet.main()
