#!/usr/bin/env python3
"""store.keep_versions: files of old versions go, and never one that something still wants."""
import signal

import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]


class OldVersionsTest(fleet.Case):
    def configure(self, tried, keep):
        with open(tried.dir / "tributary.ini", "a") as file:
            file.write(f"[store]\nkeep_versions = {keep}\n")

    def begin(self, tried, keep):
        if keep:
            self.configure(tried, keep)
        tried.start_coordinator()
        tried.add_device("one", ROWS, modes="off,central")
        tried.start_device("one")
        tried.wait_connected(1)

    def files(self, tried):
        return {path.stem for path in (tried.dir / "models").iterdir()}

    def kept(self, tried):
        """The versions whose files are there, once those of the others are gone."""
        def is_settled():
            rows = tried.ctl("models", "ls")
            kept = [row for row in rows if row["kept"]]
            return rows, kept, {row["model_digest"] for row in kept} == self.files(tried)

        def settled_rows():
            rows, kept, same = is_settled()
            return (rows, kept) if same else None

        return fleet.wait_until(settled_rows, "files and rows agree")

    def settle_at(self, tried, count):
        def is_so():
            _, kept = self.kept(tried)
            return kept if len(kept) == count else None
        return fleet.wait_until(is_so, f"{count} files are left")

    def test_the_newest_stay_and_the_rest_is_history(self):
        with fleet.Fleet() as tried:
            self.begin(tried, 3)
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=8, cohort=1, learning_rate=0.01))
            self.assertEqual([row["version"] for row in self.settle_at(tried, 3)], [7, 8, 9])
            for version in range(1, 10):
                out = tried.root / f"v{version}"
                done = tried.try_ctl("models", "export", version, "--out", out)
                self.assertEqual(done.returncode, 0 if version > 6 else 5, done.stderr)
                if version <= 6:
                    self.assertIn(f"the file of version {version} was removed "
                                  "(store.keep_versions = 3)", done.stderr)
                self.assertIn("accuracy", tried.ctl("models", "show", version)[0]["metrics"])
            refused = tried.try_ctl("jobs", "submit", self.with_start(tried, 2))
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn("the file of version 2 was removed", refused.stderr)
            # One that was not dropped, by its kept file
            tried.wait_for_job(tried.ctl("jobs", "submit", self.with_start(tried, 8))[0]["job"])
            kept = {row["model_digest"] for row in self.settle_at(tried, 3)}
            whole = tried.ctl("backup", tried.root / "backup")[0]
            self.assertEqual({path.stem for path in (tried.root / "backup/models").iterdir()}, kept)
            tried.end("coordinator")
            done = fleet.run("tributary-coordinator", "restore", tried.root / "backup",
                             tried.root / "again", "--verify")
            self.assertEqual(done.returncode, 0, done.stderr)
            tried.dir = tried.root / "again"
            tried.start_coordinator()
            self.assertGreater(tried.status()["version"], int(whole["version"].split(".")[1]))

    def test_what_a_job_held_goes_when_it_ends(self):
        """It ends without a new version, after all that might go beside it had gone."""
        with fleet.Fleet() as tried:
            self.begin(tried, 3)
            job = tried.submit(SPEC, ROWS, rounds=5000, cohort=1, learning_rate=0.01)
            fleet.wait_until(lambda: tried.status()["version"] >= 6, "there are versions")
            tried.ctl("jobs", "pause", job)
            fleet.wait_until(lambda: not tried.status()["round"], "no round is open")
            # The newest three, what it started from, and its best one, which may be one of them.
            def few():
                held = [row["version"] for row in self.kept(tried)[1]]
                return held if len(held) <= 5 else None
            held = fleet.wait_until(few, "the rest is gone")
            self.assertEqual(held[0], 1)
            tried.ctl("jobs", "cancel", job)
            self.assertEqual([row["version"] for row in self.settle_at(tried, 3)], held[-3:])

    def with_start(self, tried, version):
        path = tried.write_job(SPEC, ROWS, rounds=1, cohort=1, learning_rate=0.01)
        path.write_text(path.read_text().replace("[model]\n", f"[model]\ninit_version = {version}\n"))
        return path

    def test_what_a_job_comes_back_to_stays_as_long_as_it_runs(self):
        """The best version is the first one, as they only get worse; the tail is half of the job."""
        wrong = [row[:-1] + str(1 - int(row[-1])) for row in ROWS]
        ways = [{"test": wrong, "keep": "best", "learning_rate": 0.05},
                {"test": ROWS, "mode": "central", "learning_rate": 0.1,
                 "privacy": {"noise_multiplier": 0.05, "test_seed": 4}}]
        results = []
        for keep in [0, 1]:
            with fleet.Fleet() as tried:
                self.begin(tried, keep)
                for way in ways:
                    tried.wait_for_job(tried.submit(SPEC, rounds=8, cohort=1, **way))
                rows = tried.ctl("models", "ls")
                results.append([(row["kind"], row["model_digest"]) for row in rows])
                if keep:
                    self.assertEqual([row["version"] for row in self.settle_at(tried, 1)],
                                     [rows[-1]["version"]])
        self.assertEqual(results[0], results[1])
        self.assertIn("restored", [kind for kind, _ in results[1]])
        self.assertIn("tail_average", [kind for kind, _ in results[1]])

    @fleet.sweep
    def test_a_kill_between_row_and_file_leaves_no_claim_without_its_file(self):
        points = [point for point in fleet.crash_points("tributary-coordinator", every=True)
                  if point.startswith("old.")]
        if not points:
            self.skipTest("a build without crash points")
        self.assertEqual(set(points), {"old.durable", "old.file", "old.rows"})
        for point in points:
            with self.subTest(point=point), fleet.Fleet() as tried:
                self.begin(tried, 0)
                tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=4, cohort=1, learning_rate=0.01))
                self.assertEqual(len(self.files(tried)), 5)
                tried.end("coordinator")
                self.configure(tried, 2)
                tried.start_coordinator({"TRIB_CRASH": f"{point}:1"}, may_die=True)
                process = tried.processes.pop("coordinator")
                self.assertEqual(process.wait(20), -signal.SIGKILL)
                tried.start_coordinator()
                rows = tried.ctl("models", "ls")
                digests = {row["model_digest"] for row in rows if row["kept"]}
                self.assertLessEqual(digests, self.files(tried))
                self.assertEqual(len(rows), 5)
                self.settle_at(tried, 2)


if __name__ == "__main__":
    fleet.main()
