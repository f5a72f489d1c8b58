#!/usr/bin/env python3
"""The units for systemd: they confine the programs, and the programs do their work in there."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import fleet
import sandbox

UNITS = ["tributary-coordinator", "tributary-client"]
WANTED = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "PrivateTmp": "yes",
          "PrivateDevices": "yes", "CapabilityBoundingSet": "", "MemoryDenyWriteExecute": "yes",
          "RestrictNamespaces": "yes", "ProtectKernelTunables": "yes"}
HERE = pathlib.Path(__file__).resolve().parent


def unit_of(name):
    return fleet.build / "scripts/systemd" / f"{name}.service"


def needs(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        raise unittest.SkipTest(f"needs {', '.join(missing)}")


def needs_a_namespace():
    needs("unshare", "systemd-analyze")
    if not sandbox.HEADER.exists() or os.uname().machine != "x86_64":
        raise unittest.SkipTest("the filter is made for x86-64 with its headers")
    tried = subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False)
    if tried.returncode:
        raise unittest.SkipTest("needs to be root, in a place where namespaces are allowed")


def confined(name, writable, *words):
    return [sys.executable, HERE / "sandbox.py", unit_of(name), writable, *words]


class SandboxTest(fleet.Case):
    def test_each_unit_confines_its_program(self):
        for name in UNITS:
            for key, value in WANTED.items():
                self.assertEqual(sandbox.settings(unit_of(name), key), [value], f"{name}: {key}")
            self.assertIn("@system-service", sandbox.settings(unit_of(name), "SystemCallFilter"))

    def test_systemd_takes_the_units_and_finds_little_exposed(self):
        needs("systemd-analyze")
        with tempfile.TemporaryDirectory() as folder:
            for name in UNITS:
                path = pathlib.Path(folder, f"{name}.service")  # its program is not installed
                path.write_text("".join(
                    "ExecStart=/bin/true\n" if line.startswith("ExecStart=") else line
                    for line in unit_of(name).read_text().splitlines(keepends=True)))
                for words in (["verify"], ["security", "--offline=yes", "--threshold=20",
                                           "--no-pager"]):
                    done = subprocess.run(["systemd-analyze", *words, path], text=True,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                          check=False)
                    self.assertEqual(done.returncode, 0, f"{words}: {done.stdout}")

    def test_what_the_sandbox_forbids_is_forbidden(self):
        needs_a_namespace()
        with tempfile.TemporaryDirectory() as folder:
            for words in (["/bin/touch", "/usr/tributary-test"], ["/usr/bin/unshare", "-m", "true"],
                          ["/usr/bin/chrt", "--fifo", "1", "true"]):
                done = subprocess.run(confined(UNITS[0], folder, *words), text=True, check=False,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertNotEqual(done.returncode, 0, words)
                self.assertRegex(done.stderr, "Read-only|not permitted", words)
            subprocess.run(confined(UNITS[0], folder, "/bin/touch", f"{folder}/written"), check=True)

    def test_a_fleet_works_in_the_sandbox(self):
        needs_a_namespace()
        if fleet.is_sanitized():
            raise unittest.SkipTest("sanitizers want more than the programs")
        rows = fleet.digits()
        with fleet.Fleet() as tried:
            state = tried.root / "d0"
            tried.start("coordinator", confined(UNITS[0], tried.dir,
                                                fleet.program(UNITS[0]), "run", tried.dir))
            fleet.wait_until(lambda: tried.try_ctl("status").returncode == 0, "it answers", 30)
            tried.add_device("d0", rows[200:300])
            tried.start("d0", confined(UNITS[1], state, fleet.program(UNITS[1]), "run", state))
            tried.wait_connected(1)
            job = tried.submit("64 - dense 10 softmax", rows[:100], rounds=2, cohort=1)
            self.assertEqual(tried.wait_for_job(job)["rounds_done"], 2)
            fleet.wait_until(lambda: "installed version=3" in tried.log("d0"), "the last model")
            for name in ("d0", "coordinator"):
                self.assertEqual(tried.end(name), 0)
                self.assertNotIn("not permitted", tried.log(name))
                self.assertNotIn("Read-only", tried.log(name))


if __name__ == "__main__":
    fleet.main()
