"""Whoever means no good: a device that says what it is told to (peer.c), and messages by hand.

Messages are written and read here field by field, so that they may be wrong in any way.
"""
import base64
import hashlib
import pathlib
import socket
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import fleet  # noqa: E402

# Types of records (common/wire/message.h).
READY, TASK, TASK_REPLY, ROUND_END, MODEL_GET, INSTALLED = 1, 3, 4, 5, 7, 9
KEYS_REPLY = 24
UPLOAD_BEGIN, CREDIT, UPLOAD_CHUNK, UPLOAD_END, RECEIPT = 10, 11, 12, 13, 14
PING, PONG, ENROL, ENROL_REPLY, REVOKED = 15, 16, 17, 18, 19
SECAGG_STEP, SECAGG_CHUNK = 21, 22
CODES = {1: "ACCEPTED", 2: "ACCEPTED_CLIPPED", 3: "DUPLICATE", 4: "ALREADY_COUNTED", 5: "CONFLICT",
         9: "OVERSIZE", 10: "SLOW", 11: "MALFORMED", 12: "NOT_ELIGIBLE", 13: "RATE_LIMITED",
         14: "ROUND_CLOSED", 15: "NO_LEASE", 16: "STALE", 17: "BASE_MISMATCH",
         18: "ARCH_MISMATCH", 19: "SHAPE_OR_DECODE", 20: "NONFINITE", 21: "BAD_WEIGHT",
         22: "NORM", 23: "QUARANTINED", 24: "RETRY_LATER"}
WAIT_MS = 20000  # for an answer that has to come


# ---- Protocol buffers


def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, (list, tuple)):
        return b"".join(field(number, each) for each in value)
    if isinstance(value, dict):
        value = pack(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def pack(fields):
    """{number: value}; whole numbers, floats (of 64 bits), texts, bytes, messages, lists of these."""
    return b"".join(field(number, value) for number, value in fields.items())


def unpack(data):
    """{number: [value]}; bytes for all that has a length, and the bits of a float as a number."""
    found, at = {}, 0

    def take_varint():
        nonlocal at
        number, shift = 0, 0
        while True:
            number |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return number

    while at < len(data):
        key = take_varint()
        if key & 7 == 0:
            value = take_varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or take_varint()
            value, at = data[at:at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


# ---- A peer


class Peer:
    """Many connections to the coordinator of a fleet, in one program."""

    def __init__(self, tried, key=None):
        self.process = subprocess.Popen(
            [str(fleet.build / "tests/hostile/peer"), key or tried.key, str(tried.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(fleet.PATIENCE_S)

    def ask(self, *words):
        """One command; its answer, as words."""
        texts = [(word.hex() or "-") if isinstance(word, bytes) else str(word) for word in words]
        self.process.stdin.write(" ".join(texts) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        assert answer, f"the peer ended at: {' '.join(texts)[:200]}"
        return answer

    def frame(self, *words):
        return bytes.fromhex(self.ask(*words)[0])

    def open(self, slot, name, token=None, wait_ms=WAIT_MS):
        """A session with the key that `name` stands for."""
        answer = self.ask("open", slot, name, wait_ms, *(proof_of(token) if token else ()))
        assert answer == ["open"], (name, answer)

    def say(self, slot, kind, fields=None, stream=0, offset=0):
        payload = fields if isinstance(fields, bytes) else pack(fields or {})
        return self.ask("record", slot, kind, stream, offset, payload)

    def await_record(self, slot, kind, wait_ms=WAIT_MS):
        """The fields of the next record of this type."""
        answer = self.ask("await", slot, kind, wait_ms)
        assert answer[0] == "record", (slot, kind, answer)
        return unpack(b"" if answer[4] == "-" else bytes.fromhex(answer[4]))

    def is_over(self, slot, wait_ms=WAIT_MS):
        """Does the coordinator hang up? What it says until then does not matter."""
        return self.ask("await", slot, 255, wait_ms)[0] == "closed"

    def enrol(self, slot, name, token):
        self.open(slot, name, token)
        self.say(slot, ENROL, {1: hashlib.sha256(name.encode()).digest(), 2: "peer"})
        reply = self.await_record(slot, ENROL_REPLY)
        assert CODES[reply[1][0]] == "ACCEPTED", reply
        self.ask("close", slot)

    def ready(self, slot, name, population="default"):
        """An open session of an enrolled device that is ready for tasks."""
        self.open(slot, name)
        self.say(slot, READY, {1: population, 7: "peer"})


def proof_of(token):
    """Id and secret of a token, as the peer wants them."""
    data = base64.urlsafe_b64decode(token.removeprefix("trib1.") + "==")
    return data[33:41], data[41:73]


def enrol_peers(tried, peer, names):
    for name in names:
        peer.enrol(0, name, tried.token("--name", name))


# ---- A task, and what may be sent for it


class Task:
    """What a device needs to know of a task in order to answer it, or to lie."""

    def __init__(self, fields):
        self.round = fields[1][0]
        self.spec = fields[4][0]
        self.base = fields[7][0]
        self.arch = hashlib.blake2b(self.spec, digest_size=32).digest()
        self.encoding = unpack(fields[14][0])
        self.bits = self.encoding[7][0]
        self.weight_max = fields.get(15, [0])[0]

    def size(self, params):
        return params * self.bits // 8

    def begin(self, update, params, **changes):
        """An UPLOAD_BEGIN as it should be, but for the changes; None leaves a field out."""
        names = ["update", "round", "size", "digest", "base", "arch", "weight"]
        right = {"update": update_id(update), "round": self.round, "size": self.size(params),
                 "digest": hashlib.sha256(update.encode()).digest(), "base": self.base,
                 "arch": self.arch, "weight": 1 if self.weight_max else None}
        right.update(changes)
        return {number + 1: right[name] for number, name in enumerate(names)
                if right[name] is not None}

    def words(self, numbers):
        """Whole numbers as an update has them."""
        bytes_each = self.bits // 8
        return b"".join((n & ((1 << self.bits) - 1)).to_bytes(bytes_each, "little")
                        for n in numbers)


def update_id(text):
    return hashlib.sha256(text.encode()).digest()[:16]


# ---- The admin socket


class Admin:
    """Asks a coordinator without starting tributaryctl, which is most of the time."""

    def __init__(self, tried):
        self.path = str(tried.dir / "admin.sock")

    def send(self, data):
        """Raw bytes; all that comes back."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(fleet.PATIENCE_S)
            line.connect(self.path)
            line.sendall(data)
            heard = b""
            try:
                while piece := line.recv(65536):
                    heard += piece
            except ConnectionError:
                pass  # it had not read all: closed like any other
            return heard

    def ask(self, words, body=None, name="", folder=""):
        """(exit code, error text, [row])."""
        request = {1: list(words)}
        if body is not None:
            request |= {2: name, 3: str(folder), 4: body}
        data = pack(request)
        heard = self.send(struct.pack(">I", len(data)) + data)
        if not heard:
            return None, "", []
        fields = unpack(heard[4:])
        rows = []
        for row in fields.get(3, []):
            values = {}
            for each in unpack(row).get(1, []):
                column = unpack(each)
                key = column.pop(1)[0].decode()
                values[key] = next(iter(column.values()))[0] if column else None
            rows.append(values)
        return fields.get(1, [0])[0], fields.get(2, [b""])[0].decode(), rows
