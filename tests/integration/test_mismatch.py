#!/usr/bin/env python3
"""An update of another model than the round's is refused, whoever sends it, and leaves no trace."""
import fleet
import spool

SPEC = "64 - dense 10 softmax"
OLD_SPEC = "64 - dense 8 relu - dense 10 softmax"
NAMES = ["one", "two"]


class MismatchTest(fleet.Case):
    def play(self, with_old_model):
        """Two rounds; in the first one a device may come with an update of its old model."""
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for i, name in enumerate(NAMES):
                tried.add_device(name, rows[100 * i:100 * i + 100])
            tried.start_device("one", {"TRIB_CRASH": "spool.durable:1"} if with_old_model else None)
            tried.start_device("two")
            tried.wait_connected(2)
            job = tried.submit(SPEC, rows[200:300], rounds=2, cohort=2, batch=16,
                               learning_rate=0.1)
            if with_old_model:
                self.send_old_update(tried)
            tried.wait_for_job(job)
            self.assert_books_balance(tried)
            accepted = [row["accepted"] for row in tried.ctl("rounds", "ls")]
            self.assertEqual(accepted, [2, 2])
            return tried.status()["receipts"], tried.model_digest()

    def send_old_update(self, tried):
        one = tried.processes["one"]
        fleet.wait_until(lambda: one.poll() is not None, "its update is in the spool")
        tried.processes.pop("one")
        waiting = tried.root / "one" / "spool.update"
        spool.change_model(waiting, SPEC, OLD_SPEC)

        tried.start_device("one")
        fleet.wait_until(lambda: tried.status()["receipts"].get("ARCH_MISMATCH"), "it is refused")
        fleet.wait_until(lambda: not waiting.exists(), "it is dropped")
        self.assertIn("receipt=ARCH_MISMATCH", tried.log("one"))
        now = tried.status()
        self.assertLessEqual(now["counted"], 1, now)  # of the other device
        # When it comes again it is given the task again, as one that has forgotten it.
        tried.end("one")
        tried.start_device("one")

    def test_an_update_of_an_old_model_is_refused_and_leaves_no_trace(self):
        if not fleet.crash_points("tributary-client"):
            self.skipTest("a build without -Dcrash_points=true")
        receipts, digest = self.play(with_old_model=False)
        self.assertEqual(receipts, {"ACCEPTED": 4})
        self.assertEqual(self.play(with_old_model=True),
                         ({"ACCEPTED": 4, "ARCH_MISMATCH": 1}, digest))


if __name__ == "__main__":
    fleet.main()
