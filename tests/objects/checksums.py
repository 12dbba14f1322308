"""The checksum algorithms of S3 in plain Python, independent of any S3 client."""

import base64
import functools
import hashlib
import zlib


@functools.cache
def _table(polynomial):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    return table


def _reflected_crc(data, polynomial, bits) -> bytes:
    table, ones = _table(polynomial), (1 << bits) - 1
    crc = ones
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return (crc ^ ones).to_bytes(bits // 8, "big")


RAW = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: _reflected_crc(data, 0x82F63B78, 32),
    "CRC64NVME": lambda data: _reflected_crc(data, 0x9A6C9329AC4BC9B5, 64),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}
NAMES = tuple(RAW)


def header(algorithm) -> str:
    return f"x-amz-checksum-{algorithm.lower()}"


@functools.lru_cache(maxsize=32)  # a few MiB take a second, and the same data comes again in other tests
def of(algorithm, data) -> str:
    """The value as it travels: base64 of the big-endian digest."""
    return base64.b64encode(RAW[algorithm](data)).decode()


def composite(algorithm, parts) -> str:
    """The checksum of the parts' checksums, with the number of parts behind it."""
    joined = b"".join(RAW[algorithm](p) for p in parts)
    return f"{of(algorithm, joined)}-{len(parts)}"


def md5(data) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def etag(data) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def multipart_etag(parts) -> str:
    joined = b"".join(hashlib.md5(p).digest() for p in parts)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(parts)}"'
