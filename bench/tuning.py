#!/usr/bin/env python3
"""How long limoe tune takes, of pictures in folders to an adapter's file.

    bench/tuning.py [--build build] [--model models/pictograms] [--classes 10] [--shots 16] [--size 96] [--rounds 3]

PNGs of --size pixels, --shots for each of --classes, learnt by each kind in turns: seconds of the whole command by the clock, medians. Needs an
idle machine and the standard library.
"""

import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

from drawings import drawing

ROOT = pathlib.Path(__file__).resolve().parents[1]
KINDS = "probe", "tail", "auto"


def write_pictures(arguments, folder):
    for i in range(arguments.classes * arguments.shots):
        path = folder / f"class {i % arguments.classes}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing(i, arguments.size))


def learn(arguments, pictures, kind, out):
    began = time.monotonic()
    command = [arguments.build / "limoe", "tune", pictures, "-o", out, "--model", arguments.model, "--kind", kind, "--quiet"]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictograms")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    seconds = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_pictures(arguments, folder / "pictures")
        for _ in range(arguments.rounds):
            for kind in KINDS:
                seconds[kind].append(learn(arguments, folder / "pictures", kind, folder / kind))
    print(f"{arguments.classes * arguments.shots} PNGs of {arguments.size} pixels, {arguments.classes} classes, {arguments.model.name}       seconds   least to most")
    for kind, spent in seconds.items():
        print(f"--kind {kind:<50}{statistics.median(spent):>8.1f}   {min(spent):.1f} to {max(spent):.1f}")


if __name__ == "__main__":
    main()
