#!/usr/bin/env python3
"""An update of another model than the round's is refused, whoever sends it, and leaves no trace."""
import fleet
import spool

SPEC = "64 - dense 10 softmax"
OLD_SPEC = "64 - dense 8 relu - dense 10 softmax"
NAMES = ["one", "two"]


class MismatchTest(fleet.Case):
    def play(self, with_old_model=False, declines=False):
        """Two rounds; in the first one a device may come with an update of its old model, or decline.

        What was accepted in each, the receipts, and the digest of what the first one made."""
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for i, name in enumerate(NAMES):
                modes = "local" if declines and name == "one" else "off"
                tried.add_device(name, rows[100 * i:100 * i + 100], modes=modes)
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
            made = tried.ctl("models", "show", "2")[0]["model_digest"]
            return accepted, tried.status()["receipts"], made

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

    def test_an_update_of_an_old_model_is_refused_and_leaves_no_trace(self):
        if not fleet.crash_points("tributary-client"):
            self.skipTest("a build without -Dcrash_points=true")
        accepted, receipts, whole = self.play()
        self.assertEqual((accepted, receipts), ([2, 2], {"ACCEPTED": 4}))
        accepted, _, of_one = self.play(declines=True)
        self.assertEqual(accepted, [1, 1])
        # Nobody waits for it, and its round is as if it had not been there; the next one has it.
        accepted, receipts, made = self.play(with_old_model=True)
        self.assertEqual((accepted, receipts), ([1, 2], {"ACCEPTED": 3, "ARCH_MISMATCH": 1}))
        self.assertEqual(made, of_one)
        self.assertNotEqual(made, whole)


if __name__ == "__main__":
    fleet.main()
