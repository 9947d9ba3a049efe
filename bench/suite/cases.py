"""A run: which cases, in which order, who is measured in turns, and what is kept of it."""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from suite import breakdown, models, peers, plots, results, shapes, sparsity
from suite.engine import Engine, Refused
from suite.machine import Machine, available_bytes, file_name
from suite.peers import Peer, PeerError, Setting
from suite.results import Row
from suite.shapes import Step

COMPARED = 4  # pictures, and texts, whose embeddings are compared
MOST_TOKENS = 4096  # that a model's texts may have
MOST_SECONDS = 1800  # for a peer to answer, its compiling included


class Budget:
    def __init__(self, minutes: float | None):
        self.end = time.monotonic() + 60 * minutes if minutes is not None else None

    def left(self) -> float:
        return MOST_SECONDS if self.end is None else self.end - time.monotonic()

    def over(self) -> bool:
        return self.left() <= 0

    def part(self, share: float) -> "Budget":
        """One that ends when so much of what is left of this one is over."""
        if self.end is None:
            return self
        part = Budget(None)
        part.end = time.monotonic() + share * max(0.0, self.left())
        return part


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclasses.dataclass
class Plan:
    args: argparse.Namespace
    models: list[str]
    budget: Budget

    def cases(self) -> list[tuple[str, int]]:
        """(items, batch), the smaller batches first; one item cannot be mixed."""
        return [(items, batch) for batch in sorted(self.args.batch) for items in self.args.items if items != "mixed" or batch > 1]


def write_items(folder: Path, tokens: int, path: Path) -> None:
    """Pictures of noise and texts of any tokens, each text ending as the model's do; the same for all engines."""
    from checkpoints.tensors import Tensor, write_safetensors  # train/

    config, rng = json.loads((folder / "config.json").read_text()), np.random.default_rng(7)
    if "format" in config:
        size, vocabulary, end = config["image"]["size"], config["text"]["vocab"], config["text"]["eos_id"]
    else:
        size, text = config["vision_config"]["image_size"], config["text_config"]
        vocabulary, end = text["vocab_size"], 49407 if config["model_type"] == "clip" else 1
    ids = rng.integers(3, vocabulary - 2, (COMPARED, tokens), dtype=np.int32)
    ids[:, -1] = end
    pixels = rng.integers(0, 256, (COMPARED, size, size, 3), dtype=np.uint8)
    lengths = np.full(COMPARED, tokens, dtype=np.int32)
    write_safetensors(path, {"pixels": Tensor("U8", pixels), "tokens": Tensor("I32", ids), "lengths": Tensor("I32", lengths)})


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


