#!/usr/bin/env python3
"""Write linear.csv: 100 rows of y = 4 + 3 x + noise, x uniform in [0, 2), noise normal (0, 1).

usage: linear.py > linear.csv
"""
import random

draw = random.Random(2026)
print("x,y")
for _ in range(100):
    x = 2 * draw.random()
    print(f"{x:.6f},{4 + 3 * x + draw.gauss(0, 1):.6f}")
