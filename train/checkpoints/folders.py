"""A model's folder: written beside its place and moved there whole, so that nobody ever sees half of one."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from checkpoints import Refused
from checkpoints.tensors import Tensor, read_index, read_safetensors, write_safetensors

CONFIGS = ("config.json", "open_clip_config.json")
# What a tokenizer is made of, whichever it is.
TOKENIZERS = (
    "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
    "spiece.model", "vocab.txt", "bpe_simple_vocab_16e6.txt", "bpe_simple_vocab_16e6.txt.gz",
)  # fmt: skip
# How pictures are prepared, in Hugging Face's folders.
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
WEIGHTS = {
    "config.json": "model.safetensors",
    "open_clip_config.json": "open_clip_model.safetensors",
}


def read_json(path: Path) -> dict:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise Refused(f"{path}: not JSON") from None
    if not isinstance(value, dict):
        raise Refused(f"{path}: not a JSON object")
    return value


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The safetensors of a folder that limoe serves."""
    for name in ("model.safetensors", "open_clip_model.safetensors"):
        if (folder / name).is_file():
            return read_safetensors(folder / name)
        if (folder / (name + ".index.json")).is_file():
            return read_index(folder / (name + ".index.json"), read_safetensors)
    raise Refused(f"{folder}: neither model.safetensors nor open_clip_model.safetensors, nor an index of either")


def check_place(out: Path, force: bool) -> None:
    """Before anything is read: is there room for the folder, or a model that may be replaced?"""
    if not out.exists() and not out.is_symlink():
        if not out.absolute().parent.is_dir():
            raise Refused(f"{out.absolute().parent}: no such folder")
        return
    if not out.is_dir() or out.is_symlink():
        raise Refused(f"{out}: is there, and is no folder")
    if any(out.iterdir()):
        if not force:
            raise Refused(f"{out}: is there; --force replaces it")
        if not any((out / name).is_file() for name in CONFIGS):
            raise Refused(f"{out}: is there and holds no model, which is all that --force replaces")


def write_folder(
    out: Path,
    config_name: str,
    config: Mapping,
    tensors: Mapping[str, Tensor],
    files: Iterable[Path],
    card: str,
    force: bool,
) -> None:
    """`files` are copied by their names; `card` becomes README.md."""
    check_place(out, force)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    try:
        write_safetensors(partial / WEIGHTS[config_name], tensors)
        for file in files:
            shutil.copyfile(file, partial / file.name)
        (partial / "README.md").write_text(card)
        (partial / config_name).write_text(json.dumps(config, indent=1) + "\n")
        partial.chmod(0o755)
        if out.exists() and any(out.iterdir()):
            old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.absolute().parent))
            out.rename(old / out.name)
            partial.rename(out)
            shutil.rmtree(old)
        else:
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def tokenizer_files(*places: Path | None) -> list[Path]:
    """Those of the first place, a folder or one file, that has any."""
    for place in places:
        if place is None:
            continue
        if place.is_file():
            return [place]
        if found := [place / name for name in TOKENIZERS if (place / name).is_file()]:
            return found
    return []
