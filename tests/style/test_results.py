#!/usr/bin/env python3
"""What scripts/results.py makes of logs: only what ran and passed may count as passed.

usage: test_results.py SCRIPTS
"""
import contextlib
import io
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True

import results  # noqa: E402


def test(name, result, stdout=""):
    return json.dumps({"name": f"tributary:unit / {name}", "result": result, "stdout": stdout})


SKIPPING = "[ RUN      ] absent\n[  SKIPPED ] absent\n[  SKIPPED ] 1 test(s), listed below:\n" \
    "[  SKIPPED ] absent\n"

CASES = [  # (failed builds, lines of the log or None for no log, exit status, what is printed)
    (0, [test("a", "OK"), test("b", "OK")], 0, ["2 passed, 0 failed"]),
    (0, [test("a", "OK"), test("b", "FAIL")], 1, ["build/b: FAIL", "1 passed, 1 failed"]),
    (0, [test("a", "TIMEOUT")], 1, ["build/a: TIMEOUT", "0 passed, 1 failed"]),
    (0, [test("a", "UNEXPECTEDPASS")], 1, ["build/a: UNEXPECTEDPASS", "0 passed, 1 failed"]),
    (0, [test("a", "SKIP"), test("b", "OK")], 0, ["1 skipped: build/a", "1 passed, 0 failed"]),
    (0, [test("a", "SKIP")], 1, ["1 skipped: build/a", "0 passed, 0 failed"]),
    (0, [test("a", "OK", SKIPPING)], 0, ["1 skipped: build/a/absent", "1 passed, 0 failed"]),
    (1, [test("a", "OK")], 1, ["1 passed, 1 failed"]),
    (0, None, 1, ["build: no test ran", "0 passed, 1 failed"]),
    (0, [], 1, ["build: no test ran", "0 passed, 1 failed"]),
    (0, ["{"], 1, ["build: no test ran", "0 passed, 1 failed"]),
]


def outcome(failed_builds, lines):
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "build" / "meson-logs" / "testlog.json"
        log.parent.mkdir(parents=True)
        if lines is not None:
            log.write_text("".join(line + "\n" for line in lines))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            status = results.main(failed_builds, [log])
        return status, printed.getvalue().splitlines()


def main():
    failed = 0
    for failed_builds, lines, status, expected in CASES:
        found_status, printed = outcome(failed_builds, lines)
        if found_status != status or printed[-len(expected):] != expected:
            print(f"{failed_builds} {lines}: expected {status} {expected}, got {found_status} {printed}")
            failed += 1
    return 1 if failed else 0


sys.exit(main())
