"""CLIP as OpenAI and OpenCLIP name it: "visual.…", "transformer.resblocks.…". The sizes are in the tensors' shapes; what is
not is how many heads there are, the activation and the norms' epsilon, which open_clip_config.json says.
"""

import math
import re
from collections.abc import Mapping

import numpy as np

from checkpoints import Refused
from checkpoints.tensors import FRACTIONS, Tensor, join

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]

# OpenCLIP's ViTs by name: embedding; picture, patch, width, head, layers, MLP's ratio; text's width, heads, layers.
_SIZES = {
    "ViT-S-32": (384, 224, 32, 384, 64, 12, 4.0, 384, 6, 12),
    "ViT-S-16": (384, 224, 16, 384, 64, 12, 4.0, 384, 6, 12),
    "ViT-M-32": (512, 224, 32, 512, 64, 12, 4.0, 512, 8, 12),
    "ViT-M-16": (512, 224, 16, 512, 64, 12, 4.0, 512, 8, 12),
    "ViT-B-32": (512, 224, 32, 768, 64, 12, 4.0, 512, 8, 12),
    "ViT-B-32-256": (512, 256, 32, 768, 64, 12, 4.0, 512, 8, 12),
    "ViT-B-16": (512, 224, 16, 768, 64, 12, 4.0, 512, 8, 12),
    "ViT-B-16-plus": (640, 224, 16, 896, 64, 12, 4.0, 640, 10, 12),
    "ViT-B-16-plus-240": (640, 240, 16, 896, 64, 12, 4.0, 640, 10, 12),
    "ViT-L-16": (768, 224, 16, 1024, 64, 24, 4.0, 768, 12, 12),
    "ViT-L-14": (768, 224, 14, 1024, 64, 24, 4.0, 768, 12, 12),
    "ViT-L-14-280": (768, 280, 14, 1024, 64, 24, 4.0, 768, 12, 12),
    "ViT-L-14-336": (768, 336, 14, 1024, 64, 24, 4.0, 768, 12, 12),
    "ViT-H-16": (1024, 224, 16, 1280, 80, 32, 4.0, 1024, 16, 24),
    "ViT-H-14": (1024, 224, 14, 1280, 80, 32, 4.0, 1024, 16, 24),
    "ViT-H-14-378": (1024, 378, 14, 1280, 80, 32, 4.0, 1024, 16, 24),
    "ViT-g-14": (1024, 224, 14, 1408, 88, 40, 4.3637, 1024, 16, 24),
    "ViT-bigG-14": (1280, 224, 14, 1664, 104, 48, 4.9231, 1280, 20, 32),
}
QUICK = "-quickgelu"
_QUICK_TOO = ("ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336", "ViT-H-14", "ViT-H-14-378", "ViT-bigG-14")


def architectures() -> list[str]:
    return sorted([*_SIZES, *(name + QUICK for name in _QUICK_TOO)])


def architecture(name: str) -> dict:
    """model_cfg of an architecture by OpenCLIP's name for it."""
    if name not in architectures():
        raise Refused(f'no architecture "{name}" is known; those that are: {", ".join(architectures())}')
    embed, size, patch, width, head, layers, ratio, text, heads, text_layers = _SIZES[name.removesuffix(QUICK)]
    vision = dict(image_size=size, layers=layers, width=width, patch_size=patch)
    vision |= dict(head_width=head) if head != 64 else {}
    vision |= dict(mlp_ratio=ratio) if ratio != 4 else {}
    words = dict(context_length=77, vocab_size=49408, width=text, heads=heads, layers=text_layers)
    quick = dict(quick_gelu=True) if name.endswith(QUICK) else {}
    return dict(embed_dim=embed, **quick, vision_cfg=vision, text_cfg=words)


def whole_config(model: dict) -> dict:
    return dict(
        model_cfg=model, preprocess_cfg=dict(mean=MEAN, std=STD, interpolation="bicubic", resize_mode="shortest")
    )


# ---- what tensors say


def need(where: str, tensors: Mapping[str, Tensor], name: str, rank: int) -> Tensor:
    if name not in tensors:
        raise Refused(f'{where}: tensor "{name}" is missing')
    if len(tensors[name].shape) != rank:
        raise Refused(f'{where}: tensor "{name}" has shape {tensors[name].shape}; {rank} dimensions are due')
    return tensors[name]


def count_blocks(where: str, tensors: Mapping[str, Tensor], prefix: str) -> int:
    numbers = {int(m[1]) for name in tensors if (m := re.match(re.escape(prefix) + r"(\d{1,4})\.", name))}
    if not numbers or numbers != set(range(len(numbers))):
        raise Refused(f'{where}: blocks "{prefix}…" are {sorted(numbers)[:8] or "missing"}; all from 0 on are due')
    return len(numbers)


