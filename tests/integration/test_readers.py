#!/usr/bin/env python3
"""An exported model, read by the book, says of each row what a device says of it."""
import json
import pathlib
import tempfile

import fleet
import test_export as formats

ROWS = 120


class ReadersTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-readers-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def answers(self, tried, rows):
        """(outputs of the device for each row, the version that it has)"""
        done = fleet.run("tributary-client", "predict", "--json", tried.root / "d0",
                         input=fleet.as_text(rows), stdin=None)
        self.assertEqual(done.returncode, 0, done.stderr)
        said = list(map(json.loads, done.stdout.splitlines()))
        self.assertEqual({answer["by"] for answer in said}, {"model"})
        version, = {answer["version"] for answer in said}
        return [answer["outputs"] for answer in said], version

    def export(self, tried, version, kind):
        path = self.dir / f"digits.{kind}"
        done = tried.try_ctl("models", "export", version, "--format", kind, "--out", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        return path

    def assert_close(self, rows, others):
        """Each output within 1e-5, of itself where it is above 1."""
        self.assertEqual([len(row) for row in rows], [len(other) for other in others])
        far = [(i, a, b) for i, (row, other) in enumerate(zip(rows, others))
               for a, b in zip(row, other) if not abs(a - b) <= formats.CLOSE * max(1, abs(a))]
        self.assertEqual(far, [])

    @fleet.sweep
    def test_each_row_has_the_outputs_that_the_device_gives(self):
        lines = [line.rsplit(",", 1) for line in fleet.digits()]
        rows = [f"{x},{int(int(y) > 4)}" for x, y in lines[:300]]  # a label for each kind of model
        asked = [x for x, _ in lines[300:300 + ROWS]]
        scaled = [[float(v) / formats.SCALE for v in x.split(",")] for x in asked]
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("d0", rows)
            tried.start_device("d0")
            tried.wait_connected(1)
            for kind, spec in formats.SPECS.items():
                with self.subTest(model=kind):
                    tried.wait_for_job(tried.submit(spec, rows[:50], rounds=1, cohort=1, batch=10,
                                                    learning_rate=0.1))
                    fleet.wait_until(lambda: tried.status()["on_newest_version"] == 1,
                                     "the newest version is installed")
                    outputs, version = self.answers(tried, asked)
                    self.assertGreater(len(set(map(tuple, outputs))), ROWS // 2)
                    onnx = formats.Onnx(self.export(tried, version, "onnx"))
                    self.assert_close(outputs, list(map(onnx.run, scaled)))


if __name__ == "__main__":
    fleet.main()
