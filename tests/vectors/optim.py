#!/usr/bin/env python3
"""Write optim.csv: ten full-batch steps of every optimiser, in float64, from the formulas of
docs/models.md. Nothing of the C code is used. Run: python3 tests/vectors/optim.py
"""
import csv
import math
import pathlib

# 2 - dense 3 tanh - dense 2 softmax
X = [(0.5, -1.0), (1.5, 0.25), (-0.75, 2.0), (-1.25, -0.5)]
Y = [0, 1, 1, 0]
WEIGHTS = [0.5, 2.0, 0.25, 1.25]
PARAMS = 17
STEPS = 10
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

CASES = {
    "sgd": {},
    "weighted": {"weights": WEIGHTS},
    "momentum_l2": {"momentum": 0.9, "decay": 0.01},
    "nesterov": {"kind": "nesterov", "momentum": 0.9},
    "nesterov_l2": {"kind": "nesterov", "momentum": 0.9, "decay": 0.1},
    "adam": {"kind": "adam", "rate": 0.05},
    "adam_l2": {"kind": "adam", "rate": 0.05, "decay": 0.1},
    "adamw": {"kind": "adam", "rate": 0.05, "decay": 0.1, "decoupled": True},
    "l1": {"l1": 0.2},
    "momentum_l1": {"momentum": 0.5, "l1": 0.05},
    "adam_l1": {"kind": "adam", "rate": 0.02, "l1": 0.02},
    "proximal": {"proximal": 2.0},
    "adam_proximal": {"kind": "adam", "rate": 0.05, "proximal": 0.5},
    "clip": {"clip": 0.1, "momentum": 0.9},
    "all": {"kind": "nesterov", "momentum": 0.8, "decay": 0.02, "l1": 0.01, "proximal": 0.3,
            "clip": 0.25, "weights": WEIGHTS},
}


def gradient(p, weights):
    """Of sum(weight * cross-entropy) / rows."""
    total = [0.0] * PARAMS
    for (x, label, weight) in zip(X, Y, weights):
        hidden = [math.tanh(p[2 * h] * x[0] + p[2 * h + 1] * x[1] + p[6 + h]) for h in range(3)]
        z = [sum(p[9 + 3 * o + h] * hidden[h] for h in range(3)) + p[15 + o] for o in range(2)]
        norm = sum(math.exp(value) for value in z)
        delta = [weight * (math.exp(z[o]) / norm - (o == label)) / len(X) for o in range(2)]
        for o in range(2):
            for h in range(3):
                total[9 + 3 * o + h] += delta[o] * hidden[h]
            total[15 + o] += delta[o]
        for h in range(3):
            below = sum(delta[o] * p[9 + 3 * o + h] for o in range(2)) * (1 - hidden[h] ** 2)
            total[2 * h] += below * x[0]
            total[2 * h + 1] += below * x[1]
            total[6 + h] += below
    return total


def soft(value, threshold):
    return math.copysign(max(abs(value) - threshold, 0.0), value)


def trajectory(kind="sgd", rate=0.1, momentum=0.0, decay=0.0, decoupled=False, l1=0.0,
               proximal=0.0, clip=0.0, weights=(1.0,) * 4):
    start = [(i * 7 % 11 - 5) / 10 for i in range(PARAMS)]
    p = list(start)
    first = [0.0] * PARAMS
    second = [0.0] * PARAMS
    for step in range(1, STEPS + 1):
        g = gradient(p, weights)
        norm = math.sqrt(math.fsum(value * value for value in g))
        if clip and norm > clip:
            g = [value * clip / norm for value in g]
        thresholds = [rate * l1 / (1 - momentum)] * PARAMS
        for i in range(PARAMS):
            slope = g[i] + proximal * (p[i] - start[i])
            if not decoupled:
                slope += decay * p[i]
            if kind == "adam":
                first[i] = BETA1 * first[i] + (1 - BETA1) * slope
                second[i] = BETA2 * second[i] + (1 - BETA2) * slope ** 2
                mean = first[i] / (1 - BETA1 ** step)
                root = math.sqrt(second[i] / (1 - BETA2 ** step)) + EPSILON
                if decoupled:
                    p[i] -= rate * decay * p[i]
                p[i] -= rate * mean / root
                thresholds[i] /= root
            else:
                first[i] = momentum * first[i] + slope
                p[i] -= rate * (slope + momentum * first[i] if kind == "nesterov" else first[i])
        p = [soft(value, threshold) for value, threshold in zip(p, thresholds)]
        yield step, p


def main():
    path = pathlib.Path(__file__).with_suffix(".csv")
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["case", "step", *(f"p{i}" for i in range(PARAMS))])
        for name, options in CASES.items():
            for step, params in trajectory(**options):
                out.writerow([name, step, *(f"{value + 0.0:.12g}" for value in params)])


if __name__ == "__main__":
    main()
