"""Augmentation: a random crop as Skip Tuning has it, mirrored where the classes allow it, and other colours and tones."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

AREA = (0.5, 1.0)  # of the square that a crop keeps
ASPECT = 4 / 3  # width to height at most, or the other way round
GREY = 0.3  # of the pictures lose their colour
SATURATION, CONTRAST, BRIGHTNESS = 0.4, 0.3, 0.15  # half the width of each draw
LUMA = torch.tensor([0.299, 0.587, 0.114])
DRAWS = 9  # numbers a picture, in the order of `augment`


def augment(pixels: Tensor, size: int, flip: bool, g: torch.Generator, colours: bool = True) -> Tensor:
    """uint8 [N, S, S, 3] -> uint8 [N, size, size, 3], one of each.

    u[:, 0..3] area, aspect, left, top of the crop; 4 the mirror; 5 grey or not; 6 saturation, 7 contrast, 8 brightness.
    """
    u = torch.rand((len(pixels), DRAWS), generator=g)
    x = crop(pixels.permute(0, 3, 1, 2).float(), size, flip, u)
    if colours:
        x = recolour(x, u)
    return x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def crop(x: Tensor, size: int, flip: bool, u: Tensor) -> Tensor:
    """[N, 3, S, S] -> [N, 3, size, size], bilinear."""
    area = AREA[0] + (AREA[1] - AREA[0]) * u[:, 0]
    aspect = torch.exp((2 * u[:, 1] - 1) * math.log(ASPECT))
    width, height = (area * aspect).sqrt().clamp(max=1.0), (area / aspect).sqrt().clamp(max=1.0)
    theta = torch.zeros(len(x), 2, 3)  # in the coordinates of affine_grid, where the square is [-1, 1]
    theta[:, 0, 0] = width * torch.where((u[:, 4] < 0.5) & flip, -1.0, 1.0)
    theta[:, 0, 2] = (2 * u[:, 2] - 1) * (1 - width)
    theta[:, 1, 1], theta[:, 1, 2] = height, (2 * u[:, 3] - 1) * (1 - height)
    grid = F.affine_grid(theta, (len(x), 3, size, size), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def recolour(x: Tensor, u: Tensor) -> Tensor:
    """Each of [N, 3, H, W] in 0 to 255: saturation about the luma, then contrast about white, so that white stays white,
    then brightness of what is not white."""
    luma = (x * LUMA[:, None, None]).sum(1, keepdim=True)
    saturation = torch.where(u[:, 5] < GREY, 0.0, 1 + SATURATION * (2 * u[:, 6] - 1))[:, None, None, None]
    contrast = (1 + CONTRAST * (2 * u[:, 7] - 1))[:, None, None, None]
    power = torch.exp(BRIGHTNESS * 4 * (2 * u[:, 8] - 1))[:, None, None, None]
    x = (luma + saturation * (x - luma)).clamp(0, 255)
    dark = (contrast * (1 - x / 255)).clamp(0, 1)
    return 255 * (1 - dark) ** power


def whole(pixels: Tensor, size: int) -> Tensor:
    """uint8 [N, S, S, 3] -> uint8 [N, size, size, 3], bicubic with antialiasing, as serving resizes."""
    x = F.interpolate(
        pixels.permute(0, 3, 1, 2).float(), (size, size), mode="bicubic", antialias=True, align_corners=False
    )
    return x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
