"""Fashion-MNIST (Debian's dataset-fashion-mnist, MIT): photographs of ten kinds of clothes, grey on black, shown on white."""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from .sets import Pictures, square

LABELS = ["t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
TESTED, SHOWN = 100, 32  # of a class: pictures of the test, and of training to draw shots and validation from


def idx(path: Path) -> np.ndarray:
    """An array of bytes in the idx format: two zeros, the type 8, the number of sides, each side, the bytes."""
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an idx file of bytes")
    sides = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, int(np.prod(sides)), 4 + 4 * data[3]).reshape(sides)


def read(root: Path) -> Pictures:
    """The first TESTED and SHOWN of each class, so that everybody's are the same."""
    folder = root / "usr/share/datasets/fashion-mnist"
    pixels, target, domain = [], [], []
    for part, prefix, count in (("train", "train", SHOWN), ("test", "t10k", TESTED)):
        images = idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
        for c in range(len(LABELS)):
            for row in np.flatnonzero(labels == c)[:count]:
                pixels.append(square(Image.fromarray(255 - images[row])))
                target.append(c)
                domain.append(part)
    return Pictures(LABELS, np.stack(pixels), np.array(target, np.int64), np.array(domain))
