"""Teaches a model classes from a few pictures of each: a linear probe, Skip Tuning (LSkip, CSkip) or full fine-tuning.

    python skip.py PICTURES --kind lskip --output pets.safetensors       PICTURES/CLASS/*.png
    python skip.py --suite --out runs/skip                               what each way is worth, and costs

The package beside this file, fewshot/, does the work.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from fewshot import suite, tables
from fewshot.sets import BadPictures, Pictures, draw, read_folder

KEPT = ("probe", "lskip", "cskip", "full")
HELD_OUT = 0.2  # of a class's pictures, where there are four or more


def one_of(known):
    """A list with commas of some of these."""

    def read(text: str) -> list:
        names = {str(name): name for name in known}
        parts = text.split(",")
        for part in parts:
            if part not in names:
                raise argparse.ArgumentTypeError(f"{part!r} is not one of {', '.join(names)}")
        return [names[part] for part in parts]

    return read


def between(low: float, high: float, whole: bool = False):
    def read(text: str):
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {kind} from {low} to {high}")
        return value

    return read


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("pictures", type=Path, nargs="?", help="a folder with a folder of pictures for each class")
    add("--model", type=Path, default=Path("../models/pictograms"), help="a model directory of format limoe-1")
    add("--kind", choices=KEPT, default="lskip", help="what is learnt (default lskip)")
    add("--start-block", type=between(0, 255, True), default=4, help="lskip, cskip: the first block tuned (default 4)")
    add("--template", action="append", help="a prompt with {} for the label; may be repeated (default {})")
    add("--rate", type=between(1e-7, 10), help="learning rate; without it a held-out split chooses among three")
    add("--epochs", type=between(1, 1000, True), default=10, help="default 10")
    add("--strength", type=between(0, 1), help="0 the base, 1 all of it; without it the held-out split chooses")
    add("--seed", type=between(0, 2**63 - 1, True), default=0, help="default 0")
    add("--flip", action="store_true", help="mirrored pictures are of the same class")
    add("--threads", type=between(1, 256, True), default=1, help="default 1")
    add("--output", type=Path, help="the adapter (limoe-adapter-1); of full fine-tuning a model directory")
    add(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="of the adapter's weights (default float32)"
    )
    add("--base", help="the base model's digest, 32 hexadecimal digits; without it --limoe is asked")
    add(
        "--limoe",
        default="../build/limoe",
        help="the program whose `inspect --digest` tells it (default ../build/limoe)",
    )
    add("--suite", action="store_true", help="run the suite; cells that have ended are not run again")
    add("--data", type=Path, default=Path("cache"), help="suite: where sources.py --suite unpacked (default cache)")
    add("--out", type=Path, default=Path("runs/skip"), help="suite: a file for each cell, suite.csv, suite.json")
    add("--sets", type=one_of(suite.SETS), default=list(suite.SETS), help=f"suite: {','.join(suite.SETS)}")
    add("--shots", type=one_of(suite.SHOTS), default=list(suite.SHOTS), help="suite: default 16,4,1")
    add("--seeds", type=one_of(range(100)), default=list(suite.SEEDS), help="suite: default 0,1,2")
    add("--methods", type=one_of(suite.METHODS), default=list(suite.METHODS), help=f"suite: {','.join(suite.METHODS)}")
    add("--read-only", action="store_true", help="suite: the table of the cells that there are")
    args = parser.parse_args(argv)
    if args.suite == (args.pictures is not None):
        parser.error("give a folder of pictures, or --suite")
    if args.template and any(t.count("{}") != 1 for t in args.template):
        parser.error("a template needs {} once, where the label goes")
    return args


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    try:
        run_suite(args) if args.suite else teach(args)
    except (BadPictures, OSError, ValueError, RuntimeError) as error:
        print(f"skip.py: {error}", file=sys.stderr)
        return 1
    return 0


def run_suite(args: argparse.Namespace) -> None:
    def tell(result: dict) -> None:
        keys = ("set", "shots", "seed", "method", "rate", "search", "seconds", "cpu_seconds", "peak_mb")
        print(json.dumps({k: result[k] for k in keys} | {"scores": result["scores"]}), file=sys.stderr, flush=True)
        keep(args, suite.run(argparse.Namespace(**{**vars(args), "read_only": True}), None))

    results = suite.run(args, tell)
    print(tables.markdown(keep(args, results)))


def keep(args: argparse.Namespace, results: list[dict]) -> list[dict]:
    table = tables.rows(results)
    tables.write_csv(table, args.out / "suite.csv")
    (args.out / "suite.json").write_text(json.dumps({"cells": results, "table": table}, indent=1) + "\n")
    return table


def split(pictures: Pictures, seed: int) -> tuple[Pictures, Pictures | None]:
    """Learnt from, and held out to choose rate and strength; nothing is held out where a class has fewer than four."""
    counts = np.bincount(pictures.target, minlength=len(pictures.labels))
    if counts.min() < 4:
        return pictures, None
    held, rest = draw(pictures, max(1, round(HELD_OUT * int(counts.min()))), np.random.default_rng(seed))
    return pictures.of(rest), pictures.of(held)


def teach(args: argparse.Namespace) -> None:
    import torch
    from export import load
    from fewshot import measure, methods
    from tokenizer import Tokenizer

    torch.set_num_threads(args.threads)
    pictures = read_folder(args.pictures)
    templates = args.template or ["{}"]
    base = (args.base or fingerprint(args)) if args.output and args.kind != "full" else ""
    model = load(args.model)
    tokenizer = Tokenizer(args.model / "tokenizer.model", model.config.text["length"])
    network = methods.Network(model, tokenizer, args.start_block if args.kind in ("lskip", "cskip") else 0)
    original = {name: p.detach().clone() for name, p in model.named_parameters()}
    shown, held = split(pictures, args.seed)
    begun = time.monotonic()

    def trained(on: Pictures, rate: float) -> dict:
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(original[name])
        options = methods.Options(args.kind, args.start_block, rate, args.epochs, seed=args.seed, flip=args.flip)

        def tell(round: int, loss: float) -> None:
            print(f"rate {rate:g}, {round + 1}: loss {loss:.3f}", file=sys.stderr)

        return methods.learn(
            network, torch.from_numpy(on.pixels), torch.from_numpy(on.target), on.labels, templates, options, tell
        )

    def held_out(tuned: dict) -> list[float]:
        return measure.scores(network, args.kind, {"taught": held}, original, tuned, held.labels, templates)["taught"]

    rates = (args.rate,) if args.rate else suite.RATES[args.kind]
    rate, strength, record = rates[0], 1.0 if args.strength is None else args.strength, {}
    if held is not None:
        scores = {r: held_out(trained(shown, r)) for r in rates}
        rate = max(rates, key=lambda r: scores[r][measure.choose(scores[r], None)])
        place = measure.choose(scores[rate], None)
        if args.strength is None:
            strength = measure.STRENGTHS[place]
        record["held_out"] = {"pictures": len(held.target), "before": scores[rate][0], "after": scores[rate][place]}
    tuned = trained(pictures, rate)  # and now on all
    record |= {
        "program": "train/skip.py", "kind": args.kind, "rate": rate, "seed": args.seed,
        "pictures": len(pictures.target), "flip": args.flip, "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    if args.kind != "probe":
        record["epochs"] = args.epochs
    if args.output:
        write(args, network, original, tuned, pictures.labels, templates, base, strength, record)
    print(json.dumps({"labels": len(pictures.labels), "strength": strength, "rate": rate, **record}))


def write(args, network, original, tuned, labels, templates, base, strength, record) -> None:
    import torch
    from export import export
    from fewshot import adapter, methods

    dtype = getattr(torch, args.dtype)
    if args.kind == "full":
        methods.interpolate(network.model, {n: original[n] for n in tuned}, tuned, strength)
        export(network.model, args.model / "tokenizer.model", args.output)
    elif args.kind == "probe":
        adapter.save(args.output, "probe", base, tuned, labels, templates, strength, record, dtype=dtype)
    else:
        adapter.save(args.output, "tail", base, tuned, labels, templates, strength, record, args.start_block, dtype)


def fingerprint(args: argparse.Namespace) -> str:
    """As `limoe inspect --digest` prints it."""
    try:
        command = [args.limoe, "inspect", "--digest", args.model]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except OSError as error:
        raise ValueError(f"{args.limoe}: {error.strerror}; give --limoe PROGRAM, or --base FINGERPRINT") from error
    if done.returncode or not re.fullmatch("[0-9a-f]{32}\n", done.stdout):
        raise ValueError(
            f"{args.limoe} inspect --digest {args.model} tells no fingerprint; give --base: {done.stderr.strip()}"
        )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
