#!/usr/bin/env python3
"""Count what the test runs of several builds came to.

usage: results.py FAILED_BUILD_COUNT LOG...

LOG is the testlog.json of a build: an object a line, one for each test. A case that a test program
skipped by itself is named too, although the program passed. A log that is not there, or says
nothing, counts as a failure: tests that did not run have not passed.
"""
import json
import pathlib
import re
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED_CASE = re.compile(r"^\[  SKIPPED \] (\w+)$", re.MULTILINE)  # as cmocka prints it


def read(log):
    try:
        return [json.loads(line) for line in log.read_text().splitlines()]
    except (OSError, ValueError) as error:
        print(f"{log}: {error}")
        return []


def main(failed_builds, logs):
    passed, failed, skipped = 0, failed_builds, []
    for log in map(pathlib.Path, logs):
        build = log.parent.parent.name
        tests = read(log)
        if not tests:
            print(f"{build}: no test ran")
            failed += 1
        for test in tests:
            name = test["name"].split(" / ")[-1]
            if test["result"] in PASSED:
                passed += 1
            elif test["result"] == "SKIP":
                skipped.append(f"{build}/{name}")
            else:
                print(f"{build}/{name}: {test['result']}")
                failed += 1
            output = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
            cases = dict.fromkeys(SKIPPED_CASE.findall(output))
            skipped += [f"{build}/{name}/{case}" for case in cases]
    if skipped:
        print(f"{len(skipped)} skipped: {', '.join(skipped)}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
