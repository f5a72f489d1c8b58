#!/usr/bin/env python3
"""The training jobs of `tributary-sim bench train --all` on NumPy, scikit-learn and PyTorch.

usage: tests/bench/peers.py [BUILD] [--core NAME] [--only numpy,sklearn,torch] [--json]

Each engine that can be imported does each job that it knows in a process of its own, on one thread and
by CPU time: an epoch over shuffled rows in batches, plain gradient descent. What cannot be imported is
said to be missing. The processor type that OpenBLAS worked for is printed with every engine, because
a library that does not know the processor is several times slower: --core sets OPENBLAS_CORETYPE.
"""
import argparse
import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
ENGINES = ["numpy", "sklearn", "torch"]
ROWS = 2560
MEASURE_S = 1.0


# ---- In the process of one engine


def core_name():
    """What the OpenBLAS in this process says of itself; None: there is none."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = set(re.findall(r"/\S*openblas\S*\.so\S*", maps.read()))
    for path in sorted(paths):
        try:
            name = ctypes.CDLL(path).openblas_get_corename
        except (OSError, AttributeError):
            continue
        name.restype = ctypes.c_char_p
        return name().decode()
    return None


def sizes_of(spec):
    """[784, 200, 10] and the last activation; None for what is not all dense."""
    words = spec.split(" - ")
    if any(not word.startswith("dense ") for word in words[1:]):
        return None, None
    return [int(words[0]), *(int(word.split()[1]) for word in words[1:])], words[-1].split()[2]


def with_numpy(spec, batch):
    import numpy

    sizes, last = sizes_of(spec)
    if not sizes:
        return None
    rng = numpy.random.default_rng(1)
    x = rng.random((ROWS, sizes[0]), dtype=numpy.float32)
    y = rng.integers(sizes[-1] if last == "softmax" else 2, size=ROWS)
    weights = [(rng.standard_normal((i, o)) * (2 / i) ** 0.5).astype(numpy.float32)
               for i, o in zip(sizes, sizes[1:])]
    biases = [numpy.zeros(o, dtype=numpy.float32) for o in sizes[1:]]
    rate = numpy.float32(0.01)

    def step(rows):
        kept = [x[rows]]
        for w, b in zip(weights[:-1], biases[:-1]):
            kept.append(numpy.maximum(kept[-1] @ w + b, 0))
        z = kept[-1] @ weights[-1] + biases[-1]
        if last == "softmax":
            z -= z.max(axis=1, keepdims=True)
            numpy.exp(z, out=z)
            z /= z.sum(axis=1, keepdims=True)
            z[numpy.arange(len(rows)), y[rows]] -= 1
        else:
            if last == "sigmoid":
                z = 1 / (1 + numpy.exp(-z))
            z = z - y[rows, None].astype(numpy.float32)
        delta = z / numpy.float32(len(rows))
        for layer in range(len(weights) - 1, -1, -1):
            below = (delta @ weights[layer].T) * (kept[layer] > 0) if layer else None
            weights[layer] -= rate * (kept[layer].T @ delta)
            biases[layer] -= rate * delta.sum(axis=0)
            delta = below

    def epoch():
        order = rng.permutation(ROWS)
        for first in range(0, ROWS - batch + 1, batch):
            step(order[first:first + batch])
        return ROWS // batch * batch

    return epoch


def with_sklearn(spec, batch):
    import warnings

    import numpy
    from sklearn.linear_model import SGDClassifier, SGDRegressor
    from sklearn.neural_network import MLPClassifier

    sizes, last = sizes_of(spec)
    if not sizes:
        return None
    warnings.simplefilter("ignore")
    rng = numpy.random.default_rng(1)
    x = rng.random((ROWS, sizes[0]), dtype=numpy.float32)
    if last == "softmax":
        y = rng.integers(sizes[-1], size=ROWS)
        model = MLPClassifier(hidden_layer_sizes=sizes[1:-1], solver="sgd", momentum=0, alpha=0,
                              batch_size=batch, learning_rate_init=0.01)
        classes = {"classes": numpy.arange(sizes[-1])}
    else:  # these two know no batches: a step for each row
        y = rng.integers(2, size=ROWS)
        options = {"alpha": 0, "learning_rate": "constant", "eta0": 0.01, "penalty": None}
        is_binary = last == "sigmoid"
        model = SGDClassifier(loss="log_loss", **options) if is_binary else SGDRegressor(**options)
        classes = {"classes": numpy.arange(2)} if is_binary else {}

    def epoch():
        model.partial_fit(x, y, **classes)
        return ROWS

    return epoch


def torch_layers(torch, spec):
    words = spec.split(" - ")
    shape = [int(n) for n in words[0].split("x")]
    layers = []
    for word in words[1:]:
        kind, *rest = word.split()
        if kind == "dense":
            if len(shape) == 3:
                layers.append(torch.nn.Flatten())
                shape = [shape[0] * shape[1] * shape[2]]
            layers.append(torch.nn.Linear(shape[0], int(rest[0])))
            shape = [int(rest[0])]
        elif kind == "conv":
            kernel = int(rest[1].split("x")[0])
            layers.append(torch.nn.Conv2d(shape[0], int(rest[0]), kernel, padding=kernel // 2))
            shape = [int(rest[0]), *shape[1:]]
        else:
            layers.append(torch.nn.MaxPool2d(int(rest[0])))
            shape = [shape[0], shape[1] // int(rest[0]), shape[2] // int(rest[0])]
        if rest[-1] == "relu":
            layers.append(torch.nn.ReLU())
    return layers


def with_torch(spec, batch):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(1)
    last = spec.split()[-1]
    shape = [int(n) for n in spec.split(" - ", maxsplit=1)[0].split("x")]
    model = torch.nn.Sequential(*torch_layers(torch, spec))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    rows = ROWS if len(shape) == 1 else 100
    x = torch.rand(rows, *shape)
    y = torch.randint(10 if last == "softmax" else 2, (rows,))
    losses = {"softmax": torch.nn.functional.cross_entropy,
              "sigmoid": lambda z, t: torch.nn.functional.binary_cross_entropy_with_logits(
                  z[:, 0], t.float()),
              "linear": lambda z, t: torch.nn.functional.mse_loss(z[:, 0], t.float())}

    def epoch():
        order = torch.randperm(rows)
        for first in range(0, rows - batch + 1, batch):
            chosen = order[first:first + batch]
            optimizer.zero_grad()
            losses[last](model(x[chosen]), y[chosen]).backward()
            optimizer.step()
        return rows // batch * batch

    return epoch


def run_job(engine, spec, batch):
    """Print samples a second, as the median of epochs, and the core; null: not a job for it."""
    try:
        epoch = {"numpy": with_numpy, "sklearn": with_sklearn, "torch": with_torch}[engine](spec, batch)
    except ImportError as missing:
        print(json.dumps({"missing": str(missing)}))
        return
    rates = []
    if epoch:
        epoch()
        until = time.process_time() + MEASURE_S
        while not rates or time.process_time() < until:
            begin = time.process_time()
            count = epoch()
            rates.append(count / (time.process_time() - begin))
    rates.sort()
    print(json.dumps({"samples_per_second": rates[len(rates) // 2] if rates else None,
                      "core": core_name()}))


# ---- Beside each other


def ask(engine, figure, core):
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    env.pop("OPENBLAS_CORETYPE", None)
    if core:
        env["OPENBLAS_CORETYPE"] = core
    done = subprocess.run([sys.executable, "-B", __file__, "--engine", engine, "--spec",
                           figure["model"], "--batch", str(figure["batch"])],
                          stdout=subprocess.PIPE, text=True, env=env, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(figures, options):
    """{engine: {"missing": why} or {"core": name, "rates": [samples/s or None, one a job]}}"""
    found = {}
    for engine in options.only.split(","):
        answers = []
        for figure in figures:
            answers.append(ask(engine, figure, options.core))
            if "missing" in answers[-1]:
                break
        if "missing" in answers[-1]:
            found[engine] = answers[-1]
        else:
            found[engine] = {"core": next(filter(None, (a["core"] for a in answers)), None),
                             "rates": [answer["samples_per_second"] for answer in answers]}
    return found


def print_table(figures, compared):
    there = [engine for engine in compared if "rates" in compared[engine]]
    for engine, result in compared.items():
        print(f"{engine}: missing, {result['missing']}" if "missing" in result else
              f"{engine}: OpenBLAS core {result['core'] or 'none'}")
    print(f"{'job':60} {'B':>4} {'ours':>11} " +
          "".join(f"{engine:>12} {'ratio':>6}" for engine in there))
    for i, figure in enumerate(figures):
        ours = figure["samples_per_second"]
        line = f"{figure['model'][:60]:60} {figure['batch']:4} {ours:11,.0f} "
        for engine in there:
            rate = compared[engine]["rates"][i]
            line += f"{rate:12,.0f} {ours / rate:6.1f}" if rate else f"{'-':>12} {'-':>6}"
        print(line)


def add_options(parser):
    parser.add_argument("--core", help="OPENBLAS_CORETYPE for the engines, e.g. SkylakeX")
    parser.add_argument("--only", default=",".join(ENGINES), help="some of numpy,sklearn,torch")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", nargs="?", default=SOURCE / "build", type=pathlib.Path)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_options(parser)
    for inner, kind in [("--engine", str), ("--spec", str), ("--batch", int)]:
        parser.add_argument(inner, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        run_job(options.engine, options.spec, options.batch)
        return
    done = subprocess.run([options.build / "simulations/tributary-sim", "bench", "train", "--all",
                           "--json"], stdout=subprocess.PIPE, text=True, check=False)
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    if not figures:
        sys.exit(f"bench train ended with {done.returncode}")
    compared = compare(figures, options)
    if options.json:
        print(json.dumps({"jobs": figures, "peers": compared}))
    else:
        print_table(figures, compared)


if __name__ == "__main__":
    main()
