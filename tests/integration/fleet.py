"""A real coordinator and real clients on loopback, in a directory that goes away.

    with Fleet() as fleet:
        fleet.start_coordinator()
        fleet.add_device("d0", rows)
        fleet.start_device("d0")
        job = fleet.submit(MODEL, rounds=5)
        fleet.wait_for_job(job)

Whatever happens, nothing that was started outlives the block; when it ends with an exception, the
last lines of every log are shown. Each test file ends with fleet.main().
"""
import contextlib
import gzip
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import admin

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 200.0  # for what takes a moment: generous, since sanitizers and busy machines are slow
LOG_LINES = 25
# What tests ask all the time: by the program once in each test file, then without one (admin.py).
QUESTIONS = {("status",), ("devices", "ls"), ("jobs", "ls"), ("jobs", "show"), ("models", "show"),
             ("rounds", "ls"), ("rounds", "show")}
POINTS_OF_PRIVACY = {"secagg", "central", "ledger", "budget"}  # of jobs with privacy on only
POINTS_OF_ROWS = {"rows", "watermark"}  # of rows that are pushed, and of modes that use rows up
# Of single steps between the others, of commands, of starts: tests/crash has what passes them.
POINTS_OF_SWEEP = {"open", "accept", "seal", "end", "sweep", "job", "enrol", "token", "revoke",
                   "recover", "start", "answer", "fetch", "update", "old",
                   "rotate", "keys"}
POINTS_OF_PARTS = {"local"}  # of models with a local part only

build = None  # the build directory, of main()
searched = set()  # for leaks, see once()


def program(name):
    folders = {"tributary-coordinator": "coordinator", "tributaryctl": "coordinator/ctl",
               "tributary-client": "client", "custom_trainer": "client",
               "tributary-sim": "simulations", "store_poke": "tests/integration"}
    return str(build / folders[name] / name)


