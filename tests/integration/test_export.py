#!/usr/bin/env python3
"""A model as other programs have it: each format is read here by the book, not by our own code, and
predicts what was measured; what comes back starts a job."""
import ast
import json
import math
import pathlib
import shutil
import struct
import subprocess
import tempfile
import zipfile

import fleet

SPECS = {  # of models that 64 numbers go into
    "softmax": "64 - dense 12 relu - dropout 0.1 - dense 9 tanh - dense 10 softmax",
    "sigmoid": "64 - dense 7 sigmoid - dense 1 sigmoid",
    "linear": "64 - dense 1 linear",
    "picture": "1x8x8 - conv 5 3x3 same relu - maxpool 2 - dropout 0.1 - conv 4 2x3 valid tanh - "
               "dense 7 relu - dense 10 softmax",
    "channels": "4x4x4 - maxpool 1 - conv 3 2x4 same sigmoid - conv 6 2x2 linear - maxpool 2 - "
                "dense 1 sigmoid",
    "pairs": "64 - bilinear 24x40 bias sigmoid",
    "below": "64 - dense 9 tanh - bilinear 4x5 linear",
}
LOSSES = {"picture": "softmax", "channels": "sigmoid", "pairs": "sigmoid", "below": "linear"}  # of the others: their name
CLOSE = 1e-5  # float32 sums in another order
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SCALE = 16  # the digits' pixels are 0 to 16


# ---- npz: NEP 1

def read_npz(path):
    """{name: (shape, bytes)} of the float32 arrays, {name: text} of the others."""
    arrays, texts = {}, {}
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None  # every CRC
        for name in file.namelist():
            data = file.read(name)
            assert data[:8] == b"\x93NUMPY\1\0" and name.endswith(".npy"), name
            size, = struct.unpack_from("<H", data, 8)
            assert (10 + size) % 64 == 0 and data[9 + size:10 + size] == b"\n"
            head = ast.literal_eval(data[10:10 + size].decode("latin1"))
            assert set(head) == {"descr", "fortran_order", "shape"} and not head["fortran_order"]
            body = data[10 + size:]
            if head["descr"].startswith("|S"):
                assert head["shape"] == () and len(body) == int(head["descr"][2:])
                texts[name[:-4]] = body.decode()
            else:
                assert head["descr"] == "<f4" and len(body) == 4 * math.prod(head["shape"])
                arrays[name[:-4]] = (head["shape"], body)
    return arrays, texts


def write_npz(path, arrays, method=zipfile.ZIP_STORED, kind="<f4", fortran=False):
    """What numpy.savez writes, down to the 64-bit sizes of its local headers."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, (shape, body) in arrays.items():
            head = repr({"descr": kind, "fortran_order": fortran, "shape": shape}).encode()
            head += b" " * (-(len(head) + 11) % 64) + b"\n"
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                entry.write(b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + body)


# ---- ONNX: Protocol Buffers and onnx.proto

def fields(data):
    """{number: [value]} of a message; a value is a number or bytes."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        assert key & 7 in (0, 2), key
        value = varint()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
            assert at <= len(data)
        found.setdefault(key >> 3, []).append(value)
    return found


