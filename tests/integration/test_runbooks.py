#!/usr/bin/env python3
"""The runbooks of docs/operating.md, performed as they stand there, with what the page promises of each.

Root, users and systemd are played: folders of the machine are folders of the test, a service is a
process, and `runuser` runs its command.
"""
import ctypes
import os
import re
import shlex
import subprocess
import unittest

import fleet

PAGE = "docs/operating.md"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(60)]
PRELUDE = """set -eo pipefail
runuser() { shift 3; "$@"; }
useradd() { echo "$*" >> "$PLAYED"; }
groupadd() { echo "group $*" >> "$PLAYED"; }
chown() { test -e "${@: -1}"; }
install() { mkdir -p "${@: -1}"; chmod 700 "${@: -1}"; }
"""
PRINTED = {"TOKEN": r"^(trib1\.\S+)$", "HEAD": r"audit_head +(\d+:\w+)"}
LARGE = "2 - dense 1000 relu - dense 500 relu - dense 2 softmax"
GROUP, MEMBER = 54321, 54322  # nobody on this machine has them
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def runbook(title):
    """The commands of a section, each with the lines of its text."""
    text = (fleet.SOURCE / PAGE).read_text()
    section = text.split(f"\n### {title}\n", 1)[1]
    section = re.split(r"\n##+ ", section)[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    commands = []
    while lines:
        command = [lines.pop(0)]
        ends = re.search(r"<<(\w+)$", command[0])
        while ends and command[-1] != ends[1]:
            command.append(lines.pop(0))
        commands.append("\n".join(command))
    return commands


class Machine(fleet.Fleet):
    """A machine whose /var/lib, /srv and /usr/local are folders of the test."""

    def __init__(self):
        super().__init__()
        fleet.shutil.rmtree(self.dir)
        self.dir = self.root / "var/lib/tributary"
        self.state = self.root / "var/lib/tributary-client"
        for folder in "var/lib", "srv/ward", "srv/held-out", "work":
            (self.root / folder).mkdir(parents=True)
        for path in "srv/ward/data.csv", "srv/held-out/test.csv":
            (self.root / path).write_text(fleet.as_text(ROWS))
        self.bin = self.root / "usr/local/bin"
        self.words = {}  # what stands in capitals
        self.outputs = []
        self.services = {"tributary-coordinator": self.dir, "tributary-client": self.state}

    def here(self, command):
        """The same command with what is of this machine."""
        for word, value in self.words.items():
            command = re.sub(rf"\b{word}\b", value, command)
        command = command.replace("-C build", f"-C {fleet.build} --no-rebuild --quiet")
        command = command.replace("fleet.example.org", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
        command = command.replace(":7420", f":{self.port}")
        return re.sub(r"(?<![\w./])/(var/lib|srv|etc/systemd)/", rf"{self.root}/\1/", command)

    def take_place(self, unit):
        """What systemd does before it starts a unit whose drop-in has another group."""
        settings = {}
        for path in (self.root / f"etc/systemd/system/{unit}.service.d").glob("*.conf"):
            for line in path.read_text().split("[Service]\n", 1)[1].splitlines():
                key, settings[key] = line.split("=")
        if not settings:
            return []
        self.assigned = settings.pop("Group")
        for path in [self.services[unit], *self.services[unit].rglob("*")]:
            os.chown(path, -1, GROUP)
        self.services[unit].chmod(int(settings.pop("StateDirectoryMode"), 8))
        assert not settings, settings
        return ["setpriv", "--regid", GROUP, "--clear-groups"]

    def systemctl(self, action, unit):
        if action in {"stop", "restart"}:
            self.end(unit)
        if action in {"start", "restart", "enable"}:
            self.start(unit, [*self.take_place(unit), self.bin / unit, "run", self.services[unit]])
            if unit == "tributary-coordinator":
                fleet.wait_until(lambda: self.try_ctl("status").returncode == 0, "it answers")

    def perform(self, title, may_fail=(), between=None):
        """(exit status, output) of each command; `between`: what to wait for before which of them."""
        done = []
        for command in runbook(title):
            for part, wait in (between or {}).items():
                if part in command:
                    wait()
            if command.startswith("systemctl "):
                words = shlex.split(command)
                self.systemctl(words[1], words[-1])
                continue
            result = subprocess.run(
                ["bash", "-c", PRELUDE + self.here(command)], cwd=self.root / "work",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                timeout=fleet.PATIENCE_S, env={
                    **os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}",
                    "DESTDIR": os.fspath(self.root), "PLAYED": os.fspath(self.root / "played")})
            if result.returncode not in {0, *may_fail}:
                raise AssertionError(f"{title}: {command}: exit {result.returncode}\n"
                                     f"{result.stdout}{result.stderr}")
            output = result.stdout + result.stderr
            done.append((result.returncode, output))
            for word, pattern in PRINTED.items():
                found = re.search(pattern, output, re.MULTILINE)
                if found:
                    self.words[word] = found[1]
        return done


class RunbooksTest(fleet.Case):
    def install(self, tried):
        done = tried.perform("Install", may_fail=[6])
        self.assertEqual([code for code, _ in done], [0] * (len(done) - 1) + [6])
        self.assertRegex(done[-1][1], r"enrolment +no +no device is enrolled")
        for name in "tributary-coordinator", "tributaryctl", "tributary-client":
            self.assertTrue((tried.bin / name).exists())
        self.assertEqual(tried.status()["url"], f"tcp://127.0.0.1:{tried.port}")

    def start_a_fleet(self, tried):
        done = tried.perform("First fleet", between={"jobs show": lambda: tried.wait_for_job(1)})
        self.assertRegex(done[-2][1], r"(?m)^state +done$")
        self.assertEqual(tried.device("ward-7")["state"], "connected")
        model = fleet.Model(tried.root / "work/model.safetensors")
        self.assertEqual(model.digest(), tried.model_digest())
        fleet.wait_until(lambda: tried.device("ward-7")["version"] == 6, "the device has it")

    def back_up(self, tried):
        tried.perform("Backup")
        self.assertTrue((tried.root / "srv/backup/BACKUP").exists())
        self.assertFalse((tried.dir / "backup").exists())
        self.assertFalse((tried.root / "srv/rehearsal").exists())
        self.assertRegex(tried.words["HEAD"], r"^\d+:[0-9a-f]{64}$")

    def upgrade(self, tried):
        kept = tried.words["HEAD"]
        (tried.bin / "tributary-coordinator").unlink()
        (tried.bin / "tributary-coordinator").write_text("of before")
        tried.perform("Upgrade", between={"doctor": lambda: tried.wait_connected(1)})
        self.assertGreater((tried.bin / "tributary-coordinator").stat().st_size, 1000)
        self.assertEqual(tried.status()["version"], 6)
        tried.words["HEAD"] = kept

    def lose(self, tried):
        tried.kill("tributary-coordinator")
        fleet.shutil.rmtree(tried.dir)
        done = tried.perform("Lost coordinator")
        self.assertIn("ward-7", done[-2][1])
        self.assertRegex(done[-1][1], r"(?m)^version +7$")
        self.assertEqual(tried.ctl("models", "show", 7)[0]["kind"], "restored")
        fleet.wait_until(lambda: tried.device("ward-7")["version"] == 7, "the device takes it")

    def rotate(self, tried):
        before = tried.device("ward-7")["key"]
        tried.perform("Rotate keys")
        self.assertNotEqual(tried.device("ward-7")["key"], before)
        self.assertEqual((tried.dir / "http.token").stat().st_mode & 0o777, 0o600)
        fleet.wait_until(lambda: tried.device("ward-7")["state"] == "connected", "it is back")
        with open(tried.dir / "tributary.ini", "a") as file:
            file.write("[http]\nlisten = 127.0.0.1:0\ntoken_file = http.token\n")
        tried.systemctl("restart", "tributary-coordinator")  # the token is one that it takes
        fleet.wait_until(lambda: tried.device("ward-7")["state"] == "connected", "it is back")

    def rotate_own(self, tried):
        def has_followed():
            listed = tried.ctl("keys", "list")[0]
            return (listed["followed"], listed["behind"], listed["unheard"]) == (1, 0, 0)

        before = (tried.dir / "coordinator.pub").read_text()
        waits = {"doctor": lambda: tried.wait_connected(1),
                 "keys list": lambda: fleet.wait_until(has_followed, "the device follows")}
        done = tried.perform("Rotate the coordinator's keys", between=waits)
        self.assertNotEqual((tried.dir / "coordinator.pub").read_text(), before)
        self.assertTrue((tried.root / "srv/backup-new-keys/keys.chain").exists())
        self.assertRegex(done[-2][1], r"^retired +1$")
        self.assertIn("keys retire", done[-1][1])
        self.assertFalse((tried.dir / "former-1.key").exists())
        fleet.wait_until(lambda: tried.device("ward-7")["state"] == "connected", "by the new key")

    def revoke(self, tried):
        done = tried.perform("Revoke")
        self.assertRegex(done[1][1], r"ward-7 .*revoked")
        self.assertIn("devices revoke", done[2][1])
        self.assertNotEqual(tried.processes.pop("tributary-client").wait(fleet.PATIENCE_S), 0)
        tried.systemctl("start", "tributary-client")  # and its key gets silence
        fleet.wait_until(lambda: tried.status()["closed"].get("unknown"), "it is not answered")

    def test_each_runbook_does_what_it_says(self):
        with Machine() as tried:
            for play in [self.install, self.start_a_fleet, self.back_up, self.upgrade, self.lose,
                         self.rotate, self.rotate_own, self.revoke]:
                play(tried)

    @unittest.skipIf(os.geteuid() != 0, "only root can ask as somebody else")
    def test_a_group_is_let_in(self):
        def ask(group, *words):
            return subprocess.run(words, user=MEMBER, group=group, extra_groups=(), text=True,
                                  cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=fleet.PATIENCE_S, check=False)

        with Machine() as tried:
            tried.root.chmod(0o711)
            self.install(tried)
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write(f"[roles]\nviewer = @{GROUP}\n")
            tried.perform("Let a group in")
            self.assertIn(f"group --system {tried.assigned}\n", (tried.root / "played").read_text())
            status = [fleet.program("tributaryctl"), "--dir", tried.dir, "status"]
            self.assertEqual(ask(GROUP, *status).returncode, 0, ask(GROUP, *status).stderr)
            self.assertEqual(ask(MEMBER, *status).returncode, 3)  # not of the group
            for words in [["ls", tried.dir], ["cat", tried.dir / "tributary.ini"]]:
                self.assertNotEqual(ask(GROUP, *words).returncode, 0, words)

    def test_a_disk_that_is_full(self):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
            self.skipTest("no right to mount a small disk")
        with Machine() as tried:
            tried.dir.mkdir()
            if libc.mount(b"none", os.fsencode(tried.dir), b"tmpfs", 0, b"size=44m"):
                self.skipTest("a small disk cannot be mounted")
            self.addCleanup(libc.umount2, os.fsencode(tried.dir), 2)
            self.install(tried)
            tried.add_device("one", ROWS)
            tried.start_device("one")
            tried.wait_connected(1)
            way = {"cohort": 1, "learning_rate": 0.01}
            tried.wait_for_job(tried.submit(LARGE, ROWS, rounds=6, **way))
            disk = os.statvfs(tried.dir)
            with open(tried.dir / "others", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - (2 << 20))
            job = tried.submit(LARGE, ROWS, rounds=1, **way)
            fleet.wait_until(lambda: tried.status()["disk_full"], "it is full")
            done = tried.perform("Disk full", may_fail=[6])
            self.assertIn("rounds wait for room", done[0][1])
            tried.wait_for_job(job)
            self.assertFalse(tried.status()["disk_full"])
            fleet.wait_until(lambda: len(list((tried.dir / "models").iterdir())) == 5, "5 are kept")

    def test_the_runbooks_are_these(self):
        text = (fleet.SOURCE / PAGE).read_text().split("\n## Runbooks\n")[1].split("\n## ")[0]
        self.assertEqual(re.findall(r"^### (.*)$", text, re.MULTILINE),
                         ["Install", "Let a group in", "First fleet", "Backup", "A refused job", "Upgrade",
                          "Rotate keys", "Rotate the coordinator's keys", "Revoke",
                          "Disk full", "Lost coordinator"])


if __name__ == "__main__":
    fleet.main()
