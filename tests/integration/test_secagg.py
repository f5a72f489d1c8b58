#!/usr/bin/env python3
"""Secure aggregation with real processes: whoever dies when, the sum is that of the survivors."""
import signal

import fleet

DEVICES = 20
VICTIMS = [f"d{i:02}" for i in range(6)]  # 30 %
SPEC = "64 - dense 10 softmax"
OTHER = "64 - dense 4 relu - dense 10 softmax"
PRIVACY = {"noise_multiplier": 0.05, "test_seed": 7}
# T = 12 and c = 2 leave m = 10 shares of the noise, and 2T = 24 > 22.
SECAGG = {"min_cohort": 10, "threshold_frac": 0.6, "max_colluders_frac": 0.1, "phase_ms": 1800}
PHASES = {"select", "keys", "collect", "seal", "unmask", "aggregate", "evaluate"}
# A device that is killed before this ...
BEFORE_UPLOAD = ["task.trained", "secagg.advert", "secagg.shares", "secagg.upload"]
AFTER_UPLOAD = ["secagg.consent", "secagg.unmask"]
# Where the coordinator dies, and whether the round had its survivors by then.
COORDINATOR = [("secagg.phase:1", False), ("secagg.phase:2", False), ("secagg.phase:3", False),
               ("receipt.before:9", False), ("round.sealed:1", True), ("secagg.phase:4", True),
               ("secagg.piece:3", True), ("secagg.phase:5", True), ("secagg.piece:23", True),
               ("version.written:2", True)]


class Cohort(fleet.Fleet):
    """Twenty devices with digits, ready for masked rounds."""

    def begin(self, modes="distributed,off\nmin_cohort = 10"):
        self.rows = fleet.digits()
        self.names = [f"d{i:02}" for i in range(DEVICES)]
        self.start_coordinator()
        for i, name in enumerate(self.names):
            self.add_device(name, self.rows[200 + 40 * i:240 + 40 * i], modes=modes)
            self.start_device(name)
        self.wait_connected(DEVICES)
        return self

    def job(self, spec, cohort=DEVICES, secagg=None, rounds=1, privacy=None, mode="distributed",
            report_ms=2200):
        keys = {"report_ms": report_ms, "select_ms": 20000, "local_epochs": 1, "batch": 20,
                "learning_rate": 0.1}
        return self.submit(spec, self.rows[:200], mode=mode, rounds=rounds, cohort=cohort,
                           privacy={**PRIVACY, **(privacy or {})},
                           secagg={**SECAGG, **(secagg or {})}, **keys)

    def round_of(self, job, number=1):
        return next(row for row in self.ctl("rounds", "ls", "--job", job)
                    if row["round"] == number)

    def leases(self, job, number=1):
        rows = self.ctl("rounds", "show", self.round_of(job, number)["id"])
        return {row["device"]: row["lease"] for row in rows}

    def restart(self, names, point=None):
        """Stop devices, and start them so that they die at a named point."""
        for name in names:
            if self.processes[name].poll() is None:
                self.processes[name].terminate()
        for name in names:
            self.processes.pop(name).wait(fleet.PATIENCE_S)
            self.start_device(name, {"TRIB_CRASH": f"{point}:1"} if point else None)
        self.wait_connected(DEVICES)

    def wait_killed(self, names):
        for name in names:
            status = self.processes[name].wait(fleet.PATIENCE_S)
            if status != -signal.SIGKILL:
                raise AssertionError(f"{name} ended with {status}")


