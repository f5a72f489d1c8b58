"""What may be said to a coordinator in a session, and what becomes of it: for test_corpus.py."""
import base64
import contextlib
import hashlib
import json
import math
import struct
import time

import hostile
from hostile import CODES, Admin, Peer, Task, fleet

SPEC, PARAMS = "2 - dense 2 softmax", 6
ROWS = "".join(f"{i % 16},{(i * 7) % 16},{i % 2}\n" for i in range(40))
HANG_UP = b"<and gone>"
DEVICES = ["known", "user", *(f"d{i:02}" for i in range(2, 34))]  # of the jobs
HONEST = 2  # so many are left at least
FIRST = 100  # slot of the first of them
BOUND = {"off": "norm_max = 4\n"}
PRIVACY = {"off": "", "local": "noise_multiplier = 1\n", "central": "noise_multiplier = 1\n"}
WAIT_MS = hostile.WAIT_MS
HOPELESS = ["ARCH_MISMATCH", "BASE_MISMATCH", "OVERSIZE", "SHAPE_OR_DECODE", "BAD_WEIGHT",
            "MALFORMED"]


# ---- Bytes of frames


def at(frame, place, value=None):
    """With another byte at this place."""
    changed = bytearray(frame)
    changed[place] = changed[place] ^ 1 if value is None else value
    return bytes(changed)


def framed(body):
    return struct.pack(">H", len(body)) + body


def flipped(digest):
    return at(digest, 7)


def forged(proof, place):
    whole = bytearray(proof[0] + proof[1])
    whole[place] ^= 1
    return bytes(whole[:8]), bytes(whole[8:])


