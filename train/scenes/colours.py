"""Colours in CIELAB: what word names a colour, what word names a picture, and giving a picture another colour."""

import numpy as np

from .lexicon import COLOURS

# The middle of what each word means, sRGB.
TARGET = {
    "red": (212, 36, 40), "orange": (244, 130, 24), "yellow": (248, 210, 40), "green": (50, 160, 66), "blue": (45, 105, 212),
    "purple": (138, 66, 176), "pink": (244, 136, 180), "brown": (126, 78, 44), "black": (38, 38, 40), "grey": (138, 138, 140),
}  # fmt: skip
NAMES = ("", *COLOURS, "white")  # index in the naming table; 0 is a colour that no word names for certain
DOMINANT = 0.5  # the share of a thing's visible pixels that must bear the word
WHITE_POINT = np.array([0.95047, 1.0, 1.08883])
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 255] -> L, a, b under D65."""
    c = np.asarray(rgb, float) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    t = linear @ TO_XYZ.T / WHITE_POINT
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def to_rgb(lab: np.ndarray) -> np.ndarray:
    """Clipped to the sRGB cube and rounded to bytes."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * WHITE_POINT
    linear = np.clip(xyz @ np.linalg.inv(TO_XYZ).T, 0, 1)
    c = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * c).astype(np.uint8)


def name_of(lab: np.ndarray) -> np.ndarray:
    """Index into NAMES of each colour. Between two words lies a gap that is named by neither."""
    lightness, a, b = np.moveaxis(np.round(lab, 3), -1, 0)
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360
    lit = {
        "red": ((hue < 46) | (hue > 352)) & (chroma >= 42) & (lightness >= 26) & (lightness <= 60) & ~((hue > 352) & (lightness > 52)),
        "orange": (hue >= 50) & (hue < 78) & (chroma >= 50) & (lightness >= 57) & (lightness <= 82),
        "yellow": (hue >= 80) & (hue < 112) & (chroma >= 38) & (lightness >= 70),
        "green": (hue >= 118) & (hue < 178) & (chroma >= 20) & (lightness >= 24) & (lightness <= 88),
        "blue": (hue >= 235) & (hue < np.where(chroma > 85, 308, 303)) & (chroma >= 22) & (lightness >= 15) & (lightness <= 75),
        "purple": (hue >= 309) & (hue < 338) & (chroma >= 25) & (lightness >= 16) & (lightness <= 62),
        "pink": ((hue >= 335) | (hue < 18)) & (chroma >= 16) & (lightness >= 63) & (lightness <= 90),
        "brown": (hue >= 38) & (hue < 82) & (chroma >= 14) & (chroma <= 58) & (lightness >= 18) & (lightness <= 53),
        "black": (chroma < 12) & (lightness < 32),
        "grey": (chroma < 9) & (lightness >= 38) & (lightness <= 80),
        "white": (chroma < 9) & (lightness > 90),
    }  # fmt: skip
    names = np.zeros(lightness.shape, np.uint8)
    for name, inside in lit.items():
        names[inside] = NAMES.index(name)
    return names


def naming_table() -> np.ndarray:
    """uint8 [2^18]: the word for each sRGB colour cut to six bits a channel, at the middle of its cell."""
    axis = np.arange(64) * 4 + 2
    return name_of(to_lab(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1))).reshape(-1)


TABLE = naming_table()
BLACK = NAMES.index("black")
GOAL = {colour: to_lab(np.array(rgb)) for colour, rgb in TARGET.items()}


def dominant(rgb: np.ndarray) -> tuple[str, float]:
    """(word, its share) of pixels uint8 [N, 3]. Black that covers less than half is outline: it counts for nothing, and
    the word must bear DOMINANT of what is left and a third of all. No word ("") where none does."""
    if not len(rgb):
        return "", 0.0
    c = rgb.astype(np.int32) >> 2
    counts = np.bincount(TABLE[(c[:, 0] << 12) | (c[:, 1] << 6) | c[:, 2]], minlength=len(NAMES))
    inside = len(rgb)
    if counts[BLACK] < DOMINANT * len(rgb):
        inside -= int(counts[BLACK])
        counts[BLACK] = 0
    best = int(counts[1:].argmax()) + 1
    share = float(counts[best] / inside)
    named = share >= DOMINANT and 3 * counts[best] >= len(rgb) and NAMES[best] != "white"
    return (NAMES[best] if named else ""), share


def recoloured(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """RGBA with the fill shifted to each colour: light and shade stay around the colour's own lightness, white
    highlights and dark outlines stay nearly as they are, so the drawing keeps its shape."""
    seen = pixels[..., 3] > 0
    lab = to_lab(pixels[seen][:, :3])
    solid = pixels[seen][:, 3] >= 128
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    fill = solid & (lightness > 22) & ((lightness < 90) | (chroma > 25))
    if fill.sum() < 0.35 * solid.sum():
        fill = solid
    middle = np.median(lightness[fill])
    # Shades keep near enough to the colour's lightness to still bear its word.
    shade = 14 * np.tanh((lightness - middle) / 30)
    fade = np.clip((94 - lightness) / 8, 0, 1) * np.clip((lightness - 6) / 14, 0, 1)
    fade = np.where(chroma > 18, 1.0, fade)[:, None]
    painted = {}
    for colour, goal in GOAL.items():
        tone = np.concatenate([(goal[0] + shade)[:, None], np.broadcast_to(goal[1:], (len(lab), 2))], 1)
        painted[colour] = pixels.copy()
        painted[colour][seen, :3] = to_rgb(tone * fade + lab * (1 - fade))
    return painted
