"""Plots of rows, where matplotlib is installed: what was drawn, in words."""

from pathlib import Path

from suite.results import ENGINES, Row

COLOURS = {"limoe": "#1b7837", "torch": "#d6604d", "open_clip": "#e08214", "onnxruntime": "#4393c3", "openvino": "#9970ab"}


def _pyplot():
    """None: there is no matplotlib."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def comparison(rows: list[Row], path: Path) -> list[str]:
    """Beside each other, of each case: items per second as multiples of the engine's, and the engine's share of the peak."""
    pyplot = _pyplot()
    if pyplot is None:
        return ["no plot: this Python has no matplotlib"]
    cases = list(dict.fromkeys((r.model, r.items, r.batch, r.dtype) for r in rows if r.engine == "limoe"))
    of_case = {(r.model, r.items, r.batch, r.dtype, r.engine): r for r in rows}
    engines = [e for e in ENGINES if any(r.engine == e for r in rows)]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 1.5 + 0.45 * len(cases)), width_ratios=[2, 1], sharey=True)
    height = 0.8 / max(1, len(engines))
    for at, engine in enumerate(engines):
        for y, case in enumerate(cases):
            if (*case, engine) in of_case:
                times = of_case[*case, "limoe"].median_ms / of_case[*case, engine].median_ms
                left.barh(y + (at - len(engines) / 2 + 0.5) * height, times, height, color=COLOURS[engine])
        left.barh(0, 0, color=COLOURS[engine], label=ENGINES[engine])
    for y, case in enumerate(cases):
        right.barh(y, 100 * of_case[*case, "limoe"].share_of_peak, 0.6, color=COLOURS["limoe"])
    left.set_yticks(range(len(cases)), [f"{m}, {b} {i}, {d}" for m, i, b, d in cases])
    left.set_ylim(len(cases) - 0.4, -0.6)
    left.axvline(1, color="black", linewidth=0.8)
    left.set_xlabel("speed, limoe = 1")
    left.legend(loc="lower right")
    right.set_xlim(0, 100)
    right.set_xlabel("limoe, % of the machine's peak")
    figure.suptitle(f"{rows[0].cpu}, {rows[0].isa}, {rows[0].threads} threads, {rows[0].date}")
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return [f"plot: {path}"]


def growth(points: list[dict], path: Path) -> list[str]:
    """Of models of equal active size, by experts: time of a call as a multiple of the dense one's, and weights in memory."""
    pyplot = _pyplot()
    if pyplot is None:
        return ["no plot: this Python has no matplotlib"]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    series = list(dict.fromkeys((p["shape"], p["dtype"], p["batch"]) for p in points))
    for shape, dtype, batch in series:
        found = [p for p in points if (p["shape"], p["dtype"], p["batch"]) == (shape, dtype, batch)]
        experts = [p["experts"] for p in found]
        left.plot(experts, [p["times_dense"] for p in found], marker="o", label=f"{shape}, {dtype}, batch {batch}")
        if batch == series[0][2]:
            right.plot(experts, [p["weights_mb"] for p in found], marker="o", label=f"{shape}, {dtype}")
    for axis, what in ((left, "time of a call, dense = 1"), (right, "weights, MB")):
        axis.set_xscale("log", base=2)
        axis.set_xlabel("experts (1: the dense model)")
        axis.set_ylabel(what)
        axis.legend()
    left.set_ylim(bottom=0)
    right.set_yscale("log")
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return [f"plot: {path}"]
