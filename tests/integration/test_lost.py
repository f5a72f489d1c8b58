#!/usr/bin/env python3
"""A file of a coordinator's directory is gone: it says which, and makes and removes nothing."""
import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{i % 2}" for i in range(40)]


class LostTest(fleet.Case):
    def assert_refuses(self, tried, event):
        """It does not start, changes nothing but the reserve, and says why."""
        def files():
            return {path: path.read_bytes() for path in tried.dir.rglob("*") if path.is_file()}

        before = files()
        done = fleet.run("tributary-coordinator", "run", tried.dir)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn(f"id={event} ", done.stderr)
        self.assertEqual(files(), before)

    def test_what_is_gone_is_named_and_nothing_is_made_in_its_place(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=2, cohort=1))
            digest = tried.model_digest()
            tried.end("coordinator")
            for name, event in [("store.db", "store-lost"), ("roster.key", "roster-key-lost")]:
                with self.subTest(name):
                    (tried.dir / name).rename(tried.root / name)
                    self.assert_refuses(tried, event)
                    (tried.root / name).rename(tried.dir / name)
            (tried.dir / "store.db").rename(tried.root / "store.db")
            (tried.dir / "store.db").touch()
            self.assert_refuses(tried, "store-lost")
            done = fleet.run("tributary-coordinator", "keys", "rotate", tried.dir)
            self.assertEqual(done.returncode, 5, done.stderr)
            (tried.root / "store.db").rename(tried.dir / "store.db")

            done = fleet.run("tributary-coordinator", "keys", "rotate", tried.dir)
            self.assertEqual(done.returncode, 0, done.stderr)
            (tried.dir / "keys.chain").rename(tried.root / "keys.chain")
            done = fleet.run("tributary-coordinator", "run", tried.dir)
            self.assertEqual(done.returncode, 5, done.stderr)
            self.assertIn("id=keys-lost ", done.stderr)
            (tried.root / "keys.chain").rename(tried.dir / "keys.chain")
            tried.start_coordinator()  # all is there again
            self.assertEqual(tried.model_digest(), digest)
            self.assertTrue(tried.ctl("audit", "verify")[0]["whole"])

    def test_a_coordinator_that_never_ran_has_lost_nothing(self):
        with fleet.Fleet() as tried:
            (tried.dir / "store.db").touch()  # as a kill in the first moment leaves it
            tried.start_coordinator()
            self.assertEqual(tried.status()["devices"], 0)


if __name__ == "__main__":
    fleet.main()
