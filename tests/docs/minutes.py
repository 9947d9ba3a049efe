#!/usr/bin/env python3
"""Fills the minutes of docs/development.md's table of stages with those of the last run.

    scripts/test && tests/docs/minutes.py [REPORTS]

REPORTS is build/reports by default, where scripts/test leaves a NAME.seconds for each stage; a stage without one keeps
its minutes. Say beside the table which machine it was, and what else ran on it.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def fill(text: str, seconds: dict[str, int]) -> str:
    """The text with each row "| `NAME` | MINUTES |" set; below ten minutes in tenths."""

    def row(found: re.Match) -> str:
        name, old = found.groups()
        if name not in seconds:
            return found.group()
        minutes = seconds[name] / 60
        return f"| `{name}` | {max(minutes, 0.1):.1f} |" if minutes < 9.95 else f"| `{name}` | {minutes:.0f} |"

    return re.sub(r"^\| `(\w+)` \| ([^|]*?) \|", row, text, flags=re.M)


def main() -> None:
    reports = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/reports")
    seconds = {path.stem: int(path.read_text()) for path in reports.glob("*.seconds")}
    page = ROOT / "docs/development.md"
    page.write_text(fill(page.read_text(encoding="utf-8"), seconds), encoding="utf-8")
    print(f"{len(seconds)} stages, {sum(seconds.values()) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
