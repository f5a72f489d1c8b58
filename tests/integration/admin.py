"""The admin socket, asked without a program: a request and its reply by the book, which is
proto/tributary.proto.

A test that waits asks hundreds of times, and to start a program with sanitizers inside costs a
hundred times what the question does. tributaryctl itself is asked too, see fleet.py.
"""
import json
import socket
import struct

WORD = 1  # of AdminRequest
EXIT_CODE, ERROR, ROWS = range(1, 4)  # of AdminReply
NAME, TEXT, NUMBER, REAL, FLAG, JSON = range(1, 7)  # of AdminField


class Refused(Exception):
    """The coordinator answered, with an exit code that is not 0."""


def number_from(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def number_to(value):
    text = bytearray()
    while value > 0x7f:
        text.append(value & 0x7f | 0x80)
        value >>= 7
    text.append(value)
    return bytes(text)


def fields(data):
    """The (number, value) of a packed message: integers, eight bytes or a piece of bytes."""
    at = 0
    while at < len(data):
        key, at = number_from(data, at)
        if key & 7 == 0:
            value, at = number_from(data, at)
        elif key & 7 == 1:
            value, at = data[at:at + 8], at + 8
        elif key & 7 == 2:
            size, at = number_from(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise ValueError(f"wire type {key & 7}")
        yield key >> 3, value


def row(data):
    """An AdminRow as the object that tributaryctl --json prints."""
    found = {}
    for _, packed in fields(data):
        name, value = None, None
        for number, got in fields(packed):
            if number == NAME:
                name = got.decode()
            elif number == TEXT:
                value = got.decode()
            elif number == NUMBER:
                value = got
            elif number == REAL:
                value, = struct.unpack("<d", got)
                value = value if abs(value) < float("inf") else None
            elif number == FLAG:
                value = bool(got)
            elif number == JSON:
                value = json.loads(got)
        found[name] = value
    return found


def receive(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError("hung up in the middle of an answer")
        data += piece
    return data


def packed_question(words):
    packed = b"".join(number_to(WORD << 3 | 2) + number_to(len(text)) + text
                      for text in (str(word).encode() for word in words))
    return struct.pack(">I", len(packed)) + packed


def ask(path, words, timeout_s):
    """The rows of the answer; an OSError if there is none."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        sock.connect(str(path))
        sock.sendall(packed_question(words))
        size, = struct.unpack(">I", receive(sock, 4))
        reply = list(fields(receive(sock, size)))
    values = dict(reply)
    if values.get(EXIT_CODE):
        raise Refused(f"exit {values[EXIT_CODE]}: {values.get(ERROR, b'').decode()}")
    return [row(value) for number, value in reply if number == ROWS]
