#!/usr/bin/env python3
"""A key that is alive in two places: found, said, written down, and no harm to an upload."""
import json
import shutil
import time

import hostile
from hostile import Peer, Task, fleet

SPEC, PARAMS = "2 - dense 2 softmax", 6
ROWS = [f"{i % 16},{(i * 7) % 16},{i % 2}" for i in range(40)]
ANSWER_S = 3  # so long the older session has


class TwinTest(fleet.Case):
    def found(self, tried):
        return tried.status()["keys_in_two_places"]

    def keys_hop(self, tried):
        """What doctor says of the keys of devices."""
        rows = map(json.loads, tried.try_ctl("doctor", "--json").stdout.splitlines())
        return next(row for row in rows if row["hop"] == "device keys")

    def test_a_copy_of_a_device_is_found(self):
        for rotates in [False, True]:
            with self.subTest(rotates=rotates):
                self.find_a_copy(rotates)

    def find_a_copy(self, rotates):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            shutil.copytree(tried.root / "one", tried.root / "copy")
            tried.start_device("one")
            tried.wait_connected(1)
            tried.kill("one")  # a device that falls and comes back is not two
            tried.start_device("one")
            fleet.wait_until(lambda: tried.status()["connections_accepted"] == 3, "it is back")
            tried.wait_connected(1)
            self.assertEqual(self.found(tried), 0)
            tried.start_device("copy")
            fleet.wait_until(lambda: self.found(tried) > 0, "the copy is found")
            self.assertGreater(tried.device("one")["in_two_places"], 0)
            self.assertIn("id=key-in-two-places device=one is alive in two sessions",
                          tried.log("coordinator"))
            said = [row for row in tried.ctl("audit", "ls") if row["actor"] == "one"
                    and row["action"] == "session"]
            self.assertEqual([row["outcome"] for row in said], ["KEY IN TWO PLACES"])
            self.assertRegex(self.keys_hop(tried)["detail"],
                             "^1 were .* that of one first: rotate it")
            for name in ["one", "copy"]:
                tried.kill(name)
            if rotates:  # the copy's key is nobody's then
                done = fleet.run("tributary-client", "rotate", tried.root / "one")
                self.assertEqual(done.returncode, 0, done.stderr)
                tried.start_device("one")
                fleet.wait_until(lambda: tried.device("one")["state"] == "connected", "it is back")
            else:
                tried.ctl("devices", "revoke", "one")
            self.assertTrue(self.keys_hop(tried)["ok"])
            self.assert_books_balance(tried)

    def test_who_does_not_answer_was_only_gone(self):
        with fleet.Fleet() as tried, Peer(tried) as peer:
            tried.start_coordinator()
            hostile.enrol_peers(tried, peer, ["one"])
            peer.ready(1, "one")
            peer.ready(2, "one")
            begin = time.monotonic()
            self.assertEqual(peer.await_record(1, hostile.PING), {})
            self.assertTrue(peer.is_over(1))
            self.assertGreater(time.monotonic() - begin, ANSWER_S - 1)
            self.assertEqual(self.found(tried), 0)
            fleet.wait_until(lambda: tried.status()["closed"].get("replaced") == 1, "it is closed")
            peer.say(2, hostile.PING)  # the newer one goes on
            peer.await_record(2, hostile.PONG)
            peer.ready(3, "one")
            peer.await_record(2, hostile.PING)
            peer.say(2, hostile.PONG)
            self.assertTrue(peer.is_over(2))
            self.assertEqual(self.found(tried), 1)
            self.assert_books_balance(tried)

    def test_an_upload_goes_on_in_the_newer_session(self):
        with fleet.Fleet() as tried, Peer(tried) as peer:
            tried.start_coordinator()
            hostile.enrol_peers(tried, peer, ["one"])
            peer.ready(1, "one")
            job = tried.submit(SPEC, ROWS, rounds=1, cohort=1)
            task = Task(peer.await_record(1, hostile.TASK))
            peer.say(1, hostile.TASK_REPLY, {1: task.round, 2: 1})
            size = task.size(PARAMS)
            peer.say(1, hostile.UPLOAD_BEGIN, task.begin("it", PARAMS), 7)
            peer.await_record(1, hostile.CREDIT)
            peer.say(1, hostile.UPLOAD_CHUNK, bytes(6), 7)
            peer.say(1, hostile.PING)
            peer.await_record(1, hostile.PONG)
            peer.ready(2, "one")
            peer.await_record(1, hostile.PING)
            peer.say(1, hostile.UPLOAD_CHUNK, b"\1" * (size - 6), 7, 6)  # nobody listens
            peer.say(1, hostile.UPLOAD_END, {1: hostile.update_id("it")})
            peer.say(2, hostile.UPLOAD_BEGIN, task.begin("it", PARAMS), 9)
            self.assertEqual(peer.await_record(2, hostile.CREDIT)[2], [6])
            peer.say(2, hostile.UPLOAD_CHUNK, bytes(size - 6), 9, 6)
            peer.say(2, hostile.UPLOAD_END, {1: hostile.update_id("it")})
            self.assertEqual(hostile.CODES[peer.await_record(2, hostile.RECEIPT)[2][0]], "ACCEPTED")
            tried.wait_for_job(job)
            self.assertEqual((tried.status()["uploads_begun"], tried.status()["uploads_cut"]),
                             (2, 1))
            self.assert_books_balance(tried)


if __name__ == "__main__":
    fleet.main()