class Line:
    """Sessions of a peer with a coordinator."""

    def __init__(self, tried, peer):
        self.tried, self.peer, self.admin = tried, peer, Admin(tried)
        self.key = base64.urlsafe_b64decode(tried.key + "=" * (-len(tried.key) % 4))
        self.names = []
        tokens = {name: self.enrol(name) for name in [*DEVICES, "revoked"]}
        self.ask("devices", "revoke", "revoked")
        expired = self.token("--ttl", "1s")
        self.expires = time.monotonic() + 1.1
        self.proofs = {"token": hostile.proof_of(self.token()),
                       "used": hostile.proof_of(tokens["user"]),
                       "expired": hostile.proof_of(expired)}
        self.digest = bytes(32)
        for i, name in enumerate(DEVICES):
            peer.ready(FIRST + i, name)

    def ask(self, *words, **body):
        code, text, rows = self.admin.ask(words, **body)
        assert code == 0, (words, text)
        return rows

    def token(self, *options):
        return self.ask("devices", "token", *options)[0]["token"].decode()

    def enrol(self, name):
        token = self.token("--name", name)
        self.peer.enrol(0, name, token)
        self.names.append(name)
        return token

    def status(self):
        row = self.ask("status")[0]
        return {key: json.loads(value) if isinstance(value, bytes) and value[:1] == b"{" else value
                for key, value in row.items()}

    def settle(self):
        """Close our session, and wait until nothing of it is left."""
        self.peer.ask("close", 0)
        fleet.wait_until(lambda: self.status()["connections_open"] == 1,
                         "the connection is gone", step_s=0.001)

    def leave_rounds(self):
        """What comes now is said by devices one at a time, and by a newcomer beside them."""
        for i in range(len(DEVICES)):
            self.peer.ask("close", FIRST + i)

    # ---- What a case may say

    def hello(self, name, proof=()):
        return self.peer.frame("hello", 0, name, *proof)

    def hello_to_another(self, name):
        """What a device says that knows the key of another coordinator."""
        with Peer(self.tried, self.peer.ask("key", "another")[0]) as other:
            return other.frame("hello", 0, name)

    def macced(self, frame):
        """With a mac that is right, whatever else is not."""
        key = hashlib.blake2b(b"trib mac1" + self.key, digest_size=32).digest()
        said = frame[2:4] + frame[20:]
        return frame[:4] + hashlib.blake2b(said, key=key, digest_size=16).digest() + frame[20:]

    def again(self, frame):
        """The same hello, that was welcome once."""
        self.peer.ask("send", 0, frame)
        assert self.peer.ask("welcome", 0, WAIT_MS) == ["open"]
        self.settle()
        assert self.peer.ask("connect", 0) == ["ok"]
        return frame

    def seal(self, kind, fields=b"", slot=0):
        payload = fields if isinstance(fields, bytes) else hostile.pack(fields)
        return self.peer.frame("seal", slot, kind, 0, 0, 0, payload)

    def words(self):
        """The names in a case."""
        names = {name: getattr(hostile, name) for name in dir(hostile) if name.isupper()}
        return {**names, **self.proofs, "at": at, "framed": framed, "flipped": flipped,
                "forged": forged, "pack": hostile.pack, "hello": self.hello,
                "second_hello": lambda name: self.peer.frame("hello", 2, name),
                "hello_to_another": self.hello_to_another, "seal": self.seal,
                "macced": self.macced, "again": self.again, "HANG_UP": HANG_UP,
                "DIGEST": self.digest, "ping": lambda: self.seal(hostile.PING),
                "foreign": lambda: self.seal(hostile.PING, slot=1),
                "twice": lambda frame: frame + frame, "swapped": lambda one, two: two + one}

    # ---- Cases

    def begin(self, name):
        """A connection as cases of this file want it; a second session is there for all of them."""
        if name == "hello":
            assert self.peer.ask("connect", 0) == ["ok"]
            return
        if name == "enrol":
            self.peer.ask("open", 0, "newcomer", WAIT_MS, *self.proofs["token"])
            return
        self.peer.open(0, "known")
        if name == "record":
            self.peer.say(0, hostile.PING)
            self.peer.await_record(0, hostile.PONG)
        else:
            self.peer.say(0, hostile.READY, {1: "default", 7: "peer"})

    def play(self, name, what, text):
        """Why the coordinator closed the connection, or "kept"."""
        time.sleep(max(0, self.expires - time.monotonic()))
        self.settle()
        self.begin(name)
        said = eval(f"seal({what}, {text})" if name == "message" else text, self.words())
        before = self.status()["closed"]
        self.peer.ask("send", 0, said.removesuffix(HANG_UP) or b"")
        if said.endswith(HANG_UP):
            self.peer.ask("close", 0)
        elif name == "hello":
            heard = self.peer.ask("hear", 0, WAIT_MS)
            assert heard == ["closed", "0"], heard
        elif not (self.peer.is_over(0) if name == "enrol" else self.is_closed()):
            return "kept"
        return self.reason(before)

    def is_closed(self):
        """What is answered behind all that was said: a PING is not, the threads that decipher do that."""
        asked = {1: bytes(16), 4: bytes(32), 5: bytes(32), 6: bytes(32)}
        self.peer.say(0, hostile.UPLOAD_BEGIN, asked)
        return self.peer.ask("await", 0, hostile.RECEIPT, WAIT_MS)[0] == "closed"

    def reason(self, before):
        fleet.wait_until(lambda: self.status()["closed"] != before, "it is counted", step_s=0.001)
        after = self.status()["closed"]
        return ",".join(key for key in after if after[key] != before.get(key, 0))

    @contextlib.contextmanager
    def round_of(self, mode):
        folder = self.tried.root / mode
        folder.mkdir()
        (folder / "rows.csv").write_text(ROWS)
        text = (f"[model]\nspec = {SPEC}\n[round]\nrounds = 1\ncohort = {len(DEVICES)}\n"
                f"min_accepted = 1\nbeat_baseline = no\n{BOUND.get(mode, '')}[data]\ntest = rows.csv\n"
                f"[privacy]\nmode = {mode}\nsend_tick_ms = 0\n{PRIVACY[mode]}")
        self.ask("jobs", "submit", "--accept-drowned-signal", body=text.encode(), name="job.ini",
                 folder=str(folder))
        yield Round(self, mode)


