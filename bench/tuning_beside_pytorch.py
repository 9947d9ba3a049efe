#!/usr/bin/env python3
"""limoe tune beside train/skip.py: how right what each learns of the same pictures is, and how long it takes on the same cores.

    venv/bin/python bench/tuning_beside_pytorch.py [--build build] [--set icons] [--shots 16] [--seeds 0,1,2] [--threads 2]

The pictures are the suite's (train/fewshot/suite.py, unpacked by train/sources.py --suite to --data): of icons 20 classes, judged in two
themes that are held out whole. Both learn a tail from block 4 on, at one rate: once of four fifths, to choose a strength by the rest, and
again of all. What they write is judged by the reference in PyTorch at full strength and at the strength each chose. They draw differently, so a
seed alone says little of their difference. Seconds are of the whole commands by the clock, and of PyTorch also without its imports. Needs an
idle machine and the Python of train/requirements.txt.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / "train"
sys.path.insert(0, str(TRAIN))
START, RATE = 4, 0.0005


def write_pictures(task, folder):
    for i, (pixels, target) in enumerate(zip(task.train.pixels, task.train.target)):
        path = folder / task.train.labels[target] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def learn_here(arguments, seed, flip, pictures, out):
    command = [arguments.build / "limoe", "tune", pictures, "-o", out, "--model", arguments.model, "--kind", "tail", "--start-block", START, "--quiet"]
    command += ["--learning-rate", RATE, "--threads", arguments.threads, "--seed", seed, *flip]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def learn_in_pytorch(arguments, seed, flip, pictures, out):
    """Its own seconds."""
    command = [sys.executable, "skip.py", pictures, "--output", out, "--model", arguments.model, "--kind", "lskip", "--start-block", START]
    command += ["--limoe", arguments.build / "limoe", "--rate", RATE, "--threads", arguments.threads, "--seed", seed, *flip]
    done = subprocess.run(list(map(str, command)), check=True, cwd=TRAIN, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)["seconds"]


def judge(arguments, task, path):
    """Per cent right: of the base, at full strength, at the adapter's own."""
    from export import load
    from fewshot import adapter, measure, methods
    from tokenizer import Tokenizer

    about, tuned = adapter.load(path)
    network = methods.Network(load(arguments.model), Tokenizer(arguments.model / "tokenizer.model", 16), START)
    before = {name: p.detach().clone() for name, p in network.model.named_parameters()}
    got = measure.scores(network, "lskip", {"taught": task.exams["taught"]}, before, tuned, about["labels"], task.templates)["taught"]
    return got[0], got[-1], got[measure.STRENGTHS.index(about["strength"])]


def compare(arguments, seed):
    from fewshot import suite

    task = suite.task(arguments.set, arguments.shots, seed, arguments.data, False)
    ways, rows, own = {"limoe tune": learn_here, "skip.py": learn_in_pytorch}, {}, None
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(task, Path(folder) / "pictures")
        for way in list(ways)[:: -1 if seed % 2 else 1]:
            out = Path(folder) / f"{way}.safetensors"
            began = time.monotonic()
            said = ways[way](arguments, seed, ["--flip"] if task.flip else [], Path(folder) / "pictures", out)
            seconds, own = time.monotonic() - began, said or own
            rows[way] = (*judge(arguments, task, out), seconds)
    for way in ways:
        note = f"   {own:.1f} without imports" if way == "skip.py" else ""
        print(f"{seed:<6}{way:<12}" + "".join(f"{value:>12.2f}" for value in rows[way]) + note, flush=True)
    return rows["limoe tune"], (*rows["skip.py"], own)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "pictograms")
    parser.add_argument("--data", type=Path, default=TRAIN / "cache")
    parser.add_argument("--set", choices=("icons", "fashion", "letters"), default="icons")
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    for name in ("build", "model", "data"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    print(f"{'seed':<6}{'way':<12}{'zero-shot':>12}{'full':>12}{'chosen':>12}{'seconds':>12}")
    pairs = [compare(arguments, seed) for seed in arguments.seeds]
    for name, place in (("full", 1), ("chosen", 2)):
        more = statistics.mean(here[place] - there[place] for here, there in pairs)
        print(f"{name} strength: limoe tune over skip.py {more:+.2f} points, the mean of {len(pairs)} seeds")
    ratios = [[here[3] / there[place] for here, there in pairs] for place in (3, 4)]
    print("seconds, limoe tune over skip.py: median {:.2f}; over it without imports {:.2f}".format(*map(statistics.median, ratios)))


if __name__ == "__main__":
    main()
