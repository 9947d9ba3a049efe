"""V-MoE's checkpoints (https://github.com/google-research/vmoe): PREFIX.index and PREFIX.data-00000-of-0000N.

The index says of each array of a tree its shape, and which part of it lies in which data file; a data file has such parts by
the array's number, counted through the tree in the order of its sorted keys. Both are MessagePack with extensions:

    1  array           (shape, dtype, bytes)         5  slice     (start, stop, step)
    3  scalar          the same                      6  slices    of an array's axes
    4  shape and dtype (shape, dtype, …)             8  index     (4, [6 …], [number of the data file …])

Numbers in brackets are the extensions', packed into each other as bytes.
"""

import math
import re
from pathlib import Path

import numpy as np

from checkpoints import Refused, msgpack
from checkpoints.tensors import DTYPES, Tensor, map_file

NDARRAY, SHAPED, SLICE_ND, INDEX = 1, 4, 6, 8
KNOWN = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float64": "F64",
    "int32": "I32",
    "int64": "I64",
    "uint32": "I32",
}
CHUNKS = "__msgpack_array_chunk_a87ca2__"
VERSIONS = (None, "20220622")


def _text(value) -> str:
    return value if isinstance(value, str) else value.tobytes().decode() if isinstance(value, np.ndarray) else ""


def _shape(where: str, shape) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
        raise Refused(f"{where}: a shape that is no list of sizes")
    return tuple(shape)


def _array(where: str, value) -> Tensor:
    if not isinstance(value, msgpack.Extension) or value.kind != NDARRAY:
        raise Refused(f"{where}: something that is no array where one is due")
    parts = msgpack.read(where, value.data)
    if not isinstance(parts, list) or len(parts) != 3 or _text(parts[1]) not in KNOWN:
        raise Refused(f"{where}: an array that is not (shape, dtype, bytes), or of a dtype that is not known")
    dtype, shape = KNOWN[_text(parts[1])], _shape(where, parts[0])
    stored = np.dtype(DTYPES[dtype])
    if not isinstance(parts[2], np.ndarray) or len(parts[2]) != math.prod(shape) * stored.itemsize:
        raise Refused(f"{where}: an array of shape {shape} that does not have its bytes")
    return Tensor(dtype, parts[2].view(stored).reshape(shape))


