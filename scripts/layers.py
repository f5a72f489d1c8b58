#!/usr/bin/env python3
"""Fail if a file includes what its layer may not use. These tables are the architecture.

usage: layers.py ROOT
"""
import re
import sys

import sources

MAY_USE = {  # layer: what it may include from, besides itself; a folder stands for all below it
    "common/include": [],
    "common/base": ["common/include"],
    "common/math": ["common/include", "common/base"],
    "common/data": ["common/include", "common/base", "common/math"],
    "common/privacy": ["common/include", "common/base", "common/math"],
    "common/wire": ["common/include", "common/base"],  # bytes and numbers: nothing of learning
    "client/include": ["common/include"],
    "client/examples": ["common/include", "client/include"],  # what an outsider has
    "client": ["common", "client/include"],
    "coordinator": ["common"],
    "coordinator/ctl": ["common"],  # the operator's command sees no state, only the admin socket
    "simulations": ["common", "client", "coordinator"],
    "tests": ["common", "client", "coordinator", "simulations"],
}

INSTALLED = {  # headers that are included without their folder
    "tributary/err.h": "common/include",
    "tributary/log.h": "common/include",
    "tributary/client.h": "client/include",
    "tributary/predict.h": "client/include",
}

SODIUM = ["common/base/rand.c", "common/base/map.c", "common/base/hash.c", "common/base/sign.c",
          "common/base/wipe.c", "common/wire/noise_ik.c", "common/wire/session.c",
          "common/privacy/", "simulations/chaos/posix.c"]
PROTOBUF = ["common/wire/message.c", "common/wire/message_admin.c", "common/wire/message_fields.h",
            "common/wire/message_task.c"]

FENCED = {  # foreign header, or folder of them: who may include it (tests may)
    "nng/": ["common/wire/link.c"],
    "sodium.h": SODIUM,
    "sodium/": SODIUM,
    "protobuf-c/": PROTOBUF,
    "tributary.pb-c.h": PROTOBUF,
    "cblas.h": ["common/math/blas.c"],
    "openblas_config.h": ["common/math/blas.c"],
    "dlfcn.h": ["common/math/blas.c"],
    "sqlite3.h": ["coordinator/store.c", "coordinator/store_db.c", "coordinator/store_db.h",
                  "coordinator/store_pages.h",
                  "client/source_sqlite.c", "simulations/chaos/disk.c"],
    "microhttpd.h": ["coordinator/http.c"],
    "ini.h": ["common/base/conf.c"],
    "zlib.h": ["common/base/file.c"],
}

INCLUDE = re.compile(r'\s*#\s*include\s+(["<])([^">]+)[">]')


def layer_of(name):
    if name in INSTALLED:
        return INSTALLED[name]
    return max((layer for layer in MAY_USE if name.startswith(layer + "/")), key=len, default=None)


def fence_complaint(name, included):
    for header, allowed in FENCED.items():
        if not sources.is_below(included, [header]) or name.startswith("tests/"):
            continue
        if not sources.is_below(name, allowed):
            return f"only {', '.join(allowed)} may include {included}"
    return None


def complaint(name, quote, included):
    mine, theirs = layer_of(name), layer_of(included)
    text = fence_complaint(name, included)
    if text or included in FENCED:
        return text
    if theirs is None:
        return f"write the whole path of {included}" if quote == '"' else None
    if mine is None:
        return f"{name} belongs to no layer"
    if mine == theirs or any((theirs + "/").startswith(use + "/") for use in MAY_USE[mine]):
        return None
    return f"{mine} may not use {theirs}: {included}"


def main(root):
    complaints = []
    for path, name in sources.files(root, {".c", ".h"}):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = INCLUDE.match(line)
            text = found and complaint(name, found[1], found[2])
            if text:
                complaints.append((name, number, text))
    return sources.report(complaints)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
