#!/usr/bin/env python3
"""[faults] of scenarios: liars are refused end to end, who is late or killed is counted all the same."""
import collections
import json
import pathlib
import re
import tempfile

from hostile import fleet

SCENARIO = fleet.SOURCE / "simulations/scenarios/digits-off.ini"
ROUNDS, DEVICES = 2, 20
NOISE = ["privacy.noise_multiplier=1", "privacy.test_seed=7"]
REFUSED = {"off": {"NORM", "BAD_WEIGHT", "SHAPE_OR_DECODE", "BASE_MISMATCH", "ARCH_MISMATCH"},
           "local": {"NORM", "MALFORMED", "SHAPE_OR_DECODE", "BASE_MISMATCH", "ARCH_MISMATCH"}}


class FaultsTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        self.runs = 0

    def play(self, mode, *sets):
        """(rounds, digest) of a run; the logs of the last one with processes are looked at."""
        self.runs += 1
        out = self.dir / f"run{self.runs}"
        if mode == "processes":
            self.logs = out / "logs"
        sets = [f"round.rounds={ROUNDS}", "round.min_accepted=1", *sets]
        done = fleet.run("tributary-sim", "run", SCENARIO, "--mode", mode, "--json", "--quiet",
                         "--accept-drowned-signal", "--out", out,
                         *[word for each in sets for word in ("--set", each)])
        self.assertEqual(done.returncode, 0, done.stderr)
        *rounds, last = [json.loads(line) for line in done.stdout.splitlines()]
        return ([(row["state"], row["accepted"], row["refused"]) for row in rounds],
                last["model_digest"])

    def play_both(self, *sets):
        processes = self.play("processes", *sets)
        self.assertEqual(processes, self.play("inprocess", *sets))
        return processes

    def in_logs(self, pattern):
        """How often each was said by devices that run as processes."""
        logs = [path.read_text() for path in self.logs.glob("d*.log")]
        return collections.Counter(found for log in logs for found in re.findall(pattern, log))

    @fleet.sweep
    def test_liars_are_refused_with_their_code_and_nobody_waits_for_them(self):
        for mode, codes in REFUSED.items():
            rounds, digest = self.play_both("faults.liars=0.6", f"privacy.mode={mode}", *NOISE)
            receipts = self.in_logs(r"lie round_id=.* receipt=(\w+)")
            self.assertEqual(set(receipts), codes)
            lies = sum(receipts.values()) // ROUNDS
            self.assertEqual(rounds, [("committed", DEVICES - lies, lies)] * ROUNDS)
            # No harm: the kind of lie changes nothing of the model.
            other = self.play("inprocess", "faults.liars=0.6", "faults.lie=norm",
                              f"privacy.mode={mode}", *NOISE)
            self.assertEqual(other, (rounds, digest))

    @fleet.sweep
    def test_updates_beyond_the_jobs_norm_are_refused_and_the_others_count(self):
        rounds, digest = self.play_both("round.norm_max=3.6")
        first, second = rounds
        self.assertEqual(sum(first[1:]), DEVICES)
        self.assertTrue(0 < first[2] < DEVICES, first)
        self.assertEqual(second, ("committed", DEVICES, 0))  # where changes are smaller
        self.assertEqual(set(self.in_logs(r"receipt=(\w+)")), {"ACCEPTED", "NORM"})
        plain = self.play("inprocess")
        self.assertNotEqual(digest, plain[1])
        self.assertEqual(self.play("inprocess", "round.norm_max=100"), plain)

    @fleet.sweep
    def test_who_is_killed_comes_back_and_counts(self):
        plain = self.play("inprocess")
        self.assertEqual(self.play_both("faults.kill=0.3"), plain)
        self.assertGreater(self.in_logs(r" (killed)\b")["killed"], 0)

    @fleet.sweep
    def test_who_is_late_counts_until_the_deadline(self):
        plain = self.play("inprocess")
        self.assertEqual(self.play_both("faults.straggle=0.3", "faults.straggle_ms=200"), plain)
        late = self.in_logs(r" (late)\b")["late"]
        self.assertGreater(late, 0)
        rounds, _ = self.play("inprocess", "faults.straggle=0.3", "faults.straggle_ms=2000",
                              "round.report_ms=2000")
        self.assertEqual(sum(accepted for _, accepted, _ in rounds), ROUNDS * DEVICES - late)

    def test_faults_that_cannot_be_are_said(self):
        for sets, text in [(["faults.liars=0.1", "privacy.mode=distributed", *NOISE],
                            "--set: faults.liars: must be 0 with privacy.mode = distributed"),
                           (["faults.kill=2"], "faults.kill must be between 0 and 1"),
                           (["faults.lie=all"], "faults.lie must be one of mixed|norm")]:
            done = fleet.run("tributary-sim", "run", SCENARIO,
                             *[word for each in sets for word in ("--set", each)])
            self.assertEqual(done.returncode, 2)
            self.assertIn(text, done.stderr)
        for words in [["--lie", "mixed"], []]:
            self.assertEqual(fleet.run("tributary-sim", "liar", self.dir, *words).returncode, 2)


if __name__ == "__main__":
    fleet.main()
