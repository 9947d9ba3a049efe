"""MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), read in place: what is binary stays a view of the
file, so that an array of 2 GB is not copied. Extensions become Extension. Depth and counts are bounded by the bytes there are.
"""

import struct
from dataclasses import dataclass

import numpy as np

from checkpoints import Refused

MOST_DEPTH = 64
MOST_VALUES = 5_000_000


@dataclass(frozen=True)
class Extension:
    kind: int
    data: np.ndarray


NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
# first byte -> how many bytes of length follow
BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}
TEXT = {0xD9: 1, 0xDA: 2, 0xDB: 4}
ARRAY = {0xDC: 2, 0xDD: 4}
MAP = {0xDE: 2, 0xDF: 4}
EXTENSION = {0xC7: 1, 0xC8: 2, 0xC9: 4}
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class Reader:
    def __init__(self, where: str, data: np.ndarray):
        self.where, self.data, self.at, self.left = where, data, 0, MOST_VALUES

    def refuse(self, what: str) -> Refused:
        return Refused(f"{self.where}: {what} at byte {self.at} of {len(self.data)}")

    def take(self, size: int) -> np.ndarray:
        if size > len(self.data) - self.at:
            raise self.refuse(f"{size} bytes are missing")
        self.at += size
        return self.data[self.at - size : self.at]

    def count(self, size: int) -> int:
        return int.from_bytes(self.take(size).tobytes(), "big")

    def value(self, depth: int = 0):
        self.left -= 1
        if depth > MOST_DEPTH or self.left < 0:
            raise self.refuse("MessagePack nested without end")
        first = self.count(1)
        if first <= 0x7F or first >= 0xE0:
            return first if first <= 0x7F else first - 256
        if first <= 0x8F or first in MAP:
            return self.map(first & 15 if first <= 0x8F else self.count(MAP[first]), depth)
        if first <= 0x9F or first in ARRAY:
            return self.array(first & 15 if first <= 0x9F else self.count(ARRAY[first]), depth)
        if first <= 0xBF or first in TEXT:
            return self.text(first & 31 if first <= 0xBF else self.count(TEXT[first]))
        if first in CONSTANTS:
            return CONSTANTS[first]
        if first in NUMBERS:
            return struct.unpack(NUMBERS[first], self.take(struct.calcsize(NUMBERS[first])).tobytes())[0]
        if first in BINARY:
            return self.take(self.count(BINARY[first]))
        if 0xD4 <= first <= 0xD8 or first in EXTENSION:
            size = 1 << (first - 0xD4) if first in range(0xD4, 0xD9) else self.count(EXTENSION[first])
            return Extension(self.count(1), self.take(size))
        raise self.refuse(f"byte {first:#x}, which MessagePack does not have,")

    def text(self, size: int) -> str:
        try:
            return self.take(size).tobytes().decode()
        except UnicodeDecodeError:
            raise self.refuse("text that is not UTF-8") from None

    def array(self, count: int, depth: int) -> list:
        if count > len(self.data) - self.at:
            raise self.refuse(f"an array of {count}")
        return [self.value(depth + 1) for _ in range(count)]

    def map(self, count: int, depth: int) -> dict:
        found = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if not isinstance(key, (str, int)) or key in found:
                raise self.refuse("a key that is no text, or is there twice,")
            found[key] = self.value(depth + 1)
        return found


def read(where: str, data: np.ndarray):
    """One value, which is all of `data`. Text is str, what is binary an array of bytes."""
    reader = Reader(where, data)
    value = reader.value()
    if reader.at != len(data):
        raise reader.refuse("more than one value")
    return value
