"""Crowds that mean no good, and what honest devices notice of them: for test_flood.py and run."""
import contextlib
import random
import resource
import selectors
import socket
import subprocess
import sys
import time

import hostile
from hostile import Peer, fleet

HONEST = 100  # devices
DRIPS, SILENT = 500, 500  # connections: a byte now and then, and not even that
DRIP_S = 0.5
HANDSHAKE_S = 5  # so long the coordinator waits for a whole hello
PLACES = 1024  # of those who have not said one; more of them wait in the kernel


# ---- The crowd, in a process of its own


class Dripper:
    """Keeps so many connections open that never say a whole hello; who is closed dials again."""

    def __init__(self, port, drips, silent):
        self.port = port
        self.lines = {}  # socket: does it drip?
        self.leavers = []  # (when, socket): once in the beginning, so that not all come at once again
        self.selector = selectors.DefaultSelector()
        for i in range(drips + silent):
            line = self.dial(i < drips)
            if drips + silent <= PLACES:
                self.leavers.append((time.monotonic() + random.uniform(0, HANDSHAKE_S), line))
        self.leavers.sort(key=lambda leaver: leaver[0], reverse=True)

    def dial(self, drips):
        line = socket.create_connection(("127.0.0.1", self.port))
        line.setblocking(False)
        self.lines[line] = drips
        self.selector.register(line, selectors.EVENT_READ)
        if drips:
            line.send(b"\0\xa0")  # a frame of 160 bytes is to come
        return line

    def run(self, seconds):
        until, next_drip = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            for key, _ in self.selector.select(0.05):
                self.renew(key.fileobj)
            while self.leavers and self.leavers[-1][0] < time.monotonic():
                line = self.leavers.pop()[1]
                if line in self.lines:
                    self.renew(line)
            if time.monotonic() >= next_drip:
                next_drip = time.monotonic() + DRIP_S
                for line, drips in list(self.lines.items()):
                    with contextlib.suppress(OSError):
                        if drips:
                            line.send(bytes([random.randrange(256)]))

    def renew(self, line):
        """The coordinator closed it, as it must; anything that it said is a mistake."""
        heard = b""
        with contextlib.suppress(ConnectionError, BlockingIOError):
            heard = line.recv(64)
        if heard:
            sys.exit(f"a stranger heard {heard!r}")
        drips = self.lines.pop(line)
        self.selector.unregister(line)
        line.close()
        self.dial(drips)


@contextlib.contextmanager
def crowd(tried, drips=DRIPS, silent=SILENT):
    """The connections are there for as long as the block lasts."""
    before = tried.status()["connections_open"]
    process = subprocess.Popen([sys.executable, "-B", __file__, str(tried.port), str(drips),
                                str(silent)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline(), "the crowd could not connect"
        there = before + min(drips + silent, PLACES) - 50
        fleet.wait_until(lambda: tried.status()["connections_open"] >= there, "the crowd is there")
        yield
        assert process.poll() is None, "somebody in the crowd was told something"
    finally:
        process.kill()
        process.communicate()


# ---- What honest devices notice


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Honest:
    """Devices that are connected, and one that comes and goes."""

    def __init__(self, tried, peer, count=HONEST):
        self.peer, self.count = peer, count
        token = tried.token("--uses", str(count + 1))
        for i in range(count):
            peer.enrol(0, f"honest-{i}", token)
        peer.enrol(0, "guest", token)
        for i in range(count):
            peer.ready(1 + i, f"honest-{i}")

    def answers(self, seconds):
        """Microseconds of questions and answers in sessions that are open."""
        times, until = [], time.monotonic() + seconds
        while time.monotonic() < until:
            answer = self.peer.ask("ask", 1, self.count, hostile.WAIT_MS)
            assert "-" not in answer, "an honest device was closed"
            times += [int(word) for word in answer]
        return times

    def visits(self, count):
        """Microseconds from dialing to the first answer in a new session."""
        times = []
        for _ in range(count):
            begin = time.monotonic()
            self.peer.open(0, "guest")
            self.peer.ask("ask", 0, 1, hostile.WAIT_MS)
            times.append(int((time.monotonic() - begin) * 1e6))
            self.peer.ask("close", 0)
        return times


def rss_kib(tried):
    with open(f"/proc/{tried.processes['coordinator'].pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def p99_of(tried, count, seconds, visits):
    """((quiet, crowded) of answers, the same of visits): p99 in microseconds."""
    with Peer(tried) as peer:
        honest = Honest(tried, peer, count)
        honest.answers(0.2)

        def measure():
            return (percentile(honest.answers(seconds), 0.99),
                    percentile(honest.visits(visits), 0.99))

        quiet = [measure()]
        with crowd(tried):
            crowded = measure()
        quiet.append(measure())  # both sides of it: machines have moods
        return [(max(one[i] for one in quiet), crowded[i]) for i in range(2)]


def strangers(tried, seconds):
    """(connections, bytes they heard, growth of the coordinator in KiB)."""
    with Peer(tried) as peer:
        peer.ask("strangers", 0, 300)  # what is allocated once
        before = rss_kib(tried)
        count, heard = (int(word) for word in peer.ask("strangers", 0, int(seconds * 1000)))
        return count, heard, rss_kib(tried) - before


def enrol_at_once(tried, count):
    """The codes that so many different keys get for the same token, proven by all before any asks."""
    proof = hostile.proof_of(tried.token("--name", "wanted"))
    with Peer(tried) as peer:
        for i in range(count):
            assert peer.ask("open", i, f"one of many {i}".replace(" ", "-"), hostile.WAIT_MS,
                            *proof) == ["open"]
        for i in range(count):
            peer.say(i, hostile.ENROL, {1: bytes([i]) * 32, 2: "peer"})
        return [hostile.CODES[peer.await_record(i, hostile.ENROL_REPLY)[1][0]]
                for i in range(count)]


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    dripper = Dripper(*map(int, sys.argv[1:4]))
    print("all have dialed", flush=True)
    dripper.run(600)
