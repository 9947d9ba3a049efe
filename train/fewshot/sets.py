"""A set of pictures with classes and domains, and how classes and shots are drawn from it.

Pictures are square, RGB on white, of SIDE pixels: a third more than the model's 60, so that a crop loses nothing.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 80
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
LARGEST = 64_000_000  # pixels of a picture
MIN_INK = 0.02  # of the pixels must differ visibly from white: panel icons are white on nothing


class BadPictures(ValueError):
    """What is wrong with a folder of examples, for whoever gave it."""


@dataclass
class Pictures:
    """N pictures of several classes. A domain is what a split may keep apart: a theme, a font, train or test."""

    labels: list[str]
    pixels: np.ndarray  # uint8 [N, SIDE, SIDE, 3]
    target: np.ndarray  # int64 [N], rows of labels
    domain: np.ndarray  # str [N]

    def of(self, rows: np.ndarray) -> "Pictures":
        return Pictures(self.labels, self.pixels[rows], self.target[rows], self.domain[rows])

    def only(self, classes: list[int]) -> "Pictures":
        """These classes alone, numbered anew in the order given."""
        place = {c: i for i, c in enumerate(classes)}
        rows = np.flatnonzero(np.isin(self.target, classes))
        target = np.array([place[t] for t in self.target[rows]], np.int64)
        return Pictures([self.labels[c] for c in classes], self.pixels[rows], target, self.domain[rows])


@dataclass
class Task:
    """What a method is given, and what judges it: "taught", the same classes in other pictures; "other" classes."""

    train: Pictures
    exams: dict[str, Pictures] = field(default_factory=dict)
    templates: list[str] = field(default_factory=lambda: ["{}"])
    flip: bool = False  # mirrored, it is the same thing


def square(picture: Image.Image, side: int = SIDE) -> np.ndarray:
    """As serving prepares it ("pad"): alpha on white, fitted and centred, bicubic: uint8 [side, side, 3]."""
    picture = picture.convert("RGBA")
    flat = Image.new("RGB", picture.size, (255, 255, 255))
    flat.paste(picture, (0, 0), picture)
    scale = side / max(flat.size)
    width, height = (max(1, round(edge * scale)) for edge in flat.size)
    out = Image.new("RGB", (side, side), (255, 255, 255))
    out.paste(flat.resize((width, height), Image.Resampling.BICUBIC), ((side - width) // 2, (side - height) // 2))
    return np.asarray(out)


def visible(pixels: np.ndarray) -> bool:
    return float((pixels.min(-1) < 224).mean()) >= MIN_INK


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def distinct(found: list[tuple[str, str, np.ndarray]]) -> list[tuple[str, str, np.ndarray]]:
    """(label, domain, pixels) without pictures that are there already, nor labels that share one with an earlier label.

    Themes give one drawing several names; taught as one class and asked as another it would be right and counted wrong.
    """
    owners: dict[str, set[str]] = {}
    for label, _, pixels in found:
        owners.setdefault(digest(pixels), set()).add(label)
    dropped: set[str] = set()
    for labels in owners.values():
        dropped.update(sorted(labels - dropped)[1:])
    seen, kept = set(), []
    for label, domain, pixels in found:
        if label not in dropped and digest(pixels) not in seen:
            seen.add(digest(pixels))
            kept.append((label, domain, pixels))
    return kept


def gather(found: list[tuple[str, str, np.ndarray]]) -> Pictures:
    labels = sorted({label for label, _, _ in found})
    row = {label: i for i, label in enumerate(labels)}
    return Pictures(
        labels,
        np.stack([pixels for _, _, pixels in found]),
        np.array([row[label] for label, _, _ in found], np.int64),
        np.array([domain for _, domain, _ in found]),
    )


def draw(pictures: Pictures, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `count` pictures a class, and of the rest. Domains take turns, so that few shots are of many domains."""
    chosen = []
    for c in range(len(pictures.labels)):
        rows = rng.permutation(np.flatnonzero(pictures.target == c))
        turns: dict[str, int] = {}
        keys = []
        for row in rows:
            domain = str(pictures.domain[row])
            turns[domain] = turns.get(domain, -1) + 1
            keys.append(turns[domain])
        chosen.append(rows[np.argsort(keys, kind="stable")][:count])
    taken = np.sort(np.concatenate(chosen))
    return taken, np.setdiff1d(np.arange(len(pictures.target)), taken)


def read_folder(folder: Path) -> Pictures:
    """FOLDER/LABEL/*.png and the like: what a user has."""
    if not folder.is_dir():
        raise BadPictures(f"{folder}: no such folder; expected one with a folder of pictures for each class")
    found = []
    for of_class in sorted(p for p in folder.iterdir() if p.is_dir()):
        files = sorted(p for p in of_class.iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise BadPictures(f"{of_class}: no pictures; expected files ending in {', '.join(sorted(SUFFIXES))}")
        found += [(of_class.name, "", read_picture(path)) for path in files]
    classes: dict[str, set[str]] = {}
    for label, _, pixels in found:
        classes.setdefault(digest(pixels), set()).add(label)
    for labels in classes.values():
        if len(labels) > 1:
            raise BadPictures(f"{folder}: one picture is in {len(labels)} classes: {', '.join(sorted(labels))}")
    pictures = gather(found) if found else None
    if pictures is None or len(pictures.labels) < 2:
        raise BadPictures(f"{folder}: {0 if pictures is None else 1} classes; expected two folders or more")
    return pictures


def read_picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > LARGEST:
                raise BadPictures(f"{path}: {picture.width} x {picture.height} pixels; at most {LARGEST} are accepted")
            return square(picture)
    except BadPictures:
        raise
    except Exception as error:  # Pillow's readers raise what their formats' parsers do
        raise BadPictures(f"{path}: not a picture that can be read ({error})") from error
