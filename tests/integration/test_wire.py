#!/usr/bin/env python3
"""What somebody sees who records the wire: lengths and times, but nothing of what is said."""
import base64
import contextlib
import json
import struct

import fleet
import proxy

SPEC = "64 - dense 10 softmax"
NAMES = ["canary-sparrow", "canary-finch"]
POPULATION = "canary-stream"
GROUP = "canary-ward"
NUMBER = 12345.6789
WIDE = "2 - dense 1000 relu - dense 500 relu - dense 2 softmax"
WIDE_PARAMS = 2 * 1000 + 1000 + 1000 * 500 + 500 + 500 * 2 + 2
WIDE_ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
RECORD_MAX = 65536  # bytes that are lost at most when a record is cut
WINDOW = 12  # bytes that tell one text from another: chance makes them equal once in 2^70 tries


def is_seen(needle, haystack):
    return needle in haystack


def windows(data):
    """Every piece of `data` that is long enough and not all one byte."""
    pieces = {bytes(data[i:i + WINDOW]) for i in range(len(data) - WINDOW + 1)}
    return {piece for piece in pieces if len(set(piece)) > 4}


def number_bytes(number):
    """A number as it may lie in memory or in a message."""
    return [struct.pack(kind, value) for value in [number, number / 16]
            for kind in ["<f", ">f", "<d", ">d"]]


