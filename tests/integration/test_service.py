#!/usr/bin/env python3
"""What a coordinator that is a service must stand: questions about what is broken, people who connect
and say nothing."""
import contextlib
import os
import pathlib
import signal
import socket
import time

import fleet

SPEC = "2 - dense 2 softmax"
PLACES = 32  # commands at once
ASK_S = 5
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]


class ServiceTest(fleet.Case):
    def test_who_connects_and_asks_nothing_does_not_keep_it_from_stopping(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as silent, \
                    contextlib.closing(socket.socket(socket.AF_UNIX)) as slow:
                for peer in silent, slow:
                    peer.connect(os.fspath(tried.dir / "admin.sock"))
                slow.sendall(b"\0\0")
                tried.status()  # both were accepted before this one
                self.assertEqual(tried.end("coordinator", signal.SIGTERM), 0)

    def test_who_takes_no_answer_away_does_not_keep_it_from_stopping(self):
        with fleet.Fleet() as tried, socket.socket(socket.AF_UNIX) as stopped:  # as by Ctrl-Z
            tried.start_coordinator()
            tried.submit("2 - dense 100000 relu - dense 2 softmax", ROWS, rounds=1, cohort=1)
            fleet.wait_until(lambda: tried.status()["version"] == 1, "there is a model")
            stopped.connect(os.fspath(tried.dir / "admin.sock"))
            stopped.sendall(fleet.admin.packed_question(["models", "export", "latest"]))
            self.assertEqual(len(stopped.recv(4)), 4)  # it is on its way
            begin = time.monotonic()
            self.assertEqual(tried.end("coordinator", signal.SIGTERM), 0)
            self.assertLess(time.monotonic() - begin, 4 * ASK_S)

    def test_who_connects_and_asks_nothing_has_a_place_for_a_while_only(self):
        with fleet.Fleet() as tried, contextlib.ExitStack() as crowd:
            process = tried.start_coordinator() and tried.processes["coordinator"]
            files = pathlib.Path(f"/proc/{process.pid}/fd")
            before = len(list(files.iterdir()))
            for i in range(PLACES + 8):
                peer = crowd.enter_context(socket.socket(socket.AF_UNIX))
                peer.connect(os.fspath(tried.dir / "admin.sock"))
                if i % 2:
                    peer.sendall(b"\0\0")
            fleet.wait_until(lambda: len(list(files.iterdir())) > before, "they are let in")
            self.assertLessEqual(len(list(files.iterdir())), before + PLACES + 2)
            begin = time.monotonic()
            tried.status()
            self.assertGreater(time.monotonic() - begin, ASK_S - 1)  # they had them all
            self.assertEqual(tried.end("coordinator", signal.SIGTERM), 0)

    def test_a_model_file_that_is_damaged_is_an_answer_and_no_end(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=2, cohort=1))
            first = tried.ctl("models", "ls")[0]
            path = tried.dir / "models" / f"{first['model_digest']}.safetensors"
            whole = path.read_bytes()
            for damage in [whole[:-8], b"", None]:
                path.unlink() if damage is None else path.write_bytes(damage)
                done = tried.try_ctl("models", "export", "1", "--out", tried.root / "out")
                with self.subTest(damage=damage and len(damage)):
                    self.assertEqual(done.returncode, 5, done.stderr)
                    self.assertIn("the file of version 1 cannot be read", done.stderr)
                    self.assertFalse((tried.root / "out").exists())
                    self.assertEqual(tried.status()["version"], 3)  # it goes on
            path.write_bytes(whole)
            self.assertEqual(tried.try_ctl("models", "export", "1", "--out",
                                           tried.root / "out").returncode, 0)

    def test_the_newest_records_are_as_many_as_are_asked_for(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for i in range(4):
                tried.token("--name", f"d{i}")
            records = [row["record"] for row in tried.ctl("audit", "ls")]
            self.assertEqual(records, list(range(1, 6)))
            self.assertEqual([row["record"] for row in tried.ctl("audit", "ls", "--limit", 2)],
                             [4, 5])
            self.assertEqual([row["record"] for row in tried.ctl("audit", "ls", "--since", 2,
                                                                 "--limit", 2)], [2, 3])


if __name__ == "__main__":
    fleet.main()