def run(name, *arguments, **options):
    """Run a program to its end; what it printed is text."""
    options = {"timeout": PATIENCE_S, "stdin": subprocess.DEVNULL, **options}
    if "processes" in arguments:  # of tributary-sim; in one process it is always searched
        options.setdefault("env", once("leaks of processes"))
    return subprocess.run([program(name), *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, **options)


def once(*what):
    """The environment of a program that succeeds in `what`: the first time it is searched for leaks,
    which takes longer than most of what is run."""
    if what not in searched:
        searched.add(what)
        return dict(os.environ)
    return {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


def crash_points(name, every=False):
    """The named crash points of a program; none in a build without them. Without `every` those only
    that all kinds of jobs pass; tests/crash sweeps the others."""
    points = run(name, "run", "--crash-points").stdout.split()
    return [point for point in points if every or point.split(".")[0] not in POINTS_OF_SWEEP]


def is_sanitized():
    """Is it a build with sanitizers?"""
    options = json.loads((build / "meson-info/intro-buildoptions.json").read_text())
    return next(o["value"] for o in options if o["name"] == "b_sanitize") != "none"


def mode_of(name):
    """How to play a scenario that is played in both modes: real processes come to the same, and with
    sanitizers cost ten times as much. There only the first of a file is real."""
    if name == "inprocess" or not is_sanitized() or os.environ.get("TRIB_SWEEPS"):
        return name
    is_first = "a real fleet" not in searched
    searched.add("a real fleet")
    return name if is_first else "inprocess"


def sweep(test):
    """Many runs of the same code for the sake of what comes out: once is enough, without sanitizers.
    With them only when TRIB_SWEEPS is set (./check --sweeps)."""
    test.is_sweep = True
    return test


def drop_sweeps():
    module = sys.modules["__main__"]
    for case in [value for value in vars(module).values() if isinstance(value, type)]:
        for name in [n for n, value in vars(case).items() if getattr(value, "is_sweep", False)]:
            delattr(case, name)


def wait_until(is_true, what, patience_s=PATIENCE_S, step_s=0.02):
    """Ask until the answer is true, and return it."""
    until = time.monotonic() + patience_s
    while True:
        asked = time.monotonic()
        answer = is_true()
        if answer:
            return answer
        now = time.monotonic()
        if now > until:
            raise AssertionError(f"waited {patience_s:g} s in vain: {what}")
        # To ask is work too, most of all under sanitizers: no more than a third of the time.
        time.sleep(max(step_s, 2 * (now - asked)))


def free_port():
    """A port that stays ours between two runs: below those that the system gives to dialers."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(20000, 30000)
        with contextlib.closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no free port")


def children_of(pid):
    """The processes that `pid` started, as {pid: command line}."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text() if entry.name.isdigit() else ""
            if stat and int(stat.rsplit(")", 1)[1].split()[1]) == pid:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().decode()
        except OSError:
            pass  # it ended meanwhile
    return found


def is_alive(pid, command):
    """Is that process still there, and still the same program?"""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode() == command != ""
    except OSError:
        return False


def digits():
    """The handwritten digits that come with the simulator, as lines of CSV."""
    with gzip.open(SOURCE / "simulations/data/digits.csv.gz", "rt") as file:
        return file.read().splitlines()


def as_text(rows):
    """Rows as a file has them: lines, or a text already."""
    return rows if isinstance(rows, str) else "".join(row + "\n" for row in rows)


class Model:
    """A safetensors file, read by the book and not by our own code."""

    def __init__(self, path):
        self.data = pathlib.Path(path).read_bytes()
        size, = struct.unpack_from("<Q", self.data)
        self.header = json.loads(self.data[8:8 + size])
        self.metadata = self.header.pop("__metadata__")
        self.params = self.data[8 + size:]

    def digest(self):
        text = self.metadata["spec"].encode() + b"\0"
        return hashlib.blake2b(text + self.params, digest_size=32).hexdigest()

    def floats(self):
        return struct.unpack(f"<{len(self.params) // 4}f", self.params)


class Fleet:
    def __init__(self, url=None):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="trib-"))
        self.dir = self.root / "coordinator"
        self.port = free_port()
        self.processes = {}  # name: running process
        self.jobs = 0
        options = ["--url", url] if url else []
        made = run("tributary-coordinator", "init", self.dir, "--listen",
                   f"tcp://127.0.0.1:{self.port}", *options, env=once("init"))
        if made.returncode:
            shutil.rmtree(self.root)
            raise AssertionError(made.stderr)
        self.key = made.stdout.strip()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind and not issubclass(kind, unittest.SkipTest):
            self.show_logs()
        for process in self.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def show_logs(self):
        for log in sorted(self.root.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            print(f"--- {log.name}", *lines, sep="\n", file=sys.stderr)

    # ---- Processes

    def start(self, name, arguments, environment=None):
        with open(self.root / f"{name}.log", "ab") as log:
            process = subprocess.Popen([str(word) for word in arguments], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log,
                                       env={**os.environ, **(environment or {})})
        self.processes[name] = process
        return process

    def end(self, name, number=signal.SIGTERM):
        """Send a signal and wait; the exit status."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(PATIENCE_S)

    def kill(self, name):
        self.end(name, signal.SIGKILL)

    def poke_store(self, *statements):
        """Change the store behind the coordinator's back, checksums of pages included."""
        if run("store_poke", self.dir / "store.db", ";".join(statements)).returncode != 0:
            raise AssertionError(f"the store did not take {statements}")

    def log(self, name):
        return (self.root / f"{name}.log").read_text(errors="replace")

    # ---- The coordinator

    def start_coordinator(self, environment=None, may_die=False):
        """Start it and wait until it answers; False if it died before, and that may be."""
        process = self.start("coordinator",
                             [program("tributary-coordinator"), "run", self.dir], environment)

        def is_up():
            return process.poll() is not None or self.answers()

        wait_until(is_up, "the coordinator answers")
        if process.poll() is None:
            return True
        if not may_die:
            raise AssertionError(f"the coordinator ended with {process.returncode}")
        return False

    def try_ctl(self, *words, **options):
        return run("tributaryctl", "--dir", self.dir, *words, **options)

    def query(self, *words):
        """Ask the coordinator without tributaryctl; its answer, an OSError or an admin.Refused."""
        return admin.ask(self.dir / "admin.sock", words, PATIENCE_S)

    def answers(self):
        try:
            return bool(self.query("status"))
        except OSError:
            return False

    def ctl(self, *words):
        """Ask the coordinator; its answer as a list of objects."""
        question = words[:1] if words == ("status",) else words[:2]
        if question in QUESTIONS and question in searched:
            try:
                return self.query(*words)
            except (OSError, admin.Refused) as error:
                raise AssertionError(f"{' '.join(map(str, words))}: {error}") from None
        done = self.try_ctl(*words, "--json", env=once(*question))
        if done.returncode:
            raise AssertionError(f"tributaryctl {' '.join(map(str, words))}: exit "
                                 f"{done.returncode}: {done.stderr.strip()}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def status(self):
        return self.ctl("status")[0]

    def token(self, *options):
        return self.ctl("devices", "token", *options)[0]["token"]

    def device(self, name):
        return next(row for row in self.ctl("devices", "ls") if row["name"] == name)

    # ---- Devices

    def enrol(self, token, name, *options, environment=None):
        return run("tributary-client", "enrol", token, *options, "--state", self.root / name,
                   env=environment)

    def begin_groups(self, groups, rows):
        """A coordinator, and a connected device d0, d1, ... for each group, by the allow-list."""
        keys = [run("tributary-client", "keygen", "--state", self.root / f"d{i}").stdout.strip()
                for i in range(len(groups))]
        (self.dir / "allow.txt").write_text(
            "".join(f"{key} d{i} {groups[i]}\n" for i, key in enumerate(keys)))
        with open(self.dir / "tributary.ini", "a") as file:
            file.write("[enrol]\nallow_list = allow.txt\n")
        self.start_coordinator()
        for i in range(len(groups)):
            done = self.enrol(f"tcp://127.0.0.1:{self.port}", f"d{i}", "--key", self.key,
                              environment=once("enrol", "--key"))
            if done.returncode:
                raise AssertionError(f"enrol d{i}: exit {done.returncode}: {done.stderr}")
            self.write_data(f"d{i}", rows[i])
            self.start_device(f"d{i}")
        self.wait_connected(len(groups))

    def write_data(self, name, rows, scale=16, modes="off,local", data=""):
        """A device's rows, and the file that says how to read them; `data`: more keys of it."""
        folder = self.root / name
        (folder / "data.csv").write_text(as_text(rows))
        (folder / "client.ini").write_text(
            f"[data]\n{data}train = data.csv\nscale = {scale}\n"
            "[client]\nreconnect_max_ms = 200\n"
            f"[client.policy]\nallowed_modes = {modes}\n")

    def add_device(self, name, rows, scale=16, modes="off,local", data=""):
        done = self.enrol(self.token("--name", name), name, environment=once("enrol"))
        if done.returncode:
            raise AssertionError(f"enrol {name}: exit {done.returncode}: {done.stderr}")
        self.write_data(name, rows, scale, modes, data)

    def start_device(self, name, environment=None, trainer="tributary-client"):
        words = [program(trainer), self.root / name]
        if trainer == "tributary-client":
            words.insert(1, "run")
        return self.start(name, words, environment)

    def wait_connected(self, count):
        wait_until(lambda: self.status()["connected"] == count, f"{count} devices are connected")

    # ---- Jobs

    def write_job(self, spec, test, scale=16, mode="off", privacy=None, secagg=None,
                  strategy="fedavg", server=None, data="", **round_keys):
        self.jobs += 1
        # Most jobs of tests are over before they have learnt anything, and are about something
        # else: what they made stays. test_baseline.py has the default.
        round_keys.setdefault("beat_baseline", "no")
        folder = self.root / f"job{self.jobs}"
        folder.mkdir()
        (folder / "test.csv").write_text(as_text(test))

        def lines(keys):
            return "".join(f"{key} = {value}\n" for key, value in (keys or {}).items())

        privacy = {"send_tick_ms": 0, **(privacy or {})}  # nobody watches the clock of a test
        path = folder / "job.ini"
        path.write_text(f"[model]\nspec = {spec}\nseed = 1\n[round]\n{lines(round_keys)}"
                        f"[privacy]\nmode = {mode}\n{lines(privacy)}"
                        f"[secagg]\n{lines(secagg)}"
                        f"[strategy]\nname = {strategy}\n{lines(server)}"
                        f"[data]\n{data}test = test.csv\nscale = {scale}\n")
        return path

    def submit(self, *arguments, **options):
        return self.ctl("jobs", "submit", self.write_job(*arguments, **options))[0]["job"]

    def wait_for_job(self, job, state="done"):
        def is_over():
            now = self.ctl("jobs", "show", job)[0]
            return now if now["state"] != "active" else None

        ended = wait_until(is_over, f"job {job} ends")
        if ended["state"] != state:
            raise AssertionError(f"the job ended as {ended}")
        return ended

    def model_digest(self):
        return self.ctl("models", "show", "latest")[0]["model_digest"]


class Case(unittest.TestCase):
    """A test; what fails in it is shown whole."""
    maxDiff = None
    longMessage = True

    # The two identities of accounting (docs/operating.md): they hold at all times.
    def assert_books_balance(self, tried):
        now = tried.status()
        self.assertEqual(now["connections_accepted"],
                         sum(now["closed"].values()) + now["connections_open"], now)
        self.assertEqual(now["uploads_begun"], sum(now["receipts"].values()) + now["uploads_cut"]
                         + now["uploads_in_flight"], now)


class TurnsCase(Case):
    """Jobs in turns (tried.turn, .path(), .outcome()) that must not care where a coordinator dies."""

    def die_and_go_on(self, tried, point, expected):
        """The next job over a coordinator that dies at `point`; did it?"""
        tried.end("coordinator")
        path = tried.path()
        before = tried.turn - 1
        if not tried.start_coordinator({"TRIB_CRASH": point}, may_die=True):
            tried.processes.pop("coordinator")
            tried.start_coordinator()
        submitted = tried.try_ctl("jobs", "submit", path)
        process = tried.processes["coordinator"]

        def is_over():
            if process.poll() is not None:
                return True
            with contextlib.suppress(OSError):
                jobs = tried.query("jobs", "ls")
                return len(jobs) > before and jobs[-1]["state"] == "done"

        wait_until(is_over, "the coordinator dies, or the job is done")
        died = process.poll() is not None
        if died:
            self.assertEqual(process.returncode, -signal.SIGKILL)
            tried.processes.pop("coordinator")
            tried.start_coordinator()
        jobs = tried.ctl("jobs", "ls")
        if len(jobs) == before:  # it died before the job was durable
            self.assertNotEqual(submitted.returncode, 0)
            jobs = tried.ctl("jobs", "submit", path)
        job = jobs[-1]["job"]
        tried.wait_for_job(job)
        self.assertEqual(tried.outcome(job), expected[tried.turn % 2])
        return died


class Timed(unittest.TextTestResult):
    """Says how long each test took."""

    def startTest(self, test):
        self.begun = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.stream.writeln(f"    {time.monotonic() - self.begun:.1f} s")


def main():
    """Run the tests of the calling file: FILE.py BUILD_DIR [TEST]..."""
    global build
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} BUILD_DIR [CLASS.TEST]...")
    build = pathlib.Path(sys.argv.pop(1)).resolve()
    if is_sanitized() and not os.environ.get("TRIB_SWEEPS"):
        drop_sweeps()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # clean up first
    runner = unittest.TextTestRunner(resultclass=Timed, verbosity=2)
    result = unittest.main(module="__main__", testRunner=runner, exit=False).result
    for test, why in result.skipped:
        print(f"{why}:\n[  SKIPPED ] {test.id().rsplit('.', 1)[1]}")
    sys.exit(0 if result.wasSuccessful() else 1)