class Round:
    """A round of devices of the peer: who lies, who is refused, who is counted."""

    def __init__(self, line, mode):
        self.line, self.peer, self.mode = line, line.peer, mode
        self.slots = [FIRST + i for i in range(len(DEVICES))]
        for slot in self.slots:
            self.task = Task(self.peer.await_record(slot, hostile.TASK))
            self.peer.say(slot, hostile.TASK_REPLY, {1: self.task.round, 2: 1})
        self.counted, *self.free = self.slots  # each of them lies once
        self.open = set(self.slots)
        if mode == "off":  # the last one: nobody may be waited for in others
            line.enrol("late")
            self.peer.open(1, "late")
            self.peer.ask("ask", 1, 1, WAIT_MS)
        self.refused = 0
        self.is_over = False
        assert self.send(self.counted, "counted", bytes(self.task.size(PARAMS))) == "ACCEPTED"
        self.open.remove(self.counted)
        self.honest = 1

    # ---- What a case may do

    def claim(self, update, **changes):
        return self.task.begin(f"{self.mode}: {update}", PARAMS, **changes)

    def receipt(self, slot):
        return CODES[self.peer.await_record(slot, hostile.RECEIPT)[2][0]]

    def begin(self, slot=None, update="begun", **changes):
        """The answer to an UPLOAD_BEGIN that is wrong; what shows that nothing can come of it ends
        the device's part in the round."""
        slot = slot or self.free[-1]
        self.peer.say(slot, hostile.UPLOAD_BEGIN, self.claim(update, **changes), 7)
        code = self.receipt(slot)
        if code in HOPELESS:
            self.open.remove(self.free.pop())
            self.refused += 1
        return code

    def send(self, slot, update, *chunks):
        """A whole upload of these bytes; its receipt."""
        self.peer.say(slot, hostile.UPLOAD_BEGIN, self.claim(update), 7)
        self.peer.await_record(slot, hostile.CREDIT)
        offset = 0
        for chunk in chunks:
            self.peer.say(slot, hostile.UPLOAD_CHUNK, chunk, 7, offset)
            offset += len(chunk)
        self.peer.say(slot, hostile.UPLOAD_END, {1: hostile.update_id(f"{self.mode}: {update}")})
        return self.receipt(slot)

    def refuse(self, *chunks):
        slot = self.free.pop()
        code = self.send(slot, f"lie {slot}", *chunks)
        if code not in ["ACCEPTED", "RETRY_LATER"]:
            self.open.remove(slot)
            self.refused += 1
        return code

    def whole(self, numbers=(), raw=None):
        filled = list(numbers) + [0] * (PARAMS - len(numbers))
        return self.refuse(self.task.words(filled) if raw is None else raw)

    def part(self, size):
        return self.refuse(*([bytes(size)] if size else []))

    def chunk(self, *places):
        """Why a connection is closed in which chunks lie at these places, with these sizes."""
        slot = self.free.pop()
        self.peer.say(slot, hostile.UPLOAD_BEGIN, self.claim(f"lie {slot}"), 7)
        self.peer.await_record(slot, hostile.CREDIT)
        before = self.line.status()["closed"]
        for offset, size in zip(places[::2], places[1::2]):
            self.peer.say(slot, hostile.UPLOAD_CHUNK, bytes(size), 7, offset)
        if not self.peer.is_over(slot):
            return "kept"
        reason = self.line.reason(before)
        self.peer.ready(slot, DEVICES[slot - FIRST])  # it comes back, and is honest
        self.peer.await_record(slot, hostile.TASK)
        return reason

    def play(self, text):
        coding = self.task.encoding
        s1, s2, sinf = (coding.get(i, [0])[0] for i in (4, 5, 6))
        tail = math.log(2 * PARAMS) + 40 * math.log(2)
        noise = math.ceil(math.ldexp(tail, coding.get(3, [0])[0]))
        return eval(text, {
            "begin": self.begin, "whole": self.whole, "part": self.part, "chunk": self.chunk,
            "flipped": flipped, "ROUND": self.task.round, "ARCH": self.task.arch,
            "BASE": self.task.base, "SIZE": self.task.size(PARAMS), "PARAMS": PARAMS,
            "WEIGHT_MAX": self.task.weight_max, "COUNTED": self.counted, "OUTSIDER": 1,
            "BITS": self.task.bits, "S1": s1, "S2": s2, "SINF": sinf, "NORM": sinf + noise})

    def end(self):
        """Everybody who may still is honest; the round, when it is over."""
        for slot in sorted(self.open):
            code = self.send(slot, f"true {slot}", bytes(self.task.size(PARAMS)))
            assert code == "ACCEPTED", (slot, code)
            self.honest += 1
        fleet.wait_until(lambda: self.line.status()["job"] == 0, "the job is done")
        self.line.digest = bytes.fromhex(
            self.line.ask("models", "show", "latest")[0]["model_digest"].decode())
        rounds = self.line.ask("rounds", "ls")
        return next(row for row in rounds if row["id"] == self.task.round)
