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

    def test_a_device_that_is_stopped_before_its_tick_ends_in_good_order(self):
        with test_secagg.Cohort() as tried:
            tried.begin()
            # Keys wait for a tick too: there is one in the time that is left to report.
            tried.job(test_secagg.SPEC, privacy={"send_tick_ms": 4000},
                      secagg={"phase_ms": 9000}, report_ms=9000)
            state = {"collecting"}  # masked words wait for the tick
            fleet.wait_until(lambda: tried.status()["round_state"] in state, "words are masked")
            for name in tried.names[:5]:
                self.assertEqual(tried.end(name), 0)


if __name__ == "__main__":
    fleet.main()
