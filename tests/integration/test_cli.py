#!/usr/bin/env python3
"""Command lines: help and versions everywhere, mistakes are named, and a trainer of one's own."""
import contextlib
import pathlib
import re
import stat
import sys
import threading
import time

import fleet

PROGRAMS = ["tributary-coordinator", "tributaryctl", "tributary-client", "tributary-sim"]


def commands_of(program):
    """The commands that a program's help lists."""
    text = fleet.run(program, "--help").stdout
    listed = re.findall(r"^  ((?:[a-z]+ ?)+?)(?:  +|\s(?=[A-Z]))", text, re.MULTILINE)
    return [name.split() for name in listed]


# A program whose trainer is there, and never ready.
NOT_READY = """
import ctypes, sys
library, state = sys.argv[1:]
library = ctypes.CDLL(library)
ready = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda user: 0)
train = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 6)
class Trainer(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32), ("ready", ctypes.c_void_p),
                ("train", ctypes.c_void_p), ("others", ctypes.c_void_p * 6)]
class Config(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32), ("state_dir", ctypes.c_char_p),
                ("url", ctypes.c_char_p), ("trainer", ctypes.c_void_p),
                ("others", ctypes.c_char * 512)]
trainer = Trainer(ctypes.sizeof(Trainer), ctypes.cast(ready, ctypes.c_void_p),
                  ctypes.cast(train, ctypes.c_void_p))
config, client = Config(), ctypes.c_void_p()
library.trib_client_config_init(ctypes.byref(config))
config.state_dir, config.trainer = state.encode(), ctypes.addressof(trainer)
if library.trib_client_create(ctypes.byref(config), ctypes.byref(client)):
    sys.exit(1)
library.trib_client_run(client)
"""


