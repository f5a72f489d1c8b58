#!/usr/bin/env python3
"""List the headers of the tree as they are included, one a line.

usage: headers.py ROOT
"""
import sys

import sources

INSTALLED = ("common/include/", "client/include/")


def main(root):
    for _, name in sources.files(root, {".h"}):
        for folder in INSTALLED:
            name = name.removeprefix(folder)
        print(name)


if __name__ == "__main__":
    main(sys.argv[1])
