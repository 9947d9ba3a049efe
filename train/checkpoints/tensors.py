"""Tensors by name, and safetensors files of them.

A tensor's values are a numpy array, mostly a view of a mapped file; bfloat16, which numpy does not have, is uint16.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from checkpoints import Refused

# dtype, as safetensors names it -> how numpy keeps it
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
FRACTIONS = ("F64", "F32", "F16", "BF16")
MOST_HEADER = 100 << 20  # as safetensors itself accepts


@dataclass(frozen=True)
class Tensor:
    dtype: str
    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> "Tensor":
        """The same dtype, other values or another shape."""
        return Tensor(self.dtype, change(self.values))

    def float32(self) -> np.ndarray:
        if self.dtype == "BF16":
            return (self.values.astype(np.uint32) << 16).view(np.float32)
        return self.values.astype(np.float32)


def join(tensors: list[Tensor], how: Callable[[list[np.ndarray]], np.ndarray]) -> Tensor:
    """Several as one, by np.stack or np.concatenate: of their dtype where they have one, else float32."""
    if len({t.dtype for t in tensors}) == 1:
        return Tensor(tensors[0].dtype, how([t.values for t in tensors]))
    return Tensor("F32", how([t.float32() for t in tensors]))


def map_file(path: Path) -> np.ndarray:
    """The bytes of a file, which are read when they are looked at."""
    try:
        return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


# ---- safetensors


def _entry(path: Path, name: str, entry, data: np.ndarray) -> Tensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        stored = np.dtype(DTYPES[dtype])
        sound = all(type(n) is int and n >= 0 for n in (*shape, begin, end)) and end <= len(data)
        if not sound or math.prod(shape) * stored.itemsize != end - begin:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise Refused(f'{path}: tensor "{name}" is {str(entry)[:100]}, which does not fit the file') from None
    return Tensor(dtype, data[begin:end].view(stored).reshape(shape))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    data = map_file(path)
    size = int.from_bytes(data[:8].tobytes(), "little")
    if len(data) < 8 or size > min(MOST_HEADER, len(data) - 8):
        raise Refused(f"{path}: not a safetensors file")
    try:
        header = json.loads(data[8 : 8 + size].tobytes())
    except ValueError:  # of JSON, or of UTF-8
        raise Refused(f"{path}: its header is not JSON") from None
    except RecursionError:
        raise Refused(f"{path}: its header is nested too deep") from None
    if not isinstance(header, dict):
        raise Refused(f"{path}: its header is not a JSON object")
    header.pop("__metadata__", None)
    found = {name: _entry(path, name, entry, data[8 + size :]) for name, entry in header.items()}
    return check_size(path, found, len(data))


def check_size(path: Path, tensors: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """Tensors may share their bytes, as tied weights do; but not so that a small file fills a disk."""
    total = sum(t.values.nbytes for t in tensors.values())
    if total > 2 * size:
        raise Refused(
            f"{path}: {len(tensors)} tensors of {total} bytes in a file of {size}; twice as many are accepted"
        )
    return tensors


def read_index(path: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all shards that an index of Hugging Face names."""
    try:
        shards = sorted(set(json.loads(path.read_bytes())["weight_map"].values()))
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Refused(f'{path}: not an index of shards, a JSON object with "weight_map"') from None
    found: dict[str, Tensor] = {}
    for shard in shards:
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise Refused(f"{path}: shard {str(shard)[:100]!r} is not a file of this folder")
        part = read(path.parent / shard)
        if twice := found.keys() & part.keys():
            raise Refused(f'{path}: tensor "{min(twice)}" is in two shards')
        found |= part
    return found


class Progress:
    """A line on stderr, once a second at most: how much is written."""

    def __init__(self, path: Path, tensors: int, size: int):
        self.path, self.tensors, self.size = path, tensors, size
        self.said = time.monotonic()

    def at(self, tensors: int, size: int) -> None:
        now = time.monotonic()
        if now - self.said >= 1:
            self.said = now
            print(
                f"{self.path.name}: {tensors} of {self.tensors} tensors, {size / 1e9:.1f} of {self.size / 1e9:.1f} GB",
                file=sys.stderr,
            )


PIECE = 1 << 24  # bytes of a tensor that are brought into order and written at once


def _write(file, values: np.ndarray) -> None:
    """In the order of C, piece by piece: a transposed view of a large file is never in memory whole."""
    rows = max(1, PIECE // max(1, values[:1].nbytes)) if values.ndim else 1
    for at in range(0, len(values) if values.ndim else 1, rows):
        part = values[at : at + rows] if values.ndim else values
        file.write(np.ascontiguousarray(part).astype(part.dtype.newbyteorder("<"), copy=False).tobytes())


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [at, at + t.values.nbytes]}
        at += t.values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    progress = Progress(path, len(tensors), at)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for i, (name, t) in enumerate(tensors.items()):
            progress.at(i, header[name]["data_offsets"][0])
            _write(file, t.values)
        file.flush()
        os.fsync(file.fileno())
