"""Measures the tags of limoe describe: recall and precision on drawings of EmojiOne and on scenes of them.

    python scenes.py --seed 1 --count 600 --split style --size 160 --data DIR --out SCENES
    python tags.py --data DIR --scenes SCENES [--program ../build/limoe] [--model DIR]

A thing counts as found if one of the lexicon's English words for it is among the 5 tags. Drawings are shown alone, on white.
For each threshold two figures are told: recall, of the things that are there; precision, of the tags that are given. Words
that mean the same but are not the lexicon's count as wrong, so precision is a lower bound.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from pictures import emojione
from scenes.lexicon import NOUNS

THRESHOLDS = ("-1", "0.2", "0.4", "0.5", "0.6", "auto")
MOST = 5
ROOT = Path(__file__).parents[1]


def words_of(things) -> list[set[str]]:
    return [set(NOUNS[name].english) for name in sorted(set(things))]


def drawings(data: Path, out: Path) -> list[tuple[Path, list[set[str]]]]:
    """EmojiOne's drawings of the scenes' nouns, each on white, and what is on it."""
    named = {noun.emoji: name for name, noun in NOUNS.items()}
    found = []
    for emoji, source in emojione(data / "root"):
        if emoji not in named:
            continue
        with Image.open(source) as picture:
            picture = picture.convert("RGBA")
            flat = Image.new("RGBA", picture.size, "white")
            flat.alpha_composite(picture)
        path = out / f"{len(found):04d}.png"
        flat.convert("RGB").save(path)
        found.append((path, words_of([named[emoji]])))
    return found


def scenes(folder: Path) -> list[tuple[Path, list[set[str]]]]:
    with open(folder / "scenes.jsonl", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    return [(folder / line["file"], words_of(thing["noun"] for thing in line["things"])) for line in read]


def described(args, paths: list[Path], threshold: str) -> list[list[str]]:
    command = [args.program, "describe", "--json", "--model", args.model, f"--threshold={threshold}", *paths]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return [[tag["term"] for tag in one["tags"]][:MOST] for one in answer["data"]]


def measure(args, pictures: list[tuple[Path, list[set[str]]]], threshold: str) -> str:
    tags = described(args, [path for path, _ in pictures], threshold)
    there = found = given = right = 0
    for (_, things), words in zip(pictures, tags, strict=True):
        there += len(things)
        found += sum(bool(thing & set(words)) for thing in things)
        given += len(words)
        right += sum(any(word in thing for thing in things) for word in words)
    return f"{threshold:>10} {100 * found / there:8.1f} % {100 * right / max(1, given):9.1f} % {given / len(pictures):10.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("cache"), help="where sources.py unpacked (default cache)")
    parser.add_argument("--scenes", type=Path, help="what scenes.py wrote; absent: drawings alone")
    parser.add_argument("--program", type=Path, default=ROOT / "build/limoe")
    parser.add_argument("--model", type=Path, default=ROOT / "models/pictograms")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets = {"drawings": drawings(args.data, Path(folder))}
        if args.scenes:
            sets["scenes"] = scenes(args.scenes)
        for name, pictures in sets.items():
            print(f"{len(pictures)} {name}\n threshold     recall   precision  tags each")
            for threshold in THRESHOLDS:
                print(measure(args, pictures, threshold), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
