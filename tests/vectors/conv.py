#!/usr/bin/env python3
"""Write conv.csv: loss, outputs and gradient of small models with convolutions and max-pooling, in
float64, from the formulas of docs/models.md. Nothing of the C code is used.
Run: python3 tests/vectors/conv.py
"""
import csv
import math
import pathlib

SPECS = [
    "1x6x6 - conv 2 3x3 same relu - maxpool 2 - dense 3 softmax",
    "2x5x4 - conv 3 2x3 valid tanh - conv 2 2x2 same sigmoid - dense 1 linear",
    "2x7x7 - maxpool 2 - conv 3 3x3 valid linear - dense 1 sigmoid",
    "3x6x5 - conv 4 3x3 same relu - conv 2 1x1 valid relu - maxpool 2 - dense 3 softmax",
    "1x7x6 - conv 3 4x2 same tanh - maxpool 3 - conv 2 2x2 valid tanh - dense 2 softmax",
]
ROWS = 3


def weights(count, start):
    return [((start + i) * 37 % 41 - 20) / 32 for i in range(count)]


def inputs(count):
    return [[((r * 31 + i * 17) % 23 - 11) / 8 for i in range(count)] for r in range(ROWS)]


class Layer:
    def __init__(self, words, shape, start):
        self.words, self.shape, self.start = words, shape, start
        self.activation = words[-1] if words[0] != "maxpool" else "linear"
        channels, height, width = shape
        self.w, self.b, self.out = [], [], None
        if words[0] == "dense":
            self.out = (int(words[1]), 1, 1)
            fan = channels * height * width
        elif words[0] == "conv":
            self.kh, self.kw = map(int, words[2].split("x"))
            same = words[3] == "same"
            self.top, self.left = ((self.kh - 1) // 2, (self.kw - 1) // 2) if same else (0, 0)
            self.out = (int(words[1]), height if same else height - self.kh + 1,
                        width if same else width - self.kw + 1)
            fan = channels * self.kh * self.kw
        else:
            self.side = int(words[1])
            self.out = (channels, height // self.side, width // self.side)
            return
        self.w = weights(self.out[0] * fan, start)
        self.b = weights(self.out[0], start + len(self.w))

    def terms(self):
        """(output, input, weight) of everything that is added up."""
        channels, height, width = self.shape
        if self.words[0] == "dense":
            count = channels * height * width
            for o in range(self.out[0]):
                for i in range(count):
                    yield o, i, o * count + i
            return
        for o in range(self.out[0]):
            for y in range(self.out[1]):
                for x in range(self.out[2]):
                    for i in range(channels):
                        for p in range(self.kh):
                            for q in range(self.kw):
                                v, h = y + p - self.top, x + q - self.left
                                if 0 <= v < height and 0 <= h < width:
                                    yield ((o * self.out[1] + y) * self.out[2] + x,
                                           (i * height + v) * width + h,
                                           ((o * channels + i) * self.kh + p) * self.kw + q)

    def forward(self, x):
        count = math.prod(self.out)
        self.x = x
        if self.words[0] == "maxpool":
            _, height, width = self.shape
            self.best = []
            for o in range(count):
                c, rest = divmod(o, self.out[1] * self.out[2])
                y, h = divmod(rest, self.out[2])
                self.best.append(max(((c * height + y * self.side + p) * width + h * self.side + q
                                      for p in range(self.side) for q in range(self.side)),
                                     key=x.__getitem__))
            self.a = [x[i] for i in self.best]
            return self.a
        area = self.out[1] * self.out[2]
        z = [self.b[o // area] for o in range(count)]
        for o, i, w in self.terms():
            z[o] += self.w[w] * x[i]
        self.z = z
        self.a = [{"relu": lambda v: max(v, 0.0), "tanh": math.tanh, "linear": lambda v: v,
                   "softmax": lambda v: v, "sigmoid": lambda v: 1 / (1 + math.exp(-v))}
                  [self.activation](v) for v in z]
        return self.a

    def backward(self, delta, total):
        """delta is dLoss/dz; returns dLoss/dx."""
        below = [0.0] * len(self.x)
        if self.words[0] == "maxpool":
            for o, i in enumerate(self.best):
                below[i] += delta[o]
            return below
        area = self.out[1] * self.out[2]
        for o, value in enumerate(delta):
            total[self.start + len(self.w) + o // area] += value
        for o, i, w in self.terms():
            total[self.start + w] += delta[o] * self.x[i]
            below[i] += delta[o] * self.w[w]
        return below

    def slope(self, delta):
        """dLoss/da -> dLoss/dz"""
        return [d * {"relu": lambda v: float(v > 0), "tanh": lambda v: 1 - v * v,
                     "linear": lambda v: 1.0, "sigmoid": lambda v: v * (1 - v)}
                [self.activation](v) for d, v in zip(delta, self.a)]


def measure(spec):
    """(loss, outputs, gradient)"""
    first, *rest = [part.split() for part in spec.split(" - ")]
    shape, layers, start = tuple(map(int, first[0].split("x"))), [], 0
    for words in rest:
        layers.append(Layer(words, shape, start))
        shape = layers[-1].out
        start += len(layers[-1].w) + len(layers[-1].b)
    loss, outputs, total = 0.0, [], [0.0] * start
    for r, x in enumerate(inputs(math.prod(layers[0].shape))):
        for layer in layers:
            x = layer.forward(x)
        if layers[-1].activation == "softmax":
            norm = math.fsum(map(math.exp, x))
            x, target = [math.exp(v) / norm for v in x], r % len(x)
            loss -= math.log(x[target])
            delta = [p - (o == target) for o, p in enumerate(x)]
        elif layers[-1].activation == "sigmoid":
            loss -= math.log(x[0] if r % 2 else 1 - x[0])
            delta = [x[0] - r % 2]
        else:
            loss += (x[0] - (r - 1)) ** 2 / 2
            delta = [x[0] - (r - 1)]
        outputs += x
        delta = layers[-1].backward([d / ROWS for d in delta], total)
        for layer in reversed(layers[:-1]):
            delta = layer.backward(layer.slope(delta), total)
    return loss / ROWS, outputs, total


def main():
    with open(pathlib.Path(__file__).with_suffix(".csv"), "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        for spec in SPECS:
            loss, outputs, gradient = measure(spec)
            for name, values in [("loss", [loss]), ("outputs", outputs), ("gradient", gradient)]:
                out.writerow([spec, name, *(f"{value + 0.0:.12g}" for value in values)])


if __name__ == "__main__":
    main()