class CommandLineTest(fleet.Case):
    def all_commands(self):
        for program in PROGRAMS:
            commands = commands_of(program)
            self.assertGreaterEqual(len(commands), 2, program)
            for command in commands:
                yield program, command

    def test_every_program_has_help_and_a_version(self):
        for program in PROGRAMS:
            help_, version = fleet.run(program, "--help"), fleet.run(program, "--version")
            self.assertEqual((help_.returncode, version.returncode), (0, 0), program)
            self.assertRegex(version.stdout, rf"^{program} \d+\.\d+\.\d+\n$")
            self.assertIn(program, help_.stdout)
            self.assertEqual(help_.stderr + version.stderr, "")

    def test_every_command_has_help(self):
        seen = set()
        for program, command in self.all_commands():
            done = fleet.run(program, *command, "--help")
            self.assertEqual(done.returncode, 0, (program, command, done.stderr))
            self.assertIn(" ".join(command), done.stdout)
            seen.add((program, *command))
        for expected in [("tributary-coordinator", "init"), ("tributary-client", "enrol"),
                         ("tributaryctl", "devices", "token"), ("tributary-sim", "run")]:
            self.assertIn(expected, seen)

    def test_an_unknown_option_is_a_usage_error(self):
        for program, command in self.all_commands():
            done = fleet.run(program, *command, "--no-such-option")
            self.assertEqual(done.returncode, 2, (program, command))
            self.assertIn("no-such-option", done.stderr)
        for program in PROGRAMS:
            for words in [["no-such-command"], ["--no-such-option"]]:
                done = fleet.run(program, *words)
                self.assertEqual(done.returncode, 2, (program, words))
                self.assertIn("no-such", done.stderr)

    def test_the_wrong_word_is_the_one_that_is_named(self):
        for words, text in [(["count", "state", "temp", "-x"], "count: no option -x;"),
                            (["count", "state", "-.x", "3"], "count: no option -.x;"),
                            (["enrol", "token", "--state"], "enrol: value missing after --state;"),
                            # A negative number is an argument, wherever it stands.
                            (["status", "a", "-3.5"], "usage: tributary-client status DIR"),
                            (["status", "-.5", "-7"], "usage: tributary-client status DIR"),
                            (["status", "-1/10"], "state: -1/10: "),
                            (["status", "--json", "-1/10"], "state: -1/10: "),
                            (["status", "--", "-x"], "state: -x: ")]:
            done = fleet.run("tributary-client", *words)
            self.assertEqual(done.returncode, 2, (words, done.stderr))
            self.assertIn(text, done.stderr)

    def test_a_missing_operand_is_a_usage_error(self):
        for program, words in [("tributary-coordinator", ["init"]), ("tributary-client", ["enrol"]),
                               ("tributary-client", ["run"]), ("tributary-sim", ["run"]),
                               ("tributaryctl", ["jobs", "submit"])]:
            self.assertEqual(fleet.run(program, *words).returncode, 2, (program, words))

    def test_nobody_at_the_admin_socket_is_said(self):
        done = fleet.run("tributaryctl", "--dir", "/nonexistent", "status")
        self.assertEqual(done.returncode, 3)
        self.assertIn("/nonexistent", done.stderr)

    def test_a_second_init_or_coordinator_leaves_the_first_alone(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            key = (tried.dir / "coordinator.key").read_bytes()
            again = fleet.run("tributary-coordinator", "init", tried.dir)
            self.assertEqual(again.returncode, 2)
            self.assertEqual((tried.dir / "coordinator.key").read_bytes(), key)
            second = fleet.run("tributary-coordinator", "run", tried.dir)
            self.assertNotEqual(second.returncode, 0)
            self.assertEqual(tried.status()["devices"], 0)
            self.assertEqual(tried.end("coordinator"), 0)

    def test_it_stops_in_good_order_while_commands_come(self):
        with fleet.Fleet() as tried:
            for _ in range(3):
                tried.start_coordinator()
                asks = threading.Event()
                asks.set()

                def ask():
                    while asks.is_set():
                        with contextlib.suppress(OSError, fleet.admin.Refused):
                            tried.query("rounds", "ls")

                askers = [threading.Thread(target=ask) for _ in range(12)]
                for asker in askers:
                    asker.start()
                time.sleep(0.3)
                try:
                    self.assertEqual(tried.end("coordinator"), 0)
                finally:
                    asks.clear()
                    for asker in askers:
                        asker.join()

    def test_an_address_that_is_none_is_refused_before_there_are_keys(self):
        with fleet.Fleet() as tried:
            for option, wrong in [("--listen", "127.0.0.1:7421"), ("--listen", "tcp://127.0.0.1"),
                                  ("--url", "foo")]:
                done = fleet.run("tributary-coordinator", "init", tried.root / "hub", option, wrong)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(f"{option} {wrong}: want tcp://ADDRESS:PORT", done.stderr)
            self.assertFalse((tried.root / "hub").exists())

    def test_tokens_that_other_machines_cannot_use_are_said_to_be_such(self):
        with fleet.Fleet() as tried:
            for i, (options, is_any) in enumerate([([], True), (["--listen", "tcp://[::]:1"], True),
                                                   (["--url", "tcp://192.0.2.1:7420"], False),
                                                   (["--listen", "tcp://127.0.0.1:1"], False)]):
                done = fleet.run("tributary-coordinator", "init", tried.root / f"hub{i}", *options)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual("cannot dial" in done.stderr, is_any, (options, done.stderr))
            tried.start_coordinator()
            self.assertNotIn("id=url-of-any-address", tried.log("coordinator"))
            tried.end("coordinator")
            path = tried.dir / "tributary.ini"
            path.write_text(path.read_text().replace("127.0.0.1", "0.0.0.0"))
            tried.start_coordinator()
            self.assertIn("id=url-of-any-address", tried.log("coordinator"))

    def test_a_directory_that_is_not_in_order_is_a_mistake_of_configuration(self):
        """Not an internal failure, nor one of the peer's: a service is not started again for it."""
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ["1,2,0"])
            tried.end("coordinator")
            for program, folder, key in [("tributary-coordinator", tried.dir, "coordinator.key"),
                                         ("tributary-client", tried.root / "one", "device.key")]:
                (folder / key).chmod(0o644)
                done = fleet.run(program, "run", folder)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(f"{key}: readable by others", done.stderr)
                (folder / key).chmod(0o600)
            (tried.dir / "tributary.ini").unlink()
            done = fleet.run("tributary-coordinator", "run", tried.dir)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("tributary.ini: cannot be read", done.stderr)

    def test_what_cannot_be_looked_at_is_not_called_absent(self):
        with fleet.Fleet() as tried:
            (tried.root / "file").write_text("")
            for program, words in [("tributary-client", ["status", tried.root / "file"]),
                                   ("tributary-coordinator", ["run", tried.root / "file"])]:
                done = fleet.run(program, *words)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("Not a directory", done.stderr)

    def test_a_place_where_nothing_can_be_made_is_a_mistake_of_who_typed_it(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            place, file = tried.root / "nowhere" / "x", tried.root / "file"
            file.write_text("")
            coordinator, device = "tributary-coordinator", "tributary-client"
            for program, *words in [(coordinator, "init", place), (coordinator, "init", file),
                                    (coordinator, "roster", "key", "--key", place),
                                    (coordinator, "roster", "sign", "--key", place),
                                    (device, "keygen", "--state", place),
                                    (device, "enrol", tried.token(), "--state", place),
                                    (device, "enrol", tried.token(), "--state", file)]:
                done = fleet.run(program, *words)
                self.assertEqual(done.returncode, 2, (words, done.stderr))
                self.assertTrue(done.stderr)

    def test_the_latest_of_no_versions_is_said_to_be_none(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            done = tried.try_ctl("models", "show", "latest")
            self.assertEqual(done.returncode, 2)
            self.assertIn("there is no version yet", done.stderr)

    def test_a_wrong_configuration_is_named_with_its_line(self):
        with fleet.Fleet() as tried:
            path = tried.dir / "tributary.ini"
            lines = path.read_text().count("\n")
            path.write_text(path.read_text() + "lisen = tcp://127.0.0.1:1\n")
            done = fleet.run("tributary-coordinator", "run", tried.dir)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(f"tributary.ini:{lines + 1}:", done.stderr)

    def test_a_wrong_job_is_named_with_its_line(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            path = tried.write_job("2 - dense 2 softmax", ["1,1,0"], rounds=1)
            good = path.read_text()
            for wrong, line in [(good.replace("rounds = 1", "ronds = 1"), 5),
                                (good.replace("rounds = 1", "rounds = -1"), 5)]:
                path.write_text(wrong)
                done = tried.try_ctl("jobs", "submit", path)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(f"job.ini:{line}:", done.stderr)
            self.assertEqual(tried.ctl("jobs", "ls"), [])

    def test_held_out_data_that_cannot_be_used_are_refused_with_their_job(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.assertEqual(stat.S_IMODE((tried.dir / "admin.sock").stat().st_mode), 0o660)
            for rows, why in [(["1,1,0", "1,nan,0"], "test.csv:2:"), (["1,inf,0"], "test.csv:1:"),
                              (["1,1,7"], "test.csv"), ([], "no held-out rows"),
                              (None, "test.csv")]:
                path = tried.write_job("2 - dense 2 softmax", rows or [], rounds=1)
                if rows is None:
                    (path.parent / "test.csv").unlink()
                done = tried.try_ctl("jobs", "submit", path)
                self.assertEqual(done.returncode, 5, (rows, done.stderr))
                self.assertIn(why, done.stderr, rows)
                self.assertTrue(rows or rows == [] or "No such file" in done.stderr, done.stderr)
            for wrong, code, why in [
                    ("data.label=99", 2, "test.csv: no column '99'; there are 3 columns"),
                    ("data.format=jsonl", 2, "jsonl files want a data.schema"),
                    ("data.schema=no.ini", 5, "no.ini")]:
                path = tried.write_job("2 - dense 2 softmax", ["1,1,0"], rounds=1)
                done = tried.try_ctl("jobs", "submit", path, "--set", wrong)
                self.assertEqual(done.returncode, code, (wrong, done.stderr))
                self.assertIn(why, done.stderr)  # who submits does not see the coordinator's log
            self.assertEqual(tried.ctl("jobs", "ls"), [])

    def test_a_path_in_a_set_is_from_where_the_operator_is(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            path = tried.write_job("2 - dense 2 softmax", ["1,1,0", "0,1,1"], rounds=1, cohort=1)
            here = tried.root / "desk"
            here.mkdir()
            held_out = (path.parent / "test.csv").rename(here / "held.csv")
            done = tried.try_ctl("jobs", "submit", path, "--set", "model.init=m.safetensors",
                                 "--set", "data.test=held.csv", cwd=here)
            self.assertEqual(done.returncode, 5, done.stderr)
            self.assertIn(f"{here}/m.safetensors", done.stderr)
            done = tried.try_ctl("jobs", "submit", path, "--set", "data.test=held.csv", cwd=here)
            self.assertEqual(done.returncode, 0, done.stderr)
            said = [row["subject"] for row in tried.ctl("audit", "ls")]
            self.assertIn(f"data.test={held_out}", " ".join(map(str, said)))

    def test_a_job_whose_signal_drowns_is_refused_unless_accepted_by_name(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            path = tried.write_job("64 - dense 10 softmax", fleet.digits()[:10], mode="local",
                                   rounds=1, cohort=1)
            path.write_text(path.read_text().replace("mode = local",
                                                     "mode = local\ntarget_epsilon = 1"))
            done = tried.try_ctl("jobs", "submit", path)
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn("below 0.05", done.stderr)
            self.assertEqual(tried.ctl("jobs", "ls"), [])
            tried.ctl("jobs", "submit", path, "--accept-drowned-signal")
            self.assertEqual(len(tried.ctl("jobs", "ls")), 1)

    def test_a_job_that_could_not_be_read_after_a_restart_is_not_taken(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            path = tried.write_job("2 - dense 2 softmax", ["1,1,0"], rounds=1)
            deep = path.parent / ("x" * 200)
            deep.mkdir()
            for name in ["job.ini", "test.csv"]:
                (path.parent / name).rename(deep / name)
            done = tried.try_ctl("jobs", "submit", deep / "job.ini")
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn("data.test", done.stderr)
            self.assertEqual(tried.end("coordinator"), 0)
            tried.start_coordinator()
            self.assertEqual(tried.ctl("jobs", "ls"), [])

    def test_a_trainer_of_ones_own_takes_part(self):
        """The example of client.h fits y = 2 x + 1; three of them do so together."""
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for name in ["a", "b", "c"]:
                tried.add_device(name, [])
                tried.start_device(name, trainer="custom_trainer")
            tried.wait_connected(3)
            held_out = ["4,9", "5,11", "-1,-1"]
            job = tried.submit("1 - dense 1 linear", held_out, scale=1, rounds=20, cohort=3,
                               local_epochs=20, learning_rate=0.05)
            tried.wait_for_job(job)
            path = tried.root / "line.safetensors"
            done = tried.try_ctl("models", "export", "latest", "--out", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            slope, start = fleet.Model(path).floats()
            self.assertAlmostEqual(slope, 2, delta=1e-3)
            self.assertAlmostEqual(start, 1, delta=1e-3)

    def test_a_trainer_of_ones_own_that_takes_no_part_says_so(self):
        """A model that the example does not fit, and a program that is not ready."""
        library = pathlib.Path(fleet.program("tributary-client")).parent / "libtributary.so"
        programs = {
            "a": ([fleet.program("custom_trainer")], "DECLINED_MODEL",
                  "id=task-declined round=1 declined: the trainer of this device's program refused"),
            "b": ([sys.executable, "-c", NOT_READY, library], "DECLINED_BUSY",
                  "round=1 declined: the program of this device says that it is not ready")}
        if fleet.is_sanitized():
            del programs["b"]  # the library wants its sanitizer to be loaded first
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for name, (command, _, _) in programs.items():
                tried.add_device(name, [])
                tried.start(name, [*command, tried.root / name])
            tried.wait_connected(len(programs))
            tried.wait_for_job(tried.submit("2 - dense 1 linear", ["1,2,3"], scale=1, rounds=1,
                                            cohort=len(programs)))
            for name, (_, declined, text) in programs.items():
                self.assertEqual(tried.device(name)["declined"], declined)
                self.assertIn(text, tried.log(name))


if __name__ == "__main__":
    fleet.main()
