#!/usr/bin/env python3
"""Fail if a function is longer than a screen or takes more than it can be told in one breath.

A function's body opens and closes with a brace in the first column: the formatter sees to that.

usage: lengths.py ROOT
"""
import re
import sys

import sources

LINES_MAX = 70
PARAMETERS_MAX = 7
DICTATED = {("coordinator/http.c", "on_request")}  # a library says what it takes

BODY = re.compile(r"\)\s*\n\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)


def parameters_before(text, close):
    """(number of parameters, offset of the parenthesis) of the list that closes at `close`."""
    depth, commas = 0, 0
    for at in range(close, -1, -1):
        depth += {")": 1, "(": -1}.get(text[at], 0)
        commas += text[at] == "," and depth == 1
        if depth == 0:
            return commas + 1, at
    return 0, 0


def complaints_of(name, text):
    text = sources.code(text)
    for found in BODY.finditer(text):
        count, start = parameters_before(text, found.start())
        number = text.count("\n", 0, start) + 1
        called = re.search(r"(\w+)\s*$", text[:start])
        called = called[1] if called else "?"
        lines = found[1].count("\n") + 2
        if lines > LINES_MAX:
            yield name, number, f"{called} has {lines} lines, {LINES_MAX} is the most"
        if count > PARAMETERS_MAX and (name, called) not in DICTATED:
            yield name, number, f"{called} takes {count} parameters, {PARAMETERS_MAX} is the most"


def main(root):
    complaints = []
    for path, name in sources.files(root, {".c", ".h"}):
        complaints += complaints_of(name, path.read_text())
    return sources.report(complaints)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
