"""The suite: cells of set, shots, seed, kind and rate. A cell that has ended is a file and is not run again."""

import json
import os
import random
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from . import fashion, icons, letters
from .sets import Pictures, Task, draw, square

SETS = {"icons": icons, "fashion": fashion, "letters": letters}
SHOTS = (16, 4, 1)
SEEDS = (0, 1, 2)
CLASSES = {"icons": (20, 20, 20), "letters": (10, 10, 6)}  # taught, new in the test, others in validation
EMOJI = 300  # of EmojiOne's names, by which forgetting is told
# method -> (kind, start block); the order in which they run
METHODS = {
    "probe": ("probe", 0), "lskip4": ("lskip", 4), "full": ("full", 0), "lskip6": ("lskip", 6), "lskip2": ("lskip", 2),
    "cskip4": ("cskip", 4),
}  # fmt: skip
RATES = {
    "probe": (0.1, 0.03, 0.3),
    "lskip": (5e-4, 2e-4, 1e-3),
    "cskip": (5e-4, 2e-4, 1e-3),
    "full": (5e-4, 2e-4, 1e-3),
}
EPOCHS = {16: 10, 4: 20, 1: 40}  # fewer pictures, more epochs: at least some hundred steps
SEARCHED = 0  # the seed whose validation split chooses the rate of all seeds


@dataclass(frozen=True)
class Cell:
    set: str
    shots: int
    seed: int
    method: str
    rate: float

    def path(self, out: Path) -> Path:
        return out / f"{self.set}-{self.shots}-{self.seed}-{self.method}-{self.rate:g}.json"


@cache
def pictures_of(name: str, data: Path) -> Pictures:
    """Drawn once, then read from a file."""
    kept = data / "fewshot" / f"{name}.npz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        p = SETS[name].read(data / "root")
        with open(kept.with_suffix(".new"), "wb") as file:
            np.savez(file, labels=np.array(p.labels), pixels=p.pixels, target=p.target, domain=p.domain)
        kept.with_suffix(".new").rename(kept)
    with np.load(kept) as file:
        return Pictures([str(label) for label in file["labels"]], file["pixels"], file["target"], file["domain"])


def part_of(name: str, domain: str) -> str:
    if name == "icons":
        return "test" if domain in icons.TEST else "valid" if domain in icons.VALID else "train"
    return domain.split(":")[0]


def task(name: str, shots: int, seed: int, data: Path) -> Task:
    pictures = pictures_of(name, data)
    rng = np.random.default_rng([seed, shots])
    parts = np.array([part_of(name, str(d)) for d in pictures.domain])
    train, valid, test = (pictures.of(np.flatnonzero(parts == part)) for part in ("train", "valid", "test"))
    # The classes are the same whatever the shots.
    order = [int(c) for c in np.random.default_rng(seed).permutation(len(pictures.labels))]
    taught, new, other = CLASSES.get(name, (len(order), 0, 0))
    groups = order[:taught], order[taught : taught + new], order[taught + new : taught + new + other]
    shown = train.only(groups[0])
    taken, rest = draw(shown, shots, rng)
    # Without a domain for validation, what was not drawn is it.
    watched = valid.only(groups[0]) if len(valid.target) else shown.of(rest)
    return Task(
        train=shown.of(taken), valid=watched, other=valid.only(groups[2]) if other else None, base=test.only(groups[0]),
        new=test.only(groups[1]) if new else None, flip=name == "fashion",
    )  # fmt: skip


@cache
def emojione(data: Path) -> Pictures:
    """EMOJI of the names that evaluate.py asks for, one picture each: a drawing style that training never saw."""
    from names import read_cldr
    from PIL import Image
    from pictures import emojione as files

    english = read_cldr(data / "root/usr/share/unicode/cldr/common", "en")
    named = {english[emoji][0]: path for emoji, path in files(data / "root") if emoji in english}
    labels = sorted(random.Random(0).sample(sorted(named), EMOJI))
    pixels = np.stack([square(Image.open(named[label])) for label in labels])
    return Pictures(labels, pixels, np.arange(EMOJI), np.full(EMOJI, "emojione"))


