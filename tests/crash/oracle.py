"""What every reply promised, held against what is on disk whenever a coordinator is dead."""
import hashlib
import pathlib
import re
import shutil
import sqlite3
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import fleet  # noqa: E402

RECEIPT = re.compile(r"(?:update|lie) round_id=(\d+) update_id=(\w+) receipt=(\w+)")
COUNTED = {"ACCEPTED", "DUPLICATE"}
# Whoever gets one of these offers the same bytes again.
AGAIN = {"RETRY_LATER", "RATE_LIMITED", "SLOW"}
# What is stored of a round that may still offer, and of a lease with which a device may still send.
OPEN_ROUNDS = {0, 1, 2}
OPEN_LEASES = {0, 1, 2}


class Broken(AssertionError):
    """A promise that was not kept."""


class Oracle:
    """Remembers all that was ever seen; `look` compares it with the disk of a dead coordinator."""

    def __init__(self, world):
        self.world = world
        self.read = {}  # log: how much of it was read
        self.receipts = []  # (device, round, update id, code), in order
        self.ledger = {}  # update id: (round, device, digest)
        self.counted = {}  # (round, device): update id
        self.versions = {}  # version: digest
        self.bytes = {}  # update id: digest of what the device keeps to send
        self.sums = {}  # round: digest of the noised sum
        self.halves = {}  # file that was being written: which one of that name
        self.looks = 0
        self.dropped = 0  # halves
        self.held = 0  # receipts
        self.refused = 0  # of those, final ones

    def claim(self, is_true, what):
        if not is_true:
            raise Broken(what)

    def remember(self, table, key, value, what):
        """The first word about it is the only one."""
        self.claim(table.setdefault(key, value) == value,
                   f"{what} {key}: was {table[key]}, is {value}")

    def read_receipts(self):
        for name in [*self.world.names, *self.world.liars]:
            path = self.world.root / f"{name}.log"
            data = path.read_bytes() if path.exists() else b""
            begin = self.read.get(name, 0)
            end = data.rfind(b"\n") + 1
            self.read[name] = end
            for match in RECEIPT.finditer(data[begin:end].decode(errors="replace")):
                self.receipts.append((name, int(match[1]), match[2], match[3]))

    def read_spools(self):
        for name in self.world.names:
            try:
                head = (self.world.root / name / "spool.update").read_bytes()[:152]
            except FileNotFoundError:
                continue
            self.remember(self.bytes, head[16:32].hex(), head[56:88].hex(), "bytes of update")

    def read_store(self):
        """Rows as a restart will find them: of a copy, so that nothing is recovered before it."""
        with tempfile.TemporaryDirectory(dir=self.world.root) as folder:
            for path in self.world.dir.glob("store.db*"):
                shutil.copy(path, folder)
            store = sqlite3.connect(pathlib.Path(folder) / "store.db")
            versions = store.execute("SELECT version, digest FROM version").fetchall()
            rows = store.execute("SELECT update_id, round, device, digest FROM ledger").fetchall()
            leases = store.execute(
                "SELECT name, round, round.state, lease.state FROM lease "
                "JOIN device ON device.id = device JOIN round ON round.id = round").fetchall()
            store.close()
        return versions, rows, leases

    def read_halves(self):
        """Files that are not whole, by name: the next one of a name is another."""
        halves = {}
        for folder in ("models", "updates"):
            for path in (self.world.dir / folder).glob("*.tmp"):
                try:
                    now = path.stat()
                except FileNotFoundError:
                    continue  # whoever runs is done with it
                halves[f"{folder}/{path.name}"] = (now.st_ino, now.st_mtime_ns)
        return halves

    def hold_start(self):
        """It has started and answers: what its last life did not get done is away."""
        left = [name for name, which in self.read_halves().items() if self.halves.get(name) == which]
        self.claim(not left, f"a start left {left}")
        self.dropped += len(self.halves)
        self.halves = {}

    def look(self):
        """The coordinator is dead: is all there that anybody was told?"""
        self.looks += 1
        self.halves = self.read_halves()
        self.read_receipts()
        self.read_spools()
        versions, rows, leases = self.read_store()
        last = max(self.versions, default=0)
        for version, digest in versions:
            self.remember(self.versions, version, digest.hex(), "version")
        head = max((version for version, _ in versions), default=0)
        self.claim(head >= last, f"the head went from {last} back to {head}")
        if head:
            path = self.world.dir / "models" / f"{self.versions[head]}.safetensors"
            self.claim(path.exists(), f"version {head} has no file")
            self.claim(fleet.Model(path).digest() == self.versions[head],
                       f"the file of version {head} is another")
        for update, number, device, digest in rows:
            self.remember(self.ledger, update.hex(), (number, device, digest.hex()), "ledger row")
            self.remember(self.counted, (number, device), update.hex(), "counted")
        for path in (self.world.dir / "updates").glob("*.sum"):
            self.remember(self.sums, path.name, hashlib.sha256(path.read_bytes()).hexdigest(),
                          "noised sum")
        self.hold_receipts(min((row[1] for row in rows), default=0),
                           {(name, number) for name, number, state, lease in leases
                            if state in OPEN_ROUNDS and lease in OPEN_LEASES})

    def hold_receipts(self, oldest, open_leases):
        """Rows of rounds before `oldest` are gone by now, and told nobody anything."""
        for device, number, update, code in self.receipts:
            row = self.ledger.get(update)
            if code in COUNTED:
                self.claim(row or number < oldest,
                           f"{device} was told {code} of {update} in round {number}: no row")
            elif row:
                self.claim(code in AGAIN, f"{device} was told {code} of {update}, which counts")
            elif code not in AGAIN:
                self.refused += 1
                self.claim((device, number) not in open_leases,
                           f"{device} was told {code} in round {number}, and may be asked again")
            if row and update in self.bytes:
                self.claim(row[2] == self.bytes[update], f"{update}: other bytes than were kept")
        self.held += len(self.receipts)
        self.receipts = []
