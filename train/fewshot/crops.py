"""Augmentation as Skip Tuning has it: a random crop, resized, and mirrored where the classes allow it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

AREA = (0.5, 1.0)  # of the square that a crop keeps
ASPECT = 4 / 3  # width to height at most, or the other way round


def crops(pixels: Tensor, size: int, flip: bool, g: torch.Generator) -> Tensor:
    """uint8 [N, S, S, 3] -> uint8 [N, size, size, 3]: one crop of each, bilinear.

    Draws four numbers a picture, in this order: area, logarithm of the aspect, left, top; and one more for the mirror.
    """
    n = len(pixels)
    u = torch.rand((n, 5), generator=g)
    area = AREA[0] + (AREA[1] - AREA[0]) * u[:, 0]
    aspect = torch.exp((2 * u[:, 1] - 1) * math.log(ASPECT))
    width, height = (area * aspect).sqrt().clamp(max=1.0), (area / aspect).sqrt().clamp(max=1.0)
    # In the coordinates of affine_grid, where the square is [-1, 1].
    centre_x, centre_y = (2 * u[:, 2] - 1) * (1 - width), (2 * u[:, 3] - 1) * (1 - height)
    mirror = torch.where((u[:, 4] < 0.5) & flip, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width * mirror, centre_x
    theta[:, 1, 1], theta[:, 1, 2] = height, centre_y
    x = pixels.permute(0, 3, 1, 2).float()
    x = F.grid_sample(
        x, F.affine_grid(theta, (n, 3, size, size), align_corners=False), padding_mode="border", align_corners=False
    )
    return x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def whole(pixels: Tensor, size: int) -> Tensor:
    """uint8 [N, S, S, 3] -> uint8 [N, size, size, 3], bicubic with antialiasing, as serving resizes."""
    x = F.interpolate(
        pixels.permute(0, 3, 1, 2).float(), (size, size), mode="bicubic", antialias=True, align_corners=False
    )
    return x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
