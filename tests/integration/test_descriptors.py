#!/usr/bin/env python3
"""A full house: whoever is inside is served, however many knock and however few files may be open."""
import contextlib
import socket
import subprocess
import sys

import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
FEW = 200  # descriptors that the coordinator may have
FEWEST = 136  # those that are kept for files, and as many as there are at least for devices
FEWEST_CONNECTIONS = 6
KNOCKS = 400


# Connects, says something that is no handshake and no command, and goes; for three seconds.
FLOOD = """
import ast, socket, sys, time
family, address = getattr(socket, ast.literal_eval(sys.argv[1])), ast.literal_eval(sys.argv[2])
end = time.monotonic() + 3
words = bytes([255]) * 400
while time.monotonic() < end:
    stranger = socket.socket(family, socket.SOCK_STREAM)
    try:
        stranger.connect(address)
        stranger.send(words)
    except OSError:
        pass
    stranger.close()
"""


class DescriptorsTest(fleet.Case):
    def begin(self, tried, names):
        for name in names:
            tried.add_device(name, ROWS)
            tried.start_device(name)
        tried.wait_connected(len(names))

    def start_with(self, tried, descriptors):
        tried.start("coordinator", ["bash", "-c", f'ulimit -n {descriptors}; exec "$0" "$@"',
                                    fleet.program("tributary-coordinator"), "run", tried.dir])
        fleet.wait_until(lambda: tried.try_ctl("status").returncode == 0, "it answers")

    def test_too_few_descriptors_for_the_devices_are_told_of(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for i in range(FEWEST_CONNECTIONS + 1):
                tried.add_device(f"d{i}", ROWS)
            self.assertNotIn("id=few-descriptors", tried.log("coordinator"))
            tried.end("coordinator")
            self.start_with(tried, FEWEST)
            self.assertIn(f"enough for {FEWEST_CONNECTIONS} connections", tried.log("coordinator"))
            tried.end("coordinator")
        with fleet.Fleet() as tried:
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write("connections_max = 100\n")  # of [fleet], the only section
            self.start_with(tried, FEW)
            self.assertRegex(tried.log("coordinator"),
                             "id=few-descriptors .*connections_max = 100 is not reached")

    def test_a_coordinator_does_not_start_with_fewer_than_it_needs(self):
        with fleet.Fleet() as tried:
            done = subprocess.run(["bash", "-c", f'ulimit -n {FEWEST - 1}; exec "$0" "$@"',
                                   fleet.program("tributary-coordinator"), "run", tried.dir],
                                  stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"id=few-descriptors {FEWEST - 1} files may be open", done.stderr)

    def test_a_flood_of_short_connections_leaves_descriptors_for_files(self):
        """nng closes descriptors behind our back, later than they are over."""
        with fleet.Fleet() as tried:
            self.start_with(tried, FEW)
            self.begin(tried, ["one"])
            job = tried.submit(SPEC, ROWS, rounds=200, cohort=1)
            for target in [("AF_INET", ("127.0.0.1", tried.port)),
                           ("AF_UNIX", str(tried.dir / "admin.sock"))]:
                flood = [subprocess.Popen([sys.executable, "-c", FLOOD, *map(repr, target)])
                         for _ in range(4)]
                for process in flood:
                    self.assertEqual(process.wait(60), 0)
            tried.wait_for_job(job)
            self.assertNotIn("Too many open files", tried.log("coordinator"))
            self.assert_books_balance(tried)

    def test_strangers_do_not_take_the_descriptors_of_those_inside(self):
        with fleet.Fleet() as tried, contextlib.ExitStack() as crowd:
            self.start_with(tried, FEW)
            self.begin(tried, ["one", "two"])
            for _ in range(KNOCKS):
                crowd.enter_context(socket.create_connection(("127.0.0.1", tried.port)))
            job = tried.submit(SPEC, ROWS, rounds=5, cohort=2)
            tried.ctl("backup", tried.root / "backup")
            self.assertEqual(tried.wait_for_job(job)["rounds_done"], 5)
            self.assertNotIn("id=few-descriptors", tried.log("coordinator"))  # they are enough
            self.assertEqual(tried.status()["connected"], 2)
            self.assert_books_balance(tried)

    def test_who_comes_to_a_full_house_is_sent_away_until_there_is_a_place(self):
        with fleet.Fleet() as tried:
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write("connections_max = 3\n")  # of [fleet], the only section
            tried.start_coordinator()
            self.begin(tried, ["one", "two"])
            tried.add_device("late", ROWS)
            with socket.create_connection(("127.0.0.1", tried.port)):  # has the last place for 5 s
                fleet.wait_until(lambda: tried.status()["connections_open"] == 3, "it is full")
                tried.start_device("late")
                fleet.wait_until(lambda: tried.status()["closed"].get("full"), "it is sent away")
                tried.wait_for_job(tried.submit(SPEC, ROWS, rounds=2, cohort=2, over_selection=1.5))
                self.assert_books_balance(tried)
            tried.wait_connected(3)
            self.assertNotIn("id=few-descriptors", tried.log("coordinator"))
            self.assert_books_balance(tried)


if __name__ == "__main__":
    fleet.main()
