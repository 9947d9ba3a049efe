"""The engine beside PyTorch on the same model, processors and pictures: one run, one table.

The engine is timed before and after PyTorch, so that a machine whose speed drifts shows it. PyTorch's figure is its best
of eager and compiled, grouped and dense experts, for each dtype. Run it with the Python of train/requirements.txt:

    python bench/beside_pytorch.py --build build --model models/pictograms --threads 2
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def engine(args, dtype: str, batch: int) -> float:
    """Median milliseconds of one call."""
    command = [args.build / "bench/model", "--model", args.model, "--dtype", dtype, "--threads", str(args.threads)]
    command += ["--batch", str(batch), "--seconds", str(args.seconds)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["median_ms"]


def pytorch(args) -> list[dict]:
    command = [sys.executable, ROOT / "train/peer.py", "--model", args.model, "--threads", str(args.threads)]
    command += ["--seconds", str(args.seconds), "--batch", *map(str, args.batch)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["variants"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--model", type=Path, default=ROOT / "models/pictograms")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--seconds", type=float, default=3, help="of timing for each variant")
    args = parser.parse_args()

    dtypes = ("float32", "bfloat16")
    cells = [(batch, dtype) for batch in args.batch for dtype in dtypes]
    before = {cell: engine(args, cell[1], cell[0]) for cell in cells}
    variants = pytorch(args)
    after = {cell: engine(args, cell[1], cell[0]) for cell in cells}

    print("| batch | dtype | limoe ms (before, after) | PyTorch ms (its best) | ratio | limoe images/s |")
    print("|---|---|---|---|---|---|")
    for batch, dtype in cells:
        mine = (before[batch, dtype] + after[batch, dtype]) / 2
        best = min((v for v in variants if (v["batch"], v["dtype"]) == (batch, dtype)), key=lambda v: v["median_ms"])
        spread = f"{before[batch, dtype]:.3f}, {after[batch, dtype]:.3f}"
        print(
            f"| {batch} | {dtype} | {spread} | {best['median_ms']:.3f} ({best['mode']}, {best['moe']}) "
            f"| {best['median_ms'] / mine:.2f} | {1000 * batch / mine:.0f} |"
        )
    for batch in args.batch:
        mine = (before[batch, "bfloat16"] + after[batch, "bfloat16"]) / 2
        best = min(v["median_ms"] for v in variants if v["batch"] == batch)
        print(f"batch {batch}: bfloat16 is {best / mine:.2f} times as fast as PyTorch's best of all variants")


if __name__ == "__main__":
    main()
