"""What was measured: rows, the file that keeps a machine's, and the tables that are read."""

import csv
import dataclasses
import statistics
from pathlib import Path

ENGINES = {"limoe": "limoe", "torch": "PyTorch", "open_clip": "open_clip", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclasses.dataclass
class Row:
    """One engine on one case. Times are of a call, over the rounds' medians."""

    date: str
    commit: str
    cpu: str
    isa: str
    threads: int
    model: str
    items: str  # image, text, mixed
    batch: int
    tokens: int  # of a text
    padded: int  # to how many an engine's texts are padded; 0: they are not
    dtype: str
    engine: str
    version: str
    setting: str
    rounds: int
    median_ms: float
    least_ms: float
    most_ms: float
    items_per_s: float
    gflop: float  # of a call
    peak_gflops: float  # of the dtype, all cores, in the same run
    share_of_peak: float
    floor_ms: float
    cosine: float | str  # the least to limoe's float32 answer; "" where it was not compared
    resident_mb: int


def timed(rounds: list[float]) -> dict:
    """The times of Row from each round's median."""
    return {
        "rounds": len(rounds), "median_ms": round(statistics.median(rounds), 4), "least_ms": round(min(rounds), 4),
        "most_ms": round(max(rounds), 4),
    }  # fmt: skip


def append(path: Path, rows: list[dict]) -> None:
    """Beside what is there: the head is written once. A file with another head is left alone, and said so."""
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with path.open(newline="") as file:
            if next(csv.reader(file), None) != list(rows[0]):
                raise SystemExit(f"{path}: its columns are not those of this program; name another with --results")
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        rows = []
        for found in csv.DictReader(file):
            kinds = {field.name: field.type for field in dataclasses.fields(Row)}
            rows.append(Row(**{name: value if kinds[name] not in (int, float) else kinds[name](value) for name, value in found.items()}))
    return rows


def cell(row: Row | None) -> str:
    if row is None:
        return "n.a."
    note = f", {row.setting}" if row.setting else ""
    return f"{row.median_ms:.4g} ({row.least_ms:.4g} to {row.most_ms:.4g}{note})"


def table(rows: list[Row]) -> list[str]:
    """A line for each case: the engine, its share of the peak, the peers, and how many times as fast as their best it is."""
    cases: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        cases.setdefault((row.model, row.items, row.batch, row.dtype), {})[row.engine] = row
    peers = [engine for engine in ENGINES if engine != "limoe" and any(engine in found for found in cases.values())]
    head = ["model", "items", "dtype", "limoe, ms a call", "of peak", *(ENGINES[p] for p in peers), "limoe to best", "least cosine"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for (model, items, batch, dtype), found in cases.items():
        mine, others = found.get("limoe"), [found[p] for p in peers if p in found]
        best = min((o.median_ms for o in others), default=None)
        share = f"{100 * mine.share_of_peak:.0f} %" if mine else "n.a."
        ratio = f"{best / mine.median_ms:.2f}" if mine and best else "n.a."
        cosines = [row.cosine for row in found.values() if row.cosine != ""]
        cells = [model, f"{batch} {items}", dtype, cell(mine), share, *(cell(found.get(p)) for p in peers), ratio]
        cells.append(f"{min(map(float, cosines)):.5f}" if cosines else "n.a.")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def best_at_all(rows: list[Row]) -> list[str]:
    """Of each case, over all dtypes: the engine's fastest beside the peers' fastest."""
    cases: dict[tuple, list[Row]] = {}
    for row in rows:
        cases.setdefault((row.model, row.items, row.batch), []).append(row)
    lines = []
    for (model, items, batch), found in cases.items():
        mine = min((r for r in found if r.engine == "limoe"), key=lambda r: r.median_ms, default=None)
        peer = min((r for r in found if r.engine != "limoe"), key=lambda r: r.median_ms, default=None)
        if mine and peer:
            lines.append(
                f"- {model}, {batch} {items}: {mine.dtype} is {peer.median_ms / mine.median_ms:.2f} times as fast as the best of all, "
                f"{ENGINES[peer.engine]}'s {peer.dtype}"
            )
    return lines
