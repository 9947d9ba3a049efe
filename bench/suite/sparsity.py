"""Cost and memory as experts grow at equal active parameters: the dense model, then 8, 32 and 128 experts of its MLP's size.

Models of each shape are timed in turns. Beside each: how many times the dense model's time it takes, and the floor that
reading the experts sets (all that can be reached at the batch, once a call, at the bandwidth that the same run measured).
"""

import statistics
from pathlib import Path

from suite import models, plots, results, shapes
from suite.engine import Engine, Refused
from suite.machine import Machine, available_bytes
from suite.shapes import Step

EXPERTS = (1, 8, 32, 128)
SHAPES = ("s16", "b16")
BATCHES = (1, 32)


def _room(name: str, args, dtype: str) -> Path | None:
    """The model's folder, or None where memory does not hold its weights beside what a file's reading takes."""
    folder = models.folder_of(name, args.models, args.build)
    needed = models.weights_file_bytes(folder) * shapes.BYTES[dtype] / 2
    return folder if 1.2 * needed < available_bytes() else None


def points_of(plan, machine: Machine, shape: str, dtype: str, batch: int) -> list[dict]:
    args, engine, step = plan.args, Engine(plan.args.build, plan.args.threads), Step(batch, 0)
    folders = {experts: _room(f"{shape}-{experts}", args, dtype) for experts in EXPERTS}
    times: dict[int, list[dict]] = {}
    for _ in range(args.rounds):
        for experts, folder in folders.items():
            if folder and not plan.budget.over():
                times.setdefault(experts, []).append(engine.time(folder, dtype, step, 0, args.seconds))
    found = []
    for experts, runs in times.items():
        median = statistics.median(run["median_ms"] for run in runs)
        moved = shapes.weights(folders[experts], step, 0, dtype)
        work = shapes.operations(folders[experts], step, 0)
        dense = found[0]["median_ms"] if found else median
        found.append(
            {
                "shape": shape, "dtype": dtype, "batch": batch, "experts": experts, "median_ms": median,
                "least_ms": min(run["median_ms"] for run in runs), "most_ms": max(run["median_ms"] for run in runs),
                "times_dense": median / dense, "weights_mb": runs[0]["weights_bytes"] / 1e6,
                "resident_mb": runs[0]["resident"] / 1e6, "share_of_peak": work * 1e-6 / median / machine.gflops(dtype),
                "reading_ms": 1e3 * moved / machine.rates(dtype).bytes,
            }
        )  # fmt: skip
    return found


def table(points: list[dict]) -> list[str]:
    lines = ["| shape | dtype | batch | experts | ms a call (least to most) | times dense | ms to read the weights | of peak | weights, MB | resident, MB |"]
    lines.append("|" + "---|" * 10)
    for p in points:
        lines.append(
            f"| {p['shape']} | {p['dtype']} | {p['batch']} | {p['experts']} | {p['median_ms']:.4g} ({p['least_ms']:.4g} to {p['most_ms']:.4g}) "
            f"| {p['times_dense']:.2f} | {p['reading_ms']:.3g} | {100 * p['share_of_peak']:.0f} % | {p['weights_mb']:.0f} | {p['resident_mb']:.0f} |"
        )
    return lines


def rounded(value):
    return round(value, 4) if isinstance(value, float) else value


def run(plan, machine: Machine, kept: Path) -> list[str]:
    """Models are those of --model (their shapes alone), dtypes and batches the plan's own; all by default."""
    wanted = dict.fromkeys(name.rpartition("-")[0] for name in plan.args.model or [f"{s}-1" for s in SHAPES])
    points = []
    for shape in [s for s in wanted if s in models.SHAPES]:
        for dtype in plan.args.dtype:
            for batch in [b for b in BATCHES if b in plan.args.batch]:
                try:
                    points += points_of(plan, machine, shape, dtype, batch)
                except Refused as error:
                    print(f"{shape}, {dtype}: {error}", flush=True)
                    break
    if not points:
        return ["nothing was measured"]
    name = kept.with_name(f"{kept.stem}-sparsity.csv")
    results.append(name, [{**machine.stamp(), **{k: rounded(v) for k, v in p.items()}} for p in points])
    return [*table(points), "", *plots.growth(points, name.with_suffix(".png"))]
