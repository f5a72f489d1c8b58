#!/usr/bin/env python3
"""Data with a declared schema: what devices learn from, what they leave out, when they sit out."""
import json
import os
import pathlib
import tempfile

import fleet

SPEC = "4 - dense 2 softmax"
SCHEMA = """[file]
separator = ;
comment = #
missing = ?
[column size]
type = real
min = 0
max = 20
[column colour]
type = category
values = red | blue
[column name]
type = text
role = id
[column big]
type = bool
role = label
"""
SCENARIOS = fleet.SOURCE / "simulations/scenarios"
DATA = pathlib.Path(os.environ.get("TRIBUTARY_DATA", fleet.SOURCE.parent / "shared/data"))


def row(i):
    return (i % 16, ["red", "blue", "green"][i % 3], f"number {i}\nof many", i % 16 > 7)


def csv(rows):
    return "# made up\n" + "".join(f'{size}; {colour} ;"{name}";{str(big).lower()}\n'
                                   for size, colour, name, big in rows)


def json_lines(rows):
    names = ["size", "colour", "name", "big"]
    return "".join(json.dumps(dict(zip(names, values))) + "\n" for values in rows)


def numbers(rows):
    """What becomes of them: size, red, blue, other, label."""
    return "".join(f"{size},{int(colour == 'red')},{int(colour == 'blue')},"
                   f"{int(colour == 'green')},{int(big)}\n" for size, colour, _, big in rows)


class DataTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-data-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        (self.dir / "s.ini").write_text(SCHEMA)
        self.runs = 0

    def play(self, name, text, mode="inprocess", status=0, keys=""):
        """The digest of the model that is learnt from a text, or what is said on failure."""
        self.runs += 1
        (self.dir / name).write_text(text)
        scenario = self.dir / "scenario.ini"
        dealt = "" if "[partition]" in keys else "[partition]\nclients = 3\n"
        scenario.write_text(f"[model]\nspec = {SPEC}\n{dealt}"
                            "[round]\nrounds = 2\ncohort = 3\nbeat_baseline = no\n[privacy]\nmode = off\n"
                            f"[data]\ntrain = {name}\ntest_fraction = 0.3\n{keys}")
        done = fleet.run("tributary-sim", "run", scenario, "--mode", mode, "--json",
                         "--out", self.dir / f"run{self.runs}")
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr if status else json.loads(done.stdout.splitlines()[-1])["model_digest"]

    def test_csv_json_lines_and_numbers_teach_the_same_in_both_modes(self):
        rows = [row(i) for i in range(90)]
        schema = "schema = s.ini\nsplit_by = place\n"  # numbers know nothing of names
        digests = {
            self.play("a.csv", numbers(rows)),
            self.play("b.csv", csv(rows), keys=schema),
            self.play("b.csv", csv(rows), "processes", keys=schema),
            self.play("c.jsonl", json_lines(rows), keys=schema + "format = jsonl\n"),
            self.play("c.jsonl", json_lines(rows), "processes", keys=schema + "format = jsonl\n"),
        }
        self.assertEqual(len(digests), 1)

    def test_weights_are_learnt_with_in_both_modes(self):
        rows = [row(i) for i in range(90)]
        (self.dir / "s.ini").write_text(SCHEMA + "[column w]\nrole = weight\n")
        plain = csv(rows).splitlines()
        ones = "\n".join([plain[0], *(line + ";1" for line in plain[1:])])
        text = "\n".join(line + f";{1 + i % 7 / 3}" if i else line
                         for i, line in enumerate(plain))
        weighted = self.play("b.csv", text, keys="schema = s.ini\nsplit_by = place\n")
        self.assertEqual(self.play("b.csv", text, "processes", keys="schema = s.ini\nsplit_by = place\n"), weighted)
        unweighted = self.play("c.csv", numbers(rows))
        self.assertEqual(self.play("b.csv", ones, keys="schema = s.ini\nsplit_by = place\n"), unweighted)
        self.assertNotEqual(weighted, unweighted)

    def test_a_column_with_the_role_id_deals_the_rows(self):
        rows = [row(i) for i in range(90)]
        schema = SCHEMA.replace("name]\ntype = text", "name]\ntype = int")
        (self.dir / "s.ini").write_text(schema)
        owned = [(size, colour, 11 - i % 3, big) for i, (size, colour, _, big) in enumerate(rows)]
        plain = "".join(f"{11 - i % 3},{line}\n"
                        for i, line in enumerate(numbers(rows).splitlines()))
        column = "[partition]\nkind = column\ncolumn = "
        digests = {
            self.play("a.csv", plain, keys=column + "1\n"),
            self.play("b.csv", csv(owned), keys="schema = s.ini\n" + column + "name\n"),
            self.play("b.csv", csv(owned), "processes",
                      keys="schema = s.ini\n" + column + "name\n"),
        }
        self.assertEqual(len(digests), 1)
        said = self.play("b.csv", csv(owned), status=2,
                         keys="schema = s.ini\n" + column + "size\n")
        self.assertIn("column 'size' says whose the rows are", said)

    def test_bad_rows_are_left_out_up_to_the_share_that_is_allowed(self):
        rows = [row(i) for i in range(90)]
        bad = csv([(99, "red", "x", True), ("?", "red", "y", True)])
        allowed = "schema = s.ini\nmax_bad_share = 0.03\n"  # held out by id: a bad row moves nobody
        self.assertEqual(self.play("a.csv", csv(rows), keys="schema = s.ini\n"),
                         self.play("b.csv", csv(rows) + bad, keys=allowed))
        said = self.play("b.csv", csv(rows) + bad, status=5, keys="schema = s.ini\n")
        self.assertIn("2 of 92 rows break the schema (0.02174; data.max_bad_share is 0)", said)
        self.assertIn("column=size rule=range count=1 first at line 183 column 1", said)
        self.assertIn("column=size rule=missing count=1 first at line 184 column 1", said)

    def test_what_cannot_go_together_is_refused_by_its_key(self):
        wrongs = {
            "format = jsonl\n": "data.schema: is missing",
            "format = idx\ntrain_labels = x\nschema = s.ini\n": "data.schema: is for csv and jsonl",
            "schema = absent.ini\n": "absent.ini: cannot be read",
        }
        for keys, text in wrongs.items():
            with self.subTest(keys=keys):
                (self.dir / "a.csv").write_text("")
                self.runs += 1
                scenario = self.dir / "scenario.ini"
                scenario.write_text(f"[model]\nspec = {SPEC}\n[partition]\nclients = 3\n"
                                    "[round]\ncohort = 3\n[privacy]\nmode = off\n"
                                    f"[data]\ntrain = a.csv\ntest_fraction = 0.3\n{keys}")
                done = fleet.run("tributary-sim", "run", scenario, "--mode", "inprocess")
                self.assertIn(done.returncode, (2, 5), done.stderr)
                self.assertIn(text, done.stderr)

    def test_a_device_with_too_many_bad_rows_sits_the_round_out_and_says_so(self):
        good = [row(i) for i in range(60)]
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            texts = {"plain": csv(good), "some": csv(good) + "1;red\n", "worse": csv(good) +
                     5 * "x;red;n;true\n"}
            for name, text in texts.items():
                tried.add_device(name, text, data="schema = s.ini\nmax_bad_share = 0.05\n")
                (tried.root / name / "s.ini").write_text(SCHEMA)
                tried.start_device(name)
            tried.wait_connected(3)
            test = numbers(good).splitlines()
            job = tried.submit(SPEC, test, cohort=3, min_accepted=2, rounds=1)
            tried.wait_for_job(job)
            first = tried.ctl("rounds", "ls", "--job", job)[0]["id"]
            leases = {lease["device"]: lease for lease in tried.ctl("rounds", "show", first)}
            self.assertEqual([leases[name]["lease"] for name in ("plain", "some")], ["counted"] * 2)
            self.assertEqual(str(leases["worse"]["why"]).lower(), "declined_no_data")
            log = tried.log("worse")
            self.assertIn("column=size rule=type count=5 first at line 122 column 1", log)
            self.assertIn("sits out: 5 of 65 rows break the schema", log)
            self.assertIn("column=(row) rule=columns count=1 first at line 122 column 3",
                          tried.log("some"))

    def test_adult_as_it_is_published_reaches_its_target(self):
        train, test = DATA / "adult/adult.data", DATA / "adult/adult.test"
        if not train.exists() or not test.exists():
            self.skipTest(f"no UCI Adult in {DATA} (TRIBUTARY_DATA says where)")
        words = ("run", SCENARIOS / "adult.ini", "--mode", "inprocess", "--json", "--out",
                 self.dir / "adult", "--set", f"data.train={train}", "--set", f"data.test={test}")
        done = fleet.run("tributary-sim", *words)
        self.assertEqual(done.returncode, 0, done.stderr)  # the target is met
        self.assertIn("32561 rows, 16281 held out", done.stderr)
        done = fleet.run("tributary-sim", *words, "--set", "round.target_metric=none")
        last = json.loads(done.stdout.splitlines()[-2])
        self.assertEqual(last["round"], 20)
        self.assertGreaterEqual(last["metrics"]["accuracy"], 0.845)
        self.assertGreaterEqual(last["metrics"]["auc"], 0.898)


if __name__ == "__main__":
    fleet.main()
