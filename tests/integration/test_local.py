#!/usr/bin/env python3
"""Models with a part that stays on the device: it does not leave it, and it outlives a kill."""
import csv
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

import fleet

COMMON = "64 - dense 8 tanh - dense 10 softmax"
PERSONAL = COMMON + " local"
HIDDEN = 65 * 8  # parameters of the first layer, those of the second come behind them
HEAD = 9 * 10
GRID = 2.0 ** -20  # of updates with privacy off (docs/architecture.md)
CANARY = "canary-9f27-nightjar"
NUMBER = 31415.9265
FILE_HEADER = 88  # of local.part (client/local.h)
WINDOW = 12  # bytes that chance does not make equal
SCENARIOS = fleet.SOURCE / "simulations/scenarios"

# What a client hands to the cipher of its sessions: every byte that it sends, before it is sealed.
TAP = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
typedef unsigned long long size;
typedef const unsigned char *bytes;
int crypto_aead_chacha20poly1305_ietf_encrypt(unsigned char *c, size *clen, bytes m, size mlen,
                                              bytes ad, size adlen, bytes secret, bytes nonce,
                                              bytes key)
{
    static int (*real)(unsigned char *, size *, bytes, size, bytes, size, bytes, bytes, bytes);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "crypto_aead_chacha20poly1305_ietf_encrypt");
    int file = open(getenv("TRIB_TAP"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || write(file, m, mlen) != (ssize_t)mlen || close(file))
        abort();
    return real(c, clen, m, mlen, ad, adlen, secret, nonce, key);
}
"""


def pixels():
    return "".join(f"[column p{i}]\ntype = real\n" for i in range(64))


SCHEMA = (pixels() + "[column secret]\ntype = text\nrole = local-only\n"
          "[column income]\ntype = real\nrole = local-only\n"
          "[column digit]\ntype = int\nrole = label\n")


# One user's ratings of some of 40 items. No two of them are equal, and a number's last digits are chance.
FACTORS, ITEMS = 6, 40
RATED = [(7 * i % ITEMS, 1 + (i * 0.7310585786) % 4) for i in range(25)]
RATING_SCHEMA = ("[column user]\ntype = text\nrole = id\n[column item]\ntype = int\n"
                 "[column secret]\ntype = text\nrole = local-only\n"
                 "[column rating]\ntype = real\nrole = label\n")


def windows(data):
    """Every piece of `data` that is long enough and not nearly all one byte."""
    pieces = {bytes(data[i:i + WINDOW]) for i in range(len(data) - WINDOW + 1)}
    return {piece for piece in pieces if len(set(piece)) > 4}


def words(values):
    """Numbers on the grid of an update, packed as they would be sent."""
    return b"".join(struct.pack("<i", round(value / GRID))[:3] for value in values)


def floats(data):
    return struct.unpack(f"<{len(data) // 4}f", data)


class LocalFile:
    def __init__(self, path):
        self.data = pathlib.Path(path).read_bytes()
        assert self.data[:8] == b"TRIBLOC1"
        self.round, count = struct.unpack_from("<QQ", self.data, 72)
        body = self.data[FILE_HEADER:]
        assert len(body) == 8 * count
        self.before, self.after = floats(body[:4 * count]), floats(body[4 * count:])


class LocalTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-local-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        self.runs = 0

    def tap(self):
        if not shutil.which("cc"):
            self.skipTest("no C compiler for the tap")
        source, library = self.dir / "tap.c", self.dir / "tap.so"
        source.write_text(TAP)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        return {"LD_PRELOAD": str(library), "TRIB_TAP": str(self.dir / "sent"),
                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

    def listen(self, spec, is_joined=False, is_rating=False, **job):
        """What one device sends in a job of one round, what it keeps, what the job changed."""
        environment = self.tap()
        sent = self.dir / "sent"
        sent.unlink(missing_ok=True)
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            rows = [f"{x},{CANARY},{NUMBER},{y}" for x, y in
                    (line.rsplit(",", 1) for line in fleet.digits()[:120])]
            if is_rating:
                rows = [f"user {CANARY[::-1]},{item},{CANARY},{rating!r}" for item, rating in RATED]
            tried.add_device("d0", rows, scale=1 if is_rating else 16)
            folder = tried.root / "d0"
            (folder / "s.ini").write_text(RATING_SCHEMA if is_rating else SCHEMA)
            keys = self.write_joined(folder) if is_joined else ""
            path = folder / "client.ini"
            path.write_text(path.read_text().replace("[data]\n",
                                                     f"[data]\nschema = s.ini\n{keys}"))
            tried.start_device("d0", environment)
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit(spec, [], cohort=1, min_accepted=1, rounds=1, batch=10,
                                            local_epochs=2, eval_every=0, **job))
            path = folder / "local.part"
            kept = LocalFile(path) if path.exists() else None
            if kept:
                self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            models = []
            for version in 1, 2:
                out = self.dir / f"v{version}.safetensors"
                done = tried.try_ctl("models", "export", version, "--format", "safetensors",
                                     "--out", out)
                self.assertEqual(done.returncode, 0, done.stderr)
                models.append(fleet.Model(out).floats())
            self.assertEqual(tried.end("d0"), 0)
            change = [new - old for old, new in zip(*models)]
            # Nothing of the canary, nor of the local part, is in any file but the two it belongs in.
            mine = ("data.csv", "second.csv", "local.part")
            if is_joined:
                self.assertIn("120 of 120 rows have a partner", tried.log("d0"))
            for file in folder.iterdir():
                if kept and file.is_file() and file.name not in mine:
                    self.assert_clean(file.read_bytes(), kept, file.name)
        return sent.read_bytes(), kept, change

    def write_joined(self, folder):
        """The local-only columns in a file of their own, which data.join names."""
        lines = [line.split(",") for line in (folder / "data.csv").read_text().splitlines()]
        names = ",".join(f"p{i}" for i in range(64))
        (folder / "data.csv").write_text(f"{names},digit,row\n" + "".join(
            ",".join(line[:64] + [line[-1], f"r{i}"]) + "\n" for i, line in enumerate(lines)))
        (folder / "second.csv").write_text("row,secret,income\n" + "".join(
            f"r{i},{line[64]},{line[65]}\n" for i, line in enumerate(lines)))
        (folder / "s.ini").write_text(SCHEMA + "[column row]\ntype = text\nrole = id\n")
        return "header = yes\njoin = second.csv\njoin_on = row\n"

    def secrets(self, kept):
        """Pieces of what must stay, each as it may lie in a message."""
        found = windows(CANARY.encode())
        for number in NUMBER, NUMBER / 16:
            found |= {struct.pack(kind, number) for kind in ("<d", ">d")} | {str(number).encode()}
        for values in kept.before, kept.after:
            found |= windows(struct.pack(f"<{len(values)}f", *values)) | windows(words(values))
        found |= windows(words([b - a for a, b in zip(kept.before, kept.after)]))
        return found

    def assert_clean(self, data, kept, what):
        seen = [piece for piece in self.secrets(kept) if piece in data]
        self.assertEqual(seen, [], what)

    def test_no_byte_of_the_local_part_or_of_a_local_column_is_sent(self):
        sent, kept, change = self.listen(PERSONAL)
        self.assertEqual((len(change), len(kept.after)), (HIDDEN, HEAD))
        self.assertNotEqual(kept.before, kept.after)
        self.assert_clean(sent, kept, "sent")
        # The tap hears what is sent: texts, and the update to its last word.
        self.assertIn(b"libtributary", sent)
        self.assertIn(words(change), sent)

    def test_no_byte_of_a_local_column_that_is_joined_is_sent(self):
        sent, kept, change = self.listen(PERSONAL, is_joined=True)
        self.assert_clean(sent, kept, "sent")
        self.assertIn(words(change), sent)
        self.assertEqual(sent.count(b"second.csv"), 0)

    def test_no_byte_of_a_users_factors_or_ratings_is_sent(self):
        sent, kept, change = self.listen(f"1 - factors {ITEMS}x{FACTORS} linear", is_rating=True,
                                         scale=1, personal_epochs=3)
        # p and c here; q, b and the mean are what is learnt together
        self.assertEqual((len(kept.after), len(change)),
                         (FACTORS + 1, ITEMS * (FACTORS + 1) + 1))
        self.assertEqual(kept.before, (0.0,) * (FACTORS + 1))
        self.assertGreater(min(map(abs, kept.after)), 2 * GRID)
        self.assert_clean(sent, kept, "sent")
        ratings = {struct.pack(kind, rating) for _, rating in RATED if rating > 1
                   for kind in ("<d", ">d", "<f", ">f")}
        ratings |= {repr(rating).encode() for _, rating in RATED if rating > 1}
        ratings |= windows(CANARY[::-1].encode())  # the user's name
        self.assertEqual([piece for piece in ratings if piece in sent], [])
        # The update is heard to its last word, and the search finds an item's factors in it.
        self.assertIn(words(change), sent)
        leak = LocalFile.__new__(LocalFile)
        item = FACTORS * RATED[-1][0]
        leak.before, leak.after = [0.0] * FACTORS, change[item:item + FACTORS]
        with self.assertRaises(AssertionError):
            self.assert_clean(sent, leak, "sent")

    def test_the_search_finds_a_last_layer_that_is_sent(self):
        sent, kept, change = self.listen(COMMON)
        self.assertIsNone(kept)
        self.assertEqual(len(change), HIDDEN + HEAD)
        head = change[HIDDEN:]
        leak = LocalFile.__new__(LocalFile)
        leak.before, leak.after = [0.0] * HEAD, head
        with self.assertRaises(AssertionError):
            self.assert_clean(sent, leak, "sent")
        self.assertIn(words(head), sent)

    def play(self, scenario, *sets, mode="inprocess"):
        self.runs += 1
        out = self.dir / f"run{self.runs}"
        options = [word for pair in sets for word in ("--set", pair)]
        done = fleet.run("tributary-sim", "run", scenario, "--mode", fleet.mode_of(mode), "--json", "--quiet",
                         "--out", out, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        last = json.loads(done.stdout.splitlines()[-1])
        return last["model_digest"], last["value"], (out / "devices.csv").read_text()

    def write_scenario(self, spec, train, keys, partition="clients = 3\n"):
        path = self.dir / f"scenario{self.runs}.ini"
        path.write_text(f"[model]\nspec = {spec}\n[data]\ntrain = {train}\ntest_fraction = 0.25\n"
                        f"test_on = devices\n[partition]\n{partition}[round]\nrounds = 3\n"
                        f"cohort = 3\nbatch = 10\nlearning_rate = 0.1\n{keys}"
                        "[privacy]\nmode = off\n")
        return path

    def test_both_modes_give_the_same_common_and_local_parts(self):
        digits = self.dir / "digits.csv"
        digits.write_text("\n".join(fleet.digits()[:240]) + "\n")
        ratings = self.dir / "ratings.csv"
        ratings.write_text("".join(f"{user},{item},{1 + (user * 3 + item * item) % 5}\n"
                                   for user in range(3) for item in range(25)))
        column = "kind = column\ncolumn = 1\n"
        for spec, train, partition, keys in [
                (PERSONAL, digits, "clients = 3\n", "[data]\nscale = 16\n"),
                ("64 - dense 6 relu local - dense 10 softmax", digits,
                 "kind = dirichlet\nclients = 3\nalpha = 0.3\n", "optimizer = adam\n"
                 "personal_epochs = 2\nvalidation_fraction = 0.2\n[data]\nscale = 16\n"),
                ("1 - factors 25x3 linear", ratings, column, "personal_epochs = 3\n")]:
            with self.subTest(spec=spec):
                scenario = self.write_scenario(spec, train, keys, partition)
                results = {self.play(scenario, mode=mode) for mode in ("inprocess", "processes")}
                self.assertEqual(len(results), 1)
                _, value, devices = results.pop()
                self.assertIsNotNone(value)
                self.assertEqual(len(list(csv.DictReader(devices.splitlines()))), 3)

    def test_a_last_layer_of_its_own_serves_a_skewed_device_better(self):
        scenario = SCENARIOS / "personal-digits.ini"
        common = ["model.spec=64 - dense 32 relu - dense 10 softmax", "round.personal_epochs=0"]
        losses, accuracies = [], []
        for sets in common, []:
            _, accuracy, devices = self.play(scenario, *sets)
            rows = list(csv.DictReader(devices.splitlines()))
            self.assertEqual(len(rows), 20)
            losses.append({row["device"]: float(row["loss"]) for row in rows if row["loss"]})
            accuracies.append(accuracy)
        shared, personal = losses
        self.assertEqual(set(shared), set(personal))  # the same rows are held out
        better = sum(personal[name] < shared[name] for name in shared)
        self.assertGreaterEqual(better, 0.7 * len(shared))
        self.assertLess(sum(personal.values()), 0.8 * sum(shared.values()))
        self.assertGreater(accuracies[1], accuracies[0] + 0.04)

    def test_what_a_local_column_says_changes_nothing(self):
        digests = set()
        (self.dir / "s.ini").write_text(SCHEMA)
        for secret, income in ("a", 1), (CANARY, NUMBER):
            train = self.dir / f"{secret}.csv"
            train.write_text("".join(f"{x},{secret},{income},{y}\n" for x, y in (
                line.rsplit(",", 1) for line in fleet.digits()[:240])))
            digests.add(self.play(self.write_scenario(PERSONAL, train,
                                                      f"[data]\nschema = s.ini\n"))[0])
        self.assertEqual(len(digests), 1)

    def test_a_coordinator_cannot_measure_what_it_does_not_have(self):
        digits = self.dir / "digits.csv"
        digits.write_text("\n".join(fleet.digits()[:240]) + "\n")
        scenario = self.write_scenario(PERSONAL, digits, "")
        done = fleet.run("tributary-sim", "run", scenario, "--set", "data.test_on=coordinator")
        self.assertEqual(done.returncode, 2)
        self.assertIn("data.test_on: must be devices: a part of the model stays", done.stderr)
        done = fleet.run("tributary-sim", "run", scenario, "--out", self.dir / "x",
                         "--set", "round.target_metric=accuracy", "--set",
                         "round.target_value=0.5")
        self.assertEqual(done.returncode, 2)
        self.assertIn("use --mode inprocess", done.stderr)
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            path = tried.write_job(PERSONAL, fleet.digits()[:10], rounds=1, cohort=1)
            done = tried.try_ctl("jobs", "submit", path)
            self.assertEqual(done.returncode, 2)
            self.assertIn("has a part that stays on the devices", done.stderr)

    @fleet.sweep
    def test_a_device_killed_at_any_point_of_a_round_gives_the_same_model(self):
        points = {point for point in fleet.crash_points("tributary-client")
                  if point.startswith("local.")
                  or point in {"spool.before", "spool.durable", "task.trained"}}
        if not points:
            self.skipTest("a build without -Dcrash_points=true")
        self.assertGreaterEqual(len(points), 4)
        # Each of the two begins anew where the other one's part lies: so each has one right result.
        specs = [PERSONAL, "64 - dense 6 relu - dense 10 softmax local"]
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for i in range(3):
                tried.add_device(f"d{i}", rows[80 * i:80 * i + 80])
                tried.start_device(f"d{i}")
            tried.wait_connected(3)
            jobs = [tried.write_job(spec, [], rounds=3, cohort=3, batch=10, local_epochs=2,
                                    eval_every=0, learning_rate=0.1) for spec in specs]
            wanted = {}
            for crash in [None, None] + [f"{point}:{hit}" for point in sorted(points)
                                         for hit in (1, 3)]:
                turn = len(tried.ctl("jobs", "ls")) % 2
                if crash:
                    self.assertEqual(tried.end("d1"), 0)
                    process = tried.start_device("d1", {"TRIB_CRASH": crash})
                    tried.wait_connected(3)
                job = tried.ctl("jobs", "submit", jobs[turn])[0]["job"]
                if crash:
                    fleet.wait_until(lambda: process.poll() is not None, f"{crash} is hit")
                    tried.processes.pop("d1")
                    tried.start_device("d1")
                tried.wait_for_job(job)
                kept = LocalFile(tried.root / "d1/local.part").after
                result = (tried.model_digest(), kept)
                self.assertEqual(wanted.setdefault(turn, result), result, crash)
            self.assertEqual(len(wanted), 2)


if __name__ == "__main__":
    fleet.main()
