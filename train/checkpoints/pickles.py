"""PyTorch's files, without PyTorch and without running what a pickle asks for.

A pickle is a program for a stack machine. Python's own runs it, and with it any function that the file names. This one knows
the few instructions that tensors in dictionaries need, and calls nothing: a name is data, and the names of what rebuilds a
tensor are all that is accepted. A file that names anything else is refused, with that name.

Three containers hold pickles (https://pytorch.org/docs/stable/notes/serialization.html): torch.save's zip archive, the
stream that torch.save wrote before PyTorch 1.6, and TorchScript's archive, whose modules are dictionaries here. Archives are
not compressed, so that no file makes more than its size of memory.
"""

import io
import math
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from checkpoints import Refused
from checkpoints.tensors import DTYPES, Tensor, check_size, map_file

MOST_PICKLE = 64 << 20  # bytes of a program; that of a model of 1,000 tensors has 100 kB
MOST_OPERATIONS = 1_000_000
MOST_DEPTH = 64  # of dictionaries in dictionaries
MOST_VALUES = 1_000_000  # visited when tensors are collected

STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "LongStorage": "I64",
    "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip
# What TorchScript wraps lists in.
LISTS = {"build_intlist", "build_doublelist", "build_boollist", "build_tensorlist"}
ACCEPTED = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    *(("torch", name) for name in STORAGES),
    *(("torch.jit._pickle", name) for name in LISTS),
}


@dataclass(frozen=True)
class Name:
    """module.name, as a pickle says it. Nothing is looked up by it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Storage:
    key: str
    dtype: str
    elements: int


@dataclass(frozen=True)
class View:
    """A tensor before its storage is known, as in the older stream, which has them behind the pickle."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


MARK = object()


def describe(value) -> str:
    """For messages; never as long as what it is about, which may hold itself a million times."""
    if isinstance(value, (str, int, float, bool, type(None))):
        return repr(value)[:60] if not isinstance(value, int) or abs(value) < 1 << 64 else "a large number"
    if isinstance(value, Name):
        return str(value)[:120]
    return f"a {type(value).__name__.lower()}" + (f" of {len(value)}" if isinstance(value, (tuple, list, dict)) else "")