class Measuring:
    """One model: its folder, the items that are compared, the engine's float32 answer to them."""

    def __init__(self, plan: Plan, machine: Machine, model: str, scratch: Path):
        self.plan, self.machine, self.model, self.scratch = plan, machine, model, scratch
        self.args, self.engine = plan.args, Engine(plan.args.build, plan.args.threads)
        self.folder = models.folder_of(model, self.args.models, self.args.build)
        self.onnx = self.args.models / "onnx" / model
        self.tokens = models.text_tokens(self.folder, self.args.tokens)
        self.padded = models.text_tokens(self.folder, MOST_TOKENS) if self.args.pad else 0  # the peers' texts
        self.experts = shapes.shape_of(self.folder, "image", self.tokens).experts
        self.items = scratch / "items.safetensors"
        write_items(self.folder, self.tokens, self.items)
        self.truth = self.answer("float32")
        if set(self.args.peer) - {"torch", "open_clip"} and self.fits("onnxruntime"):
            try:
                peers.export(self.folder, self.onnx, self.args.threads, self.tokens, self.padded, plan.budget.part(0.3).left())
            except PeerError as error:
                say(f"  {model}: as ONNX {error}")

    def answer(self, dtype: str) -> np.ndarray:
        out = self.scratch / "answer.f32"
        self.engine.embed(self.folder, dtype, self.items, out)
        return np.fromfile(out, dtype=np.float32).reshape(2 * COMPARED, -1)

    def fits(self, engine: str) -> bool:
        """Whether a peer's float32 weights, and the copies that exporting and packing make, find room."""
        return models.float32_bytes(self.folder) * (2 if engine in ("torch", "open_clip") else 4) < available_bytes()

    def try_setting(self, setting: Setting, budget: Budget) -> tuple[Peer, float, dict[tuple, float]]:
        """The peer, its least cosine, and its milliseconds for each case."""
        peer = Peer(setting, self.folder, self.onnx, self.args.threads, self.tokens, self.padded)
        try:
            out = self.scratch / "answer.npy"
            peer.embed(self.items, out, budget.left())
            cosine, ms = least_cosine(np.load(out), self.truth), {}
            for items, batch in self.plan.cases():
                if budget.over():
                    break
                ms[items, batch] = statistics.median(peer.time(Step.of(items, batch), self.args.seconds / 4, budget.left()))
            return peer, cosine, ms
        except PeerError:
            peer.close()
            raise

    def best_settings(self, dtype: str, budget: Budget) -> tuple[dict[tuple, Peer], dict[Peer, float], list[Peer]]:
        """(engine, items, batch) -> the peer in its best setting; each one's cosine; all that are running."""
        best: dict[tuple, tuple[float, Peer]] = {}
        cosines: dict[Peer, float] = {}
        for engine in self.args.peer:
            tried = [] if peers.missing(engine) or not peers.knows(engine, self.folder) else peers.settings(engine, dtype, self.experts, self.args.quick)
            for setting in tried:
                if budget.over() or not self.fits(engine):
                    say(f"  {self.model}, {dtype}: {engine} ({setting}) left out, for want of {'time' if budget.over() else 'memory'}")
                    continue
                try:
                    peer, cosine, ms = self.try_setting(setting, budget)
                except PeerError as error:
                    say(f"  {self.model}, {dtype}: {engine} ({setting}) left out: {error}")
                    continue
                say(f"  {self.model}, {dtype}: {engine} ({setting}) {', '.join(f'{c[1]} {c[0]} {v:.4g} ms' for c, v in ms.items())}")
                cosines[peer] = cosine
                for case, value in ms.items():
                    if (engine, *case) not in best or value < best[engine, *case][0]:
                        best[engine, *case] = value, peer
                chosen = {kept for _, kept in best.values()}
                for idle in [p for p in cosines if p not in chosen]:
                    idle.close()
                    del cosines[idle]
        return {key: peer for key, (_, peer) in best.items()}, cosines, list(cosines)

    def in_turns(self, items: str, batch: int, dtype: str, taking: dict[str, Peer]) -> dict[str, tuple[list[float], int]]:
        """engine -> the median of each round, and its resident bytes."""
        step, found = Step.of(items, batch), {}
        for _ in range(self.args.rounds):
            mine = self.engine.time(self.folder, dtype, step, self.tokens, self.args.seconds)
            found.setdefault("limoe", ([], mine["resident"]))[0].append(mine["median_ms"])
            for engine, peer in list(taking.items()):
                try:
                    times = peer.time(step, self.args.seconds, MOST_SECONDS)
                except PeerError as error:
                    say(f"  {self.model}, {dtype}: {engine} left out: {error}")
                    taking.pop(engine)
                    found.pop(engine, None)
                    continue
                found.setdefault(engine, ([], peer.resident))[0].append(statistics.median(times))
        return found

    def rows(self, dtype: str, budget: Budget) -> list[Row]:
        """Every case of a dtype, most of the time for finding settings. Refused: the build has no such dtype."""
        own = least_cosine(self.answer(dtype), self.truth)
        best, cosines, running = self.best_settings(dtype, budget.part(0.6))
        rows = []
        try:
            for items, batch in self.plan.cases():
                if self.plan.budget.over():
                    say(f"  {self.model}, {dtype}: {batch} {items} left out, for want of time")
                    continue
                taking = {e: best[e, items, batch] for e in self.args.peer if (e, items, batch) in best}
                for engine, (rounds, resident) in self.in_turns(items, batch, dtype, dict(taking)).items():
                    peer = taking.get(engine)
                    rows.append(
                        self.row(
                            items, batch, dtype, engine=engine, version=peer.version if peer else "",
                            setting=str(peer.setting) if peer else "", cosine=round(cosines[peer] if peer else own, 6),
                            resident_mb=resident >> 20, **results.timed(rounds),
                        )  # fmt: skip
                    )
        finally:
            for peer in running:
                peer.close()
        return rows

    def row(self, items: str, batch: int, dtype: str, **what) -> Row:
        step, ms = Step.of(items, batch), what["median_ms"]
        work = shapes.operations(self.folder, step, self.tokens)
        moved = shapes.weights(self.folder, step, self.tokens, dtype)
        peak = self.machine.gflops(dtype)
        return Row(
            **self.machine.stamp(), model=self.model, items=items, batch=batch, tokens=self.tokens,
            padded=0 if what["engine"] == "limoe" else self.padded, dtype=dtype, items_per_s=round(1e3 * batch / ms, 2), gflop=round(work * 1e-9, 4), peak_gflops=peak,
            share_of_peak=round(work * 1e-6 / ms / peak, 4),
            floor_ms=round(1e3 * shapes.floor_seconds(work, moved, self.machine.rates(dtype)), 4), **what,
        )  # fmt: skip