class WireTest(fleet.Case):
    @contextlib.contextmanager
    def watched_fleet(self):
        """Two devices that reach their coordinator through a recording proxy."""
        with proxy.Proxy() as watch, fleet.Fleet(url=watch.url) as tried:
            watch.target_port = tried.port
            path = tried.dir / "tributary.ini"
            path.write_text(path.read_text() + f"population = {POPULATION}\n"
                            "[enrol]\nallow_list = allow.txt\n")
            key = fleet.run("tributary-client", "keygen", "--state", tried.root / NAMES[1]).stdout
            (tried.dir / "allow.txt").write_text(f"{key.strip()} {NAMES[1]} {GROUP}\n")
            tried.start_coordinator()
            rows = fleet.digits()
            self.token = tried.token("--name", NAMES[0])
            for done in [tried.enrol(self.token, NAMES[0]),
                         tried.enrol(watch.url, NAMES[1], "--key", tried.key)]:
                self.assertEqual(done.returncode, 0, done.stderr)
            for i, name in enumerate(NAMES):
                tried.write_data(name, [f"{NUMBER}," + rows[i].split(",", 1)[1]]
                                 + rows[100 * i + 1:100 * i + 100])
                tried.start_device(name)
            tried.wait_connected(2)
            self.held_out = rows[300:400]
            yield tried, watch

    def files_of(self, folder):
        return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())

    def play_until_an_update_waits(self, tried):
        """One round in which the coordinator dies; the update in the spool of the first device."""
        job = tried.submit(SPEC, self.held_out, rounds=2, cohort=2, local_epochs=10000, batch=2,
                           learning_rate=0.0001)
        for name in NAMES:
            fleet.wait_until(lambda: " begins at version=" in tried.log(name), f"{name} trains")
        tried.kill("coordinator")
        spool = tried.root / NAMES[0] / "spool.update"
        fleet.wait_until(spool.exists, "the update waits")
        self.assertTrue(tried.processes[NAMES[0]].poll() is None)
        return job, spool.read_bytes()

    def test_nothing_that_was_said_is_seen(self):
        with self.watched_fleet() as (tried, watch):
            tried.kill(NAMES[1])
            tried.start_device(NAMES[1])
            tried.wait_connected(2)
            job, spool = self.play_until_an_update_waits(tried)
            # The round stays open while one device is away, so that the other's update can be seen
            # as the coordinator has it.
            fleet.wait_until((tried.root / NAMES[1] / "spool.update").exists, "the other one too")
            tried.kill(NAMES[1])
            tried.start_coordinator()
            fleet.wait_until(lambda: tried.status()["receipts"], "the update has arrived")
            segment = self.files_of(tried.dir / "updates")
            tried.start_device(NAMES[1])
            tried.wait_for_job(job)
            fleet.wait_until(lambda: tried.status()["on_newest_version"] == 2, "all have it")
            models = [fleet.Model(tried.root / name / "model.safetensors") for name in NAMES]
            keys = [base64.urlsafe_b64decode(row["key"] + "=")
                    for row in tried.ctl("devices", "ls")]
            mine = self.files_of(tried.root / NAMES[0]) + self.files_of(tried.root / NAMES[1])
            up, down = watch.take()
            wire = up + down

        # Enough went through: two devices, two rounds, 650 parameters of 3 bytes up and 4 down.
        self.assertGreater(len(up), 4 * 650 * 3)
        self.assertGreater(len(down), 4 * 650 * 4)

        for text in [*NAMES, POPULATION, GROUP, SPEC, str(NUMBER), self.token]:
            self.assertFalse(is_seen(text.encode(), wire), text)
        for text in [*NAMES, POPULATION, SPEC, str(NUMBER)]:
            self.assertTrue(is_seen(text.encode(), mine), text)

        secret = base64.urlsafe_b64decode(self.token.removeprefix("trib1.") + "==")[41:73]
        for piece in [secret, *keys, *number_bytes(NUMBER)]:
            self.assertFalse(is_seen(piece, wire), piece)
            self.assertTrue(is_seen(piece, wire[:99] + piece + wire[99:]))  # the search can find it

        update = windows(spool) & windows(segment)  # what device and coordinator both have: numbers
        self.assertGreater(len(update), 650 * 3 * 0.9)
        self.assertEqual(len(windows(wire) & update), 0)
        for model in models:
            params = windows(model.params)
            self.assertGreater(len(params), 650 * 4 * 0.9)
            self.assertEqual(len(windows(wire) & params), 0)
            self.assertEqual(len(windows(mine) & params), len(params))

    def play_wide(self, cut_after):
        """One round of one device with a large model; its rounds, status, digest, bytes up."""
        with proxy.Proxy() as watch, fleet.Fleet(url=watch.url) as tried:
            watch.target_port = tried.port
            tried.start_coordinator()
            tried.add_device("one", WIDE_ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            watch.take()
            if cut_after:
                watch.cut_next(cut_after)
            job = tried.submit(WIDE, WIDE_ROWS, rounds=1, cohort=1, batch=16, learning_rate=0.01)
            tried.wait_for_job(job)
            self.assertEqual(watch.cuts, 1 if cut_after else 0)
            self.assert_books_balance(tried)
            return (tried.ctl("rounds", "ls"), tried.status(), tried.model_digest(),
                    len(watch.take()[0]))

    def test_an_upload_that_is_cut_goes_on_where_it_was(self):
        rounds, status, digest, up = self.play_wide(None)
        self.assertEqual((status["uploads_begun"], status["uploads_cut"]), (1, 0))
        size = WIDE_PARAMS * 3  # words of 24 bits
        self.assertGreater(up, size)
        for cut_after in [size // 4, size // 2, size * 9 // 10]:
            with self.subTest(cut_after=cut_after):
                cut_rounds, cut_status, cut_digest, cut_up = self.play_wide(cut_after)
                self.assertEqual((cut_status["uploads_begun"], cut_status["uploads_cut"]), (2, 1))
                self.assertEqual(cut_status["receipts"], {"ACCEPTED": 1})
                self.assertEqual([row["accepted"] for row in cut_rounds], [1])
                self.assertEqual(cut_digest, digest)
                # Both connections together sent the update once, but for what was under way when
                # the first one broke, and what a second handshake costs.
                self.assertLess(cut_up, up + 3 * RECORD_MAX)
                self.assertGreaterEqual(cut_up, up)

    def test_the_same_federation_never_looks_the_same(self):
        captures = []
        for _ in range(2):
            with self.watched_fleet() as (tried, watch):
                tried.wait_for_job(tried.submit(SPEC, self.held_out, rounds=1, cohort=2))
                fleet.wait_until(lambda: tried.status()["on_newest_version"] == 2, "all have it")
                captures.append(watch.take())
        for one, other in zip(*captures):
            # What both have in common is the beginning of a stream, before any key is agreed.
            self.assertLess(len(windows(one) & windows(other)), 64)

    def test_a_changed_byte_ends_the_session_and_changes_nothing_else(self):
        with self.watched_fleet() as (tried, watch):
            watch.break_next(2000)  # in the middle of an update
            job = tried.submit(SPEC, self.held_out, rounds=3, cohort=2)
            tried.wait_for_job(job)
            self.assertEqual(watch.broken, 1)
            self.assertEqual([row["accepted"] for row in tried.ctl("rounds", "ls")], [2, 2, 2])
            status = tried.status()
            self.assertEqual(sum(count for code, count in status["receipts"].items()
                                 if code != "ACCEPTED"), 0, json.dumps(status))
            self.assertGreater(status["connections_accepted"], 4)
            self.assert_books_balance(tried)


if __name__ == "__main__":
    fleet.main()