def sizes(where: str, tensors: Mapping[str, Tensor]) -> dict:
    """What the shapes say of a CLIP with a ViT."""
    if "visual.conv1.weight" not in tensors or "visual.layer1.0.conv1.weight" in tensors:
        raise Refused(f'{where}: no "visual.conv1.weight" of a ViT; a ResNet is not supported')
    conv = need(where, tensors, "visual.conv1.weight", 4).shape
    rows = need(where, tensors, "visual.positional_embedding", 2).shape[0]
    side = math.isqrt(max(rows - 1, 0))
    if conv[1] != 3 or conv[2] != conv[3] or side < 1 or side * side != rows - 1:
        raise Refused(
            f"{where}: patches of shape {conv} and {rows} positions are no square of patches and a class token"
        )
    length, text = need(where, tensors, "positional_embedding", 2).shape
    return dict(
        embed=need(where, tensors, "visual.proj", 2).shape[1],
        image=side * conv[2],
        patch=conv[2],
        width=conv[0],
        layers=count_blocks(where, tensors, "visual.transformer.resblocks."),
        vocab=need(where, tensors, "token_embedding.weight", 2).shape[0],
        length=length,
        text=text,
        text_layers=count_blocks(where, tensors, "transformer.resblocks."),
    )


def mlp_width(where: str, tensors: Mapping[str, Tensor], prefix: str) -> int:
    names = [n for n in tensors if n.startswith(prefix) and n.endswith(".c_fc.weight")]
    if not names:
        raise Refused(f'{where}: no "{prefix}….c_fc.weight"')
    return need(where, tensors, names[0], 2).shape[0]


def openai_config(where: str, tensors: Mapping[str, Tensor]) -> dict:
    """open_clip_config.json of OpenAI's own models: heads of 64, QuickGELU."""
    s = sizes(where, tensors)
    if s["width"] % 64 or s["text"] % 64:
        raise Refused(
            f"{where}: widths {s['width']} and {s['text']} are no multiples of OpenAI's heads of 64; give --config"
        )
    vision = dict(image_size=s["image"], layers=s["layers"], width=s["width"], patch_size=s["patch"])
    ratio = mlp_width(where, tensors, "visual.transformer.resblocks.") / s["width"]
    if ratio != 4:
        vision["mlp_ratio"] = ratio
    words = dict(
        context_length=s["length"],
        vocab_size=s["vocab"],
        width=s["text"],
        heads=s["text"] // 64,
        layers=s["text_layers"],
    )
    ratio = mlp_width(where, tensors, "transformer.resblocks.") / s["text"]
    if ratio != 4:
        words["mlp_ratio"] = ratio
    return whole_config(dict(embed_dim=s["embed"], quick_gelu=True, vision_cfg=vision, text_cfg=words))


def check_config(where: str, tensors: Mapping[str, Tensor], config: dict, said: str) -> None:
    """That a config which came from elsewhere is this checkpoint's."""
    model = config.get("model_cfg")
    if not isinstance(model, dict) or not isinstance(model.get("vision_cfg"), dict):
        raise Refused(f'{said}: no "model_cfg" with a "vision_cfg"')
    if "visual.conv1.weight" not in tensors or "text.positional_embedding" in tensors:
        return  # timm's tower, or a text tower apart: the engine compares them when it opens the folder
    s, vision, words = sizes(where, tensors), model["vision_cfg"], model.get("text_cfg") or {}
    pairs = (
        ("embed_dim", model.get("embed_dim"), s["embed"]),
        ("vision_cfg.image_size", vision.get("image_size", 224), s["image"]),
        ("vision_cfg.patch_size", vision.get("patch_size", 16), s["patch"]),
        ("vision_cfg.width", vision.get("width", 768), s["width"]),
        ("vision_cfg.layers", vision.get("layers", 12), s["layers"]),
        ("text_cfg.context_length", words.get("context_length", 77), s["length"]),
        ("text_cfg.vocab_size", words.get("vocab_size", 49408), s["vocab"]),
        ("text_cfg.width", words.get("width", 512), s["text"]),
        ("text_cfg.layers", words.get("layers", 12), s["text_layers"]),
    )
    for key, has, due in pairs:
        if has not in (due, [due, due]):
            raise Refused(f'{said}: "{key}" is {has}, the tensors of {where} say {due}')


# ---- tensors


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what training puts around a model: "state_dict.", "module."."""
    for prefix in ("state_dict.", "module.", "_orig_mod."):
        inside = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        if inside and any(name.endswith(".weight") for name in inside):
            tensors = inside
    return dict(tensors)


IGNORED = re.compile(r"(^|\.)(attn_mask|position_ids|input_resolution|context_length|vocab_size|mask1|mask2)$")


def weights(where: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those that answers depend on; what is of no dtype that limoe serves becomes float32, or is refused."""
    kept = {}
    for name, t in tensors.items():
        if IGNORED.search(name):
            continue
        if t.dtype not in FRACTIONS:
            raise Refused(f'{where}: tensor "{name[:100]}" is {t.dtype}; {", ".join(FRACTIONS)} are accepted')
        kept[name] = Tensor("F32", t.float32()) if t.dtype == "F64" else t
    return kept


LONG_KEPT = 20  # positions that Long-CLIP leaves as they were


def merge_positions(where: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Long-CLIP (arXiv 2403.15378) and CLIP-MoE add two tables: the first 20 rows of one, the others of the other."""
    rest = tensors.pop("positional_embedding_res", None)
    if rest is None:
        return tensors
    first = need(where, tensors, "positional_embedding", 2)
    if first.shape != rest.shape or len(first.values) <= LONG_KEPT:
        raise Refused(f"{where}: positional_embedding has shape {first.shape}, positional_embedding_res {rest.shape}")
    parts = [first.map(lambda v: v[:LONG_KEPT]), rest.map(lambda v: v[LONG_KEPT:])]
    return tensors | {"positional_embedding": join(parts, np.concatenate)}
