"""The pictograms of scenes: each noun in each style, as drawn and in every colour that it can be given faithfully.

Training styles come from build_data.py's pictures; the style "emojione" from ruby-gemojione, for evaluation alone. The
pictures that pairs.py keeps as its development set are kept out of scenes too. Line drawings (Symbola, Noto Emoji)
have no inside, so no mask, and take no part; nor does clip art, whose names are too loose for exact truth.
"""

import hashlib
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
from PIL import Image

from pictures import SIZE, development, emojione, fit

from . import colours
from .lexicon import COLOURS, NOUNS, held_out

TRAIN_STYLES = ("noto", "twemoji", "openmoji")
TEST_STYLE = "emojione"
SPLITS = ("train", "combinations", "style")
SMALLEST_COLOURED = 20  # pixels: colour is checked at this size
FEWEST_COLOURS = 9  # of ten, that a drawing must take to be recoloured at all
RASTERS = 8192  # kept at most: about 30 MB at 96 px


class MissingSources(Exception):
    """The pictures or names are not there; the message says which command brings them."""


def _training_pictures(data: Path) -> list[tuple[str, str, np.ndarray]]:
    for name in ("captions.json", "pictures.npy"):
        if not (data / name).is_file():
            raise MissingSources(f"{data / name} is missing: run sources.py and build_data.py with --data {data} first")
    try:
        table = json.loads((data / "captions.json").read_text(encoding="utf-8"))
        pixels = np.load(data / "pictures.npy", mmap_mode="r")
        concepts = [table["concepts"][c] for c in table["picture_concept"]]
        styles = table["picture_style"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise MissingSources(
            f"{data}: captions.json or pictures.npy cannot be read ({error}): run build_data.py again"
        ) from error
    if pixels.shape != (len(concepts), SIZE, SIZE, 4) or len(styles) != len(concepts):
        raise MissingSources(
            f"{data / 'pictures.npy'} has shape {pixels.shape}, captions.json names {len(concepts)} pictures of {SIZE} x {SIZE}: "
            "run build_data.py again"
        )
    noun_of = {noun.emoji: name for name, noun in NOUNS.items()}
    kept_out = set(development(styles).tolist())
    return [
        (noun_of[c], s, np.array(pixels[i]))
        for i, (c, s) in enumerate(zip(concepts, styles))
        if c in noun_of and s in TRAIN_STYLES and i not in kept_out
    ]


def _test_pictures(data: Path) -> list[tuple[str, str, np.ndarray]]:
    noun_of = {noun.emoji: name for name, noun in NOUNS.items()}
    found = [(noun_of[e], path) for e, path in emojione(data / "root") if e in noun_of]
    if not found:
        raise MissingSources(f"EmojiOne's pictures are not under {data / 'root'}: run sources.py --data {data} first")
    pictures = []
    for name, path in found:
        with Image.open(path) as picture:
            picture = picture.convert("RGBA")
            pictures.append((name, TEST_STYLE, fit(picture.crop(picture.getchannel("A").getbbox()))))
    return pictures


def _faithful(pixels: np.ndarray, colour: str) -> bool:
    """Whether the picture bears the colour's word at full size and, on white, nearly as small as scenes show it."""
    word, share = colours.dominant(pixels[pixels[..., 3] >= 128][:, :3])
    if word != colour or share < 0.6:
        return False
    small = scaled(pixels, SMALLEST_COLOURED)
    alpha = small[..., 3:].astype(np.int32)
    flat = (small[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return colours.dominant(flat[small[..., 3] >= 128])[0] == colour


def scaled(pixels: np.ndarray, side: int) -> np.ndarray:
    """Premultiplied while resizing, or the colour of transparent pixels bleeds into the edges."""
    small = Image.fromarray(pixels, "RGBA").convert("RGBa").resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(small.convert("RGBA"))


class Library:
    """variants[(noun, style, colour or "")] -> row of the pixels; immutable but for the cache of scaled rasters."""

    def __init__(self, pictures: list[tuple[str, str, np.ndarray]]):
        self.rows: list[np.ndarray] = []
        self.variants: dict[tuple[str, str, str], int] = {}
        self.styles_of: dict[str, list[str]] = {}
        for noun, style, pixels in sorted(pictures, key=lambda p: (p[0], p[1])):
            if (noun, style, "") in self.variants:
                continue
            self.styles_of.setdefault(noun, []).append(style)
            self._add((noun, style, ""), pixels)
            if not NOUNS[noun].colourable:
                continue
            for colour, painted in colours.recoloured(pixels).items():
                if _faithful(painted, colour):
                    self._add((noun, style, colour), painted)
        self.nouns = sorted(self.styles_of)
        # Asked for in a colour, a noun is drawn in the styles that take most colours, and only in a colour that all of
        # them take: the answer then says nothing about the style.
        self.painted_styles, self.colours_of = {}, {}
        for n in self.nouns:
            takes = {s: {c for c in COLOURS if (n, s, c) in self.variants} for s in self.styles_of[n]}
            ready = [s for s in self.styles_of[n] if len(takes[s]) >= FEWEST_COLOURS]
            self.painted_styles[n] = ready
            self.colours_of[n] = [c for c in COLOURS if ready and all(c in takes[s] for s in ready)]
        held = {n: {c for c in COLOURS if held_out("colour", n, c)} for n in self.nouns}
        self.seen_colours = {n: [c for c in self.colours_of[n] if c not in held[n]] for n in self.nouns}
        self.unseen_colours = {n: [c for c in self.colours_of[n] if c in held[n]] for n in self.nouns}
        self._rasters: OrderedDict[tuple[int, int], tuple] = OrderedDict()

    def _add(self, key, pixels) -> None:
        self.variants[key] = len(self.rows)
        self.rows.append(pixels)

    def raster(self, row: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(premultiplied RGB int32, 255 - alpha int32 [h, w, 1], solid bool [h, w]), cut to the solid pixels' box."""
        found = self._rasters.get((row, side))
        if found is None:
            pixels = scaled(self.rows[row], side)
            solid = pixels[..., 3] >= 128
            ys, xs = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
            if not len(ys):
                raise ValueError(f"a pictogram vanishes at {side} pixels")
            cut = pixels[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1].astype(np.int32)
            alpha = cut[..., 3:]
            found = cut[..., :3] * alpha + 127, 255 - alpha, alpha[..., 0] >= 128
            self._rasters[row, side] = found
            if len(self._rasters) > RASTERS:
                self._rasters.popitem(last=False)
        return found

    def allowed_colours(self, noun: str, split: str) -> list[str]:
        """Those that a scene of the split may show: held-out ones belong to `combinations` alone."""
        return self.colours_of[noun] if split == "combinations" else self.seen_colours[noun]

    def held_colours(self, noun: str) -> list[str]:
        return self.unseen_colours[noun]


def open_library(data: Path, split: str) -> Library:
    """The pictograms of a split. Only `style` opens EmojiOne, and it opens nothing else."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: one of {', '.join(SPLITS)}")
    return Library(_test_pictures(data) if split == "style" else _training_pictures(data))


def fingerprint(library: Library) -> str:
    """Of all pixels: equal fingerprints, seeds and indexes mean equal scenes."""
    digest = hashlib.blake2b(digest_size=8)
    for key, row in sorted(library.variants.items()):
        digest.update("|".join(key).encode())
        digest.update(library.rows[row].tobytes())
    return digest.hexdigest()