class SecaggTest(fleet.Case):
    def setUp(self):
        if not fleet.crash_points("tributary-coordinator"):
            self.skipTest("a build without -Dcrash_points=true")

    def test_no_named_point_is_forgotten_here(self):
        used = {point.split(":")[0] for point, _ in COORDINATOR} | {*BEFORE_UPLOAD, *AFTER_UPLOAD}
        for program in ["tributary-coordinator", "tributary-client"]:
            named = {point for point in fleet.crash_points(program) if point.startswith("secagg.")}
            self.assertTrue(named)
            self.assertEqual(named - used, set())

    def assert_nobody_saw_two_views(self, tried):
        for name in tried.names:
            self.assertNotIn("DECLINED_VIEW", tried.log(name), name)

    def assert_phases_add_up(self, tried, job):
        """Of a round that was committed: where its time went, all of it."""
        for row in tried.ctl("rounds", "ls", "--job", job):
            if row["state"] == "committed":
                self.assertEqual(set(row["phases"]), PHASES)
                self.assertAlmostEqual(sum(row["phases"].values()), row["seconds"],
                                       delta=1e-5 + 0.01 * row["seconds"])

    def assert_secagg_was_never_refused(self, tried):
        self.assertNotIn("id=secagg-refused", tried.log("coordinator"))
        self.assertNotIn("id=secagg-piece", tried.log("coordinator"))

    def crash(self, tried, point, **options):
        tried.restart(VICTIMS, point)
        job = tried.job(**options)
        tried.wait_killed(VICTIMS)
        return job

    # ---- Devices

    def test_the_sum_is_that_of_the_survivors_wherever_devices_die(self):
        with Cohort() as tried:
            tried.begin()
            tried.wait_for_job(tried.job(SPEC))
            all_of = {SPEC: tried.model_digest()}
            tried.wait_for_job(tried.job(OTHER))
            all_of[OTHER] = tried.model_digest()
            # What the others give when nobody else was ever asked: 11 - 1 shares of noise, too.
            for name in VICTIMS:
                tried.end(name)
            fewer = {"threshold_frac": 0.76, "max_colluders_frac": 0.04}
            without = {}
            for spec in [SPEC, OTHER]:
                tried.wait_for_job(tried.job(spec, cohort=DEVICES - len(VICTIMS), secagg=fewer))
                without[spec] = tried.model_digest()
            self.assertNotEqual(without[SPEC], all_of[SPEC])
            for name in VICTIMS:
                tried.start_device(name)
            tried.wait_connected(DEVICES)

            specs = [SPEC, OTHER]
            for number, point in enumerate(BEFORE_UPLOAD + AFTER_UPLOAD):
                spec = specs[number % 2]
                with self.subTest(point=point):
                    job = self.crash(tried, point, spec=spec)
                    tried.wait_for_job(job)
                    ended = tried.round_of(job)
                    is_counted = point in AFTER_UPLOAD
                    expected = all_of if is_counted else without
                    self.assertEqual((ended["state"], ended["accepted"]),
                                     ("committed", DEVICES if is_counted else DEVICES - len(VICTIMS)))
                    self.assertEqual(tried.model_digest(), expected[spec])
                    self.assert_phases_add_up(tried, job)
                    leases = tried.leases(job)
                    for name in tried.names:
                        was_lost = name in VICTIMS and not is_counted
                        self.assertEqual(leases[name] == "counted", not was_lost, (name, leases))
            self.assert_nobody_saw_two_views(tried)
            self.assert_secagg_was_never_refused(tried)

    def test_below_the_threshold_the_round_is_abandoned_and_the_next_one_works(self):
        strict = {"threshold_frac": 0.75, "max_colluders_frac": 0.1, "phase_ms": 1500}
        with Cohort() as tried:
            tried.begin()
            for point, reason in [("secagg.shares", "few_reported"),
                                  ("secagg.consent", "few_unmasked"),
                                  ("secagg.unmask", "few_unmasked")]:
                with self.subTest(point=point):
                    before = tried.ctl("models", "ls")
                    job = self.crash(tried, point, spec=SPEC, secagg=strict, rounds=2)
                    fleet.wait_until(lambda: tried.ctl("rounds", "ls", "--job", job) and
                                     tried.round_of(job)["state"] == "abandoned", "round 1 ends")
                    ended = tried.round_of(job)
                    self.assertEqual(ended["reason"], reason)
                    versions = [row for row in tried.ctl("models", "ls") if row not in before]
                    self.assertEqual([row for row in versions if row["kind"] == "round"], [])
                    for name in VICTIMS:
                        tried.processes.pop(name)
                        tried.start_device(name)
                    tried.wait_for_job(job)
                    again = tried.round_of(job, 2)
                    self.assertEqual((again["state"], again["accepted"]), ("committed", DEVICES))
            self.assert_nobody_saw_two_views(tried)

    def test_a_restarted_device_is_lost_to_the_round_and_does_not_come_back_into_it(self):
        with Cohort() as tried:
            tried.begin()
            for point in ["secagg.shares", "secagg.upload"]:
                # The round waits for them, so that they are back in time however slow it all is.
                job = self.crash(tried, point, spec=SPEC, report_ms=60000,
                                 secagg={"phase_ms": 60000})
                for name in VICTIMS:
                    tried.processes.pop(name)
                    tried.start_device(name)
                tried.wait_for_job(job)
                ended = tried.round_of(job)
                self.assertEqual((ended["state"], ended["accepted"]), ("committed", DEVICES - len(VICTIMS)))
                leases = tried.leases(job)
                for name in VICTIMS:
                    self.assertEqual(leases[name], "released")
            self.assert_secagg_was_never_refused(tried)

    # ---- The coordinator

    def test_a_coordinator_killed_in_any_phase_finishes_or_abandons_never_asks_twice(self):
        with Cohort() as tried:
            tried.begin()
            undisturbed = tried.job(SPEC, rounds=2)
            tried.wait_for_job(undisturbed)
            self.assert_phases_add_up(tried, undisturbed)
            cost = tried.ctl("jobs", "show", undisturbed)[0]["rho"]
            self.assertGreater(cost, 0)
            for point, is_sealed in COORDINATOR:
                with self.subTest(point=point):
                    self.assertEqual(tried.end("coordinator"), 0)
                    tried.start_coordinator({"TRIB_CRASH": point})
                    tried.wait_connected(DEVICES)
                    process = tried.processes["coordinator"]
                    path = tried.write_job(
                        SPEC, tried.rows[:200], mode="distributed", rounds=2, cohort=DEVICES,
                        local_epochs=1, batch=20, learning_rate=0.1, report_ms=5000,
                        select_ms=20000, privacy=PRIVACY, secagg=SECAGG)
                    tried.try_ctl("jobs", "submit", path)
                    self.assertEqual(process.wait(fleet.PATIENCE_S), -signal.SIGKILL)
                    tried.processes.pop("coordinator")
                    tried.start_coordinator()
                    job = tried.ctl("jobs", "ls")[-1]["job"]
                    tried.wait_for_job(job)
                    first, second = tried.round_of(job, 1), tried.round_of(job, 2)
                    self.assertEqual((second["state"], second["accepted"]),
                                     ("committed", DEVICES))
                    if is_sealed:
                        self.assertEqual((first["state"], first["accepted"]),
                                         ("committed", DEVICES))
                    else:
                        self.assertEqual((first["state"], first["reason"]),
                                         ("abandoned", "restarted"))
                    # Each round is charged once, also one that may have come far enough to cost.
                    self.assertEqual(tried.ctl("jobs", "show", job)[0]["rho"], cost)
            self.assert_secagg_was_never_refused(tried)
            for name in tried.names:
                self.assertNotIn("id=secagg-left", tried.log(name), name)

    # ---- Policy

    def test_a_device_whose_owner_forbids_the_mode_declines_and_is_shown(self):
        with Cohort() as tried:
            tried.begin()
            for name in VICTIMS[:2]:
                tried.write_data(name, tried.rows[:20], modes="local")
            tried.restart(VICTIMS[:2])
            job = tried.job(SPEC)
            tried.wait_for_job(job)
            rows = {row["device"]: row
                    for row in tried.ctl("rounds", "show", tried.round_of(job)["id"])}
            for name in tried.names:
                declined = name in VICTIMS[:2]
                self.assertEqual(rows[name]["lease"], "released" if declined else "counted")
                self.assertEqual(rows[name]["why"], "DECLINED_POLICY" if declined else None)
            now = tried.status()
            self.assertEqual(now["declined"], {"DECLINED_POLICY": 2})
            # A weight would make an UPLOAD_BEGIN malformed: none was sent.
            self.assertEqual(now["receipts"], {"ACCEPTED": DEVICES - 2})


if __name__ == "__main__":
    fleet.main()
