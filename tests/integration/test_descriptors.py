#!/usr/bin/env python3
"""A full house: whoever is inside is served, however many knock and however few files may be open."""
import contextlib
import socket

import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
FEW = 200  # descriptors that the coordinator may have
FEWEST = 136  # those that are kept for files, and as many as there are at least for devices
FEWEST_CONNECTIONS = 6
KNOCKS = 400


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
