#!/usr/bin/env python3
"""Write moments.csv: ten rounds of the server optimisers in float64, from the formulas of
coordinator/moments.h. Nothing of the C code is used. Run: python3 tests/vectors/moments.py
"""
import math
import pathlib

ROUNDS, PARAMS = 10, 4
START = [0.5, -1.0, 2.0, 0.0]
CASES = [  # kind, beta1, beta2, tau, rate
    ("fedavgm", 0.9, 0, 1, 1.0),
    ("fedavgm", 0, 0, 1, 0.5),
    ("fedadam", 0.9, 0.99, 1e-3, 0.1),
    ("fedadam", 0.5, 0.9, 0.1, 0.03),
    ("fedadam", 0, 0, 1e-2, 1.0),
]


def delta(t, i):
    """Made up, exact in float32: one parameter falls, one swings, one is rare, one stands still."""
    return [-0.25, (-1.0) ** t * 0.125, 1.5 if t % 4 == 0 else 0.0, 0.0][i]


def main():
    lines = ["# kind,beta1,beta2,tau,rate,round,parameter,delta,x; made by moments.py"]
    for kind, beta1, beta2, tau, rate in CASES:
        x, m, v = list(START), [0.0] * PARAMS, [tau * tau] * PARAMS
        for t in range(1, ROUNDS + 1):
            for i in range(PARAMS):
                d = delta(t, i)
                if kind == "fedavgm":
                    m[i] = beta1 * m[i] + d
                    x[i] += rate * m[i]
                else:
                    m[i] = beta1 * m[i] + (1 - beta1) * d
                    v[i] = beta2 * v[i] + (1 - beta2) * d * d
                    x[i] += rate * m[i] / (math.sqrt(v[i]) + tau)
                lines.append(f"{kind},{beta1},{beta2},{tau},{rate},{t},{i},{d},{x[i]:.17g}")
    pathlib.Path(__file__).with_suffix(".csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
