#!/usr/bin/env python3
"""Fail if C code calls a function that the house style bans, outside the places that may.

usage: banned.py ROOT
"""
import re
import sys

import sources

PROGRAMS = ["coordinator/main.c", "coordinator/ctl/", "client/main.c", "client/examples/",
            "simulations/", "tests/"]
# What people read on stdout is written by programs, and by the tables that speak for them.
PRINTERS = PROGRAMS + ["common/base/args.c", "common/base/log.c", "common/base/crash.c"]


def calls(*names):
    return r"(?<![\w.>])(?:" + "|".join(names) + r")\s*\("


RULES = [  # (what, why not, who may all the same)
    (calls("strcpy", "strcat", "stpcpy", "strncpy", "strncat", "sprintf", "vsprintf", "gets"),
     "does not know how much fits: snprintf, memcpy", []),
    (calls("strtok"), "keeps a hidden state: strcspn", []),
    (calls("atoi", "atof", "atol", "atoll"), "cannot say that it failed: strtoull, strtod", []),
    (r"(?<![\w.>])strto\w+\s*\([^;]*?,\s*NULL\b", "cannot say where it stopped: give an end pointer",
     ["common/base/json.c", "common/base/crash.c"]),  # its own output; a hook of test builds
    (calls("rand", "srand", "random", "srandom", "drand48"), "hidden state: common/base/rand.h", []),
    (calls("alloca"), "no bound: common/base/alloc.h", []),
    (calls("system", "popen"), "a shell reads its argument: posix_spawn", []),
    (calls("time", "clock_gettime", "gettimeofday", "clock"), "only clock.c asks: common/base/clock.h",
     ["common/base/clock.c", "tests/fault/fault.c"]),  # it stands in the place of the system
    (calls("printf", "vprintf", "puts", "putchar") + r"|\bf(?:printf|puts)\s*\([^;]*?\bstd(?:out|err)\b",
     "the log is for messages: common/base/log.h", PRINTERS),
    (calls("exit"), "only main ends the program: return an error", PROGRAMS),
    (r"(?<![\w.>])(?:malloc|realloc)\s*\([^;]*[\w\])]\s*\*\s*[\w(]",
     "the product may overflow: common/base/alloc.h", ["tests/fault/fault.c"]),
    (r"(?<![\w.>])(?:memcmp|strcmp)\s*\([^;]*\b\w*(?:secret|seed|_mac|mac_|private)\w*",
     "stops at the first difference: trib_equal_ct", ["tests/"]),
]
RULES = [(re.compile(pattern), why, allowed) for pattern, why, allowed in RULES]
SIZEOF = re.compile(r"sizeof\s*\([^()]*(?:\([^()]*\)[^()]*)*\)")


def complaints_of(name, text):
    text = SIZEOF.sub(lambda found: "S" + " " * (len(found[0]) - 1), sources.code(text))
    for pattern, why, allowed in RULES:
        if sources.is_below(name, allowed):
            continue
        for found in pattern.finditer(text):
            called = re.match(r"\w+", found[0])[0]
            yield name, text.count("\n", 0, found.start()) + 1, f"{called} is banned: {why}"


def main(root):
    complaints = []
    for path, name in sources.files(root, {".c", ".h"}):
        complaints += complaints_of(name, path.read_text())
    return sources.report(sorted(complaints))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
