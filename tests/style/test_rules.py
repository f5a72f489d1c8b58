#!/usr/bin/env python3
"""Plant one violation a time in a small tree: each style check must find it, and nothing else.

usage: test_rules.py SCRIPTS
"""
import contextlib
import io
import pathlib
import sys
import tempfile

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True

import banned  # noqa: E402
import blanks  # noqa: E402
import layers  # noqa: E402
import lengths  # noqa: E402

LONG = "int f(void)\n{\n" + "    g();\n" * 69 + "}\n"
WIDE = "int f(int a, int b, int c, int (*d)(int, int), int e, int h, int i, int j)\n{\n}\n"

CASES = [  # (check, file, contents, is it a violation)
    (layers, "common/base/x.c", '#include "common/math/net.h"\n', True),
    (layers, "common/base/x.c", '#include "common/base/net.h"\n#include "tributary/err.h"\n', False),
    (layers, "common/wire/x.c", '#include "common/math/net.h"\n', True),
    (layers, "common/privacy/x.c", '#include "common/wire/code.h"\n', True),
    (layers, "common/data/x.c", '#include "common/math/model.h"\n', False),
    (layers, "common/data/x.c", '  #  include "client/policy.h"\n', True),
    (layers, "client/x.c", '#include "coordinator/round.h"\n', True),
    (layers, "client/x.c", '#include <tributary/client.h>\n', False),
    (layers, "coordinator/x.c", '#include "client/policy.h"\n', True),
    (layers, "coordinator/x.c", '#include "tributary/client.h"\n', True),
    (layers, "coordinator/x.c", '#include "simulations/world.h"\n', True),
    (layers, "coordinator/ctl/x.c", '#include "coordinator/store.h"\n', True),
    (layers, "client/examples/x.c", '#include "common/base/buf.h"\n', True),
    (layers, "simulations/x.c", '#include "tests/test.h"\n', True),
    (layers, "simulations/x.c", '#include "client/policy.h"\n#include "coordinator/job.h"\n', False),
    (layers, "common/base/x.c", '#include "net.h"\n', True),
    (layers, "other/x.c", '#include "common/base/net.h"\n', True),
    (layers, "common/wire/channel.c", "#include <nng/nng.h>\n", True),
    (layers, "common/wire/link.c", "#include <nng/nng.h>\n", False),
    (layers, "client/x.c", "#include <sodium.h>\n", True),
    (layers, "coordinator/commit.c", "#include <sqlite3.h>\n", True),
    (layers, "coordinator/store.c", "#include <sqlite3.h>\n", False),
    (layers, "coordinator/server.c", "#include <microhttpd.h>\n", True),
    (layers, "coordinator/http.c", "#include <microhttpd.h>\n", False),
    (layers, "common/wire/session.c", '#include "tributary.pb-c.h"\n', True),
    (layers, "common/wire/message_admin.c", '#include "tributary.pb-c.h"\n', False),
    (layers, "common/math/net.c", "#include <cblas.h>\n", True),
    (layers, "coordinator/x.c", "#include <zlib.h>\n", True),
    (layers, "tests/unit/x.c", "#include <sqlite3.h>\n", False),

    (banned, "client/x.c", "void f(void) { strcpy(a, b); }\n", True),
    (banned, "client/x.c", "// strcpy(a, b);\n/* sprintf(a, \"\"); */ char *s = \"atoi(x)\";\n", False),
    (banned, "client/x.c", "int system_is_up(void); struct x { int time; }; y = x->time(z);\n", False),
    (banned, "client/x.c", "char c = '\"'; strcat(a, b); char d = '\"';\n", True),
    (banned, "client/x.c", "t = time(NULL);\n", True),
    (banned, "common/base/clock.c", "clock_gettime(id, &t);\n", False),
    (banned, "coordinator/round.c", "clock_gettime(id, &t);\n", True),
    (banned, "coordinator/round.c", 'printf("here");\n', True),
    (banned, "coordinator/round.c", '(void)fprintf(stderr,\n "here");\n', True),
    (banned, "coordinator/round.c", '(void)fprintf(file, "here");\n', False),
    (banned, "coordinator/ctl/main.c", 'printf("here");\n', False),
    (banned, "coordinator/round.c", "p = malloc(count * sizeof(*p));\n", True),
    (banned, "coordinator/round.c", "p = malloc(sizeof(struct x *));\n", False),
    (banned, "coordinator/round.c", "p = realloc(p, 2 * size);\n", True),
    (banned, "coordinator/round.c", "x = strtoull(text, NULL, 10);\n", True),
    (banned, "coordinator/round.c", "x = strtoull(text, &end, 10);\n", False),
    (banned, "coordinator/round.c", "if (memcmp(token->secret, given, 32) == 0)\n", True),
    (banned, "coordinator/round.c", "if (trib_equal_ct(token->secret, given, 32))\n", False),
    (banned, "coordinator/round.c", "exit(1);\n", True),
    (banned, "client/main.c", "exit(1);\n", False),
    (banned, "tests/unit/x.c", "srand(1);\n", True),

    (lengths, "client/x.c", LONG, True),
    (lengths, "client/x.c", LONG.replace("    g();\n", "", 1), False),
    (lengths, "client/x.c", WIDE, True),
    (lengths, "client/x.c", WIDE.replace(", int j", ""), False),
    (lengths, "coordinator/http.c", WIDE.replace("f(", "on_request(", 1), False),
    (lengths, "coordinator/http.c", WIDE, True),

    (blanks, "docs/x.md", "text \n", True),
    (blanks, "docs/x.md", "text\r\n", True),
    (blanks, "docs/x.md", "text", True),
    (blanks, "client/x.c", "\tint x;\n", True),
    (blanks, "client/x.c", "int x;\n\n", False),
    (blanks, "build-x/x.c", "text \n", False),
]


def is_found(check, name, text):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(text.encode())
        with contextlib.redirect_stdout(io.StringIO()):
            return check.main(root) != 0


def main():
    failed = 0
    for check, name, text, expected in CASES:
        if is_found(check, name, text) != expected:
            print(f"{check.__name__}: {name} {'not found' if expected else 'wrongly found'}: {text}")
            failed += 1
    return 1 if failed else 0


sys.exit(main())