def measure(plan: Plan, machine: Machine, kept: Path) -> list[Row]:
    rows, waiting = [], len(plan.models) * len(plan.args.dtype)
    for model in plan.models:
        if plan.budget.over():
            say(f"{model}: left out, for want of time")
            continue
        say(model)
        with tempfile.TemporaryDirectory(prefix="limoe-bench-") as scratch:
            try:
                measuring = Measuring(plan, machine, model, Path(scratch))
            except (Refused, subprocess.CalledProcessError, ModuleNotFoundError) as error:
                say(f"  left out: {error}")
                waiting = max(1, waiting - len(plan.args.dtype))
                continue
            for dtype in plan.args.dtype:
                if plan.budget.over():
                    say(f"  {dtype}: left out, for want of time")
                    continue
                budget, waiting = plan.budget.part(1 / waiting), max(1, waiting - 1)
                try:
                    found = measuring.rows(dtype, budget)
                except Refused as error:
                    say(f"  {dtype}: {error}")
                    continue
                results.append(kept, [dataclasses.asdict(row) for row in found])
                rows += found
    return rows


def run(plan: Plan) -> int:
    args = plan.args
    for engine in args.peer:
        if lacking := peers.missing(engine):
            say(f"{results.ENGINES[engine]} is left out: this Python has no {', '.join(lacking)} (bench/requirements.txt)")
    args.peer = [engine for engine in args.peer if not peers.missing(engine)]
    if "openvino" in args.peer and "int8" in args.dtype and not peers.has_nncf():
        say("OpenVINO's int8 is left out: this Python has no nncf (bench/requirements.txt)")
    machine = Machine(args.build, args.threads, 0.2 if args.quick else 1.0)
    kept = args.results or models.ROOT / "bench/results" / f"{file_name(machine.cpu, machine.isa)}.csv"
    lines = [*machine.lines(), ""]
    print("\n".join(lines), flush=True)
    if args.breakdown:
        more = breakdown.run(plan, machine)
    elif args.sparsity:
        more = sparsity.run(plan, machine, kept)
    else:
        rows = measure(plan, machine, kept)
        more = [*results.table(rows), "", *results.best_at_all(rows)]
        if rows:
            more += ["", *plots.comparison(rows, kept.with_suffix(".png"))]
    print("\n".join(more), flush=True)
    if args.out:
        args.out.write_text("\n".join([*lines, *more, ""]))
    return 0
