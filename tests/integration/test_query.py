#!/usr/bin/env python3
"""A device that learns from a query of its SQLite database (meson option sqlite_source)."""
import json
import sqlite3

import fleet

SCHEMA = """
[column x]
type = real
[column colour]
type = category
values = red | blue
other = no
[column y]
type = bool
role = label
"""
QUERY = "SELECT y, x, colour, n AS position FROM log WHERE n > :after ORDER BY n"


class QueryTest(fleet.Case):
    def setUp(self):
        options = json.loads((fleet.build / "meson-info/intro-buildoptions.json").read_text())
        if not next(o["value"] for o in options if o["name"] == "sqlite_source"):
            self.skipTest("a build without -Dsqlite_source=true")

    def begin(self, group):
        group.start_coordinator()
        done = group.enrol(group.token("--name", "d0"), "d0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.folder = group.root / "d0"
        (self.folder / "s.ini").write_text(SCHEMA)
        self.db = sqlite3.connect(self.folder / "log.db")
        self.addCleanup(self.db.close)
        self.db.execute("CREATE TABLE log(n INTEGER PRIMARY KEY, x REAL, colour TEXT, y INT)")
        self.add(1, 20)

    def add(self, first, count):
        with self.db:
            self.db.executemany("INSERT INTO log VALUES(?, ?, ?, ?)",
                                [(n, n / 7, "red" if n % 3 else "blue", n % 2)
                                 for n in range(first, first + count)])

    def configure(self, query, keys=""):
        (self.folder / "client.ini").write_text(
            f"[data]\nformat = sqlite\nfile = log.db\nschema = s.ini\nquery = {query}\n{keys}"
            "[client]\nreconnect_max_ms = 200\n[client.policy]\nallowed_modes = off\n")

    def run_once(self, status):
        done = fleet.run("tributary-client", "run", self.folder)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def test_what_is_no_select_or_does_not_fit_is_refused_with_its_reason(self):
        with fleet.Fleet() as group:
            self.begin(group)
            for query, said in {
                "DELETE FROM log": "not authorized",
                "ATTACH 'other.db' AS o": "not authorized",
                "PRAGMA writable_schema = 1": "not authorized",
                "SELECT load_extension('x')": "not authorized",
                "SELECT x, y, colour FROM log; SELECT 1": "must be a SELECT, and one only",
                "SELECT x, y FROM log": "no column is named 'colour'",
                "SELECT x, y, colour FROM other": "no such table: other",
                "SELEC": "syntax error",
            }.items():
                self.configure(query)
                self.assertIn(said, self.run_once(2), query)
            self.configure("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
                           "SELECT count(*) AS x, 1 AS y, 'red' AS colour FROM c",
                           "query_max_ms = 200\n")
            self.assertIn("gave up after data.query_max_ms = 200", self.run_once(3))
            self.configure("SELECT x, y, colour, -n AS position FROM log")
            self.assertIn("row 1: position -1 is not above the one before", self.run_once(5))
            self.configure(QUERY)
            (self.folder / "log.db").rename(self.folder / "gone.db")
            self.assertIn("cannot open", self.run_once(5))
            self.assertFalse((self.folder / "log.db").exists())

    def test_rows_of_a_query_are_used_once(self):
        with fleet.Fleet() as group:
            self.begin(group)
            self.configure(QUERY)
            group.start_device("d0")
            group.wait_connected(1)
            path = group.write_job("3 - dense 1 sigmoid", ["1,1,0,1", "2,0,1,0"], scale=1,
                                   rounds=1, cohort=1)
            path.write_text(path.read_text().replace("[round]\n", "[round]\nmode = incremental\n"))
            for position in (20, 35):
                job = group.ctl("jobs", "submit", path)[0]["job"]
                group.wait_for_job(job)
                fleet.wait_until(lambda: f"used up to position={position}" in group.log("d0"),
                                 "the receipt")
                if position == 20:
                    self.add(21, 15)
            group.wait_for_job(group.ctl("jobs", "submit", path)[0]["job"])
            self.assertEqual([r["state"] for r in group.ctl("rounds", "ls")],
                             ["committed", "committed", "abandoned"])


if __name__ == "__main__":
    fleet.main()
