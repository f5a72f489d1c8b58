#!/usr/bin/env python3
"""Columns of a second file by key and time: what comes out is what SQLite joins."""
import csv
import datetime
import io
import json
import pathlib
import random
import sqlite3
import tempfile

import fleet

SCHEMA = """[column house]
type = text
role = id
[column at]
type = time
role = time
[column size]
min = 0
max = 100
[column warmth]
min = -50
max = 50
[column sky]
type = category
values = clear | rain
[column big]
type = bool
role = label
"""
PIPELINE = """[step impute]
columns = warmth
with = mean
indicator = yes
[step impute]
columns = sky
with = mode
[step standardise]
columns = size | warmth
"""
FEATURES = 1 + 1 + 1 + 3
START = datetime.datetime(2026, 3, 1)
TOLERANCE = 1800

PARTNER = {  # which may be, and which of them it is
    "before": ("t.seconds <= r.seconds AND r.seconds - t.seconds <= :tolerance",
               "seconds DESC, line DESC"),
    "nearest": ("abs(t.seconds - r.seconds) <= :tolerance", "away, seconds, line DESC"),
    "once": ("1", "line"),
}


def time_text(seconds):
    return (START + datetime.timedelta(seconds=seconds)).isoformat()


def write_csv(path, names, rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([names, *rows])
    path.write_text(text.getvalue())


class JoinTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-join-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        draw = random.Random(3)
        (self.dir / "s.ini").write_text(SCHEMA)
        (self.dir / "p.ini").write_text(PIPELINE)
        # Times are whole minutes, so that some are the same, and some as far before as behind.
        self.rows = [(f"house, {draw.randrange(12)}", 60 * draw.randrange(2000),
                      draw.randrange(100)) for _ in range(400)]
        self.rows = [(*row, int(row[2] > 50)) for row in self.rows]
        self.weather = [(line, f"house, {draw.randrange(10)}", 60 * draw.randrange(2000),
                         draw.randrange(-20, 30), draw.choice(["clear", "rain", ""]))
                        for line in range(500)]
        self.write(self.weather)

    def write(self, weather):
        write_csv(self.dir / "rows.csv", ["house", "size", "at", "big"],
                  [(house, size, time_text(at), big) for house, at, size, big in self.rows])
        write_csv(self.dir / "weather.csv", ["seen", "sky", "unused", "warmth", "house"],
                  [(time_text(at), sky, "x", warmth, house)
                   for _, house, at, warmth, sky in weather])

    def joined(self, weather, direction, tolerance=TOLERANCE):
        """What SQLite makes of both, as one file; and how many rows have a partner."""
        base = sqlite3.connect(":memory:")
        base.execute("CREATE TABLE r (line, house, seconds, size, big)")
        base.execute("CREATE TABLE t (line, house, seconds, warmth, sky)")
        base.executemany("INSERT INTO r VALUES (?, ?, ?, ?, ?)",
                         [(line, *row) for line, row in enumerate(self.rows)])
        base.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", weather)
        allowed, order = PARTNER[direction]
        found = base.execute(
            "SELECT q.house, q.seconds, q.size, t.warmth, t.sky, q.big FROM (SELECT r.*, "
            "(SELECT line FROM (SELECT t.line AS line, t.seconds AS seconds, "
            "abs(t.seconds - r.seconds) AS away FROM t "
            f"WHERE t.house = r.house AND {allowed}) ORDER BY {order} LIMIT 1) "
            "AS partner FROM r) AS q LEFT JOIN t ON t.line = q.partner ORDER BY q.line",
            {"tolerance": tolerance} if direction != "once" else {}).fetchall()
        write_csv(self.dir / "joined.csv", ["house", "at", "size", "warmth", "sky", "big"],
                  [(house, time_text(at), *rest) for house, at, *rest in found])
        return sum(row[3] is not None for row in found)

    def play(self, keys, mode="inprocess", status=0):
        scenario = self.dir / "scenario.ini"
        scenario.write_text(
            f"[model]\nspec = {FEATURES} - dense 2 softmax\n[partition]\nclients = 4\n"
            "[round]\nrounds = 2\ncohort = 4\n[privacy]\nmode = off\n[data]\nheader = yes\n"
            f"test_fraction = 0.3\nschema = s.ini\nprepare = p.ini\n{keys}")
        done = fleet.run("tributary-sim", "run", scenario, "--mode", mode, "--json", "--out",
                         self.dir / "run")
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr if status else (json.loads(done.stdout.splitlines()[-1])["model_digest"],
                                           done.stderr)

    def join(self, *keys, **options):
        return self.play("train = rows.csv\njoin = weather.csv\njoin_on = house\n" +
                         "".join(key + "\n" for key in keys), **options)

    def test_each_direction_is_what_sqlite_joins(self):
        digests = set()
        for direction in ("before", "nearest"):
            with self.subTest(direction=direction):
                count = self.joined(self.weather, direction)
                self.assertTrue(50 < count < 390, count)
                expected, _ = self.play("train = joined.csv\n")
                keys = ("join_time = seen", f"join_tolerance_s = {TOLERANCE}",
                        f"join_direction = {direction}")
                digest, said = self.join(*keys)
                self.assertEqual(digest, expected)
                self.assertIn(f"{count} of 400 rows have a partner", said)
                self.assertEqual(self.join(*keys, mode="processes")[0], expected)
                digests.add(digest)
        count = self.joined(self.weather, "before", tolerance=1e9)
        expected, _ = self.play("train = joined.csv\n")
        digest, said = self.join("join_time = seen")
        self.assertEqual(digest, expected)
        self.assertIn(f"{count} of 400 rows have a partner", said)
        self.assertEqual(len(digests | {digest}), 3)

    def test_without_times_a_key_is_there_once(self):
        weather = [next(row for row in self.weather if row[1] == house)
                   for house in sorted({row[1] for row in self.weather})]
        self.write(weather)
        count = self.joined(weather, "once")
        expected, _ = self.play("train = joined.csv\n")
        digest, said = self.join()
        self.assertEqual(digest, expected)
        self.assertIn(f"{count} of 400 rows have a partner", said)
        self.write([*weather, weather[4]])
        said = self.join(status=5)
        self.assertIn("weather.csv:12: the key is that of line 6", said)
        self.assertNotIn(weather[4][1], said)

    def test_a_device_joins_its_own_files(self):
        keys = "join_time = seen\njoin_direction = nearest\n"
        scored = {}
        self.joined(self.weather, "nearest", tolerance=1e9)
        for name, rows, more in (("apart", "rows.csv", "join = {0}/weather.csv\njoin_on = house\n"),
                                 ("together", "joined.csv", "")):
            with fleet.Fleet() as tried:
                tried.start_coordinator()
                declared = f"schema = {self.dir}/s.ini\nheader = yes\n"
                tried.add_device("one", (self.dir / rows).read_text(), scale=1,
                                 data=declared + "pipeline = job\n" +
                                 (more.format(self.dir) + keys if more else ""))
                tried.start_device("one")
                tried.wait_connected(1)
                path = tried.write_job(f"{FEATURES} - dense 2 softmax",
                                       (self.dir / "joined.csv").read_text(), scale=1, cohort=1,
                                       min_accepted=1, rounds=2,
                                       data=f"{declared}prepare = {self.dir}/p.ini\n")
                tried.wait_for_job(tried.ctl("jobs", "submit", path)[0]["job"])
                scored[name] = tried.model_digest()
                fleet.wait_until(lambda tried=tried: tried.status()["on_newest_version"] == 1,
                                 "the newest version is installed")
                if more:
                    self.check_answers(tried.root / "one")
                    self.check_keys(tried, tried.root / "one/client.ini", path)
        self.assertEqual(scored["apart"], scored["together"])

    def check_answers(self, folder):
        """Rows to predict are joined as those that were learnt from; whole ones stay as they are."""
        def ask(text):
            done = fleet.run("tributary-client", "predict", "--json", folder, input=text, stdin=None)
            return done, [json.loads(line) for line in done.stdout.splitlines()]

        rows = (self.dir / "rows.csv").read_text()
        unlabelled = "".join(line.rsplit(",", 1)[0] + "\n" for line in rows.splitlines())
        done, answers = ask(unlabelled)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(answers), len(self.rows))
        self.assertEqual(answers, ask((self.dir / "joined.csv").read_text())[1])
        self.assertIn("of 400 rows have a partner", done.stderr)
        weather = self.dir / "weather.csv"
        kept = weather.read_text()
        weather.write_text(kept.splitlines()[0] + "\n")  # nobody has a partner: other answers
        self.assertNotEqual(ask(unlabelled)[1], answers)
        weather.write_text(kept)
        done, answers = ask(unlabelled.replace("house", "home", 1))
        self.assertEqual((done.returncode, answers), (5, []))
        self.assertIn("1: no column is named 'house', which rows are joined by", done.stderr)

    def check_keys(self, tried, config, path):
        """Neither a device nor a job takes keys of a join that nothing would read."""
        config.write_text(config.read_text().replace("[data]\n", "[data]\nformat = idx\n", 1))
        done = fleet.run("tributary-client", "predict", config.parent, input="", stdin=None)
        self.assertEqual(done.returncode, 2)
        self.assertIn("data.join: wants format = csv and header = yes", done.stderr)
        path.write_text(path.read_text().replace("[data]\n", "[data]\njoin_on = house\n"))
        done = tried.try_ctl("jobs", "submit", path)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("data.join_on: is for data.join", done.stderr)

    def test_what_cannot_be_joined_is_named(self):
        def without(name):
            text = (self.dir / "rows.csv").read_text()
            (self.dir / f"no-{name}.csv").write_text(text.replace(name, "other", 1))
            return f"train = no-{name}.csv\njoin = weather.csv\njoin_on = house\njoin_time = seen\n"

        weather = (self.dir / "weather.csv").read_text()
        (self.dir / "broken.csv").write_text(weather + 'a,"b\n')
        (self.dir / "late.csv").write_text(weather + "yesterday,rain,x,1,house\n")
        (self.dir / "short.csv").write_text("house,seen\n")
        (self.dir / "empty.csv").write_text("")
        rows = "train = rows.csv\njoin_on = house\njoin_time = seen\n"
        for keys, text in [
                ("train = rows.csv\njoin = weather.csv\n", "data.join_on: is missing"),
                (rows, "data.join_on: is for data.join"),
                ("train = rows.csv\njoin_direction = nearest\n",
                 "data.join_direction: is for data.join"),
                ("train = rows.csv\njoin = weather.csv\njoin_on = house\njoin_tolerance_s = 5\n",
                 "data.join_tolerance_s: is for data.join_time"),
                (rows + "join = weather.csv\nformat = jsonl\n",
                 "data.join: wants format = csv and header = yes"),
                ("train = rows.csv\njoin = weather.csv\njoin_on = street\n",
                 "data.join_on: the schema has no column 'street'"),
                ("train = rows.csv\njoin = weather.csv\njoin_on = house\njoin_time = when\n",
                 "weather.csv:1: no column is named 'when', which data.join_time wants"),
                (rows + "join = missing.csv\n", "missing.csv"),
                (rows + "join = broken.csv\n", "broken.csv:502: not CSV"),
                (rows + "join = late.csv\n", "late.csv:502: column 'seen' is no time"),
                (rows + "join = empty.csv\n", "empty.csv:1: wants a line with the names"),
                (rows + "join = short.csv\n",
                 "rows.csv:1: no column is named 'warmth', which the schema declares, nor in the"),
                (without("house"), "no-house.csv:1: no column is named 'house', which rows are"),
                (without("at"), "no-at.csv:1: no column is named 'at', which rows are joined by")]:
            with self.subTest(text=text):
                done = fleet.run("tributary-sim", "run", self.scenario(keys))
                self.assertIn(done.returncode, (2, 5), done.stderr)
                self.assertIn(text, done.stderr)
                self.assertNotIn("yesterday", done.stderr)

    def scenario(self, keys):
        path = self.dir / "bad.ini"
        path.write_text(f"[model]\nspec = {FEATURES} - dense 2 softmax\n[partition]\nclients = 4\n"
                        "[round]\ncohort = 4\n[privacy]\nmode = off\n[data]\nheader = yes\ntest_fraction = 0.3\n"
                        f"schema = s.ini\nprepare = p.ini\n{keys}")
        return path


if __name__ == "__main__":
    fleet.main()