class Machine:
    """Runs one pickle, as data: dictionaries, lists, tuples, strings, numbers, tensors."""

    def __init__(self, where: str):
        self.where = where
        self.stack: list = []
        self.memo: dict[int, object] = {}
        self.left = MOST_OPERATIONS

    def refuse(self, what: str) -> Refused:
        return Refused(f"{self.where}: {what}; tensors in dictionaries are accepted, and nothing is run")

    def spend(self, work: int) -> None:
        """What an instruction costs, so that none can be made to copy a large thing a million times."""
        self.left -= work
        if self.left < 0:
            raise self.refuse(f"the pickle has more than {MOST_OPERATIONS} instructions")

    def pop(self):
        value = self.stack.pop()
        if value is MARK:
            raise IndexError
        return value

    def to_mark(self) -> list:
        at = len(self.stack) - 1
        while self.stack[at] is not MARK:
            at -= 1
            if at < 0:
                raise IndexError
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    # ---- names and what is made by them

    def name(self, module, name) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.refuse("the name of a function is no text")
        if (module, name) not in ACCEPTED and not module.startswith("__torch__"):
            raise self.refuse(f"the pickle wants {module[:100]}.{name[:100]}")
        return Name(module, name)

    def persistent(self, value) -> Storage:
        """("storage", FloatStorage, key, location, elements), and in the older stream a sixth, which is None."""
        parts = value if isinstance(value, tuple) and len(value) in (5, 6) else (None,) * 5
        kind, storage, key, _, elements = parts[:5]
        known = isinstance(storage, Name) and storage.module == "torch" and storage.name in STORAGES
        counted = type(elements) is int and 0 <= elements < 1 << 48
        if kind != "storage" or not known or not isinstance(key, str) or not counted or parts[5:] not in ((), (None,)):
            raise self.refuse(f"{describe(value)} is no storage that is known")
        return Storage(key, STORAGES[storage.name], elements)

    def tensor(self, storage, offset, shape, stride, *_) -> View:
        if not isinstance(storage, Storage) or not all(
            isinstance(n, (tuple, list)) and len(n) <= 8 for n in (shape, stride)
        ):
            raise TypeError
        if len(shape) != len(stride) or not all(type(n) is int and 0 <= n < 1 << 48 for n in (offset, *shape, *stride)):
            raise TypeError
        elements = math.prod(shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride))
        if elements > storage.elements or (elements and last >= storage.elements):
            raise self.refuse(f"a tensor of shape {shape} lies outside its storage of {storage.elements} values")
        return View(storage, offset, tuple(shape), tuple(stride))

    def call(self, name, arguments):
        if not isinstance(name, Name):
            raise self.refuse("something that is no function is called")
        try:
            if name.name == "_rebuild_tensor_v2":
                return self.tensor(*arguments)
            if name.name == "_rebuild_parameter" and isinstance(arguments[0], View):
                return arguments[0]
            if name.name == "OrderedDict" and not arguments:
                return {}
            if name.name in LISTS and isinstance(arguments[0], list):
                return arguments[0]
        except (TypeError, IndexError):
            pass
        raise self.refuse(f"{describe(name)} is called with {describe(arguments)}")

    # ---- instructions

    def put(self, key, value, to) -> None:
        if not isinstance(to, dict):
            raise self.refuse("a key is set in what is no dictionary")
        if not isinstance(key, (str, int, float, bool, type(None))):
            raise self.refuse(f"a key of a dictionary is {describe(key)}")
        to[key] = value

    def put_all(self, values: list, to) -> None:
        for key, value in zip(values[::2], values[1::2], strict=True):
            self.put(key, value, to)

    def build(self) -> None:
        """TorchScript's modules get their attributes so; what torch.save hangs onto a dictionary is not needed."""
        state = self.pop()
        of = self.stack[-1]
        if not isinstance(of, dict):
            raise self.refuse("attributes are set of what is no dictionary")
        if isinstance(state, dict) and "_metadata" not in state:
            self.spend(len(state))
            for key, value in state.items():
                self.put(key, value, of)

    def step(self, operation: str, argument) -> bool:
        """False: the pickle has ended."""
        stack, memo = self.stack, self.memo
        if operation in ("PROTO", "FRAME"):
            pass
        elif operation == "MARK":
            stack.append(MARK)
        elif operation == "NONE":
            stack.append(None)
        elif operation in ("NEWTRUE", "NEWFALSE"):
            stack.append(operation == "NEWTRUE")
        elif operation in CONSTANTS:
            stack.append(argument)
        elif operation == "EMPTY_DICT":
            stack.append({})
        elif operation == "EMPTY_LIST":
            stack.append([])
        elif operation == "EMPTY_TUPLE":
            stack.append(())
        elif operation == "TUPLE":
            stack.append(tuple(self.to_mark()))
        elif operation in ("TUPLE1", "TUPLE2", "TUPLE3"):
            values = [self.pop() for _ in range(int(operation[-1]))]
            stack.append(tuple(reversed(values)))
        elif operation == "LIST":
            stack.append(self.to_mark())
        elif operation == "DICT":
            values, made = self.to_mark(), {}
            self.put_all(values, made)
            stack.append(made)
        elif operation == "APPEND":
            value = self.pop()
            self.list_at_top().append(value)
        elif operation == "APPENDS":
            values = self.to_mark()
            self.list_at_top().extend(values)
        elif operation == "SETITEM":
            value, key = self.pop(), self.pop()
            self.put(key, value, stack[-1])
        elif operation == "SETITEMS":
            values = self.to_mark()
            self.put_all(values, stack[-1])
        elif operation in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(argument)] = stack[-1]
        elif operation == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif operation in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(argument)])
        elif operation == "POP":
            self.pop()
        elif operation == "GLOBAL":
            stack.append(self.name(*argument.split(" ", 1)))
        elif operation == "STACK_GLOBAL":
            name, module = self.pop(), self.pop()
            stack.append(self.name(module, name))
        elif operation == "BINPERSID":
            stack.append(self.persistent(self.pop()))
        elif operation == "REDUCE":
            arguments, name = self.pop(), self.pop()
            stack.append(self.call(name, arguments))
        elif operation == "NEWOBJ":
            arguments, name = self.pop(), self.pop()
            if not isinstance(name, Name) or not name.module.startswith("__torch__") or arguments != ():
                raise self.refuse(f"an object of {describe(name)} is made")
            stack.append({})
        elif operation == "BUILD":
            self.build()
        elif operation == "STOP":
            return False
        else:
            raise self.refuse(f"the pickle has the instruction {operation}")
        return True

    def list_at_top(self) -> list:
        if not isinstance(self.stack[-1], list):
            raise self.refuse("something is appended to what is no list")
        return self.stack[-1]

    def run(self, file: io.BytesIO):
        done = 0
        try:
            for operation, argument, _ in pickletools.genops(file):
                done += 1
                self.spend(1)
                if not self.step(operation.name, argument):
                    break
            return self.pop()
        except (IndexError, KeyError):
            raise Refused(f"{self.where}: the pickle is broken at instruction {done}") from None
        except (ValueError, TypeError, OverflowError, RecursionError, UnicodeDecodeError) as error:
            raise Refused(f"{self.where}: the pickle is broken at instruction {done}: {str(error)[:100]}") from None


