#!/usr/bin/env python3
"""Mode central: the coordinator draws a round's noise once, whenever it dies, and charges it once."""
import signal
import struct

import fleet

DEVICES = 6
SPECS = ["64 - dense 10 softmax", "64 - dense 4 relu - dense 10 softmax"]
# By these the noised sum is not yet durable, or it is.
BEFORE = ["round.sealed:1", "central.noised:1"]
AFTER = ["central.durable:1", "version.written:2"]


class Central(fleet.Fleet):
    def begin(self):
        self.rows = fleet.digits()
        self.start_coordinator()
        for i in range(DEVICES):
            self.add_device(f"d{i}", self.rows[200 + 100 * i:300 + 100 * i], modes="central")
            self.start_device(f"d{i}")
        self.wait_connected(DEVICES)
        self.turn = 0
        return self

    def path(self, test_seed):
        """Jobs take turns, so that each starts from the beginning."""
        self.turn += 1
        return self.write_job(SPECS[self.turn % 2], self.rows[:200], mode="central", rounds=1,
                              cohort=DEVICES, batch=20, learning_rate=0.1, select_ms=20000,
                              privacy={"noise_multiplier": 0.05, "test_seed": test_seed})

    def sums(self):
        return list((self.dir / "updates").glob("*.sum"))

    def model_of(self, job):
        """The base of the job's only round and what the round made of it."""
        pair = []
        row = self.ctl("rounds", "ls", "--job", job)[0]
        for version in [row["version"] - 1, row["version"]]:
            out = self.root / f"v{version}.safetensors"
            done = self.try_ctl("models", "export", version, "--out", out)
            if done.returncode:
                raise AssertionError(done.stderr)
            pair.append(fleet.Model(out).floats())
        return pair

    def submit_path(self, path):
        return self.ctl("jobs", "submit", path)[0]["job"]

    def crash(self, path, point):
        """Run a job into a crash; what lies on the disk between death and restart."""
        if self.end("coordinator"):
            raise AssertionError("the coordinator did not end well")
        self.start_coordinator({"TRIB_CRASH": point})
        self.wait_connected(DEVICES)
        process = self.processes["coordinator"]
        self.try_ctl("jobs", "submit", path)
        status = process.wait(fleet.PATIENCE_S)
        if status != -signal.SIGKILL:
            raise AssertionError(f"{point}: ended with {status}")
        kept = [file.read_bytes() for file in self.sums()]
        self.processes.pop("coordinator")
        return kept

    def go_on(self):
        self.start_coordinator()
        job = self.ctl("jobs", "ls")[-1]["job"]
        self.wait_for_job(job)
        return job


class CentralTest(fleet.Case):
    def setUp(self):
        if not fleet.crash_points("tributary-coordinator"):
            self.skipTest("a build without -Dcrash_points=true")

    def assert_is_made_of(self, tried, job, kept):
        """The round's step is the durable sum, times one number (grid / devices)."""
        base, made = tried.model_of(job)
        count, = struct.unpack_from("<Q", kept, 16)
        sums = struct.unpack_from(f"<{count}q", kept, 32)
        self.assertEqual((kept[:8], count), (b"TRIBSUM1", len(base)))
        largest = max(range(count), key=lambda i: abs(sums[i]))
        scale = (made[largest] - base[largest]) / sums[largest]
        self.assertGreater(scale, 0)
        for i in range(count):  # in float32, so to a few units in the last place
            self.assertAlmostEqual(made[i], base[i] + scale * sums[i], delta=1e-6)

    @fleet.sweep
    def test_seeded_noise_gives_the_same_model_and_charge_wherever_it_dies(self):
        with Central() as tried:
            tried.begin()
            expected = {}
            for _ in SPECS:
                job = tried.submit_path(tried.path(test_seed=5))
                tried.wait_for_job(job)
                shown = tried.ctl("jobs", "show", job)[0]
                expected[tried.turn % 2] = (tried.model_digest(), shown["epsilon_pure"],
                                            shown["rho"])
                self.assertGreater(shown["epsilon_pure"], 0)
            self.assertNotEqual(expected[0][0], expected[1][0])
            # A weight would make an UPLOAD_BEGIN malformed: none was sent.
            self.assertEqual(tried.status()["receipts"], {"ACCEPTED": DEVICES * len(SPECS)})
            for point in BEFORE + AFTER:
                with self.subTest(point=point):
                    kept = tried.crash(tried.path(test_seed=5), point)
                    self.assertEqual(len(kept), int(point in AFTER))
                    job = tried.go_on()
                    shown = tried.ctl("jobs", "show", job)[0]
                    self.assertEqual((tried.model_digest(), shown["epsilon_pure"], shown["rho"]),
                                     expected[tried.turn % 2])
                    row = tried.ctl("rounds", "ls", "--job", job)[0]
                    self.assertEqual(row["epsilon_pure"], shown["epsilon_pure"])
                    fleet.wait_until(lambda: not tried.sums(), "the sum is removed")

    def test_real_noise_that_was_durable_is_what_is_committed(self):
        with Central() as tried:
            tried.begin()
            for point in AFTER:
                with self.subTest(point=point):
                    kept, = tried.crash(tried.path(test_seed=0), point)
                    job = tried.go_on()
                    self.assert_is_made_of(tried, job, kept)

    def test_noise_is_not_drawn_again_for_a_sum_that_is_damaged(self):
        with Central() as tried:
            tried.begin()
            tried.crash(tried.path(test_seed=0), "central.durable:1")
            path, = tried.sums()
            damaged = bytearray(path.read_bytes())
            damaged[100] ^= 1
            path.write_bytes(damaged)
            tried.start_coordinator()
            job = tried.ctl("jobs", "ls")[-1]["job"]
            tried.wait_for_job(job, state="failed")
            self.assertIn("id=noised-sum-corrupt", tried.log("coordinator"))
            row = tried.ctl("rounds", "ls", "--job", job)[0]
            self.assertEqual((row["state"], row["reason"]), ("abandoned", "failed"))


if __name__ == "__main__":
    fleet.main()
