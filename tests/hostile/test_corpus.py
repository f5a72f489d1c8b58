#!/usr/bin/env python3
"""Bad inputs, a line each in cases/: everyone has one exit code and text, one code, or one reason.

    expected | what it is | input

Where a text is expected it is the end of a line of what the program says; {at} stands for
"FILE:LINE: section.key" of the last change, {file} for the file. The accounts have to balance after
every case, and in the end there have to be enough of them.
"""
import contextlib
import gzip
import os
import pathlib
import shutil
import sys
import tempfile

from hostile import Admin, Peer, fleet, pack, unpack
from sessions import HONEST, Line

CASES = fleet.SOURCE / "tests/hostile/cases"
ENOUGH = 200
ROWS = "".join(f"{i % 16},{(i * 7) % 16},{i % 2}\n" for i in range(40))

SCENARIO = """[model]
spec = 2 - dense 2 softmax
[data]
train = rows.csv
test_fraction = 0.25
[partition]
clients = 3
[round]
rounds = 1
cohort = 2
[privacy]
mode = off
"""
JOB = """[model]
spec = 2 - dense 2 softmax
[data]
test = rows.csv
[round]
rounds = 1
cohort = 2
[privacy]
mode = off
"""

# A start of a program for each case: with sanitizers some of them must do, but for ./check --sweeps.
STARTS = ["scenario", "data", "coordinator", "keys", "client"]
SOME = 6

played = 0  # cases, over all tests


