"""Drawings that the tests of learning from a few pictures learn and are judged by."""

import numpy as np

from fewshot.sets import Pictures

LABELS = ["red", "green", "blue"]


def coloured(count: int, seed: int) -> Pictures:
    """Squares of three colours on white, of any shade and place."""
    rng = np.random.default_rng(seed)
    pixels, target = np.full((3 * count, 80, 80, 3), 255, np.uint8), np.repeat(np.arange(3), count)
    for picture, colour in zip(pixels, target):
        x, y = rng.integers(5, 30, 2)
        picture[y : y + 45, x : x + 45] = rng.integers(0, 60, 3)
        picture[y : y + 45, x : x + 45, colour] = rng.integers(180, 240)
    return Pictures(LABELS, pixels, target, np.array(["a", "b", "c"])[rng.integers(0, 3, 3 * count)])


def picture(*values):
    out = np.full((80, 80, 3), 255, np.uint8)
    out[20:60, 20:60] = values
    return out
