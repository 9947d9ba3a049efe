"""What a model's forward pass has to do, from its config.json: operations, weights' bytes, and the floor of time under both.

A shape is one modality's tower. Operations count a multiplication and an addition as two. They are of linear layers,
attention over all pairs of tokens, the router, and of experts those that a token is sent to; norms, activations and softmax,
which no product's peak bounds, count nothing.
"""

import dataclasses
import json
from pathlib import Path

BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


@dataclasses.dataclass(frozen=True)
class Shape:
    width: int
    blocks: int
    mlp: int
    embed: int
    tokens: int  # of an item, a class token among them
    patches: int = 0  # of a picture; 0: items are texts
    patch_inputs: int = 0  # numbers in a patch
    sparse: int = 0  # blocks of experts
    experts: int = 1
    top_k: int = 1
    attention_pool: bool = False  # SigLIP's: one more attention, of one query, and one more MLP

    def operations(self, items: int) -> int:
        """Of one forward pass of so many items."""
        rows, d = items * self.tokens, self.width
        attention = 2 * rows * d * 4 * d + 4 * rows * self.tokens * d
        mlps = (self.blocks + (self.top_k - 1) * self.sparse) * 4 * rows * d * self.mlp
        router = self.sparse * 2 * rows * d * self.experts
        ends = 2 * items * (self.patches * self.patch_inputs * d + d * self.embed)
        pool = 4 * rows * d * d + items * (4 * self.tokens * d + 4 * d * d + 4 * d * self.mlp) if self.attention_pool else 0
        return self.blocks * attention + mlps + router + ends + pool

    def weights(self, items: int, dtype: str) -> int:
        """Bytes of weights that one forward pass reads: all of the dense part, and at most an expert for each choice."""
        d = self.width
        reached = min(self.experts, items * self.tokens * self.top_k)
        mlps = (self.blocks - self.sparse + reached * self.sparse) * 2 * d * self.mlp
        pool = 4 * d * d + 2 * d * self.mlp if self.attention_pool else 0
        dense = self.blocks * 4 * d * d + self.patch_inputs * d + d * self.embed + pool
        return (dense + mlps) * BYTES[dtype] + self.sparse * self.experts * d * BYTES["float32"]


def _limoe(config: dict, modality: str, tokens: int) -> Shape:
    c, image = config, config["image"]
    moe = c.get("moe") or {"blocks": []}
    patches = (image["size"] // image["patch"]) ** 2
    return Shape(
        width=c["width"], blocks=c["blocks"], mlp=c["mlp"], embed=c["embed"],
        tokens=patches if modality == "image" else tokens, patches=patches if modality == "image" else 0,
        patch_inputs=3 * image["patch"] ** 2 if modality == "image" else 0,
        sparse=len(moe["blocks"]), experts=moe.get("experts", 1), top_k=moe.get("top_k", 1),
    )  # fmt: skip


def _transformers(config: dict, modality: str, tokens: int) -> Shape:
    c = config["vision_config" if modality == "image" else "text_config"]
    siglip = config["model_type"] == "siglip"
    width = c["hidden_size"]
    embed = width if siglip else config["projection_dim"]
    if modality == "text":
        return Shape(width=width, blocks=c["num_hidden_layers"], mlp=c["intermediate_size"], embed=embed, tokens=tokens)
    patches = (c["image_size"] // c["patch_size"]) ** 2
    return Shape(
        width=width, blocks=c["num_hidden_layers"], mlp=c["intermediate_size"], embed=0 if siglip else embed,
        tokens=patches + (not siglip), patches=patches, patch_inputs=3 * c["patch_size"] ** 2, attention_pool=siglip,
    )  # fmt: skip


def shape_of(folder: Path, modality: str, tokens: int) -> Shape:
    """The tower of pictures ("image") or of texts ("text", each of so many tokens) of a model directory."""
    config = json.loads((folder / "config.json").read_text())
    return (_limoe if config.get("format", "").startswith("limoe") else _transformers)(config, modality, tokens)


@dataclasses.dataclass(frozen=True)
class Step:
    """What one call computes: so many pictures, so many texts."""

    pictures: int
    texts: int

    @staticmethod
    def of(modality: str, batch: int) -> "Step":
        """Of "image", "text" or "mixed", where every second item is a text."""
        texts = {"image": 0, "text": batch, "mixed": batch // 2}[modality]
        return Step(batch - texts, texts)


def operations(folder: Path, step: Step, tokens: int) -> int:
    return sum(shape_of(folder, m, tokens).operations(n) for m, n in (("image", step.pictures), ("text", step.texts)) if n)


def weights(folder: Path, step: Step, tokens: int, dtype: str) -> int:
    """Bytes of weights that a call reads. Where both modalities share a tower, the larger of the two is about all of it."""
    sizes = [shape_of(folder, m, tokens).weights(n, dtype) for m, n in (("image", step.pictures), ("text", step.texts)) if n]
    shared = json.loads((folder / "config.json").read_text()).get("format") == "limoe-1"
    return max(sizes) if shared else sum(sizes)


@dataclasses.dataclass(frozen=True)
class Rates:
    operations: float  # per second
    bytes: float  # per second, of memory
    cache: float  # bytes that stay near from call to call


def floor_seconds(work: float, moved: float, rates: Rates) -> float:
    """The time that neither the products nor the memory can go below. Bytes count only where no cache holds them."""
    return max(work / rates.operations, moved / rates.bytes if moved > rates.cache else 0.0)
