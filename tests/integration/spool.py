"""Updates that wait in a device's spool, changed behind the back of the client."""
import hashlib
import struct

HEADER_SIZE = 152  # client/spool.c
CRC_AT, CRC_START, ARCH_AT = 8, 12, 120


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def digest_of(spec):
    return hashlib.blake2b(spec.encode(), digest_size=32).digest()


def checksum(data):
    """That of the words, and then of the header behind it."""
    return crc32c(data[HEADER_SIZE:] + data[CRC_START:HEADER_SIZE])


def change_model(path, spec, other):
    """An update of the model `spec` says that it is of another one."""
    data = bytearray(path.read_bytes())
    if data[ARCH_AT:ARCH_AT + 32] != digest_of(spec) or \
            struct.unpack_from("<I", data, CRC_AT)[0] != checksum(data):
        raise AssertionError(f"{path}: not a spool as it is known here")
    data[ARCH_AT:ARCH_AT + 32] = digest_of(other)
    struct.pack_into("<I", data, CRC_AT, checksum(data))
    path.write_bytes(data)