def run_cell(cell: Cell, model: Path, data: Path) -> dict:
    """Trains and judges, in a process of its own: its peak memory is the cell's."""
    import torch
    from export import load
    from tokenizer import Tokenizer

    from . import measure, methods

    torch.set_num_threads(1)
    kind, start = METHODS[cell.method]
    t = task(cell.set, cell.shots, cell.seed, data)
    network = methods.Network(load(model), Tokenizer(model / "tokenizer.model", 16), start)
    options = methods.Options(
        kind=kind, start_block=start, rate=cell.rate, epochs=EPOCHS[cell.shots], seed=cell.seed, flip=t.flip
    )
    pixels, target = torch.from_numpy(t.train.pixels), torch.from_numpy(t.train.target)
    exams = {"valid": t.valid, "other": t.other, "base": t.base, "new": t.new, "emoji": emojione(data)}
    exams = {
        name: measure.exam(network, p, t.templates) for name, p in exams.items() if p is not None and kind != "full"
    }
    base = {name: p.detach().clone() for name, p in network.model.named_parameters()}
    before = Use.now(peak_from_here=True)
    learn = methods.probe if kind == "probe" else methods.tune
    tuned = learn(network, pixels, target, t.train.labels, t.templates, options)
    spent = Use.now().since(before)
    if kind == "probe":
        scores = measure.probe_scores(network, exams, tuned, t.train.labels, t.templates)
    elif kind == "full":
        wanted = {"valid": t.valid, "other": t.other, "base": t.base, "new": t.new, "emoji": emojione(data)}
        scores = whole_scores(network, wanted, t.templates, base, tuned)
    else:
        scores = measure.tail_scores(network, exams, {name: base[name] for name in tuned}, tuned)
    return {
        **asdict(cell), "epochs": options.epochs, "pictures": len(target), "scores": scores,
        "strengths": list(measure.STRENGTHS), "seconds": round(spent.wall, 2), "cpu_seconds": round(spent.cpu, 2),
        "peak_mb": round(spent.peak / 1e6, 1), "parameters": sum(p.numel() for p in tuned.values()),
        "tested": {"base": len(t.base.target), "new": 0 if t.new is None else len(t.new.target), "emoji": EMOJI},
    }  # fmt: skip


def whole_scores(network, wanted: dict, templates: list[str], base: dict, tuned: dict) -> dict[str, list[float]]:
    """As measure.tail_scores, of a model that has changed from its first row on."""
    from . import measure, methods

    base = {name: base[name] for name in tuned}
    scores: dict[str, list[float]] = {name: [] for name, p in wanted.items() if p is not None}
    for strength in measure.STRENGTHS:
        methods.interpolate(network.model, base, tuned, strength)
        for name in scores:
            scores[name].append(measure.sit(network, measure.exam(network, wanted[name], templates)))
    return scores


@dataclass
class Use:
    """Time and memory of this process."""

    wall: float
    cpu: float
    resident: int  # bytes
    peak: int

    @staticmethod
    def now(peak_from_here: bool = False) -> "Use":
        if peak_from_here:
            Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        resident, peak = (1024 * int(lines[key].split()[0]) for key in ("VmRSS", "VmHWM"))
        return Use(time.monotonic(), time.process_time(), resident, peak)

    def since(self, before: "Use") -> "Use":
        return Use(self.wall - before.wall, self.cpu - before.cpu, self.resident, self.peak - before.resident)


def apart(cell: Cell, model: Path, data: Path, out: Path) -> dict:
    """Runs a cell in a child; its file appears whole or not at all."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            result = run_cell(cell, model, data)
            new = cell.path(out).with_suffix(".new")
            new.write_text(json.dumps(result) + "\n")
            new.rename(cell.path(out))
            status = 0
        except Exception:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError(f"the cell {cell} failed; what it said is above")
    return json.loads(cell.path(out).read_text())


def chosen_strength(result: dict) -> int:
    from .measure import choose

    return choose(result["scores"]["valid"], result["scores"].get("other"))


def best(results: list[dict]) -> dict:
    """By validation: the classes taught and, where there are others, both; at the strength that would be chosen. Ties: first."""
    from .measure import harmonic

    def value(result: dict) -> float:
        place, scores = chosen_strength(result), result["scores"]
        taught = scores["valid"][place]
        return harmonic(taught, scores["other"][place]) if "other" in scores else taught

    return max(results, key=value)


def plan(sets, shots, seeds, methods):
    """(set, shots, method, seed, rates to try or None for the one that was chosen), in the order to run."""
    first = [(s, n) for s in ("icons", "fashion") for n in shots if n == 16 and s in sets]
    then = [(s, n) for s in ("icons", "fashion") for n in shots if n != 16 and s in sets]
    last = [(s, n) for s in sets if s == "letters" for n in shots]
    for name, number in first + then + last:
        for seed in seeds:
            for method in methods:
                yield name, number, method, seed


def run(args, tell) -> list[dict]:
    """All cells of the plan; returns the results that stand, one for each set, shots, method and seed."""
    args.out.mkdir(parents=True, exist_ok=True)
    chosen: dict[tuple, float] = {}
    standing = []
    for name, shots, method, seed in plan(args.sets, args.shots, args.seeds, args.methods):
        key, rates = (name, shots, method), RATES[METHODS[method][0]]
        tried = []
        for rate in rates if key not in chosen else (chosen[key],):
            cell = Cell(name, shots, SEARCHED if key not in chosen else seed, method, rate)
            if cell.path(args.out).exists():
                tried.append(json.loads(cell.path(args.out).read_text()))
                continue
            if args.read_only:
                continue
            pictures_of(name, args.data), emojione(args.data)  # read before the fork, for all cells
            tried.append(apart(cell, args.model, args.data, args.out))
            tell(tried[-1])
        if key not in chosen:
            if len(tried) < len(rates):
                continue
            chosen[key] = best(tried)["rate"]
            if seed != SEARCHED:
                cell = replace(cell, seed=seed, rate=chosen[key])
                if not cell.path(args.out).exists():
                    if args.read_only:
                        continue
                    tried = [apart(cell, args.model, args.data, args.out)]
                    tell(tried[0])
                else:
                    tried = [json.loads(cell.path(args.out).read_text())]
        if tried:
            standing.append(best(tried))
    return standing
