"""What the suite's cells come to: means and spreads over seeds, as a table and as CSV."""

import csv
from pathlib import Path
from statistics import mean, stdev

from .measure import harmonic

COLUMNS = ("set", "shots", "method", "strength", "seeds", "rate", "base", "base_sd", "new", "h", "emoji", "cpu_seconds",
           "peak_mb")  # fmt: skip


def rows(results: list[dict]) -> list[dict]:
    """One for each set, shots, method and strength: "0" is zero-shot, "1" all of what was learnt; "chosen" and "gentle" are
    measure.py's choices by validation."""
    groups: dict[tuple, list[dict]] = {}
    for r in results:
        groups.setdefault((r["set"], r["shots"], r["method"]), []).append(r)
    table, seen = [], set()
    for (name, shots, method), of_group in groups.items():
        if (name, shots) not in seen:
            seen.add((name, shots))
            table.append(row(name, shots, "zero-shot", "0", of_group, [0] * len(of_group)))
        table.append(row(name, shots, method, "1", of_group, [-1] * len(of_group)))
        for choice in ("chosen", "gentle"):
            table.append(row(name, shots, method, choice, of_group, [r["places"][choice] for r in of_group]))
    return table


def row(name: str, shots: int, method: str, strength: str, results: list[dict], places: list[int]) -> dict:
    def scores(exam: str) -> list[float]:
        return [r["scores"][exam][place] for r, place in zip(results, places) if exam in r["scores"]]

    base, new = scores("taught"), scores("other")
    zero_shot = method == "zero-shot"
    used = sorted({r["strengths"][place] for r, place in zip(results, places)})
    return {
        "set": name, "shots": shots, "method": method, "seeds": len(results),
        "strength": strength if strength in ("0", "1") else f"{strength}: {used[0]:g}",
        "rate": "" if zero_shot else results[0]["rate"],
        "base": round(mean(base), 1), "base_sd": round(stdev(base), 1) if len(base) > 1 else "",
        "new": round(mean(new), 1) if new else "",
        "h": round(mean(harmonic(b, n) for b, n in zip(base, new)), 1) if new else "",
        "emoji": round(mean(scores("emoji")), 1),
        "cpu_seconds": "" if zero_shot else round(mean(r["cpu_seconds"] for r in results), 1),
        "peak_mb": "" if zero_shot else round(max(r["peak_mb"] for r in results)),
    }  # fmt: skip


def markdown(table: list[dict]) -> str:
    """Without choices that repeat another row: all of what was learnt, or nothing of it."""
    table = [r for r in table if not r["strength"].endswith((": 0", ": 1"))]
    head = ("set", "shots", "method", "strength", "seeds", "base", "±", "new", "H", "EmojiOne", "s", "MB")
    keys = (
        "set",
        "shots",
        "method",
        "strength",
        "seeds",
        "base",
        "base_sd",
        "new",
        "h",
        "emoji",
        "cpu_seconds",
        "peak_mb",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(r[key]) for key in keys) + " |" for r in table]
    return "\n".join(lines)


def write_csv(table: list[dict], path: Path) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(table)
