#!/usr/bin/env python3
"""Rows that are held out: by id or values, for ever, in both modes and on devices."""
import hashlib
import importlib.util
import json
import pathlib
import struct
import tempfile

import fleet

SPEC = "2 - dense 2 softmax"
SCHEMA = """[column a]
type = real
[column b]
type = real
[column who]
type = text
role = id
[column y]
type = bool
role = label
"""

source = importlib.util.spec_from_file_location("split", fleet.SOURCE / "tests/vectors/split.py")
split = importlib.util.module_from_spec(source)
source.loader.exec_module(split)


def number(seed, data):
    """Where a row stands in [0, 1): below test_fraction it is held out (common/data/split.h)."""
    identity = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
    return (next(split.xoshiro(seed, b"split", identity)) >> 11) * 2.0**-53


def row(i):
    a, b = i * 37 % 64 / 64, i * 11 % 32 / 32
    return a, b, f"patient {i}", int(a + b > 1)


class SplitTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-split-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        (self.dir / "s.ini").write_text(SCHEMA)

    def run_it(self, rows, mode="inprocess", status=0, **keys):
        """A scenario over rows with ids; the last line, or what is said on failure."""
        (self.dir / "rows.csv").write_text("".join(f"{a},{b},{who},{y}\n" for a, b, who, y in rows))
        (self.dir / "s.scenario").write_text(
            f"[model]\nspec = {SPEC}\n[partition]\nclients = 3\n[privacy]\nmode = off\n"
            "[round]\nrounds = 3\ncohort = 3\nbeat_baseline = no\n[data]\ntrain = rows.csv\nschema = s.ini\n"
            "test_fraction = 0.25\n")
        sets = [word for key, value in keys.items()
                for word in ("--set", f"{key.replace('__', '.')}={value}")]
        done = fleet.run("tributary-sim", "run", self.dir / "s.scenario", "--mode",
                         fleet.mode_of(mode), "--json", "--out", self.dir / "out", *sets)
        self.assertEqual(done.returncode, status, done.stderr)
        self.said = done.stderr
        return json.loads(done.stdout.splitlines()[-1]) if status == 0 else done.stderr

    def held_out(self):
        return int(self.said.split(" held out")[0].split()[-1])

    def test_an_id_keeps_its_side_and_both_modes_agree(self):
        rows = [row(i) for i in range(120)]
        expected = sum(number(7, who.encode() + b"\0") < 0.25 for _, _, who, _ in rows)
        keys = {"data__split_seed": 7, "round__validation_fraction": 0.3,
                "round__local_epochs": 4}
        first = self.run_it(rows, **keys)
        self.assertEqual(self.held_out(), expected)
        self.assertEqual(self.run_it(rows, "processes", **keys)["model_digest"],
                         first["model_digest"])
        self.run_it(rows[::-1], **keys)  # in another order the same rows are held out
        self.assertEqual(self.held_out(), expected)
        few = rows[60:]
        self.run_it(few, **keys)
        self.assertEqual(self.held_out(),
                         sum(number(7, who.encode() + b"\0") < 0.25 for _, _, who, _ in few))

    def test_rows_to_choose_by_lie_beside_those_that_report(self):
        rows = [row(i) for i in range(160)]
        places = [number(7, who.encode() + b"\0") for _, _, who, _ in rows]
        keys = {"data__split_seed": 7, "data__validation_fraction": 0.3}
        digests = []
        for mode in ("inprocess", "processes"):
            digests.append(self.run_it(rows, mode, **keys)["model_digest"])
            lines = (self.dir / "out/rounds.jsonl").read_text().splitlines()
            test = json.loads(lines[-1])["metrics"]["test"]
            self.assertEqual(test["rows"], sum(place < 0.25 for place in places))
            self.assertEqual(self.held_out(), sum(place < 0.55 for place in places))
        self.assertEqual(*digests)
        # What came of it can be played again, and the rows that report are those of no key at all.
        again = fleet.run("tributary-sim", "run", self.dir / "out/scenario.ini", "--mode",
                          "inprocess", "--json", "--out", self.dir / "again")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(json.loads(again.stdout.splitlines()[-1])["model_digest"], digests[0])
        for bad in ({"round__test_share": 0.5}, {"data__test_fraction": 0, "data__test": "rows.csv"},
                    {"data__test_on": "devices"}):
            self.assertIn("data.validation_fraction",
                          self.run_it(rows, status=2, **{**keys, **bad}))

    def test_each_label_has_its_share_when_stratified(self):
        rows = [(i / 64, 0, f"p{i}", int(i < 12)) for i in range(60)]
        self.run_it(rows, data__stratified="yes")
        self.assertEqual(self.held_out(), 12 // 4 + 48 // 4)

    def test_wrong_keys_are_named(self):
        rows = [row(i) for i in range(20)]
        said = self.run_it(rows, status=2, data__schema="", data__split_by="id")
        self.assertIn("data.split_by", said)
        said = self.run_it(rows, status=2, data__stratified="yes", data__test_fraction=0,
                           data__test="rows.csv")
        self.assertIn("data.stratified", said)
        (self.dir / "s.ini").write_text(SCHEMA.replace("role = id", "role = local-only"))
        said = self.run_it(rows, status=2, data__split_by="id")
        self.assertIn("wants a schema with a column of the role id", said)

    def learn(self, rows, keys=""):
        """The digest of the model that one device with these rows makes, and its log."""
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", rows, scale=1, data=keys)
            tried.start_device("one")
            tried.wait_connected(1)
            job = tried.submit(SPEC, rows, scale=1, cohort=1, rounds=2)
            tried.wait_for_job(job)
            return tried.model_digest(), tried.log("one")

    def test_a_device_never_learns_from_its_test_rows(self):
        rows = [row(i) for i in range(64)]
        learnt = [r for r in rows if number(5, struct.pack("<3f", r[0], r[1], r[3])) >= 0.3]

        def text(r):
            return f"{r[0]},{r[1]},{r[3]}"

        whole, log = self.learn([text(r) for r in rows], "test_fraction = 0.3\nsplit_seed = 5\n")
        self.assertIn(f"{len(rows) - len(learnt)} of {len(rows)} rows are held out", log)
        self.assertEqual(whole, self.learn([text(r) for r in learnt])[0])
        self.assertNotEqual(whole, self.learn([text(r) for r in rows])[0])


if __name__ == "__main__":
    fleet.main()
