"""The suite: cells of set, shots, seed, method and rate. A cell that has ended is a file and is not run again.

Rate and strength are chosen by cells of their own ("search"), whose pictures come from the training domains alone: some of
these are held out, as the test's domains are. What is judged is trained anew, on all training domains.
"""

import json
import os
import random
import time
from dataclasses import asdict, dataclass
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
# Whose search is theirs too: the same kind of training from another block, or on fewer classes a batch.
SEARCHED_AS = {"lskip6": "lskip4", "lskip2": "lskip4", "cskip4": "lskip4"}
SEARCHED = 0  # the seed of the cells that choose for all seeds


@dataclass(frozen=True)
class Cell:
    set: str
    shots: int
    seed: int
    method: str
    rate: float
    search: bool = False

    def path(self, out: Path) -> Path:
        end = "-search" if self.search else ""
        return out / f"{self.set}-{self.shots}-{self.seed}-{self.method}-{self.rate:g}{end}.json"


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


def task(name: str, shots: int, seed: int, data: Path, search: bool) -> Task:
    pictures = pictures_of(name, data)
    parts = np.array([part_of(name, str(d)) for d in pictures.domain])
    # The classes are the same whatever the shots.
    order = [int(c) for c in np.random.default_rng(seed).permutation(len(pictures.labels))]
    taught, new, other = CLASSES.get(name, (len(order), 0, 0))
    of_taught, of_new, of_other = order[:taught], order[taught : taught + new], order[taught + new :][:other]
    usable = ("train",) if search else ("train", "valid")
    shown = pictures.of(np.flatnonzero(np.isin(parts, usable))).only(of_taught)
    taken, rest = draw(shown, shots, np.random.default_rng([seed, shots]))
    t = Task(train=shown.of(taken), flip=name == "fashion")
    if search:
        valid = pictures.of(np.flatnonzero(parts == "valid"))
        # Without a domain for validation, what was not drawn is it.
        t.exams["taught"] = valid.only(of_taught) if len(valid.target) else shown.of(rest)
        if other:
            t.exams["other"] = valid.only(of_other)
    else:
        test = pictures.of(np.flatnonzero(parts == "test"))
        t.exams["taught"] = test.only(of_taught)
        if new:
            t.exams["other"] = test.only(of_new)
        t.exams["emoji"] = emojione(data)
    return t


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
    t = task(cell.set, cell.shots, cell.seed, data, cell.search)
    network = methods.Network(load(model), Tokenizer(model / "tokenizer.model", 16), start)
    options = methods.Options(
        kind=kind, start_block=start, rate=cell.rate, epochs=EPOCHS[cell.shots], seed=cell.seed, flip=t.flip
    )
    pixels, target = torch.from_numpy(t.train.pixels), torch.from_numpy(t.train.target)
    before = {name: p.detach().clone() for name, p in network.model.named_parameters()}
    begun = Use.now(peak_from_here=True)
    tuned = methods.learn(network, pixels, target, t.train.labels, t.templates, options)
    spent = Use.now().since(begun)
    scores = measure.scores(network, kind, t.exams, before, tuned, t.train.labels, t.templates)
    return {
        **asdict(cell), "epochs": options.epochs, "pictures": len(target), "scores": scores,
        "strengths": list(measure.STRENGTHS), "seconds": round(spent.wall, 2), "cpu_seconds": round(spent.cpu, 2),
        "peak_mb": round(spent.peak / 1e6, 1), "parameters": sum(p.numel() for p in tuned.values()),
        "judged_on": {name: len(p.target) for name, p in t.exams.items()},
    }  # fmt: skip


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


def best(searches: list[dict]) -> dict:
    """The search whose rate is taken: the one that is worth most at some strength. Ties: the first."""
    from .measure import choose, value

    def worth(result: dict) -> float:
        taught, other = result["scores"]["taught"], result["scores"].get("other")
        return value(taught, other, choose(taught, other))

    return max(searches, key=worth)


def places_of(search: dict) -> dict[str, int]:
    """Which strengths a search chooses."""
    from .measure import choose, gentle

    taught, other = search["scores"]["taught"], search["scores"].get("other")
    return {"chosen": choose(taught, other), "gentle": gentle(taught, other)}


def plan(sets, shots, methods):
    """(set, shots, method) in the order to run: many shots first, letters last."""
    for name, number in sorted(((s, n) for s in sets for n in shots), key=lambda sn: (sn[0] == "letters", sn[1] != 16)):
        for method in methods:
            yield name, number, method


def result_of(cell: Cell, args, tell) -> dict | None:
    """What is kept of a cell; otherwise it is run, unless cells are only read."""
    if cell.path(args.out).exists():
        return json.loads(cell.path(args.out).read_text())
    if args.read_only:
        return None
    pictures_of(cell.set, args.data), emojione(args.data)  # read before the fork, for all cells
    result = apart(cell, args.model, args.data, args.out)
    tell(result)
    return result


def run(args, tell) -> list[dict]:
    """Runs all cells of the plan; returns those that are judged, with the strength that was chosen."""
    args.out.mkdir(parents=True, exist_ok=True)
    standing = []
    for name, shots, method in plan(args.sets, args.shots, args.methods):
        searched = SEARCHED_AS.get(method, method)
        rates = RATES[METHODS[searched][0]]
        tried = [result_of(Cell(name, shots, SEARCHED, searched, rate, True), args, tell) for rate in rates]
        if None in tried:
            continue
        chosen = best(tried)
        for seed in args.seeds:
            result = result_of(Cell(name, shots, seed, method, chosen["rate"]), args, tell)
            if result:
                standing.append(result | {"places": places_of(chosen)})
    return standing
