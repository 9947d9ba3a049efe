"""Starts a finer model from a coarser one of the same width and depth: what has the same shape is copied, the grid of
positions is interpolated, patch filters are resized, and longer texts get fresh positions after the known ones."""

import torch
import torch.nn.functional as F
from torch import Tensor

from model import LIMoE


def resized_positions(pos: Tensor, patches: int) -> Tensor:
    """[n, d] of a square grid -> [patches, d]: bicubic, corners of the picture kept in place."""
    old, new = round(len(pos) ** 0.5), round(patches**0.5)
    grid = pos.T.reshape(1, -1, old, old)
    return F.interpolate(grid, (new, new), mode="bicubic", align_corners=False).flatten(2)[0].T.contiguous()


def resized_filters(weight: Tensor, old: int, new: int) -> Tensor:
    """[d, old * old * 3] -> [d, new * new * 3], such that an even patch gives the answer that it gave."""
    filters = weight.view(-1, old, old, 3).permute(0, 3, 1, 2)
    resized = F.interpolate(filters, (new, new), mode="bicubic", align_corners=False)
    resized = resized * (filters.sum((2, 3)) / resized.sum((2, 3)))[:, :, None, None] if old != new else resized
    return resized.permute(0, 2, 3, 1).reshape(len(weight), -1)


@torch.no_grad()
def grow(model: LIMoE, small: LIMoE) -> None:
    """Fills model, freshly initialised, from small."""
    given, c = dict(small.named_parameters()), model.config
    for name, p in model.named_parameters():
        value = given.get(name)
        if value is None:
            raise ValueError(
                f"{small.config.name} has no {name}, which {c.name} needs: blocks {c.blocks}, MoE {c.moe['blocks']}"
            )
        if name == "image.pos":
            value = resized_positions(value, c.patches)
        elif name == "image.patch.weight":
            value = resized_filters(value, small.config.image["patch"], c.image["patch"])
        elif name == "text.pos":
            value = torch.cat([value[: len(p)], p[len(value) :]])
        if value.shape != p.shape:
            raise ValueError(f"{name} is {list(value.shape)} in {small.config.name} and {list(p.shape)} in {c.name}")
        p.copy_(value)
