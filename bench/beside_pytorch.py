"""The engine beside PyTorch on the same model, device and pictures: one run, one table. scripts/gpu-check runs it; on a CPU
bench/run has more peers.

The engine is timed before and after PyTorch, so that a machine whose speed drifts shows it. PyTorch's figure is its best
of eager and compiled, grouped and dense experts, for each dtype. Run it with the Python of train/requirements.txt:

    python bench/beside_pytorch.py --build build --model models/pictograms --threads 2
    python bench/beside_pytorch.py --device cuda --dtype bfloat16 --mode eager graphs --moe grouped_mm --model DIR

With --report FILE each ratio is appended to it as a JSON object a line, held to --target.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def engine(args, dtype: str, batch: int) -> float:
    """Median milliseconds of one call."""
    command = [args.build / "bench/model", "--model", args.model, "--dtype", dtype, "--threads", str(args.threads)]
    command += ["--batch", str(batch), "--seconds", str(args.seconds), "--device", args.device]
    libraries = filter(None, [str(args.build / "lib"), os.environ.get("LD_LIBRARY_PATH")])  # of scripts/gpu-check
    environment = {"LIMOE_MODULES": str(args.build), **os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(run.stdout)["median_ms"]


def pytorch(args) -> list[dict]:
    command = [sys.executable, ROOT / "train/peer.py", "--model", args.model, "--threads", str(args.threads)]
    command += ["--seconds", str(args.seconds), "--batch", *map(str, args.batch), "--dtype", *args.dtype]
    command += ["--device", args.device]
    command += ["--mode", *args.mode] if args.mode else []
    command += ["--moe", *args.moe] if args.moe else []
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)["variants"]


def best_of(variants: list[dict], **wanted) -> dict | None:
    """PyTorch's fastest of a batch, a dtype; None where it computed none."""
    found = [v for v in variants if all(v[key] == value for key, value in wanted.items())]
    return min(found, key=lambda v: v["median_ms"], default=None)


def table(cells: list[tuple[int, str]], before: dict, after: dict, variants: list[dict]) -> list[str]:
    lines = ["| batch | dtype | limoe ms (before, after) | PyTorch ms (its best) | ratio | limoe images/s |"]
    lines.append("|---|---|---|---|---|---|")
    for batch, dtype in cells:
        mine = (before[batch, dtype] + after[batch, dtype]) / 2
        best = best_of(variants, batch=batch, dtype=dtype)
        its = "n.a. | n.a."
        if best:
            its = f"{best['median_ms']:.3f} ({best['mode']}, {best['moe']}) | {best['median_ms'] / mine:.2f}"
        spread = f"{before[batch, dtype]:.3f}, {after[batch, dtype]:.3f}"
        lines.append(f"| {batch} | {dtype} | {spread} | {its} | {1000 * batch / mine:.0f} |")
    return lines


def compare(batch: int, mine: dict[str, float], variants: list[dict]) -> tuple[str, float, dict | None]:
    """The engine's fastest dtype of those that were asked for, beside PyTorch's best of all its variants."""
    dtype = min(mine, key=mine.get)
    best = best_of(variants, batch=batch)
    return dtype, best["median_ms"] / mine[dtype] if best else 0.0, best


def record(args, batch: int, ratio: float, best: dict) -> None:
    """One line, as the programs in bench/gpu have theirs."""
    verdict = "PASS" if ratio >= args.target else "MISSED"
    name = f"{args.model.name}, batch {batch}, beside PyTorch"
    detail = f"{ratio:.2f} times as fast as its best ({best['mode']}, {best['moe']}, {best['median_ms']:.3f} ms)"
    print(f"{verdict:8} {'model':8} {name:56} {detail}")
    line = {"part": "model", "verdict": verdict, "name": name, "detail": detail, "value": ratio, "target": args.target}
    with args.report.open("a") as file:
        file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--model", type=Path, default=ROOT / "models/pictograms")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--mode", nargs="+", help="of PyTorch, as train/peer.py has them")
    parser.add_argument("--moe", nargs="+", help="of PyTorch, as train/peer.py has them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--seconds", type=float, default=3, help="of timing for each variant")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--target", type=float, default=2, help="ratio that a reported batch should reach")
    args = parser.parse_args()
    args.build = args.build.resolve()

    cells = [(batch, dtype) for batch in args.batch for dtype in args.dtype]
    before = {cell: engine(args, cell[1], cell[0]) for cell in cells}
    variants = pytorch(args)
    after = {cell: engine(args, cell[1], cell[0]) for cell in cells}

    print("\n".join(table(cells, before, after, variants)))
    for batch in args.batch:
        mine = {dtype: (before[batch, dtype] + after[batch, dtype]) / 2 for dtype in args.dtype}
        dtype, ratio, best = compare(batch, mine, variants)
        if best is None:
            print(f"batch {batch}: PyTorch computed no variant")
            continue
        print(f"batch {batch}: {dtype} is {ratio:.2f} times as fast as PyTorch's best of all variants")
        if args.report:
            record(args, batch, ratio, best)


if __name__ == "__main__":
    main()