def _slices(where: str, data, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """(start, stop, step) by axis, packed one by one."""
    axes = [msgpack.read(where, axis) if isinstance(axis, np.ndarray) else None for axis in msgpack.read(where, data)]
    found = []
    for axis, size in zip(axes, shape):
        start, stop, step = axis if isinstance(axis, list) and len(axis) == 3 else (None, None, 0)
        start, stop = 0 if start is None else start, size if stop is None else stop
        if type(start) is not int or type(stop) is not int or step not in (None, 1) or not 0 <= start <= stop <= size:
            raise Refused(f"{where}: a part that lies outside its array of shape {shape}")
        found.append(slice(start, stop))
    if len(axes) != len(shape):
        raise Refused(f"{where}: a part of {len(axes)} axes of an array of {len(shape)}")
    return tuple(found)


class _Leaf:
    """An array as the index knows it."""

    def __init__(self, where: str, name: str, data):
        self.where, self.name = f'{where}: "{name}"', name
        parts = msgpack.read(self.where, data)
        if not isinstance(parts, list) or len(parts) != 3 or not isinstance(parts[1], list):
            raise Refused(f"{self.where} is no entry of an index")
        shaped = msgpack.read(self.where, parts[0])
        if not isinstance(shaped, list) or len(shaped) < 2 or _text(shaped[1]) not in KNOWN:
            raise Refused(f"{self.where} has no shape, or a dtype that is not known")
        self.shape, self.dtype = _shape(self.where, shaped[0]), KNOWN[_text(shaped[1])]
        self.parts: list[tuple[tuple[slice, ...], np.ndarray]] = []
        self.shards = set(n for n in parts[2] if type(n) is int) if isinstance(parts[2], list) else set()

    def tensor(self) -> Tensor:
        """Its parts put together; one that is whole stays a view of its file."""
        size = sum(part.size for _, part in self.parts)
        if size != math.prod(self.shape):
            raise Refused(f"{self.where} has {math.prod(self.shape)} values, its data files hold {size} of them")
        if len(self.parts) == 1:
            return Tensor(self.dtype, self.parts[0][1])
        whole, seen = np.empty(self.shape, DTYPES[self.dtype]), np.zeros(self.shape, bool)
        for where, part in self.parts:
            if seen[where].any():
                raise Refused(f"{self.where} has parts that overlap")
            whole[where], seen[where] = part, True
        return Tensor(self.dtype, whole)


def _leaves(where: str, tree, name: str = "") -> list[_Leaf]:
    """In the order that JAX flattens a tree in: by sorted keys."""
    if isinstance(tree, dict):
        keys = sorted(tree, key=str)
        return [leaf for key in keys for leaf in _leaves(where, tree[key], f"{name}/{key}" if name else str(key))]
    if tree is None:
        return []
    if not isinstance(tree, msgpack.Extension) or tree.kind != INDEX:
        raise Refused(f'{where}: "{name}" is no entry of an index')
    return [_Leaf(where, name, tree.data)]


def _read_data(path: Path, leaves: list[_Leaf], wanted: set[int]) -> None:
    where = str(path)
    chunks = msgpack.read(where, map_file(path))
    if not isinstance(chunks, dict) or chunks.get(CHUNKS) is not True:
        raise Refused(f"{path}: no data file of V-MoE")
    for number, parts in chunks.items():
        if number == CHUNKS:
            continue
        if not str(number).isdecimal() or int(number) >= len(leaves) or not isinstance(parts, list):
            raise Refused(f'{path}: array "{str(number)[:40]}" is not one of the index\'s {len(leaves)}')
        if int(number) not in wanted:
            continue
        leaf = leaves[int(number)]
        for part in parts:
            if not isinstance(part, list) or len(part) != 2 or not isinstance(part[0], list):
                raise Refused(f'{path}: "{leaf.name}" has a part that is none')
            pieces, at = [_array(where, piece) for piece in part[0]], part[1]
            if not pieces or not isinstance(at, msgpack.Extension) or at.kind != SLICE_ND:
                raise Refused(f'{path}: "{leaf.name}" has a part without a place')
            slices = _slices(where, at.data, leaf.shape)
            values = pieces[0].values if len(pieces) == 1 else np.concatenate([p.values for p in pieces])
            shape = tuple(s.stop - s.start for s in slices)
            if values.size != math.prod(shape) or {p.dtype for p in pieces} != {leaf.dtype}:
                raise Refused(f'{path}: "{leaf.name}" has a part of {values.size} values where shape {shape} is due')
            leaf.parts.append((slices, values.reshape(shape)))


def find_prefix(path: Path) -> str | None:
    """PREFIX of PREFIX.index, of a folder that holds one, or of what is PREFIX itself."""
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) > 1:
            raise Refused(f"{path}: {len(found)} checkpoints, {found[0].name} and others; one .index file is accepted")
        return str(found[0]).removesuffix(".index") if found else None
    if path.name.endswith(".index"):
        return str(path).removesuffix(".index")
    return str(path) if path.with_name(path.name + ".index").is_file() else None


def read_vmoe(prefix: str) -> dict[str, Tensor]:
    """The parameters by their path below the model's: "Encoder/encoderblock_0/LayerNorm_0/scale"."""
    path = Path(prefix + ".index")
    index = msgpack.read(str(path), map_file(path))
    if not isinstance(index, dict) or "index" not in index or type(index.get("shard_count")) is not int:
        raise Refused(f'{path}: no index of V-MoE: "index" or "shard_count" is missing')
    if index.get("version") not in VERSIONS:
        raise Refused(f'{path}: "version" is {str(index["version"])[:40]!r}; {VERSIONS[1]!r} is accepted')
    leaves = _leaves(str(path), index["index"])
    # A training state has the optimizer's moments too, of the same names elsewhere: the parameters come first to be found.
    pattern = re.compile(r"^(?:(.*)/)?Encoder/encoder_norm/scale$")
    roots = [m[1] or "" for leaf in leaves if (m := pattern.match(leaf.name))]
    roots.sort(key=lambda root: ("opt_state" in root or "state/param_states" in root, len(root)))
    if not roots:
        raise Refused(f'{path}: no "Encoder/encoder_norm/scale" among its {len(leaves)} arrays: not a V-MoE')
    root = roots[0] + "/" if roots[0] else ""
    if index.get("version") is None and any(not leaf.name.startswith(root) for leaf in leaves):
        # The order of a tree of other things than dictionaries is not in the file.
        raise Refused(
            f"{path}: a whole training state of before version {VERSIONS[1]!r}; its parameters alone are accepted"
        )
    wanted = {i for i, leaf in enumerate(leaves) if leaf.name.startswith(root)}
    for shard in sorted(set().union(*(leaves[i].shards for i in wanted))):
        if not 0 <= shard < index["shard_count"]:
            raise Refused(f"{path}: data file {shard} of {index['shard_count']}")
        _read_data(Path(f"{prefix}.data-{shard:05d}-of-{index['shard_count']:05d}"), leaves, wanted)
    return {leaves[i].name.removeprefix(root): leaves[i].tensor() for i in sorted(wanted)}
