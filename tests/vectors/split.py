#!/usr/bin/env python3
"""Sides and folds of rows by the formulas of common/data/split.h, with Python's own BLAKE2b.

usage: split.py > split.csv       columns: seed, id, identity, number, fold of 5
"""
import hashlib

MASK = 2**64 - 1


def rotate_left(x, k):
    return (x << k | x >> (64 - k)) & MASK


def xoshiro(seed, purpose, index, suffix=b""):
    """xoshiro256** whose state is the hash of the stream's name."""
    name = seed.to_bytes(8, "little") + purpose + b"\0" + index.to_bytes(8, "little") + suffix
    state = hashlib.blake2b(name, digest_size=32).digest()
    s = [int.from_bytes(state[i:i + 8], "little") for i in (0, 8, 16, 24)]
    while True:
        yield rotate_left(s[1] * 5 & MASK, 7) * 9 & MASK
        t = s[1] << 17 & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate_left(s[3], 45)


def below(stream, bound):
    """Lemire 2019: the high half of a product, again when the low half is unfair."""
    while True:
        product = next(stream) * bound
        if (product & MASK) >= (2**64 - bound) % bound:
            return product >> 64


def main():
    print("# seed,id,identity,number,fold of 5; made by split.py")
    for seed in (1, 7, 2**40 + 3):
        for i in range(12):
            text = f"patient-{i * i}"
            identity = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            number = (next(xoshiro(seed, b"split", identity)) >> 11) * 2.0**-53
            fold = below(xoshiro(seed, b"fold", identity), 5)
            print(f"{seed},{text},{identity:016x},{number:.17g},{fold}")


if __name__ == "__main__":
    main()
