#!/usr/bin/env python3
"""What is installed serves a program of one's own: it is compiled by pkg-config, linked and run."""
import os
import pathlib
import re
import subprocess
import tempfile

import fleet

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "client/examples/custom_trainer.c"
PROGRAM = """
#include <stdio.h>
#include <tributary/client.h>
#include <tributary/predict.h>
#include <tributary/log.h>

int main(void)
{
    struct trib_predictor *predictor = NULL;
    struct trib_client *client = NULL;
    struct trib_client_config config;
    trib_client_config_init(&config);
    printf("%s %d\\n", trib_version(), trib_client_create(&config, &client) == TRIB_ERR_INVAL);
    return trib_predictor_open("/nonexistent", &predictor) == TRIB_ERR_STATE ? 0 : 1;
}
"""


def call(*words, env=None):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=fleet.PATIENCE_S,
                          env={**os.environ, **(env or {})})
    if done.returncode:
        raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class PackageTest(fleet.Case):
    def setUp(self):
        if fleet.is_sanitized():
            self.skipTest("a library with sanitizers wants a program with them")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        call("meson", "install", "-C", fleet.build, "--no-rebuild", "--quiet", "--destdir",
             self.root / "image")
        file, = (self.root / "image").rglob("libtributary.pc")
        self.found = {"PKG_CONFIG_PATH": os.fspath(file.parent)}
        prefix = re.search(r"^prefix=(.*)$", file.read_text(), re.MULTILINE)[1]
        self.prefix = f"--define-variable=prefix={self.root}/image{prefix}"

    def ask(self, *words):
        return call("pkg-config", self.prefix, *words, "libtributary", env=self.found).split()

    def compile(self, path):
        """By the line of docs/architecture.md."""
        program = self.root / "program"
        call(os.environ.get("CC", "cc"), "-Wall", "-Wextra", "-Werror", path, "-o", program,
             *self.ask("--cflags", "--libs"))
        return program

    def test_a_program_is_compiled_linked_and_run(self):
        path = self.root / "program.c"
        path.write_text(PROGRAM)
        program = self.compile(path)
        libdir, = self.ask("--variable=libdir")
        output = call(program, env={"LD_LIBRARY_PATH": libdir})
        version, = self.ask("--modversion")
        self.assertEqual(output, f"{version} 1\n")

    def test_the_example_is_such_a_program(self):
        self.assertTrue(self.compile(EXAMPLE).exists())

    def test_nothing_of_what_is_inside_the_library_is_wanted(self):
        self.assertEqual(self.ask("--print-requires", "--print-requires-private"), [])
        self.assertEqual([word for word in self.ask("--static", "--libs") if word[:2] == "-l"],
                         ["-ltributary"])


if __name__ == "__main__":
    fleet.main()
