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
POINTS = {"rows.segment", "rows.flushed", "rows.dropped"}
BOUND = 4 << 20


def row(i):
    return f"{i % 121},{'red' if i % 2 else 'blue'},{i % 2}\n"


def long_row(i):
    return row(i).replace("red", "red" + "d" * 99)


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

    def configure(self, keys="", bound=BOUND):
        (self.dir / "client.ini").write_text(
            f"[data]\nformat = store\nschema = s.ini\nstore_max_bytes = {bound}\n{keys}")

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

    def numbered(self):
        """{number: text} of all rows in the store."""
        found = {}
        for path in sorted((self.dir / "rows").glob("*.rows")):
            data, at, number = path.read_bytes(), 64, int(path.stem, 16)
            while at < len(data):
                end = at + 24 + int.from_bytes(data[at:at + 4], "little")
                found[number] = data[at + 24:end].decode().rstrip("\n")
                at, number = end, number + 1
        return found

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

    def test_a_kill_at_any_point_leaves_whole_rows_under_their_numbers(self):
        points = {point for point in fleet.crash_points("tributary-client", every=True)
                  if point.startswith("rows.")}
        if not points:
            self.skipTest("a build without -Dcrash_points=true")
        self.assertEqual(points, POINTS)
        self.configure(bound=1 << 20)
        (self.dir / "s.ini").write_text(SCHEMA.replace("red | blue", f"red{'d' * 99} | blue"))
        self.push("".join(map(long_row, range(1, 6001))))  # nearly full, so that the oldest go
        for point in sorted(points):
            for hit in [1, 2, 5]:
                with self.subTest(point=point, hit=hit):
                    self.die_at(f"{point}:{hit}")

    def die_at(self, crash):
        """Rows are numbered from 1, and each says which it is: none is lost that was there before,
        none comes twice, and none is of two halves."""
        before = max(self.numbered())
        text = "".join(long_row(i) for i in range(before + 1, before + 8001))
        done = fleet.run("tributary-client", "push", self.dir, "-", stdin=None, input=text,
                         env={**os.environ, "TRIB_CRASH": crash})
        self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
        self.assertLessEqual(size_of(self.dir / "rows"), 1 << 20)
        self.push("")  # what was torn is cut
        found = self.numbered()
        last = max(found)
        self.assertGreaterEqual(last, before)
        self.assertEqual(list(found), list(range(min(found), last + 1)))
        self.push(long_row(last + 1) + long_row(last + 2))  # and numbers go on
        found = self.numbered()
        self.assertEqual(max(found), last + 2)
        self.assertEqual({number: text for number, text in found.items()
                          if text != long_row(number).rstrip("\n")}, {})


class SocketTest(fleet.Case):
    """The socket of a running client."""

    def begin(self, group, keys=""):
        group.start_coordinator()
        done = group.enrol(group.token("--name", "d0"), "d0")
        self.assertEqual(done.returncode, 0, done.stderr)
        folder = group.root / "d0"
        (folder / "s.ini").write_text(SCHEMA)
        (folder / "client.ini").write_text(
            "[data]\nformat = store\nschema = s.ini\nsocket = in.sock\n" + keys
            + "[client]\nreconnect_max_ms = 200\n[client.policy]\nallowed_modes = off\n")
        group.start_device("d0")
        group.wait_connected(1)
        return folder

    def connect(self, folder):
        peer = socket.socket(socket.AF_UNIX)
        self.addCleanup(peer.close)
        peer.settimeout(fleet.PATIENCE_S)
        peer.connect(str(folder / "in.sock"))
        return peer

    def answer(self, peer):
        peer.shutdown(socket.SHUT_WR)
        said = b""
        while piece := peer.recv(4096):
            said += piece
        return json.loads(said)

    def test_rows_come_in_while_others_are_slow(self):
        with fleet.Fleet() as group:
            folder = self.begin(group)
            mode = (folder / "in.sock").stat().st_mode
            self.assertTrue(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, oct(mode))
            slow = [self.connect(folder) for _ in range(5)]
            for peer in slow:
                peer.sendall(b"7,re")  # and nothing more, for now
            fast = self.connect(folder)
            fast.sendall("".join(map(row, range(1000))).encode() + b"x,red,1\n")
            said = self.answer(fast)
            self.assertEqual((said["accepted"], said["malformed"]), (1000, 1))
            # The command goes through the socket while the client runs.
            done = fleet.run("tributary-client", "push", folder, "-", "--json", stdin=None,
                             input=row(1))
            self.assertEqual(json.loads(done.stdout)["accepted"], 1)
            slow[0].sendall(b"d,1\n")
            self.assertEqual(self.answer(slow[0])["accepted"], 1)
            self.assertEqual(self.answer(slow[1])["malformed"], 1)
            # A line without an end is given up, not kept.
            slow[2].sendall(b"1" * 300_000 + b"\n" + row(5).encode())
            said = self.answer(slow[2])
            self.assertEqual((said["accepted"], said["malformed"]), (1, 1))
            # Training on what came goes on, with a connection left open.
            job = group.submit("4 - dense 1 sigmoid", ["1,1,0,0,1", "2,0,1,0,0"], scale=1, rounds=1,
                               cohort=1)
            group.wait_for_job(job)
            self.assertEqual([r["state"] for r in group.ctl("rounds", "ls")], ["committed"])
            self.assertEqual(group.end("d0"), 0)
            self.assertFalse((folder / "in.sock").exists())

    def test_a_kill_of_the_client_loses_no_row_that_was_answered(self):
        with fleet.Fleet() as group:
            folder = self.begin(group)
            total = 0
            for _ in range(3):
                peer = self.connect(folder)
                peer.sendall("".join(map(row, range(500))).encode())
                total += self.answer(peer)["accepted"]
                hanging = self.connect(folder)
                hanging.sendall(row(3).encode() + b"3,bl")
                group.kill("d0")
                group.start_device("d0")
                group.wait_connected(1)
                fleet.wait_until(lambda: (folder / "in.sock").exists(), "the socket is back")
            group.end("d0")
            done = fleet.run("tributary-client", "push", folder, "-", "--json", stdin=None, input="")
            self.assertEqual(done.returncode, 0, done.stderr)
            data = b"".join(path.read_bytes() for path in sorted((folder / "rows").glob("*.rows")))
            rows = data.count(b",blue,") + data.count(b",red,")
            self.assertGreaterEqual(rows, total)
            self.assertLessEqual(rows, total + 3)  # whole lines of those that hung


if __name__ == "__main__":
    fleet.main()
