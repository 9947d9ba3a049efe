"""Writes scenes of pictograms: a PNG each, and scenes.jsonl with a line each of what is in them, captions and a question.

    python scenes.py --seed 0 --count 1000 --split train --size 96 --out DIR [--sheet sheet.png]

The package beside this file, scenes/, does the work; training imports it and touches no disk.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from scenes import SPLITS, MissingSources, open_library, record, stream, write_scene
from scenes.sheet import contact_sheet

SHEET = 48  # scenes on a contact sheet at most
EVERY = 5  # seconds between lines of progress


def number(low: int, high: int):
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return value

    return read


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=number(0, 2**63 - 1), default=0, help="another seed, other scenes (default 0)")
    parser.add_argument("--start", type=number(0, 2**53), default=0, help="index of the first scene (default 0)")
    parser.add_argument(
        "--count",
        type=number(1, 10_000_000),
        default=1000,
        help="how many (default 1000; 640 make a whole round of questions)",
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="train",
        help="combinations: each with one never seen in train; style: EmojiOne's drawings",
    )
    parser.add_argument("--size", type=number(64, 384), default=96, help="pixels of a side, 64 to 384 (default 96)")
    parser.add_argument(
        "--data", type=Path, default=Path("cache"), help="where sources.py and build_data.py wrote (default cache)"
    )
    parser.add_argument("--out", type=Path, help="folder for the pictures and scenes.jsonl, made if missing")
    parser.add_argument("--sheet", type=Path, help=f"also a contact sheet of the first {SHEET}, with captions")
    args = parser.parse_args(argv)
    if args.out is None and args.sheet is None:
        parser.error("nothing to write: give --out DIR, --sheet FILE.png or both")
    return args


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    try:
        library = open_library(args.data, args.split)
        write(args, library)
    except (MissingSources, OSError) as error:
        print(f"scenes.py: {error}", file=sys.stderr)
        return 1
    return 0


def write(args: argparse.Namespace, library) -> None:
    begun = last = time.monotonic()
    lines = None
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        lines = open(args.out / "scenes.jsonl", "w", encoding="utf-8")
    count = args.count if args.out else min(args.count, SHEET)
    shown = []
    try:
        for made, scene in enumerate(stream(library, args.split, args.seed, args.start, count, args.size), 1):
            if args.sheet and made <= SHEET:
                shown.append(scene)
            if lines:
                line = {"file": write_scene(scene, args.out), **record(scene)}
                lines.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
            now = time.monotonic()
            if now - last >= EVERY or made == count:
                last, rate = now, made / max(1e-9, now - begun)
                print(
                    f"{made} of {count} scenes, {rate:.0f} a second, {(count - made) / rate:.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )
    finally:
        if lines:
            lines.close()
    if args.sheet:
        contact_sheet(shown).save(args.sheet)


if __name__ == "__main__":
    sys.exit(main())
