"""Redraws pictures, a batch at a time: other poses, colours, outlines and backgrounds, so that what is learnt is the
thing drawn and not the style of drawing. RGBA uint8 [B, S, S, 4] in, RGB float [B, 3, size, size] in [0, 1] out."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = torch.tensor([0.299, 0.587, 0.114])


def uniform(shape, low: float, high: float, g: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=g) * (high - low) + low


def chance(b: int, p: float, g: torch.Generator) -> Tensor:
    return torch.rand(b, generator=g) < p


def pose(b: int, mirror: Tensor, zoom: Tensor, strength: float, g: torch.Generator) -> Tensor:
    """Affine maps from output to input coordinates: [B, 2, 3]."""
    angle = torch.randn(b, generator=g) * 0.12 * strength
    scale = torch.exp(uniform(b, -0.22, 0.10, g) * strength) * zoom
    stretch = torch.exp(torch.randn(b, generator=g) * 0.07 * strength)
    shear = torch.randn(b, generator=g) * 0.06 * strength
    sx, sy = 1 / (scale * stretch), stretch / scale
    sx = torch.where(mirror & chance(b, 0.2, g), -sx, sx)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = cos * sx, (-sin + shear) * sx.abs()
    theta[:, 1, 0], theta[:, 1, 1] = sin * sy, cos * sy
    theta[:, :, 2] = uniform((b, 2), -0.09, 0.09, g) * strength
    return theta


def recolour(b: int, mono: Tensor, strength: float, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Colour maps [B, 3, 3] and offsets [B, 3]: hue, saturation, contrast, brightness; tints for line drawings."""
    grey = LUMA.expand(3, 3)
    eye = torch.eye(3)
    # Rotation about the grey axis is hue.
    angle = torch.randn(b, generator=g) * 0.18 * strength
    angle = torch.where(chance(b, 0.05, g), uniform(b, -math.pi, math.pi, g), angle)
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    axis = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    hue = c * eye + (1 - c) * axis + s * cross
    saturation = torch.exp(torch.randn(b, generator=g) * 0.3 * strength)
    saturation = torch.where(chance(b, 0.05, g), torch.zeros(b), saturation)[:, None, None]
    contrast = torch.exp(torch.randn(b, generator=g) * 0.15 * strength)[:, None, None]
    matrix = contrast * (saturation * eye + (1 - saturation) * grey) @ hue
    offset = (0.5 * (1 - contrast[:, :, 0])) + torch.randn((b, 1), generator=g) * 0.08 * strength
    offset = offset.expand(b, 3).clone()
    tint = torch.rand((b, 3), generator=g) * 0.85
    tinted = mono & chance(b, 0.6, g)
    offset[tinted] = tint[tinted]
    return matrix, offset


def augment(
    pictures: Tensor, mono: Tensor, flag: Tensor, mirror: Tensor, size: int, g: torch.Generator, strength: float = 1.0
) -> Tensor:
    b = len(pictures)
    x = pictures.permute(0, 3, 1, 2).float() / 255
    alpha = x[:, 3:]
    x = torch.cat([x[:, :3] * alpha, alpha], 1)  # premultiplied, so that sampling does not bleed

    # Some styles draw flags round: the flag fills the height and a disc cuts it.
    disc = flag & chance(b, 0.45, g)
    theta = pose(b, mirror, torch.where(disc, 1.5, 1.0), strength, g)
    x = F.grid_sample(x, F.affine_grid(theta, (b, 4, size, size), align_corners=False), align_corners=False)
    if disc.any():
        axis = (torch.arange(size) + 0.5) / size * 2 - 1
        radius = (axis[:, None].square() + axis.square()).sqrt()
        mask = ((uniform((b, 1, 1), 0.86, 1.0, g) - radius) * size / 2).clamp(0, 1)
        x = torch.where(disc[:, None, None, None], x * mask[:, None], x)

    matrix, offset = recolour(b, mono, strength, g)
    rgb, alpha = x[:, :3], x[:, 3:]
    rgb = torch.bmm(matrix, rgb.flatten(2)).view_as(rgb) + offset[:, :, None, None] * alpha
    rgb = torch.minimum(rgb.clamp_min(0), alpha)

    white = torch.ones(b, 3)
    colour = torch.rand((b, 3), generator=g)
    background = torch.where(chance(b, 0.15, g)[:, None], 0.5 + colour / 2, white)
    background = torch.where(chance(b, 0.05, g)[:, None], colour, background)[:, :, None, None]
    # An outline: the shape grown by a pixel or two, in a dark colour, under the picture.
    outlined = chance(b, 0.12, g).nonzero().squeeze(1)
    if len(outlined):
        grown = F.max_pool2d(alpha[outlined], 3, 1, 1)
        ink = torch.rand((len(outlined), 3, 1, 1), generator=g) * 0.35
        under = background.expand(b, 3, size, size).clone()
        under[outlined] = under[outlined] * (1 - grown) + ink * grown
        background = under
    rgb = rgb + (1 - alpha) * background

    soft = chance(b, 0.15, g).nonzero().squeeze(1)
    if len(soft):
        rgb[soft] = F.avg_pool2d(rgb[soft], 3, 1, 1, count_include_pad=False)
    return rgb.clamp(0, 1)


def flatten_on_white(pictures: Tensor, size: int) -> Tensor:
    """As serving shows a picture: on white, resized with antialiasing. uint8 [B, size, size, 3]."""
    x = pictures.permute(0, 3, 1, 2).float()
    alpha = x[:, 3:] / 255
    x = x[:, :3] * alpha + 255 * (1 - alpha)
    x = F.interpolate(x, (size, size), mode="bicubic", antialias=True, align_corners=False)
    return x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
