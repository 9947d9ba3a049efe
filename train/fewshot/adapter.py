"""Files of format limoe-adapter-1 (docs/format.md): what tuning changed, and what it was made of."""

import json
import re
import struct
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

KEY = "limoe-adapter"
FORMAT = "limoe-adapter-1"
KINDS = ("probe", "tail", "lora")


class BadAdapter(ValueError):
    """What is wrong with an adapter file."""


def save(
    path: Path, kind: str, base: str, tensors: dict[str, Tensor], labels: list[str], templates: list[str],
    strength: float, training: dict, start_block: int | None = None, dtype: torch.dtype = torch.float32,
) -> None:  # fmt: skip
    if kind not in KINDS:
        raise BadAdapter(f"kind {kind!r}: expected one of {', '.join(KINDS)}")
    if not re.fullmatch("[0-9a-f]{32}", base):
        raise BadAdapter(f"base {base!r}: expected the 32 hexadecimal digits of a fingerprint")
    about = {"format": FORMAT, "kind": kind, "base": base}
    if kind == "tail":
        about["start_block"] = start_block
    about |= {"labels": labels, "templates": templates, "strength": strength, "training": training}
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":"))
    new = path.with_name(path.name + ".new")
    save_file({name: t.to(dtype).contiguous().clone() for name, t in tensors.items()}, new, {KEY: text})
    new.chmod(0o644)  # safetensors makes files that only their owner reads
    new.rename(path)


def load(path: Path) -> tuple[dict, dict[str, Tensor]]:
    """(what the file says of itself, its tensors as float32)."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    about = json.loads(header.get("__metadata__", {}).get(KEY, "null"))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise BadAdapter(f"{path}: not an adapter of format {FORMAT}: no {KEY!r} in the file's metadata says so")
    return about, {name: t.float() for name, t in load_file(path).items()}
