#!/usr/bin/env python3
"""Rows that are pushed into a device's store: by the command, through the socket, and killed."""
import json
import os
import pathlib
import random
import signal
import socket
import stat
import subprocess
import tempfile
import time

import fleet

SCHEMA = """
[column age]
type = int
min = 0
max = 120
[column colour]
type = category
values = red | blue
[column y]
type = bool
role = label
"""
MILLION = 1_000_000
BOUND = 4 << 20


def row(i):
    return f"{i % 121},{'red' if i % 2 else 'blue'},{i % 2}\n"


def size_of(folder):
    """Bytes of the segments; one may go away meanwhile."""
    total = 0
    for name in os.listdir(folder):
        try:
            total += os.stat(folder / name).st_size
        except FileNotFoundError:
            pass
    return total


class PushTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-rows-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        (self.dir / "s.ini").write_text(SCHEMA)
        self.configure()

    def configure(self, keys=""):
        (self.dir / "client.ini").write_text(
            f"[data]\nformat = store\nschema = s.ini\nstore_max_bytes = {BOUND}\n{keys}")

    def push(self, text, *options, status=0):
        done = fleet.run("tributary-client", "push", self.dir, "-", *options, stdin=None, input=text)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def first_and_count(self):
        """From the names of the segments and the numbers in the last one."""
        names = sorted((self.dir / "rows").glob("*.rows"))
        data = names[-1].read_bytes()
        at, count = 64, 0
        while at < len(data):
            at += 24 + int.from_bytes(data[at:at + 4], "little")
            count += 1
        return int(names[0].stem, 16), int(names[-1].stem, 16) + count - 1

    def test_a_million_rows_go_in_and_the_bound_is_never_exceeded(self):
        process = subprocess.Popen([fleet.program("tributary-client"), "push", self.dir, "--json"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        largest = 0
        for first in range(0, MILLION, 10_000):
            process.stdin.write("".join(row(i) for i in range(first, first + 10_000)))
            if (self.dir / "rows").exists():
                largest = max(largest, size_of(self.dir / "rows"))
        out, _ = process.communicate(timeout=fleet.PATIENCE_S)
        said = json.loads(out)
        self.assertEqual((said["rows"], said["accepted"], said["malformed"], said["findings"]),
                         (MILLION, MILLION, 0, []))
        self.assertLessEqual(max(largest, size_of(self.dir / "rows")), BOUND)
        self.assertGreater(largest, BOUND // 2)
        first, last = self.first_and_count()
        self.assertEqual(last, MILLION)
        self.assertGreater(first, MILLION // 2)

    def test_a_malformed_line_is_counted_with_its_place_and_not_fatal(self):
        text = row(1) + "130,red,1\n" + '5,r"ed,1\n' + "7,blue\n" + row(2)
        done = self.push(text)
        self.assertEqual(done.stdout.split("\n"), [
            "accepted    2", "malformed   3", "column=age rule=range count=1 line=2 place=1",
            "column=(row) rule=syntax count=1 line=3 place=2",
            "column=(row) rule=columns count=1 line=4 place=3", ""])
        self.assertEqual(self.first_and_count(), (1, 2))
        self.configure("push_format = jsonl\n")
        said = json.loads(self.push('{"age": 3, "y": 1, "colour": "red"}\n{"age": 3.5, "y": 0}\n{',
                                    "--json").stdout)
        self.assertEqual((said["accepted"], said["malformed"]), (1, 2))
        self.assertEqual(said["findings"][0],
                         {"column": "age", "rule": "type", "count": 1, "line": 2, "place": 9})
        self.assertEqual(self.first_and_count(), (1, 3))

    def test_mistakes_name_their_key(self):
        self.configure("header = yes\n")
        done = self.push("age,y\n1,1\n", status=5)
        self.assertIn("line 1: no column is named 'colour'", done.stderr)
        for keys, said in {"train = x.csv\n": "client.ini:5: data.train: is for csv, jsonl and idx",
                           "file = x.db\n": "client.ini:5: data.file: is for data.format = sqlite",
                           "store_max_bytes = 5\n": "client.ini:5: data.store_max_bytes",
                           }.items():
            self.configure(keys)
            self.assertIn(said, self.push("", status=2).stderr)
        (self.dir / "client.ini").write_text("[data]\nsocket = x\n")
        self.assertIn("data.socket: is for data.format = store", self.push("", status=2).stderr)
        (self.dir / "client.ini").write_text("[data]\ntrain = x.csv\n")
        self.assertIn("data.format must be store", self.push("", status=2).stderr)

    def test_a_kill_loses_the_last_rows_only_and_none_comes_twice(self):
        for seed in range(6):
            words = [fleet.program("tributary-client"), "push", self.dir]
            process = subprocess.Popen(words, stdin=subprocess.PIPE, text=True)
            rng = random.Random(seed)
            before = self.first_and_count()[1] if seed else 0
            try:
                for i in range(rng.randrange(3, 40)):
                    process.stdin.write("".join(row(k) for k in range(5000 * i, 5000 * (i + 1))))
                time.sleep(rng.random() / 50)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
                try:
                    process.stdin.close()
                except BrokenPipeError:
                    pass
            # What was torn is cut, and numbers go on.
            self.push("")
            _, last = self.first_and_count()
            self.assertGreaterEqual(last, before)
            self.push(row(0) * 3)
            self.assertEqual(self.first_and_count()[1], last + 3)
            self.assertLessEqual(size_of(self.dir / "rows"), BOUND)


if __name__ == "__main__":
    fleet.main()
