#!/usr/bin/env python3
"""A full house: whoever is inside is served, however many knock and however few files may be open."""
import contextlib
import socket

import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
FEW = 200  # descriptors that the coordinator may have
KNOCKS = 400


class DescriptorsTest(fleet.Case):
    def begin(self, tried, names):
        for name in names:
            tried.add_device(name, ROWS)
            tried.start_device(name)
        tried.wait_connected(len(names))

    def test_strangers_do_not_take_the_descriptors_of_those_inside(self):
        with fleet.Fleet() as tried, contextlib.ExitStack() as crowd:
            tried.start("coordinator", ["bash", "-c", f'ulimit -n {FEW}; exec "$0" "$@"',
                                        fleet.program("tributary-coordinator"), "run", tried.dir])
            fleet.wait_until(lambda: tried.try_ctl("status").returncode == 0, "it answers")
            self.begin(tried, ["one", "two"])
            for _ in range(KNOCKS):
                crowd.enter_context(socket.create_connection(("127.0.0.1", tried.port)))
            job = tried.submit(SPEC, ROWS, rounds=5, cohort=2)
            tried.ctl("backup", tried.root / "backup")
            self.assertEqual(tried.wait_for_job(job)["rounds_done"], 5)
            self.assertIn("id=few-descriptors", tried.log("coordinator"))
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
