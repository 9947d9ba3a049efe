"""Drawings, photographs and words of two educational games: pySioGame's Art4Apps drawings, GCompris' words in many
languages and its photographs. What is taken, and why it may be:

- Art4Apps' drawings (CC-BY-SA-3.0, by GCompris' copyright file and pySioGame's credits), a word each;
- photographs that GCompris' copyright file names one by one under a licence of FREE, called by their file names;
- the words of both games' lists (GPL-3+), which are single words of a dictionary.

All else in the packages stays out: what falls under "Files: *" alone, paintings, parts of pictures, interfaces.
"""

import json
import re
import struct
import zlib
from collections.abc import Iterator
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from names import LANGUAGES

ART4APPS = "usr/share/games/pysiogame/res/images/art4apps"
WORD_LISTS = "usr/share/games/pysiogame/i18n/custom/a4a_po"
GCOMPRIS = "usr/share/gcompris-qt/rcc"
COPYRIGHT = "usr/share/doc/gcompris-qt-data/copyright"
PHOTOGRAPHS = ("categorization", "explore_world_animals")  # other resources lack names, or a licence of their own
FREE = re.compile(r"(public-domain|CC0-1\.0|CC-BY(-SA)?-[0-9.]+)")  # the whole of a licence's name
PAPER = 24  # how far a channel may be from the corner's colour and still be paper


def read_rcc(path: Path) -> dict[str, bytes]:
    """The files of a Qt binary resource (`rcc -binary`), zlib undone; zstd, not used in these packages, is refused."""
    data = path.read_bytes()
    if data[:4] != b"qres":
        raise ValueError(f"{path} is no Qt resource: it begins with {data[:4]!r}, 'qres' wanted")
    version, tree, payload, names = struct.unpack_from(">4I", data, 4)
    node = 22 if version >= 2 else 14
    files: dict[str, bytes] = {}

    def walk(index: int, folder: str) -> None:
        at = tree + index * node
        name_at, flags = struct.unpack_from(">IH", data, at)
        length = struct.unpack_from(">H", data, names + name_at)[0] if index else 0
        start = names + name_at + 6
        name = f"{folder}/{data[start : start + 2 * length].decode('utf-16-be')}" if index else ""
        if flags & 2:
            count, first = struct.unpack_from(">2I", data, at + 6)
            for child in range(first, first + count):
                walk(child, name)
            return
        begin = payload + struct.unpack_from(">I", data, at + 10)[0]
        size = struct.unpack_from(">I", data, begin)[0]
        content = data[begin + 4 : begin + 4 + size]
        if flags & 4:
            raise ValueError(f"{path}: {name} is compressed by zstd; none or zlib wanted")
        files[name] = zlib.decompress(content[4:]) if flags & 1 else content  # zlib's data follow the size

    walk(0, "")
    return files


def read_po(path: Path) -> dict[str, str]:
    """English word -> translation of a gettext file of single lines, without those left empty or marked <so>."""
    pairs = re.findall(r'^msgid "(.+)"\nmsgstr "(.+)"$', path.read_text(encoding="utf-8"), re.M)
    return {english: word for english, word in pairs if "<" not in word}


def read_words(root: Path) -> dict[str, dict[str, list[str]]]:
    """language -> English word -> translations, of both games."""
    words: dict[str, dict[str, list[str]]] = {language: {} for language in LANGUAGES}
    lists = read_rcc(root / GCOMPRIS / "lang.rcc")
    for language in LANGUAGES:
        found = words[language]
        content = lists.get(f"/gcompris/src/activities/lang/resource/content-{_code(language)}.json")
        for sound, word in json.loads(content or b"{}").items():
            found.setdefault(sound.removesuffix(".ogg"), []).append(word.strip())
        path = root / WORD_LISTS / f"{'en_US' if language == 'en' else language}.po"
        if path.exists():
            for english, word in read_po(path).items():
                if word not in found.setdefault(english, []):
                    found[english].append(word)
    return words


def _code(language: str) -> str:
    return {"zh": "zh_CN"}.get(language, language)


def cut_out(picture: Image.Image) -> Image.Image:
    """A drawing on paper, its paper made transparent: what joins the edge and is as white as the corners."""
    rgb = picture.convert("RGB")
    framed = Image.new("RGB", (rgb.width + 2, rgb.height + 2), (255, 255, 255))
    framed.paste(rgb, (1, 1))
    ImageDraw.floodfill(framed, (0, 0), (254, 0, 254), thresh=3 * PAPER)
    outside = (np.asarray(framed)[1:-1, 1:-1] == (254, 0, 254)).all(-1)
    cut = np.dstack([np.asarray(rgb), np.where(outside, 0, 255).astype(np.uint8)])
    return Image.fromarray(cut, "RGBA")


def drawings(root: Path) -> Iterator[tuple[str, Image.Image]]:
    """(English word, picture) of Art4Apps."""
    for path in sorted((root / ART4APPS).glob("*/*.jpg")):
        with Image.open(path) as picture:
            yield path.stem.replace("_", " "), cut_out(picture)


def free_files(copyright_file: str) -> list[str]:
    """Patterns of the files that a Debian copyright file gives a licence of FREE, without suffix."""
    patterns = []
    for stanza in re.split(r"\n\s*\n", copyright_file):
        files = re.search(r"^Files:((?:.*\n)(?:[ \t].*\n)*)", stanza + "\n", re.M)
        licence = re.search(r"^License: *(.*?) *$", stanza, re.M)
        if files and licence and FREE.fullmatch(licence[1]):
            patterns += [re.sub(r"\.\w+$", "", name) for name in files[1].split() if name != "*"]
    return patterns


def photograph_name(path: str) -> str:
    """'…/tools/measuringTape4.webp' -> 'measuring tape'; 'fishes/fish13.webp' -> 'fish'."""
    stem = re.sub(r"\d+$", "", Path(path).stem)
    return re.sub(r"[_\s]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)).strip().lower()


def photographs(root: Path) -> Iterator[tuple[str, Image.Image]]:
    """(English name, picture) of the photographs that the copyright file names under a free licence."""
    free = free_files((root / COPYRIGHT).read_text(encoding="utf-8"))
    for resource in PHOTOGRAPHS:
        for name, content in sorted(read_rcc(root / GCOMPRIS / f"{resource}.rcc").items()):
            stem = name.removeprefix("/gcompris/").removesuffix(".webp")
            if name.endswith(".webp") and any(fnmatch(stem, pattern) for pattern in free):
                with Image.open(BytesIO(content)) as picture:
                    yield photograph_name(name), picture.convert("RGBA")


# ---- against the test style


def fingerprints(pictures: list[np.ndarray]) -> np.ndarray:
    """Perceptual hashes, bool [pictures, 64]: signs of the lowest 8 x 8 frequencies of the grey picture on white."""
    wave = np.cos(np.pi / 32 * (np.arange(32) + 0.5) * np.arange(1, 9)[:, None])
    hashes = np.zeros((len(pictures), 64), bool)
    for row, pixels in enumerate(pictures):
        flat = Image.new("RGB", pixels.shape[1::-1], (255, 255, 255))
        flat.paste(Image.fromarray(pixels, "RGBA"), (0, 0), Image.fromarray(pixels, "RGBA"))
        grey = np.asarray(flat.convert("L").resize((32, 32), Image.Resampling.BOX), np.float64)
        frequencies = wave @ grey @ wave.T
        hashes[row] = (frequencies > np.median(frequencies)).ravel()
    return hashes


def nearest(hashes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each hash the fewest bits that tell it from one of the others."""
    return np.array([(h != others).sum(1).min() for h in hashes])
