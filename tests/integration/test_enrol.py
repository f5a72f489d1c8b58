#!/usr/bin/env python3
"""Who gets in: tokens, the allow-list, revocation, and silence for everybody else."""
import base64
import contextlib
import os
import re
import signal
import socket
import time

import fleet
import proxy

SILENT_S = 1.0
ROWS = [f"{i % 16},{(i * 7) % 16},{i % 2}" for i in range(40)]


class EnrolTest(fleet.Case):
    @contextlib.contextmanager
    def watched_fleet(self):
        """A coordinator behind a proxy that sees what strangers are told."""
        with proxy.Proxy() as watch, fleet.Fleet(url=watch.url) as tried:
            watch.target_port = tried.port
            tried.start_coordinator()
            yield tried, watch

    def assert_enrols(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)

    def assert_told_nothing(self, done, watch):
        """It spoke, got not one byte, and says what that may mean."""
        up, down = watch.take()
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("does not accept this token or key", done.stderr)
        self.assertGreater(len(up), 0)
        self.assertEqual(len(down), 0)

    def names(self, tried):
        return [row["name"] for row in tried.ctl("devices", "ls")]

    # ---- Tokens

    def test_a_token_is_good_for_one_key(self):
        with self.watched_fleet() as (tried, watch):
            token = tried.token("--name", "one")
            self.assert_enrols(tried.enrol(token, "one"))
            self.assertGreater(len(watch.take()[1]), 0)
            self.assert_told_nothing(tried.enrol(token, "two"), watch)
            self.assertFalse((tried.root / "two/enrolment.ini").exists())
            # The same key: the answer was lost. What copying brings along does not count.
            self.assert_enrols(tried.enrol(f" {token}\n", "one"))
            self.assertEqual(self.names(tried), ["one"])

    def test_a_used_token_stays_used_after_a_restart(self):
        with self.watched_fleet() as (tried, watch):
            used, fresh = tried.token("--name", "one"), tried.token("--name", "two")
            self.assert_enrols(tried.enrol(used, "one"))
            tried.kill("coordinator")
            tried.start_coordinator()
            watch.take()
            self.assert_told_nothing(tried.enrol(used, "thief"), watch)
            self.assert_enrols(tried.enrol(fresh, "two"))
            self.assertEqual(sorted(self.names(tried)), ["one", "two"])

    def test_an_expired_token_is_not_answered(self):
        with self.watched_fleet() as (tried, watch):
            token = tried.token("--name", "late", "--ttl", "1s")
            time.sleep(1.2)
            self.assert_told_nothing(tried.enrol(token, "late"), watch)

    def test_a_forged_token_is_not_answered(self):
        with self.watched_fleet() as (tried, watch):
            token = tried.token("--name", "one")
            data = base64.urlsafe_b64decode(token.removeprefix("trib1.") + "==")
            for place in [1, 33, 41, 72]:  # the coordinator's key, the token's id, its secret
                forged = bytearray(data)
                forged[place] ^= 4
                text = "trib1." + base64.urlsafe_b64encode(forged).decode().rstrip("=")
                self.assert_told_nothing(tried.enrol(text, "forger"), watch)
            self.assert_enrols(tried.enrol(token, "one"))

    def test_what_is_no_token_is_a_usage_error(self):
        with self.watched_fleet() as (tried, watch):
            for text in ["", "trib1.", "trib1.AAAA", "trib2." + tried.token()[6:], "hello",
                         tried.token()[:-20]]:
                self.assertEqual(tried.enrol(text, "one").returncode, 2)
            self.assertEqual(watch.take(), (b"", b""))

    def test_a_token_of_many_uses_lets_in_that_many(self):
        with self.watched_fleet() as (tried, watch):
            token = tried.token("--uses", "3")
            for name in ["a", "b", "c"]:
                self.assert_enrols(tried.enrol(token, name))
            watch.take()
            self.assert_told_nothing(tried.enrol(token, "d"), watch)
            self.assertEqual(len(set(self.names(tried))), 3)

    def test_names_are_unique(self):
        with self.watched_fleet() as (tried, _):
            promised = tried.token("--name", "one")
            for what in ["token", "device"]:
                again = tried.try_ctl("devices", "token", "--name", "one")
                self.assertEqual(again.returncode, 2)
                self.assertIn(f"there is a {what} of that name already", again.stderr)
                if what == "token":
                    self.assert_enrols(tried.enrol(promised, "one"))
            for name in ["", "a b", "../up", "x" * 64, "é"]:
                self.assertEqual(tried.try_ctl("devices", "token", "--name", name).returncode, 2)

    def test_a_token_that_was_lost_is_made_again(self):
        with self.watched_fleet() as (tried, watch):
            lost = tried.token("--name", "one")
            found = tried.token("--name", "one", "--again")
            self.assert_told_nothing(tried.enrol(lost, "thief"), watch)
            tried.kill("coordinator")
            tried.start_coordinator()
            self.assert_told_nothing(tried.enrol(lost, "thief"), watch)
            self.assert_enrols(tried.enrol(found, "one"))
            self.assert_enrols(tried.enrol(tried.token("--name", "two", "--again"), "two"))  # none was lost
            for words, wrong in [(["--again"], "--again goes with --name"),
                                 (["--again", "--name", "one"], "there is a device of that name already")]:
                done = tried.try_ctl("devices", "token", *words)
                self.assertEqual(done.returncode, 2)
                self.assertIn(wrong, done.stderr)
            tried.token("--name", "late", "--ttl", "1s")  # nobody can come with it any more
            fleet.wait_until(lambda: tried.try_ctl("devices", "token", "--name", "late").returncode == 0,
                             "the name is free")

    def test_who_has_only_enrolled_is_not_waited_for(self):
        with self.watched_fleet() as (tried, _):
            for name in ["one", "other"]:
                tried.add_device(name, ["1,1,0", "9,9,1"])
            tried.start_device("one")
            tried.wait_connected(1)
            for i in range(5):
                self.assert_enrols(tried.enrol(tried.token("--name", f"new{i}"), f"new{i}"))
            tried.wait_for_job(tried.submit("2 - dense 2 softmax", ["1,1,0"], rounds=3, cohort=1))
            asked = {lease["device"] for row in tried.ctl("rounds", "ls")
                     for lease in tried.ctl("rounds", "show", row["id"])}
            self.assertEqual(asked, {"one"})

    # ---- The allow-list

    def test_a_listed_key_enrols_once_it_is_listed(self):
        with self.watched_fleet() as (tried, watch):
            listed = tried.dir / "allow.txt"
            listed.write_text("# key name group\n")
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write("[enrol]\nallow_list = allow.txt\n")
            tried.end("coordinator")
            tried.start_coordinator()

            made = fleet.run("tributary-client", "keygen", "--state", tried.root / "one")
            self.assertEqual(made.returncode, 0, made.stderr)
            key = made.stdout.strip()

            def enrol():
                return tried.enrol(watch.url, "one", "--key", tried.key)

            self.assert_told_nothing(enrol(), watch)
            listed.write_text(f"{key} one ward-7\n")
            self.assert_told_nothing(enrol(), watch)  # not read again yet
            tried.processes["coordinator"].send_signal(signal.SIGHUP)
            fleet.wait_until(lambda: "keys=1" in tried.log("coordinator"), "the list is read")
            self.assert_enrols(enrol())
            device = tried.device("one")
            self.assertEqual((device["group"], device["key"]), ("ward-7", key))

            listed.write_text("this makes no sense\n")
            tried.processes["coordinator"].send_signal(signal.SIGHUP)
            fleet.wait_until(lambda: "old one stays in force" in tried.log("coordinator"),
                             "the bad list is refused")
            self.assertEqual(tried.device("one")["group"], "ward-7")

    def test_keygen_keeps_the_key_it_made(self):
        with self.watched_fleet() as (tried, _):
            keys = {fleet.run("tributary-client", "keygen", "--state", tried.root / "one").stdout
                    for _ in range(2)}
            self.assertEqual(len(keys), 1)
            mode = os.stat(tried.root / "one/device.key").st_mode & 0o777
            self.assertEqual(mode, 0o600)

    # ---- The pending list

    def test_who_asks_waits_until_somebody_approves(self):
        with self.watched_fleet() as (tried, watch):
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write("[enrol]\npending = yes\n")
            tried.end("coordinator")
            tried.start_coordinator()

            def ask(name):
                done = tried.enrol(watch.url, name, "--key", tried.key)
                return done.returncode, done.stderr

            def waiting():
                return {row["key"]: row for row in tried.ctl("devices", "ls")
                        if row["state"] == "pending"}

            keys, names = {}, {}
            for name in ["wanted", "stranger", "keyed"]:
                made = fleet.run("tributary-client", "keygen", "--state", tried.root / name)
                keys[name] = made.stdout.strip()
                for _ in range(2):  # asking again changes nothing
                    status, said = ask(name)
                    self.assertEqual(status, 3, said)
                    self.assertIn("waits for the operator's approval", said)
                names[name] = re.search(r"this device, (dev-[0-9a-f]{12}), waits", said)[1]
                self.assertFalse((tried.root / name / "enrolment.ini").exists())
                tried.write_data(name, ROWS)
            self.assertEqual(set(waiting()), set(keys.values()))
            self.assertEqual(tried.status()["devices"], 0)
            tried.start_device("wanted")  # without an enrolment there is nothing to run
            self.assertEqual(tried.processes.pop("wanted").wait(fleet.PATIENCE_S), 2)

            wrong = tried.try_ctl("devices", "approve", "0123456789abcdef")
            self.assertEqual(wrong.returncode, 2)
            self.assertIn("nobody of that name, fingerprint or key", wrong.stderr)
            self.assertEqual({name: waiting()[key]["name"] for name, key in keys.items()}, names)
            for shown in names.values():
                self.assertRegex(tried.log("coordinator"), f"id=enrol-request device={shown} from=")
            keyed = tried.try_ctl("devices", "approve", "--", keys["keyed"])
            self.assertEqual(keyed.returncode, 0, keyed.stderr)
            self.assertIn(names["keyed"], keyed.stdout)
            name = waiting()[keys["wanted"]]["name"]
            self.assertRegex(name, r"^dev-[0-9a-f]+$")
            approved = tried.ctl("devices", "approve", name.removeprefix("dev-"))
            self.assertEqual([row["name"] for row in approved], [name])
            self.assertEqual(set(waiting()), {keys["stranger"]})

            self.assertEqual(ask("wanted")[0], 0)
            tried.start_device("wanted")
            tried.wait_connected(1)
            self.assertEqual(tried.device(name)["key"], keys["wanted"])
            job = tried.submit("2 - dense 2 softmax", ROWS, rounds=2, cohort=1)
            tried.wait_for_job(job)
            leases = [tried.ctl("rounds", "show", row["id"]) for row in tried.ctl("rounds", "ls")]
            self.assertEqual([[(lease["device"], lease["lease"]) for lease in round_]
                              for round_ in leases], [[(name, "counted")]] * 2)
            self.assertEqual(ask("stranger")[0], 3)
            self.assertFalse((tried.root / "stranger/enrolment.ini").exists())

            tried.kill("coordinator")  # who waits is forgotten, who was approved is not
            tried.start_coordinator()
            self.assertEqual(waiting(), {})
            tried.wait_connected(1)

    def test_who_asks_with_too_many_keys_is_told_to_come_much_later(self):
        with self.watched_fleet() as (tried, watch):
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write("[enrol]\npending = yes\n")
            tried.end("coordinator")
            tried.start_coordinator()
            waits, full = "waits for the operator's approval", "refused: RATE_LIMITED"

            def ask(name, said):
                done = tried.enrol(watch.url, name, "--key", tried.key)
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn(said, done.stderr)

            for i in range(5):  # as many as one address may have on the list
                ask(f"d{i}", waits)
            ask("d5", full)
            ask("d0", waits)  # who is on it may ask again
            pending = [row["name"] for row in tried.ctl("devices", "ls")]
            self.assertEqual(len(pending), 5)
            tried.ctl("devices", "approve", pending[0].removeprefix("dev-"))
            ask("d5", waits)  # there is room
            self.assertEqual([row["state"] for row in tried.ctl("devices", "ls")].count("pending"), 5)

    def test_a_fleet_that_takes_no_requests_is_silent_and_says_so_to_its_operator(self):
        with self.watched_fleet() as (tried, watch):
            done = tried.enrol(watch.url, "one", "--key", tried.key)
            self.assert_told_nothing(done, watch)
            refused = tried.try_ctl("devices", "approve", "0123456789abcdef")
            self.assertEqual(refused.returncode, 2)
            self.assertIn("enrol.pending = no", refused.stderr)
            self.assertEqual(tried.ctl("devices", "ls"), [])

    # ---- Revocation

    def test_a_revoked_device_is_out_at_once_and_for_good(self):
        with self.watched_fleet() as (tried, watch):
            for name in ["bad", "good"]:
                tried.add_device(name, ROWS)
                tried.start_device(name)
            tried.wait_connected(2)
            token = tried.token()
            begin = time.monotonic()
            tried.ctl("devices", "revoke", "bad")
            fleet.wait_until(lambda: tried.status()["connections_open"] == 1, "the session ends")
            self.assertLess(time.monotonic() - begin, 1)
            self.assertEqual(tried.device("bad")["state"], "revoked")
            self.assertEqual(tried.processes.pop("bad").wait(fleet.PATIENCE_S), 3)
            tried.end("good")
            for name in ["bad", "good"]:  # for good: no next attempt is promised
                self.assertRegex(tried.log(name), r"session closed reason=[a-z]+\n")
                self.assertNotIn("again_in_ms", tried.log(name))
            watch.take()

            tried.start_device("bad")  # it tries again, and is not told anything
            fleet.wait_until(lambda: len(watch.up) > 0, "it dials")
            time.sleep(SILENT_S)
            self.assertEqual(len(watch.take()[1]), 0)
            tried.kill("bad")
            watch.take()
            again = tried.enrol(token, "bad")  # nor does a fresh token help a revoked key
            self.assertEqual(again.returncode, 3, again.stderr)
            self.assertEqual(self.names(tried), ["bad", "good"])

            tried.kill("coordinator")
            tried.start_coordinator()
            self.assertEqual(tried.device("bad")["state"], "revoked")
            tried.start_device("good")
            tried.wait_connected(1)

    # ---- Strangers

    def hear(self, port, *pieces):
        """What comes back for these bytes, until the other side hangs up or keeps silent."""
        heard = b""
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.settimeout(SILENT_S)
            with contextlib.suppress(socket.timeout, ConnectionError):
                for piece in pieces:
                    stranger.sendall(piece)
                while data := stranger.recv(4096):
                    heard += data
        return heard

    def test_strangers_get_not_one_byte(self):
        with self.watched_fleet() as (tried, watch):
            tried.add_device("one", ROWS)
            said, _ = watch.take()  # a true enrolment, which somebody recorded
            speeches = {
                "nothing": [],
                "http": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
                "tls": [bytes.fromhex("160301020001000001fc0303") + bytes(500)],
                "zeros": [bytes(4096)],
                "noise": [os.urandom(4096)],
                "the beginning of a handshake": [said[:40]],
                "a handshake bit by bit": [bytes([byte]) for byte in said[:40]],
                "a broken handshake": [said[:20] + bytes([said[20] ^ 1]) + said[21:]],
            }
            for name, pieces in speeches.items():
                with self.subTest(speech=name):
                    self.assertEqual(self.hear(tried.port, *pieces), b"")
                    self.assert_books_balance(tried)
            tried.start_device("one")
            tried.wait_connected(1)
            self.assert_books_balance(tried)

    def test_a_device_of_another_fleet_gets_not_one_byte(self):
        with self.watched_fleet() as (tried, watch), fleet.Fleet() as other:
            other.start_coordinator()
            other.add_device("one", ROWS)
            path = other.root / "one/enrolment.ini"
            text = path.read_text()
            self.assertIn(other.key, text)
            path.write_text(text.replace(other.key, tried.key)
                            .replace(f"tcp://127.0.0.1:{other.port}", watch.url))
            other.start_device("one")
            fleet.wait_until(lambda: len(watch.up) > 0, "it dials")
            time.sleep(SILENT_S)
            self.assertEqual(len(watch.take()[1]), 0)
            self.assertEqual(tried.status()["devices"], 0)

    def test_a_replayed_enrolment_gets_not_one_byte(self):
        with self.watched_fleet() as (tried, watch):
            self.assert_enrols(tried.enrol(tried.token("--name", "one"), "one"))
            said, _ = watch.take()
            self.assertEqual(self.hear(tried.port, said), b"")


if __name__ == "__main__":
    fleet.main()