class Onnx:
    def __init__(self, path):
        model = fields(pathlib.Path(path).read_bytes())
        opset = fields(model[8][0])
        assert model[1] == [7] and opset == {1: [b""], 2: [13]}, opset
        self.texts = {}
        for prop in map(fields, model.get(14, [])):
            self.texts[prop[1][0].decode()] = prop[2][0].decode()
        graph = fields(model[7][0])
        self.nodes = [fields(node) for node in graph[1]]
        self.tensors = {}
        for tensor in map(fields, graph[5]):
            count, letter = math.prod(tensor[1]), {1: "f", 7: "q"}[tensor[2][0]]
            values = struct.unpack(f"<{count}{letter}", tensor[9][0])
            self.tensors[tensor[8][0].decode()] = (tensor[1], values)
        self.input = self.value(graph[11])
        self.output = self.value(graph[12])

    @staticmethod
    def value(infos):
        """(name, columns) of the only value, whose shape is (N, columns)."""
        assert len(infos) == 1
        info = fields(infos[0])
        tensor = fields(fields(info[2][0])[1][0])
        rows, columns = map(fields, fields(tensor[2][0])[1])
        assert tensor[1] == [1] and rows == {2: [b"N"]}
        return info[1][0].decode(), columns[1][0]

    def run(self, row):
        assert len(row) == self.input[1]
        values = {self.input[0]: ([len(row)], row)}
        for node in self.nodes:
            if node[4] == [b"Split"]:
                values.update(self.split(node, values))
            else:
                values[node[2][0].decode()] = self.apply(node, values)
        shape, result = values[self.output[0]]
        assert shape == [len(result)] == [self.output[1]]
        return result

    def apply(self, node, values):
        """The value that the node gives: (shape but for the first dimension, numbers)."""
        inputs = [name.decode() for name in node[1]]
        attributes = {}
        for attribute in map(fields, node.get(5, [])):
            assert attribute[20] == [2 if 3 in attribute else 7]
            attributes[attribute[1][0].decode()] = attribute[3][0] if 3 in attribute \
                else attribute[8]
        shape, x = values[inputs[0]]
        tensors = [self.tensors[name] if name in self.tensors else values[name]
                   for name in inputs[1:]]
        kind = node[4][0].decode()
        if kind in ("Gemm", "Softmax", "Conv", "MaxPool", "Reshape", "Flatten", "MatMul",
                    "Mul", "ReduceSum", "Add"):
            return getattr(self, kind.lower())(shape, x, tensors, attributes)
        assert not attributes and not tensors
        function = {"Relu": lambda v: max(v, 0.0), "Tanh": math.tanh,
                    "Sigmoid": lambda v: 1 / (1 + math.exp(-v))}[kind]
        return shape, [function(value) for value in x]

    @staticmethod
    def gemm(shape, x, tensors, attributes):
        ((outputs, width), w), (count, b) = tensors
        assert attributes == {"transB": 1} and shape == [width] and count == [outputs]
        return count, [math.fsum(w[i * width + j] * x[j] for j in range(width)) + b[i]
                       for i in range(outputs)]

    def split(self, node, values):
        name, sizes = (name.decode() for name in node[1])
        attribute, = map(fields, node[5])
        assert attribute == {1: [b"axis"], 3: [1], 20: [2]}
        (shape, x), (count, (first, second)) = values[name], self.tensors[sizes]
        assert count == [2] and shape == [first + second] == [len(x)]
        left, right = (name.decode() for name in node[2])
        return {left: ([first], x[:first]), right: ([second], x[first:])}

    @staticmethod
    def matmul(shape, x, tensors, attributes):
        ((rows, columns), w), = tensors
        assert not attributes and shape == [rows]
        return [columns], [math.fsum(x[i] * w[i * columns + j] for i in range(rows))
                           for j in range(columns)]

    @staticmethod
    def mul(shape, x, tensors, attributes):
        (other, y), = tensors
        assert not attributes and shape == other
        return shape, [a * b for a, b in zip(x, y)]

    @staticmethod
    def reducesum(shape, x, tensors, attributes):
        assert attributes == {"keepdims": 1} and tensors == [([1], (1,))] and len(shape) == 1
        return [1], [math.fsum(x)]

    @staticmethod
    def add(shape, x, tensors, attributes):
        (other, y), = tensors
        assert not attributes and shape == other == [1]
        return shape, [x[0] + y[0]]

    @staticmethod
    def softmax(shape, x, tensors, attributes):
        assert attributes == {"axis": 2 ** 64 - 1} and len(shape) == 1 and not tensors
        powers = [math.exp(value - max(x)) for value in x]
        return shape, [power / sum(powers) for power in powers]

    @staticmethod
    def reshape(shape, x, tensors, attributes):
        (dims, (first, *wanted)), = tensors
        assert not attributes and dims == [4] and first == -1 and len(shape) == 1
        assert math.prod(wanted) == len(x)
        return wanted, x

    @staticmethod
    def flatten(shape, x, tensors, attributes):
        assert attributes == {"axis": 1} and not tensors and len(shape) == 3
        return [len(x)], x

    @staticmethod
    def conv(shape, x, tensors, attributes):
        channels, height, width = shape
        ((outputs, inputs, high, wide), w), (count, b) = tensors
        assert set(attributes) == {"kernel_shape", "pads"} and count == [outputs]
        assert inputs == channels and attributes["kernel_shape"] == [high, wide]
        top, left, bottom, right = attributes["pads"]
        out = [outputs, height + top + bottom - high + 1, width + left + right - wide + 1]
        taps = [(i, p, q) for i in range(inputs) for p in range(high) for q in range(wide)]
        z = [math.fsum(w[((o * inputs + i) * high + p) * wide + q]
                       * x[(i * height + r + p - top) * width + c + q - left]
                       for i, p, q in taps
                       if 0 <= r + p - top < height and 0 <= c + q - left < width) + b[o]
             for o in range(outputs) for r in range(out[1]) for c in range(out[2])]
        return out, z

    @staticmethod
    def maxpool(shape, x, tensors, attributes):
        channels, height, width = shape
        side, again = attributes["kernel_shape"]
        assert attributes == {"kernel_shape": [side] * 2, "strides": [side] * 2} and side == again
        assert not tensors
        out = [channels, height // side, width // side]
        return out, [max(x[(i * height + r * side + p) * width + c * side + q]
                         for p in range(side) for q in range(side))
                     for i in range(channels) for r in range(out[1]) for c in range(out[2])]


# ---- C

def compile_and_run(folder, source, rows, outputs):
    """What the exported function says of the rows."""
    main = folder / "main.c"
    name = source.stem
    main.write_text(f"""#include <stdio.h>
void {name}_predict(const float *x, float *y);
int main(void)
{{
    static float x[{len(rows[0])}], y[{outputs}];
    for (;;) {{
        for (int i = 0; i < {len(rows[0])}; i++)
            if (scanf("%f", &x[i]) != 1)
                return 0;
        {name}_predict(x, y);
        for (int i = 0; i < {outputs}; i++)
            printf("%.9g ", (double)y[i]);
        printf("\\n");
    }}
}}
""")
    subprocess.run(["cc", *STRICT, "-c", source, "-o", folder / "model.o"], check=True)
    subprocess.run(["cc", *STRICT, main, folder / "model.o", "-lm", "-o", folder / "predict"],
                   check=True)
    text = "\n".join(" ".join(map(repr, row)) for row in rows)
    done = subprocess.run([folder / "predict"], input=text, stdout=subprocess.PIPE, text=True,
                          check=True)
    return [list(map(float, line.split())) for line in done.stdout.splitlines()]


class ExportTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-export-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        self.runs = 0

    def write_data(self, kind):
        """Digits as the kind of model wants them: the class, whether it is above 4, a number."""
        lines = [line.rsplit(",", 1) for line in fleet.digits()[:700]]
        labels = {"softmax": int, "sigmoid": lambda y: int(int(y) > 4), "linear": float}[LOSSES.get(kind, kind)]
        rows = [f"{x},{labels(y)}\n" for x, y in lines]
        (self.dir / "train.csv").write_text("".join(rows[:500]))
        (self.dir / "test.csv").write_text("".join(rows[500:]))
        held_out = [list(map(float, row.split(","))) for row in rows[500:]]
        return [[v / SCALE for v in row[:-1]] for row in held_out], [row[-1] for row in held_out]

    def try_run(self, kind, mode="inprocess", **sets):
        self.runs += 1
        scenario = self.dir / f"scenario{self.runs}.ini"
        out = self.dir / f"run{self.runs}"
        scenario.write_text(f"[model]\nspec = {SPECS[kind]}\n"
                            "[data]\ntrain = train.csv\ntest = test.csv\nscale = 16\n"
                            "[partition]\nclients = 4\n[privacy]\nmode = off\n"
                            "[round]\nrounds = 3\ncohort = 4\nbatch = 10\nlearning_rate = 0.05\n")
        words = [word for key, value in sets.items()
                 for word in ("--set", f"{key.replace('__', '.')}={value}")]
        return fleet.run("tributary-sim", "run", scenario, "--mode", mode, "--json", "--out", out,
                         *words), out

    def learn(self, kind, mode="inprocess", **sets):
        """(path of the model, events)"""
        done, out = self.try_run(kind, mode, **sets)
        self.assertEqual(done.returncode, 0, done.stderr)
        return out / "model.safetensors", list(map(json.loads, done.stdout.splitlines()))

    def export(self, model, kind, name=None):
        path = self.dir / (name or f"exported.{kind}")
        done = fleet.run("tributary-sim", "export", model, "--format", kind, "--out", path)
        self.assertEqual((done.returncode, done.stdout), (0, f"{path}\n"), done.stderr)
        return path

    def assert_close(self, rows, others):
        self.assertEqual(len(rows), len(others))
        for row, other in zip(rows, others):
            self.assertEqual(len(row), len(other))
            for a, b in zip(row, other):
                self.assertLessEqual(abs(a - b), CLOSE * max(1, abs(a)))

    def measures(self, kind, outputs, labels):
        """(loss, value of the primary metric) as the simulator reports them."""
        kind = LOSSES.get(kind, kind)
        if kind == "linear":
            mse = sum((o[0] - y) ** 2 for o, y in zip(outputs, labels)) / len(labels)
            return mse / 2, mse
        if kind == "sigmoid":
            outputs = [[1 - p, p] for p, in outputs]
        loss = -sum(math.log(o[int(y)]) for o, y in zip(outputs, labels)) / len(labels)
        hits = sum(o.index(max(o)) == y for o, y in zip(outputs, labels))
        return loss, hits / len(labels)

    def test_onnx_and_c_predict_what_was_measured(self):
        for kind in SPECS:
            with self.subTest(model=kind):
                rows, labels = self.write_data(kind)
                model, events = self.learn(kind)
                onnx = Onnx(self.export(model, "onnx"))
                self.assertEqual(onnx.texts, fleet.Model(model).metadata)
                by_onnx = [onnx.run(row) for row in rows]
                loss, value = self.measures(kind, by_onnx, labels)
                last = events[-2]
                self.assertLessEqual(abs(last["metrics"]["loss"] - loss), CLOSE * max(1, loss))
                self.assertLessEqual(abs(last["value"] - value), CLOSE * max(1, value))
                if shutil.which("cc"):
                    source = self.export(model, "c", "digits.c")
                    by_c = compile_and_run(self.dir, source, rows, onnx.output[1])
                    self.assert_close(by_onnx, by_c)

    def test_npz_holds_the_same_bits_and_comes_back_as_the_same_file(self):
        for kind in ("softmax", "picture"):
            with self.subTest(model=kind):
                self.write_data(kind)
                self.check_npz(self.learn(kind)[0])

    def check_npz(self, path):
        model = fleet.Model(path)
        npz = self.export(path, "npz")
        arrays, texts = read_npz(npz)
        self.assertEqual(b"".join(body for _, body in arrays.values()), model.params)
        self.assertEqual({name: tuple(tensor["shape"]) for name, tensor in model.header.items()},
                         {name: shape for name, (shape, _) in arrays.items()})
        self.assertEqual(texts, {f"metadata/{k}": v for k, v in model.metadata.items()})
        back = self.export(npz, "safetensors")
        self.assertEqual(back.read_bytes(), path.read_bytes())
        self.assertEqual(self.export(back, "npz", "again.npz").read_bytes(), npz.read_bytes())

    def test_the_common_part_of_a_model_with_a_local_one_is_no_program(self):
        self.write_data("softmax")
        SPECS["personal"] = "64 - dense 12 relu - dense 10 softmax local"
        self.addCleanup(SPECS.pop, "personal")
        path, _ = self.learn("personal", round__eval_every=0)
        self.assertEqual(list(fleet.Model(path).header), ["0.weight", "0.bias"])
        self.assertEqual(len(fleet.Model(path).floats()), 65 * 12)
        self.check_npz(path)
        for kind in "onnx", "c":
            done = fleet.run("tributary-sim", "export", path, "--format", kind, "--out",
                             self.dir / "x")
            self.assertEqual(done.returncode, 5)
            self.assertIn("has a part that stays on each device and is not in the file",
                          done.stderr)
            self.assertFalse((self.dir / "x").exists())

    def test_the_weights_of_a_convolution_have_four_sides(self):
        self.write_data("picture")
        path, _ = self.learn("picture")
        shapes = {name: tensor["shape"] for name, tensor in fleet.Model(path).header.items()}
        self.assertEqual(shapes, {
            "0.weight": [5, 1, 3, 3], "0.bias": [5], "3.weight": [4, 5, 2, 3], "3.bias": [4],
            "4.weight": [7, 24], "4.bias": [7], "5.weight": [10, 7], "5.bias": [10]})
        floats = fleet.Model(path).params
        arrays, at = {}, 0
        for name, shape in shapes.items():
            size = 4 * math.prod(shape)
            arrays[name] = (tuple(shape), floats[at:at + size])
            at += size
        init = self.dir / "init.npz"
        write_npz(init, arrays)
        warm, _ = self.learn("picture", model__init=init, round__seed=2)
        again, _ = self.learn("picture", model__init=path, round__seed=2)
        self.assertEqual(fleet.Model(warm).digest(), fleet.Model(again).digest())
        arrays["0.weight"] = ((5, 3, 3, 1), arrays["0.weight"][1])
        write_npz(init, arrays)
        done, _ = self.try_run("picture", model__init=init)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("has the shape (5, 3, 3, 1), the model wants (5, 1, 3, 3)", done.stderr)

    def test_what_is_no_model_is_refused(self):
        self.write_data("linear")
        path, _ = self.learn("linear")
        wrong = self.dir / "wrong"
        data = path.read_bytes()
        npz = self.export(path, "npz").read_bytes()
        wrongs = {
            b"": "neither a safetensors nor an npz",
            data[:-4]: "cut short",
            data + b"....": "its arrays hold",
            data.replace(b'"spec"', b'"Spec"'): "does not say of what model it is",
            npz[:-1]: "its end is missing",
            npz[:200] + bytes([npz[200] ^ 1]) + npz[201:]: "CRC-32",
        }
        for content, text in wrongs.items():
            with self.subTest(text=text):
                wrong.write_bytes(content)
                done = fleet.run("tributary-sim", "export", wrong, "--format", "onnx")
                self.assertEqual(done.returncode, 5, done.stderr)
                self.assertIn(text, done.stderr)
                self.assertFalse(pathlib.Path("model.onnx").exists())
        for words in (["--format", "pickle"], []):
            done = fleet.run("tributary-sim", "export", path, *words)
            self.assertEqual(done.returncode, 2)
            self.assertIn("want safetensors, npz, onnx or c", done.stderr)

    # ---- Starting from a file

    def test_a_job_starts_from_a_file_alike_in_both_modes(self):
        self.write_data("softmax")
        path, before = self.learn("softmax")
        npz = self.export(path, "npz")
        cold, _ = self.learn("softmax", round__seed=2)
        digests = set()
        for mode, init in [("processes", npz), ("inprocess", npz), ("inprocess", path)]:
            warm, events = self.learn("softmax", mode, model__init=init, round__seed=2)
            digests.add(fleet.Model(warm).digest())
            self.assertLess(events[-2]["metrics"]["loss"], before[-2]["metrics"]["loss"])
        self.assertEqual(len(digests), 1)
        self.assertNotIn(fleet.Model(cold).digest(), digests)

    def test_a_file_that_does_not_fit_is_named_with_the_key(self):
        self.write_data("linear")
        path, _ = self.learn("linear")
        floats = struct.pack("<64f", *[0.01] * 64)
        bias = ((1,), struct.pack("<f", 1))
        wrong = self.dir / "wrong.npz"
        wrongs = {
            "has the shape (64, 1), the model wants (1, 64)":
                ({"0.weight": ((64, 1), floats), "0.bias": bias}, {}),
            "there is no '0.bias'": ({"0.weight": ((1, 64), floats)}, {}),
            "holds 3 arrays, the model has 2":
                ({"0.weight": ((1, 64), floats), "0.bias": bias, "extra": bias}, {}),
            "not finite":
                ({"0.weight": ((1, 64), floats), "0.bias": ((1,), b"\0\0\x80\x7f")}, {}),
            "is compressed": ({"0.weight": ((1, 64), floats), "0.bias": bias},
                              {"method": zipfile.ZIP_DEFLATED}),
            "type '<f8'": ({"0.weight": ((1, 64), floats * 2), "0.bias": bias}, {"kind": "<f8"}),
            "Fortran order": ({"0.weight": ((1, 64), floats), "0.bias": bias}, {"fortran": True}),
        }
        for text, (arrays, options) in wrongs.items():
            with self.subTest(text=text):
                write_npz(wrong, arrays, **options)
                done, _ = self.try_run("linear", model__init=wrong)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("model.init", done.stderr)
                self.assertIn(text, done.stderr)
        done, _ = self.try_run("softmax", model__init=path)
        self.assertIn("is of the model '64 - dense 1 linear'", done.stderr)
        done, _ = self.try_run("linear", model__init=self.dir / "absent.npz")
        self.assertIn("cannot be read", done.stderr)
        write_npz(wrong, {"3.weight": ((1, 64), floats), "3.bias": bias})  # numbers with a gap
        self.learn("linear", model__init=wrong)

    def test_a_coordinator_exports_and_starts_from_every_format(self):
        spec = "2 - dense 3 relu - dense 2 softmax"
        rows = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(60)]
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", rows)
            tried.start_device("one")
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit(spec, rows, cohort=1, rounds=2))
            paths = {}
            for kind in ["safetensors", "npz", "onnx", "c"]:
                paths[kind] = tried.root / f"exported.{kind}"
                done = tried.try_ctl("models", "export", "latest", "--format", kind, "--out",
                                     paths[kind])
                self.assertEqual((done.returncode, done.stdout), (0, f"{paths[kind]}\n"))
            model = fleet.Model(paths["safetensors"])
            self.assertEqual(self.export(paths["npz"], "safetensors").read_bytes(), model.data)
            self.assertEqual(Onnx(paths["onnx"]).texts, model.metadata)
            if shutil.which("cc"):
                subprocess.run(["cc", *STRICT, "-c", paths["c"], "-o", "/dev/null"], check=True)
            done = tried.try_ctl("models", "export", "latest", "--format", "pickle")
            self.assertEqual(done.returncode, 2)
            for path in [tried.root / "nowhere" / "x", tried.root]:
                for kind in ["safetensors", "c"]:
                    done = tried.try_ctl("models", "export", "latest", "--format", kind, "--out", path)
                    self.assertEqual(done.returncode, 2, (path, kind, done.stderr))

            # Two rounds later the newest version is another one; the file is where it starts again.
            tried.wait_for_job(tried.submit(spec, rows, cohort=1, rounds=2))
            path = tried.write_job(spec, rows, cohort=1, rounds=1)
            (path.parent / "start.npz").write_bytes(paths["npz"].read_bytes())
            path.write_text(path.read_text().replace("seed = 1\n", "init = start.npz\n"))
            job = tried.wait_for_job(tried.ctl("jobs", "submit", path)[0]["job"])
            start = tried.root / "start.safetensors"
            tried.try_ctl("models", "export", job["start_version"], "--out", start)
            self.assertEqual(fleet.Model(start).params, model.params)
            self.assertNotEqual(tried.model_digest(), model.digest())

            path.write_text(path.read_text().replace("dense 3", "dense 4"))
            done = tried.try_ctl("jobs", "submit", path)
            self.assertEqual(done.returncode, 5, done.stderr)
            self.assertIn("start.npz: is of the model", done.stderr)

    def test_a_file_that_went_away_before_the_first_version_fails_the_job_alone(self):
        if not fleet.crash_points("tributary-coordinator"):
            self.skipTest("a build without -Dcrash_points=true")
        rows = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(60)]
        floats = struct.pack("<4f", 1, -1, 0.5, 2)
        with fleet.Fleet() as tried:
            tried.start_coordinator({"TRIB_CRASH": "version.written:1"})
            path = tried.write_job("2 - dense 2 softmax", rows, cohort=1, rounds=1)
            start = path.parent / "start.npz"
            write_npz(start, {"0.weight": ((2, 2), floats), "0.bias": ((2,), floats[:8])})
            path.write_text(path.read_text().replace("seed = 1\n", "init = start.npz\n"))
            tried.try_ctl("jobs", "submit", path)  # whether it answers before it dies or not
            tried.processes["coordinator"].wait(fleet.PATIENCE_S)
            start.unlink()
            tried.start_coordinator()
            ended = tried.wait_for_job(1, state="failed")
            self.assertEqual(ended["reason"], "what it starts from cannot be used any more")
            self.assertIn("start.npz: cannot be read", tried.log("coordinator"))
            job = tried.submit("2 - dense 2 softmax", rows, cohort=1, rounds=1)  # and it goes on
            tried.ctl("jobs", "cancel", job)


if __name__ == "__main__":
    fleet.main()
