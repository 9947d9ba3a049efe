"""Checkpoints as PyTorch and V-MoE write them, written here instruction by instruction, and hostile ones beside them."""

import io
import struct
import zipfile
from pathlib import Path

import msgpack
import numpy as np

# ---- pickles

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


class Global:
    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class Call:
    """What a pickle calls with these arguments."""

    def __init__(self, function: Global, *arguments):
        self.function, self.arguments = function, arguments


class Object:
    """An object of TorchScript's: a class's name and attributes."""

    def __init__(self, kind: str, attributes: dict):
        self.kind, self.attributes = kind, attributes


class Raw(bytes):
    """Instructions as they are."""


class Writer:
    """Emits protocol 2, as PyTorch does; tensors' values go to `storages`."""

    def __init__(self, legacy: bool = False):
        self.out, self.storages, self.legacy = io.BytesIO(), [], legacy

    def text(self, value: str) -> bytes:
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data

    def tensor(self, values: np.ndarray) -> bytes:
        kind, key = Global("torch", STORAGES[values.dtype.name]), str(len(self.storages))
        self.storages.append(values)
        persistent = ("storage", kind, key, "cpu", values.size) + ((None,) if self.legacy else ())
        strides = tuple(s // values.itemsize for s in values.strides) if values.ndim else ()
        rest = (0, values.shape, strides, False, Call(Global("collections", "OrderedDict")))
        body = self.emit(persistent) + b"Q" + b"".join(map(self.emit, rest))
        return self.emit(Global("torch._utils", "_rebuild_tensor_v2")) + b"(" + body + b"tR"

    def emit(self, value) -> bytes:
        if isinstance(value, Raw):
            return bytes(value)
        if isinstance(value, np.ndarray):
            return self.tensor(value)
        if isinstance(value, Global):
            return b"c" + f"{value.module}\n{value.name}\n".encode()
        if isinstance(value, Call):
            return self.emit(value.function) + self.emit(value.arguments) + b"R"
        if isinstance(value, Object):
            module, name = value.kind.rsplit(".", 1)
            return self.emit(Global(module, name)) + b")\x81" + self.emit(value.attributes) + b"b"
        if isinstance(value, dict):
            return b"}(" + b"".join(self.emit(k) + self.emit(v) for k, v in value.items()) + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.emit, value)) + b"e"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.emit, value)) + b"t"
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool):
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, int) and abs(value) < 1 << 31:
            return b"J" + struct.pack("<i", value)
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data

    def pickle(self, value) -> bytes:
        return b"\x80\x02" + self.emit(value) + b"."


def save_zip(path: Path, tree, extra: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> None:
    """torch.save's since 1.6."""
    writer = Writer()
    data = writer.pickle(tree)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")
        for key, values in enumerate(writer.storages):
            archive.writestr(f"archive/data/{key}", values.tobytes())
        for name, content in {"version": b"3\n", **(extra or {})}.items():
            archive.writestr("archive/" + name, content)


def save_script(path: Path, tree: dict) -> None:
    """torch.jit.save's: dictionaries in dictionaries become modules in modules."""

    def module(part):
        values = {k: module(v) if isinstance(v, dict) else v for k, v in part.items()}
        return Object("__torch__.model.Part", {"training": False, **values})

    save_zip(path, module(tree), {"constants.pkl": b"\x80\x02).", "code/__torch__.py": b"class Part: pass\n"})


def nested(tensors: dict) -> dict:
    tree: dict = {}
    for name, values in tensors.items():
        *folders, last = name.split(".")
        at = tree
        for folder in folders:
            at = at.setdefault(folder, {})
        at[last] = values
    return tree


def save_stream(path: Path, tree) -> None:
    """torch.save's before 1.6."""
    writer = Writer(legacy=True)
    body = writer.pickle(tree)
    head = writer.pickle(0x1950A86A20F9469CFC6C) + writer.pickle(1001)
    head += writer.pickle(
        {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    )
    keys = writer.pickle([str(key) for key in range(len(writer.storages))])
    storages = b"".join(struct.pack("<q", values.size) + values.tobytes() for values in writer.storages)
    path.write_bytes(head + body + keys + storages)


# ---- V-MoE's, by the msgpack of others


def _pack(value) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


def _slice_nd(slices) -> bytes:
    return _pack([_pack([s.start, s.stop, None]) for s in slices])


def _ndarray(values: np.ndarray) -> msgpack.ExtType:
    return msgpack.ExtType(1, _pack([list(values.shape), values.dtype.name, values.tobytes()]))


def _parts(values: np.ndarray, shards: int) -> list[tuple[tuple[slice, ...], int]]:
    """Arrays of three axes or more are cut along the first, one part a data file; others lie in the first file."""
    whole = tuple(slice(0, n) for n in values.shape)
    if values.ndim < 3 or values.shape[0] % shards:
        return [(whole, 0)]
    step = values.shape[0] // shards
    return [((slice(i * step, (i + 1) * step), *whole[1:]), i) for i in range(shards)]


def save_vmoe(prefix: Path, tree: dict, shards: int = 2, version: str | None = "20220622") -> None:
    leaves, data = [], [{} for _ in range(shards)]

    def index(part):
        if isinstance(part, dict):
            return {key: index(part[key]) for key in sorted(part)}
        number, parts = len(leaves), _parts(part, shards)
        leaves.append(part)
        for at, shard in parts:
            flat = part[at].reshape(-1)
            pieces = [flat[: len(flat) // 2], flat[len(flat) // 2 :]] if len(flat) > 8 else [flat]
            data[shard].setdefault(str(number), []).append(
                [[_ndarray(p) for p in pieces], msgpack.ExtType(6, _slice_nd(at))]
            )
        shaped = _pack([list(part.shape), part.dtype.name, False, {}])
        return msgpack.ExtType(8, _pack([shaped, [_slice_nd(at) for at, _ in parts], [shard for _, shard in parts]]))

    content = {"shard_count": shards, "index": index(tree)} | ({"version": version} if version else {})
    Path(f"{prefix}.index").write_bytes(_pack(content))
    for shard, chunks in enumerate(data):
        named = {"__msgpack_array_chunk_a87ca2__": True, **chunks}
        Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}").write_bytes(_pack(named))
