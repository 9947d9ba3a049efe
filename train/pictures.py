"""Draws every source picture once, as SIZE x SIZE RGBA with its transparency kept, so that training can choose the
background. Each function yields (concept, style, pixels); emoji concepts are the emoji itself, others are their words.
"""

import io
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator

import numpy as np
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from names import SKIN_TONES, strip

SIZE = 80
GEMOJIONE = "usr/share/rubygems-integration/all/gems/gemojione-3.3.0"
DEV_EVERY = 12  # of the Twemoji pictures, one in so many is kept out of training as the development set
Picture = tuple[str, str, np.ndarray]


def fit(picture: Image.Image) -> np.ndarray | None:
    """Centred in a square of SIZE, aspect kept; None where nothing is visible."""
    picture = picture.convert("RGBA")
    if picture.getchannel("A").getbbox() is None:
        return None
    # Premultiplied while resizing, or the colour of transparent pixels bleeds into the edges.
    premultiplied = picture.convert("RGBa")
    scale = SIZE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    small = premultiplied.resize((width, height), Image.Resampling.BICUBIC).convert("RGBA")
    square = Image.new("RGBA", (SIZE, SIZE))
    square.paste(small, ((SIZE - width) // 2, (SIZE - height) // 2))
    return np.asarray(square)


def spellings(emoji: str) -> list[str]:
    """Fonts disagree on where a sequence carries U+FE0F; the first spelling that draws as one glyph is used."""
    parts = emoji.split("\u200d")
    return [
        emoji,
        emoji[0] + "\ufe0f" + emoji[1:],
        "\u200d".join(p + "\ufe0f" if len(p) == 1 else p for p in parts),
        "\u200d".join([parts[0] + "\ufe0f", *parts[1:]]),
        "\u200d".join([*parts[:-1], parts[-1] + "\ufe0f"]),
    ]


def draw_font(path: Path, style: str, emojis: list[str], size: int, colour: bool, weight: int | None = None):
    """Every emoji that the font draws as a single glyph."""
    cmap = TTFont(path).getBestCmap()
    font = ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.RAQM)
    if weight is not None:
        font.set_variation_by_axes([weight])
    # One em holds one glyph; two glyphs side by side mean the font has no ligature for the sequence.
    widest = 1.45 * size if colour else 1.9 * size
    for emoji in emojis:
        if any(
            ord(c) not in cmap for c in emoji if c not in "\u200d\U000e007f" and not "\U000e0020" <= c <= "\U000e007e"
        ):
            continue
        for text in spellings(emoji):
            if not 0 < font.getlength(text) <= widest:
                continue
            box = font.getbbox(text)
            side = int(max(box[2] - box[0], box[3] - box[1])) + 2
            if side < 8:
                continue
            # The bitmap's own box, except where it is small: then the em, for "small square" to stay small.
            canvas = max(side, int(0.9 * size))
            picture = Image.new("RGBA", (canvas, canvas))
            at = ((canvas - (box[2] - box[0])) // 2 - box[0], (canvas - (box[3] - box[1])) // 2 - box[1])
            ImageDraw.Draw(picture).text(at, text, font=font, fill=(0, 0, 0, 255), embedded_color=colour)
            pixels = fit(picture)
            if pixels is not None:
                yield emoji, style, pixels
                break


def draw_layers(path: Path, style: str, emojis: list[str]) -> Iterator[Picture]:
    """A COLR font whose base glyphs are empty (Twemoji Mozilla): its layers, as SVG. Sequences are GSUB ligatures."""
    font = TTFont(path)
    glyph_set, cmap, upem = font.getGlyphSet(), font.getBestCmap(), font["head"].unitsPerEm
    layers, palette = font["COLR"].ColorLayers, font["CPAL"].palettes[0]
    top = (font["head"].yMax + font["head"].yMin + upem) // 2  # the em, centred on the glyphs
    ligatures = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            for first, rest in getattr(getattr(table, "ExtSubTable", table), "ligatures", {}).items():
                ligatures.update({(first, *ligature.Component): ligature.LigGlyph for ligature in rest})

    def glyph_of(emoji: str) -> str | None:
        for text in (emoji, *spellings(emoji)):
            names = tuple(cmap.get(ord(c), "") for c in text)
            if len(names) == 1 and names[0] in layers:
                return names[0]
            if names in ligatures:
                return ligatures[names]
        return None

    def rasterise(emoji: str):
        glyph = glyph_of(emoji)
        if glyph not in layers:
            return None
        paths = []
        for layer in layers[glyph]:
            pen = SVGPathPen(glyph_set)
            glyph_set[layer.name].draw(pen)
            colour = palette[layer.colorID]
            paths.append(
                f'<path fill="rgb({colour.red},{colour.green},{colour.blue})" fill-opacity="{colour.alpha / 255:.3f}"'
                f' d="{pen.getCommands()}"/>'
            )
        width = font["hmtx"][glyph][0]
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {upem}">'
            f'<g transform="translate(0,{top}) scale(1,-1)">{"".join(paths)}</g></svg>'
        )
        png = subprocess.run(["rsvg-convert", "-h", "144"], input=svg.encode(), capture_output=True, check=True).stdout
        pixels = fit(Image.open(io.BytesIO(png)))
        return None if pixels is None else (emoji, style, pixels)

    with ThreadPoolExecutor(2) as pool:
        yield from (picture for picture in pool.map(rasterise, emojis) if picture is not None)


def draw_openmoji(folder: Path, emojis: set[str]) -> Iterator[Picture]:
    """OpenMoji draws inside a margin of about 6 units in 72, which is cut off."""
    jobs = []
    for path in sorted(folder.glob("*.svg")):
        emoji = strip("".join(chr(int(code, 16)) for code in path.stem.split("-")))
        if emoji in emojis and not SKIN_TONES.search(emoji):
            jobs.append((emoji, path))

    def rasterise(job):
        emoji, path = job
        png = subprocess.run(["rsvg-convert", "-w", "144", "-h", "144", path], capture_output=True, check=True).stdout
        return emoji, "openmoji", fit(Image.open(io.BytesIO(png)).crop((8, 8, 136, 136)))

    with ThreadPoolExecutor(2) as pool:
        yield from (picture for picture in pool.map(rasterise, jobs) if picture[2] is not None)


def draw_flags(folder: Path) -> Iterator[Picture]:
    special = {"_scotland": "gbsct", "_wales": "gbwls"}
    for path in sorted(folder.glob("*.png")):
        code = path.stem
        if re.fullmatch("[a-z]{2}", code):
            emoji = "".join(chr(0x1F1E6 + ord(c) - ord("a")) for c in code)
        elif code in special:
            emoji = "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in special[code]) + "\U000e007f"
        else:
            continue
        yield emoji, "iso-flags", fit(Image.open(path))


def words_of(stem: str, authors: set[str]) -> str:
    """'kubek_herbaty_-_mug_of__01' -> 'kubek herbaty mug of': the file name without numbers and its author's words."""
    words = [w for w in re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", stem).lower()) if len(w) > 1]
    kept = []
    for word in words:
        # Author names are cut at the end of long file names: "architetto fran", "juliane krug r".
        if any(a.startswith(word) and len(word) >= 4 or a == word for a in authors):
            break
        kept.append(word)
    return " ".join(kept[:6])


JUNK = re.compile(
    r"gramastar|collection|theme|open ?clip|clip ?art|untitled|flat icon|part of|unsorted|http|@|hash\(", re.I
)


def read_clip_art(svg: Path, png: Path) -> Iterator[tuple[str, list[str], Path]]:
    """(name, other captions, picture) for each Open Clip Art picture with a usable name."""
    for picture in sorted(png.rglob("*.png")):
        # Step stars differ by number alone, card backs and gradients by nothing a name says.
        if re.search(r"/(gradients|cardbacks|stars|logos)/", str(picture)):
            continue
        source = (svg / picture.relative_to(png)).with_suffix(".svg")
        text = source.read_text(errors="replace") if source.exists() else ""
        block = text[text.find("<metadata") : text.find("</metadata>")] if "<metadata" in text else ""
        titles = re.findall(r"<dc:title>([^<]{2,60})</dc:title>", block)
        authors = {w for t in titles[1:] for w in re.split(r"[^a-z]+", t.lower()) if len(w) > 1} - {
            "open",
            "clip",
            "art",
            "library",
        }
        name = words_of(picture.stem, authors)
        others = []
        if titles and not JUNK.search(titles[0]):
            title = words_of(titles[0].replace(" ", "_"), authors)
            others += [title] if title and title != name else []
        others += [k.strip().lower() for k in re.findall(r"<rdf:li>([^<]{3,30})</rdf:li>", block) if not JUNK.search(k)]
        if name or others:
            yield name or others[0], others, picture


def draw_files(files: list[tuple[str, Path]], style: str) -> Iterator[Picture]:
    def load(job):
        concept, path = job
        try:
            with Image.open(path) as picture:
                if max(picture.size) > 6 * min(picture.size):
                    return None
                picture = picture.convert("RGBA")
                box = picture.getchannel("A").getbbox()
                return concept, style, fit(picture.crop(box)) if box else None
        except (OSError, Image.DecompressionBombError):
            return None

    with ThreadPoolExecutor(2) as pool:
        yield from (p for p in pool.map(load, files) if p is not None and p[2] is not None)


def emojione(root: Path) -> list[tuple[str, Path]]:
    """(emoji, picture) without skin tones: the test style, which only evaluation may open."""
    found = []
    for path in sorted((root / GEMOJIONE / "assets/png").glob("*.png")):
        emoji = strip("".join(chr(int(code, 16)) for code in path.stem.split("-")))
        if not SKIN_TONES.search(emoji):
            found.append((emoji, path))
    return found


def development(styles: list[str]) -> np.ndarray:
    """Numbers of the pictures that training leaves out, to be watched while it runs."""
    twemoji = np.flatnonzero(np.array(styles) == "twemoji")
    return np.random.default_rng(1).permutation(twemoji)[: len(twemoji) // DEV_EVERY]