def lines_of(name):
    lines = (CASES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def cases_of(name):
    """(expected, [what it is, input]) of each line of a file."""
    are_some = name in STARTS and fleet.is_sanitized() and not os.environ.get("TRIB_SWEEPS")
    for line in lines_of(name)[::SOME if are_some else 1]:
        expected, *rest = line.split(" | ")
        yield expected, rest


def links_of(path):
    """The links of a chain of keys, as messages."""
    return [{number: value[0] for number, value in unpack(link).items()}
            for link in unpack(path.read_bytes())[1]]


def restate(link, changes):
    """A link that says something else under its signature."""
    statement = {number: value[0] for number, value in unpack(link[1]).items()}
    return {**link, 1: pack({**statement, **changes})}


def unescaped(text):
    return text.encode().decode("unicode_escape").encode("latin-1")


def changed(text, changes):
    """A file of sections with `section.key = value; ...` in it, or `raw: LINE`; and its last place."""
    if changes.startswith("raw: "):
        data = text.encode() + unescaped(changes[5:]) + b"\n"
        return data, None, data.count(b"\n")
    lines = text.splitlines()
    for change in changes.split("; "):
        name, value = (part.strip() for part in change.split("=", 1))
        section, key = name.rsplit(".", 1)
        if f"[{section}]" not in lines:
            lines.append(f"[{section}]")
        at = lines.index(f"[{section}]") + 1
        while at < len(lines) and not lines[at].startswith("["):
            if lines[at].split("=")[0].strip() == key:
                lines.pop(at)
                break
            at += 1
        lines.insert(at, f"{key} = {value}".strip())
    return "\n".join(lines).encode() + b"\n", name, lines.index(f"{key} = {value}".strip()) + 1


class Corpus(fleet.Case):
    def judge(self, what, expected, code, text, path, place=(None, 0)):
        """Is it the exit code and the text that were expected?"""
        global played
        played += 1
        name, line = place
        wanted, _, words = expected.partition(" ")
        if wanted == "2" and path.suffix == ".ini" and not what.startswith("command"):
            self.assertRegex(words, r"^\{(at|file)\}")  # a mistake in a file is named with it
        words = words.replace("{at}", f"{path}:{line}: {name}").replace("{file}", f"{path}")
        words = words.replace("{line}", str(line)).replace("{dir}", str(path.parent))
        with self.subTest(case=what):
            self.assertEqual(str(code), wanted, text)
            if words:
                self.assertTrue(any(said.endswith(words) for said in text.splitlines()),
                                f"{words!r} is not in\n{text}")

    # ---- Files, by the programs that read them

    def test_scenarios(self):
        with folder() as root:
            (root / "rows.csv").write_text(ROWS)
            path = root / "it.ini"
            for expected, (change,) in cases_of("scenario"):
                data, *place = changed(SCENARIO, change)
                path.write_bytes(data)
                done = simulate(path)
                self.judge(f"scenario: {change}", expected, done.returncode, done.stderr, path,
                           place)

    def test_data(self):
        with folder() as root:
            for expected, (kind, value) in cases_of("data"):
                for old in root.iterdir():
                    old.unlink()
                change, path = lay_out(root, kind, value)
                data, *place = changed(SCENARIO, change)
                (root / "it.ini").write_bytes(data)
                done = simulate(root / "it.ini")
                self.judge(f"data: {kind} {value}", expected, done.returncode, done.stderr, path,
                           place)

    def test_coordinators(self):
        with fleet.Fleet() as tried:
            path, listed = tried.dir / "tributary.ini", tried.dir / "allow.txt"
            base = path.read_text()
            for expected, (change,) in cases_of("coordinator"):
                at = path
                if change.startswith("allow: "):
                    lines = change[7:].replace("KEY", tried.key)
                    listed.write_bytes(b"# keys\n" + unescaped(lines) + b"\n")
                    change, at = "enrol.allow_list = allow.txt", listed
                data, name, line = changed(base, change)
                path.write_bytes(data)
                done = fleet.run("tributary-coordinator", "run", tried.dir)
                self.judge(f"coordinator: {change} {at.name}", expected, done.returncode,
                           done.stderr, at, (name, line))

    def test_chains_of_keys(self):
        with fleet.Fleet() as tried, fleet.Fleet() as other:
            for one in (tried, other):
                for _ in range(3):
                    fleet.run("tributary-coordinator", "keys", "rotate", one.dir)
            path = tried.dir / "keys.chain"
            words = {name: links_of(one.dir / "keys.chain")
                     for name, one in (("links", tried), ("theirs", other))}
            for expected, (chain,) in cases_of("keys"):
                path.write_bytes(pack({1: eval(f"[{chain}]", {"restate": restate, **words})}))
                done = fleet.run("tributary-coordinator", "run", tried.dir)
                self.judge(f"keys: {chain}", expected, done.returncode, done.stderr, path)

    def test_clients(self):
        base = ("[data]\ntrain = data.csv\n[client.policy]\nallowed_modes = off\n[client]\n"
                "reconnect_max_ms = 200\n")
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            tried.end("coordinator")
            here = tried.root / "one"
            good = {name: (here / name).read_text() for name in ["enrolment.ini", "device.key"]}
            for expected, (change,) in cases_of("client"):
                for name, text in (good | {"client.ini": base}).items():
                    (here / name).write_text(text)
                kind, _, rest = change.partition(": ")
                name, place = "client.ini", (None, 0)
                if kind == "key":
                    name = "device.key"
                    (here / name).write_text(rest + "\n")
                elif kind == "enrolment":
                    name = "enrolment.ini"
                    data, *place = changed(good[name], f"enrolment.{rest}")
                    (here / name).write_bytes(data)
                else:
                    data, *place = changed(base, change)
                    (here / name).write_bytes(data)
                done = fleet.run("tributary-client", "run", here)
                self.judge(f"client: {change}", expected, done.returncode, done.stderr,
                           here / name, place)

    def test_tokens(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            token = tried.token().removeprefix("trib1.")
            for expected, (kind, *rest) in cases_of("enrol"):
                if kind != "text":
                    continue
                words = [word.replace("EMPTY", "").replace("TOKEN", token)
                         for word in rest[0].split(" ")]
                done = tried.enrol(words[0], "it", *words[1:])
                self.judge(f"enrol: {rest[0]}", expected, done.returncode, done.stderr,
                           tried.root / "it")
            self.assertEqual(tried.ctl("devices", "ls"), [])

    # ---- The admin socket

    def test_jobs_and_commands(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            admin = Admin(tried)
            (tried.root / "rows.csv").write_text(ROWS)
            path = tried.root / "job.ini"
            for expected, (change,) in cases_of("job"):
                data, key, line = changed(JOB, change)
                code, text, _ = admin.ask(["jobs", "submit"], data, str(path), tried.root)
                self.judge(f"job: {change}", expected, code, text, path, (key, line))
            for expected, (words,) in cases_of("command"):
                if words.startswith("raw: "):
                    heard = admin.send(eval(words[5:])) if words != 'raw: b""' else b""
                    code, text = ("closed" if not heard else heard), ""
                else:
                    code, text, _ = admin.ask(eval(words))
                    code = "closed" if code is None else code
                self.judge(f"command: {words}", expected, code, text, path)
            self.assertEqual(tried.ctl("jobs", "ls"), [])
            self.assert_books_balance(tried)

    # ---- Sessions

    def test_sessions(self):
        with fleet.Fleet() as tried, Peer(tried) as peer:
            tried.start_coordinator()
            line = Line(tried, peer)
            for mode in ["local", "central", "off"]:
                self.play_uploads(line, mode)
            line.leave_rounds()
            for name in ["hello", "record", "message", "enrol"]:
                cases = list(cases_of(name))
                if name == "enrol":
                    cases = [(expected, rest[1:]) for expected, rest in cases
                             if rest[0] == "session"]
                for expected, (what, text) in cases:
                    self.judge(f"{name}: {what}: {text}", expected, line.play(name, what, text),
                               "", CASES)
                    self.assert_books_balance(line)
            self.assertEqual(tried.status()["devices"], len(line.names))

    def play_uploads(self, line, mode):
        """A job in which some lie, and the others are counted all the same."""
        with line.round_of(mode) as round_:
            for when in [mode, f"{mode}, over"]:
                for expected, (_, what, text) in [case for case in cases_of("upload")
                                                  if case[1][0] == when]:
                    self.judge(f"upload: {mode}: {what}", expected, round_.play(text), "", CASES)
                    self.assert_books_balance(line)
                if when == mode:
                    told = round_.end()
                    self.assertGreaterEqual(told["accepted"], HONEST)
                    self.assertEqual(told["accepted"], round_.honest)
                    self.assertEqual(told["refused"], round_.refused)


def simulate(path):
    return fleet.run("tributary-sim", "run", path, "--mode", "inprocess", "--quiet")


@contextlib.contextmanager
def folder():
    root = pathlib.Path(tempfile.mkdtemp(prefix="trib-"))
    try:
        yield root
    finally:
        shutil.rmtree(root)


def lay_out(root, kind, value):
    """The files of a case of data: the change of the scenario, and the file that is wrong."""
    rows = root / "rows.csv"
    rows.write_text(ROWS)
    if kind == "rows":
        rows.write_bytes(unescaped(value.replace("EMPTY", "")))
        return "round.seed = 1", rows
    if kind == "gzip":
        path = root / "rows.csv.gz"
        path.write_bytes(gzip.compress(ROWS.encode())[:-30] if value == "cut" else unescaped(value))
        return "data.train = rows.csv.gz", path
    if kind == "idx":
        path = root / "x.idx"
        path.write_bytes(unescaped(value))
        (root / "y.idx").write_bytes(b"\0\0\x08\1\0\0\0\2\0\1")
        return "data.format = idx; data.train_labels = y.idx; data.train = x.idx", path
    if kind == "schema":
        path = root / "schema.ini"
        path.write_bytes(unescaped(value))
        return "data.schema = schema.ini", path
    return value, root / "it.ini"


class Enough(fleet.Case):
    """Last, by its name: what the others played."""

    def test_there_are_enough_cases(self):
        names = [file.stem for file in CASES.glob("*.txt")]
        every = sum(len(lines_of(name)) for name in names)
        print(f"{played} of {every} cases")
        self.assertEqual(played, sum(1 for name in names for _ in cases_of(name)))
        self.assertGreaterEqual(every, ENOUGH)


if __name__ == "__main__":
    fleet.main()
