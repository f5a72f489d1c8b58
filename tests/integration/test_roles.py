#!/usr/bin/env python3
"""Who may give which command: every role with every command, by the user at the other end."""
import json
import os
import re
import signal
import subprocess
import unittest
import urllib.request

import fleet

VIEWER, OPERATOR, ADMIN, STRANGER, MEMBER = 64001, 64002, 64003, 64004, 64005
GROUP = 64100
RANK = {"none": 0, "viewer": 1, "operator": 2, "admin": 3}
WHO = {STRANGER: "none", VIEWER: "viewer", OPERATOR: "operator", ADMIN: "admin"}

# What is asked for, so that nothing is destroyed by who may: no such job, device or version.
OPERANDS = {"jobs submit": ["EMPTY"], "jobs show": ["99"], "jobs selection": ["99"],
            "jobs start": ["99"], "jobs pause": ["99"], "jobs cancel": ["99"],
            "devices approve": ["nobody"], "devices revoke": ["nobody"], "roster load": ["EMPTY"],
            "rounds show": ["99"], "rounds measured": ["99"], "rounds counted": ["99"],
            "models show": ["99"], "models export": ["99"], "keys retire": ["99"],
            "models ensemble": ["98", "99"], "backup": ["EMPTY"]}


@unittest.skipIf(os.geteuid() != 0, "only root can ask as somebody else")
class RolesTest(fleet.Case):
    def configure(self, tried, text):
        with open(tried.dir / "tributary.ini", "a") as file:
            file.write(text)

    def open_doors(self, tried):
        """Let everybody reach the socket, so that only the roles say no."""
        tried.root.chmod(0o711)
        tried.dir.chmod(0o711)
        (tried.dir / "admin.sock").chmod(0o666)
        empty = tried.root / "empty"
        empty.write_text("")
        empty.chmod(0o644)

    def ask(self, tried, uid, command, gid=None, groups=(), operands=None):
        if operands is None:
            operands = OPERANDS.get(command, [])
        words = [str(tried.root / "empty") if word == "EMPTY" else word for word in operands]
        return subprocess.run(
            [fleet.program("tributaryctl"), "--dir", str(tried.dir), *command.split(), *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
            timeout=fleet.PATIENCE_S, cwd="/", user=uid, group=gid or uid, extra_groups=groups)

    def assert_refused(self, done, command, need, role):
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn(f"{command} wants the role {need}, and ", done.stderr)
        self.assertIn(f" has the role {role}: ", done.stderr)
        self.assertEqual(done.stdout, "")

    def page(self):
        """{command: role} of the table of docs/operating.md."""
        text = (fleet.SOURCE / "docs/operating.md").read_text()
        rows = re.findall(r"^\| `(viewer|operator|admin)` \| (.*) \|$", text, re.MULTILINE)
        self.assertEqual([role for role, _ in rows], ["viewer", "operator", "admin"])
        named = [(command, role) for role, cell in rows
                 for command in re.findall(r"`([^`]+)`", cell)]
        self.assertEqual(len(named), len(dict(named)))
        return dict(named)

    def test_every_role_with_every_command(self):
        port = fleet.free_port()
        with fleet.Fleet() as tried:
            self.configure(tried, f"[roles]\nviewer = {VIEWER}\noperator = {OPERATOR}\n"
                                  f"admin = {ADMIN}\n"
                                  f"[http]\nlisten = 127.0.0.1:{port}\n")
            tried.start_coordinator()
            self.open_doors(tried)
            wants = {row["command"]: row["wants"] for row in tried.ctl("roles")}
            self.assertEqual(self.page(), wants)
            help_text = fleet.run("tributaryctl", "--help").stdout
            for command in wants:
                self.assertIn(f"  {command} ", help_text)
            for uid, role in WHO.items():
                for command, need in wants.items():
                    done = self.ask(tried, uid, command)
                    with self.subTest(role=role, command=command):
                        if RANK[role] >= RANK[need]:
                            self.assertNotIn("wants the role", done.stderr)
                            self.assertNotEqual(done.returncode, 3)
                        else:
                            self.assert_refused(done, command, need, role)
            refused = sum(RANK[role] < RANK[need] for role in WHO.values()
                          for need in wants.values())
            self.assertGreaterEqual(tried.log("coordinator").count("id=role-refused"), refused)
            sample = f"\ntributary_commands_refused_total {refused}\n"
            fleet.wait_until(lambda: sample in urllib.request.urlopen(
                f"http://127.0.0.1:{port}/metrics").read().decode(), "all of them are counted")
            mine = json.loads(self.ask(tried, VIEWER, "roles",
                                       operands=["--json"]).stdout.splitlines()[0])
            self.assertEqual((mine["you"], mine["may"]), ("viewer", True))

    def test_without_roles_only_the_owner_and_root_may_ask(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.open_doors(tried)
            self.assert_refused(self.ask(tried, VIEWER, "status", gid=os.getegid()), "status",
                                "viewer", "none")
            self.assertEqual(tried.try_ctl("status").returncode, 0)

    def test_a_group_reaches_the_socket_as_the_page_says(self):
        """chgrp and chmod 2710 of the directory: the socket's file mode lets the group in."""
        with fleet.Fleet() as tried:
            tried.root.chmod(0o711)
            os.chown(tried.dir, -1, GROUP)
            tried.dir.chmod(0o2710)
            self.configure(tried, f"[roles]\nviewer = @{GROUP}\n")
            tried.start_coordinator()
            self.assertEqual((tried.dir / "admin.sock").stat().st_mode & 0o777, 0o660)
            self.assertEqual(self.ask(tried, MEMBER, "status", gid=GROUP).returncode, 0)
            self.assert_refused(self.ask(tried, MEMBER, "devices token", gid=GROUP),
                                "devices token", "operator", "viewer")
            for name in ["tributary.ini", "store.db", "coordinator.key"]:  # and no further
                done = subprocess.run(["cat", tried.dir / name], user=MEMBER, group=GROUP,
                                      extra_groups=(), stdout=subprocess.PIPE, check=False,
                                      stderr=subprocess.DEVNULL)
                self.assertEqual((done.returncode, done.stdout), (1, b""), name)
            done = self.ask(tried, STRANGER, "status")  # does not even reach it
            self.assertEqual(done.returncode, 3)
            self.assertNotIn("wants the role", done.stderr)

    def test_roles_are_read_again_by_sighup(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.open_doors(tried)
            self.assertEqual(self.ask(tried, VIEWER, "status").returncode, 3)
            self.configure(tried, f"[roles]\nviewer = {VIEWER}\n")
            tried.processes["coordinator"].send_signal(signal.SIGHUP)
            fleet.wait_until(lambda: "roles=1 " in tried.log("coordinator"), "roles are read")
            self.assertEqual(self.ask(tried, VIEWER, "status").returncode, 0)
            self.configure(tried, "admin = no-such-user\n")
            tried.processes["coordinator"].send_signal(signal.SIGHUP)
            fleet.wait_until(lambda: "old roles stay in force" in tried.log("coordinator"),
                             "the bad list is refused")
            self.assertEqual(self.ask(tried, VIEWER, "status").returncode, 0)


class ConfigurationTest(fleet.Case):
    def test_a_user_that_is_not_there_is_refused_by_name(self):
        with fleet.Fleet() as tried:
            with open(tried.dir / "tributary.ini", "a") as file:
                file.write("[roles]\noperator = root, no-such-user\n")
            done = fleet.run("tributary-coordinator", "run", tried.dir)
            self.assertEqual(done.returncode, 2)
            self.assertIn('roles.operator: no user "no-such-user" on this machine', done.stderr)


if __name__ == "__main__":
    fleet.main()
