#!/usr/bin/env python3
"""Fail if a text file has blanks at the end of a line, tabs, foreign line ends or no last line end.

usage: blanks.py ROOT
"""
import sys

import sources

TEXT = {".c", ".h", ".py", ".sh", ".md", ".ini", ".proto", "meson.build", "meson_options.txt",
        "check", "quickstart", "setup", "run"}


def complaints_of(name, data):
    if data and not data.endswith(b"\n"):
        yield name, data.count(b"\n") + 1, "no line end at the end of the file"
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.endswith(b"\r"):
            yield name, number, "a carriage return"
        elif line != line.rstrip():
            yield name, number, "blanks at the end of the line"
        if b"\t" in line:
            yield name, number, "a tab"


def main(root):
    complaints = []
    for path, name in sources.files(root, TEXT):
        complaints += complaints_of(name, path.read_bytes())
    return sources.report(complaints)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