CONSTANTS = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "STRING",
}  # fmt: skip


# ---- where storages are


def _view(where: str, view: View, data: np.ndarray) -> Tensor:
    stored = np.dtype(DTYPES[view.storage.dtype])
    if len(data) < view.storage.elements * stored.itemsize:
        raise Refused(
            f'{where}: storage "{view.storage.key[:40]}" has {len(data)} bytes, '
            f"{view.storage.elements} values of {view.storage.dtype} are {view.storage.elements * stored.itemsize}"
        )
    values = data[: view.storage.elements * stored.itemsize].view(stored)[view.offset :]
    strides = [step * stored.itemsize for step in view.stride]
    return Tensor(view.storage.dtype, np.lib.stride_tricks.as_strided(values, view.shape, strides, writeable=False))


class Archive:
    """A zip file whose entries are stored as they are, so that each is a part of the mapped file."""

    def __init__(self, path: Path):
        self.path = path
        self.bytes = map_file(path)
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, NotImplementedError) as error:
            raise Refused(f"{path}: not a whole zip archive: {error}") from None
        self.entries = {entry.filename: entry for entry in entries}
        if len(self.entries) != len(entries):
            raise Refused(f"{path}: the archive has two entries of one name")
        pickles = [name for name in self.entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused(f"{path}: the archive has {len(pickles)} entries data.pkl; that of torch.save has one")
        self.prefix = pickles[0].removesuffix("data.pkl")

    def read(self, name: str) -> np.ndarray:
        entry = self.entries.get(self.prefix + name)
        if entry is None:
            raise Refused(f'{self.path}: the archive has no entry "{self.prefix[:60]}{name[:60]}"')
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise Refused(
                f'{self.path}: entry "{entry.filename[:60]}" is compressed or encrypted, as torch.save leaves none'
            )
        head = self.bytes[entry.header_offset : entry.header_offset + 30].tobytes()
        at = entry.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        if len(head) < 30 or head[:4] != b"PK\x03\x04" or at + entry.file_size > len(self.bytes):
            raise Refused(f'{self.path}: entry "{entry.filename[:60]}" lies outside the file')
        return self.bytes[at : at + entry.file_size]


def _pickle_bytes(where: str, data: np.ndarray) -> io.BytesIO:
    if len(data) > MOST_PICKLE:
        raise Refused(f"{where}: a pickle of {len(data)} bytes; at most {MOST_PICKLE} are accepted")
    return io.BytesIO(data.tobytes())


def _from_archive(path: Path) -> tuple[dict[str, Tensor], bool]:
    archive = Archive(path)
    if archive.prefix + "byteorder" in archive.entries and archive.read("byteorder").tobytes() != b"little":
        raise Refused(f"{path}: its storages are not little-endian")
    tree = Machine(str(path)).run(_pickle_bytes(str(path), archive.read("data.pkl")))
    script = archive.prefix + "constants.pkl" in archive.entries  # TorchScript
    return _resolve(str(path), tree, lambda storage: archive.read(f"data/{storage.key}")), script


MAGIC = 0x1950A86A20F9469CFC6C


def _from_stream(path: Path) -> dict[str, Tensor]:
    """Pickles one behind the other: a magic number, a version, the machine, the model, the storages' keys; then each
    storage, 8 bytes that count its values before them."""
    data = map_file(path)
    stream = io.BytesIO(data[:MOST_PICKLE].tobytes())
    where = str(path)
    if Machine(where).run(stream) != MAGIC:
        raise Refused(f"{path}: a pickle, but none of torch.save")
    Machine(where).run(stream)
    machine = Machine(where).run(stream)
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise Refused(f"{path}: its storages are not little-endian")
    tree, keys = Machine(where).run(stream), Machine(where).run(stream)
    sizes = {}
    _visit(
        where,
        tree,
        lambda name, value: sizes.update({value.storage.key: value.storage}) if isinstance(value, View) else None,
    )
    found, at = {}, stream.tell()
    for key in keys if isinstance(keys, list) else ():
        storage = sizes.get(str(key))
        if storage is None:
            raise Refused(f'{path}: storage "{str(key)[:40]}" belongs to no tensor')
        count, size = int.from_bytes(data[at : at + 8].tobytes(), "little"), np.dtype(DTYPES[storage.dtype]).itemsize
        if count != storage.elements:
            raise Refused(f'{path}: storage "{str(key)[:40]}" has {count} values, its tensors say {storage.elements}')
        found[storage.key] = data[at + 8 : at + 8 + count * size]
        at += 8 + count * size
    return _resolve(where, tree, lambda storage: found.get(storage.key, data[:0]))


# ---- from the tree to tensors by name


def _visit(where: str, tree, found, name: str = "", depth: int = 0, left: list | None = None) -> None:
    """Calls found(name, value) for every leaf of dictionaries in dictionaries, names joined by dots."""
    left = left if left is not None else [MOST_VALUES]
    left[0] -= 1
    if depth > MOST_DEPTH or left[0] < 0:
        raise Refused(f'{where}: "{name[:100]}" is nested without end')
    if isinstance(tree, dict):
        for key, value in tree.items():
            _visit(where, value, found, f"{name}.{key}" if name else str(key), depth + 1, left)
    else:
        found(name, tree)


def _resolve(where: str, tree, storage_of) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}

    def keep(name, value):
        if isinstance(value, View):
            if name in tensors:
                raise Refused(f'{where}: tensor "{name[:100]}" is there twice')
            tensors[name] = _view(f'{where}: tensor "{name[:100]}"', value, storage_of(value.storage))

    _visit(where, tree, keep)
    return tensors


def read_torch(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Every tensor of a file of PyTorch's by its path in the dictionaries, and whether it is a TorchScript archive."""
    data = map_file(path)
    head = data[:4].tobytes()
    if head[:2] == b"PK" or head[:1] == b"\x80":
        tensors, script = _from_archive(path) if head[:2] == b"PK" else (_from_stream(path), False)
        return check_size(path, tensors, len(data)), script
    raise Refused(f"{path}: neither an archive nor a pickle of PyTorch's: it begins with {head!r}")
