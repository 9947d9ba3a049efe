"""The engine's time by operation, beside the least that each could take on this machine.

`bench/model --profile FILE` writes a Chrome trace, an event for each operation of each measured call (bench/profile.h). Those
of one operation and shape are put together, at their median. The floor of a product is its operations at the peak that
bench/peak measured in the same run, or its weights at the memory's bandwidth, where no cache holds those of all products,
whichever takes longer; that of any other operation the bytes of its rows at that bandwidth, or 0 where they stay in a cache.
"""

import dataclasses
import json
import statistics
import tempfile
from pathlib import Path

from suite import models
from suite.engine import Engine, Refused
from suite.machine import Machine
from suite.shapes import BYTES, Rates, Step, floor_seconds

OTHERS = "between operations"


@dataclasses.dataclass(frozen=True)
class Operation:
    """rows of `inputs` numbers to rows of `outputs`; groups: matrices whose weights are read. For attention `inputs` is
    the tokens that each row attends to, `outputs` the width."""

    name: str
    rows: int
    inputs: int
    outputs: int
    groups: int = 0

    def work(self) -> int:
        if "linear" in self.name or self.name == "router_logits":
            return 2 * self.rows * self.inputs * self.outputs
        if self.name == "attention_pool":  # one query for each sequence; `inputs` are keys and values
            return 2 * self.rows * self.inputs
        return 4 * self.rows * self.inputs * self.outputs if self.name == "attention" else 0

    def moved(self, dtype: str) -> int:
        """Bytes of weights; of what has none, of rows in and out."""
        if "linear" in self.name:
            return self.groups * self.inputs * self.outputs * BYTES[dtype]
        return 0 if self.work() else self.rows * (self.inputs + self.outputs) * BYTES["float32"]

    def floor(self, dtype: str, rates: Rates, cached: bool) -> float:
        """`cached`: the weights of all operations together stay near from call to call."""
        product = self.groups and not cached
        return floor_seconds(self.work(), self.moved(dtype), dataclasses.replace(rates, cache=0) if product else rates)


def read_profile(text: str) -> list[tuple[Operation, float]]:
    """Each operation that was timed, with its seconds."""
    found = []
    for event in json.loads(text)["traceEvents"]:
        if event["ph"] == "X":
            said = event["args"]
            operation = Operation(event["name"], said["rows"], said["in"], said["out"], said["groups"])
            found.append((operation, event["dur"] * 1e-6))
    return found


@dataclasses.dataclass
class Line:
    operation: Operation
    count: int  # in a call
    ms: float  # of a call
    floor_ms: float


def lines(events: list[tuple[Operation, float]], calls: int, call_ms: float, dtype: str, rates: Rates) -> list[Line]:
    """One a kind of operation, the longest first, then what a call's time has beside them."""
    found: dict[Operation, list[float]] = {}
    for operation, seconds in events:
        found.setdefault(operation, []).append(seconds)
    made = []
    weights = sum(operation.moved(dtype) * len(seconds) / calls for operation, seconds in found.items() if operation.groups)
    for operation, seconds in found.items():
        each, floor = len(seconds) / calls, operation.floor(dtype, rates, weights <= rates.cache)
        made.append(Line(operation, round(each), 1e3 * statistics.median(seconds) * each, 1e3 * floor * each))
    made.sort(key=lambda line: -line.ms)
    rest = call_ms - sum(line.ms for line in made)
    return [*made, Line(Operation(OTHERS, 0, 0, 0), 0, max(0.0, rest), 0.0)]


def table(title: str, found: list[Line], call_ms: float) -> list[str]:
    out = [f"{title}: {call_ms:.4g} ms a call", ""]
    out += ["| operation | rows, in, out | a call | ms | of the call | floor, ms | floor / time |", "|" + "---|" * 7]
    for line in found:
        o = line.operation
        shape = f"{o.rows}, {o.inputs}, {o.outputs}" + (f" × {o.groups}" if o.groups > 1 else "") if o.rows else ""
        share = f"{100 * line.floor_ms / line.ms:.0f} %" if line.ms and line.floor_ms else ""
        out.append(
            f"| {o.name} | {shape} | {line.count or ''} | {line.ms:.4g} | {100 * line.ms / call_ms:.1f} % | {line.floor_ms:.4g} | {share} |"
        )
    ms, floor = sum(line.ms for line in found), sum(line.floor_ms for line in found)
    return [*out, f"| all | | | {ms:.4g} | 100 % | {floor:.4g} | {100 * floor / ms:.0f} % |", ""]


def run(plan, machine: Machine) -> list[str]:
    """Of each model of --breakdown, dtype, kind of items and batch."""
    args, out = plan.args, []
    engine = Engine(args.build, args.threads)
    for model in args.breakdown:
        folder = models.folder_of(model, args.models, args.build)
        tokens = models.text_tokens(folder, args.tokens)
        for dtype in args.dtype:
            for items, batch in plan.cases():
                if plan.budget.over():
                    return [*out, "the rest is left out, for want of time"]
                with tempfile.TemporaryDirectory(prefix="limoe-bench-") as scratch:
                    profile = Path(scratch) / "profile"
                    try:
                        said = engine.time(folder, dtype, Step.of(items, batch), tokens, args.seconds, profile)
                    except Refused as error:
                        out.append(f"{model}, {dtype}: {error}")
                        break
                    found = read_profile(profile.read_text())
                mine = lines(found, said["calls"], said["median_ms"], dtype, machine.rates(dtype))
                out += table(f"{model}, {batch} {items}, {dtype}", mine, said["median_ms"])
    return out
