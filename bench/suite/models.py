"""The models that are measured: the bundled one, random weights of published shapes, CLIP and SigLIP as transformers saves them.

Synthetic models are format limoe-1, a MoE in every second block, made by bench/synthetic; those of transformers by
tests/families/full.py. Both are kept in a folder, and made only where they are missing.
"""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = "pictograms"
SHAPES = {  # what bench/synthetic is asked for
    "s16": ["--preset", "b16", "--width", "384", "--heads", "6", "--mlp", "1536", "--embed", "384"],
    "b32": ["--preset", "b16", "--patch", "32"],
    "b16": ["--preset", "b16"],
    "l14": ["--preset", "l16", "--patch", "14"],
}
FAMILIES = {"clip-b32": "clip-vit-base-patch32", "clip-l14": "clip-vit-large-patch14", "siglip-b16": "siglip-base-patch16-224"}
OPEN_CLIP = {  # model_type, patch, vision width -> the configuration of the same shape
    ("clip", 32, 768): "ViT-B-32-quickgelu",
    ("clip", 16, 768): "ViT-B-16-quickgelu",
    ("clip", 14, 1024): "ViT-L-14-quickgelu",
    ("siglip", 16, 768): "ViT-B-16-SigLIP",
}
EXPERTS = (1, 8, 32)
ALL = [BUNDLED, *(f"{shape}-{experts}" for shape in SHAPES for experts in EXPERTS), *FAMILIES]


def is_name(name: str) -> bool:
    shape, _, experts = name.rpartition("-")
    return name in ALL or (shape in SHAPES and experts.isdigit() and 1 <= int(experts) <= 1024)


def _synthetic(name: str, folder: Path, build: Path) -> None:
    shape, _, experts = name.rpartition("-")
    sparse = ["--experts", experts] if experts != "1" else ["--moe-layers", "0"]
    scratch = folder.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    command = [build / "bench/synthetic", *SHAPES[shape], *sparse, "--out", scratch, "--name", name]
    command += ["--tokenizer", ROOT / "models/pictograms/tokenizer.model"]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    scratch.rename(folder)


def _family(name: str, kept: Path, build: Path) -> None:
    command = [sys.executable, ROOT / "tests/families/full.py", "--build", build, "--keep", kept, FAMILIES[name]]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def folder_of(name: str, kept: Path, build: Path) -> Path:
    """The model's directory, made where it is missing."""
    if name == BUNDLED:
        return ROOT / "models/pictograms"
    kept.mkdir(parents=True, exist_ok=True)
    folder = kept / FAMILIES.get(name, name)
    whole = folder / ("items.safetensors" if name in FAMILIES else "config.json")  # what is written last
    if not whole.exists():
        (_family if name in FAMILIES else lambda n, k, b: _synthetic(n, folder, b))(name, kept, build)
    return folder


def is_limoe(folder: Path) -> bool:
    """Whether it is the project's own format, which PyTorch reads by train/model.py."""
    return "format" in json.loads((folder / "config.json").read_text())


def open_clip_name(folder: Path) -> str | None:
    """open_clip's own configuration of the model's shape, None where it has none: experts, for one."""
    config = json.loads((folder / "config.json").read_text())
    vision = config.get("vision_config", {})
    return OPEN_CLIP.get((config.get("model_type"), vision.get("patch_size"), vision.get("hidden_size")))


def float32_bytes(folder: Path) -> int:
    """Of all weights, whatever they are kept as."""
    heads = (json.loads(safetensors_head(path)) for path in folder.glob("*.safetensors") if path.name != "items.safetensors")
    return 4 * sum(math.prod(tensor["shape"]) for head in heads for name, tensor in head.items() if name != "__metadata__")


def safetensors_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(int.from_bytes(file.read(8), "little"))


def weights_file_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors") if path.name != "items.safetensors")


def text_tokens(folder: Path, wanted: int) -> int:
    """How many tokens each text is given: SigLIP attends to its padding, so all of them."""
    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") == "siglip":
        return config["text_config"].get("max_position_embeddings", 64)
    longest = config["text"]["length"] if "format" in config else config["text_config"].get("max_position_embeddings", 77)
    return min(wanted, longest)
