#!/usr/bin/env python3
"""Run a program as a unit of scripts/systemd confines it, without systemd running.

usage: sandbox.py UNIT WRITABLE PROGRAM [ARGUMENT...]

In a mount namespace of its own the root is read-only but for WRITABLE; no capabilities, no new
privileges, the unit's UMask, and the system calls that its SystemCallFilter lets pass (the groups are
systemd-analyze's), with no memory that is both writable and executable. Needs root.
"""
import ctypes
import functools
import os
import pathlib
import re
import struct
import subprocess
import sys

ALLOW, ERRNO_EPERM = 0x7fff0000, 0x00050001
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, SECCOMP_MODE_FILTER = 22, 38, 24, 2
LOAD, JUMP_EQUAL, JUMP_SET, AND, RETURN = 0x20, 0x15, 0x45, 0x54, 0x06  # BPF, words
WRITE_AND_EXEC = 0x2 | 0x4
HEADER = pathlib.Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


def settings(unit, key):
    return re.findall(rf"^{key}=(.*)$", pathlib.Path(unit).read_text(encoding="ascii"), re.M)


@functools.cache
def groups():
    """{group: what it names}, all that systemd knows."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            check=True).stdout
    named, words = {}, []
    for line in listed.splitlines():
        if line.startswith("@"):
            words = named.setdefault(line.strip(), [])
        elif line.startswith("#"):
            words = []  # what the kernel has and no group names
        elif line.strip() and not line.strip().startswith("#"):
            words.append(line.strip())
    return named


def group(name):
    """The calls of a name or a group of names."""
    if not name.startswith("@"):
        return {name}
    return set().union(*(group(word) for word in groups()[name]))


def allowed(unit):
    calls = set()
    for words in settings(unit, "SystemCallFilter"):
        named = set().union(*(group(word) for word in words.lstrip("~").split()))
        calls = calls - named if words.startswith("~") else calls | named
    return calls | group("@default")


def numbers(names):
    defined = dict(re.findall(r"#define __NR_(\w+) (\d+)", HEADER.read_text(encoding="ascii")))
    return {name: int(defined[name]) for name in names if name in defined}


def program_of(calls):
    """A filter that lets the calls pass, but for memory to write and execute."""
    def step(code, yes, no, value):
        return struct.pack("HBBI", code, yes, no, value)

    steps = [step(LOAD, 0, 0, 0)]  # the number
    for name in ("mmap", "mprotect", "pkey_mprotect"):
        if name in calls:
            steps += [step(JUMP_EQUAL, 0, 4, calls[name]), step(LOAD, 0, 0, 16 + 2 * 8),
                      step(AND, 0, 0, WRITE_AND_EXEC), step(JUMP_EQUAL, 0, 1, WRITE_AND_EXEC),
                      step(RETURN, 0, 0, ERRNO_EPERM), step(LOAD, 0, 0, 0)]
    for number in calls.values():
        steps += [step(JUMP_EQUAL, 0, 1, number), step(RETURN, 0, 0, ALLOW)]
    return b"".join(steps + [step(RETURN, 0, 0, ERRNO_EPERM)])


def main():
    unit, writable, program = sys.argv[1], sys.argv[2], sys.argv[3:]
    if os.environ.get("TRIB_SANDBOX") != "inside":
        script = ('mount --bind "$2" "$2" && mount -o remount,ro,bind / && shift 2 && '
                  'TRIB_SANDBOX=inside exec "$@"')
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "sh", "-c", script,
                              "sh", "-", writable, sys.executable, __file__, unit, writable,
                              *program])
    libc = ctypes.CDLL(None, use_errno=True)
    code = program_of(numbers(allowed(unit)))
    body = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(body))
    os.umask(int(settings(unit, "UMask")[0], 8))
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    for option, value in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER)):
        if libc.prctl(option, value, header if option == PR_SET_SECCOMP else 0, 0, 0):
            sys.exit(f"sandbox: prctl {option}: {os.strerror(ctypes.get_errno())}")
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
