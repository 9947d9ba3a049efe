"""The engine's time by operation, beside the least that each could take on this machine.

`bench/model --profile FILE` writes a Chrome trace: an event for each operation of each measured call, with "name", "dur" in
microseconds, and in "args" the shape: rows, in, out, and what else says how much work it was. Events of one name and shape
are added up. The floor of a product is its operations at the peak that bench/peak measured in the same run, or its
weights' bytes at the memory's bandwidth, whichever is longer; of all else the bytes that it reads and writes, where no cache
holds them. What lies between operations is a line of its own.
"""

import dataclasses
import json
import tempfile
from pathlib import Path

from suite import models, shapes
from suite.engine import Engine, Refused
from suite.machine import Machine
from suite.shapes import BYTES, Rates, Step

PRODUCTS = ("linear", "grouped_linear")


@dataclasses.dataclass(frozen=True)
class Shape:
    rows: int
    inputs: int
    outputs: int
    groups: int = 1  # experts whose weights are read


@dataclasses.dataclass
class Line:
    """All events of one operation and shape."""

    name: str
    shape: Shape
    count: int = 0
    seconds: float = 0.0


def read_events(path: Path) -> list[dict]:
    """A Chrome trace (an object with "traceEvents", or a list), or one event a line."""
    text = path.read_text()
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    events = found["traceEvents"] if isinstance(found, dict) and "traceEvents" in found else found
    return [e for e in (events if isinstance(events, list) else [events]) if e.get("ph", "X") == "X"]
