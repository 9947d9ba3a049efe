"""Accuracy at each strength, what tuning costs other classes, and the strength that a validation split chooses."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .crops import whole
from .methods import Network, interpolate, zero_shot_probe
from .sets import Pictures

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
COST = 3.0  # points that classes not taught may lose
SLACK = 1.0  # points that are given up for a smaller strength, since all other classes suffer less by it


@dataclass
class Exam:
    """Pictures and labels to be judged by: rows of the start block, so that only the tail runs again."""

    images: Tensor  # [I, n, d]
    texts: Tensor  # packed
    lengths: Tensor
    templates: int
    target: Tensor


@torch.no_grad()
def exam(network: Network, pictures: Pictures, templates: list[str]) -> Exam:
    ids, lengths = network.prompts(pictures.labels, templates)
    images = network.image_trunk(whole(torch.from_numpy(pictures.pixels), network.size))
    return Exam(images, network.text_trunk(ids, lengths), lengths, len(templates), torch.from_numpy(pictures.target))


def accuracy(logits: Tensor, target: Tensor) -> float:
    """Per cent."""
    return round(100 * (logits.argmax(-1) == target).float().mean().item(), 2)


@torch.no_grad()
def sit(network: Network, e: Exam) -> float:
    return accuracy(network.embed(e.images) @ network.prototypes(e.texts, e.lengths, e.templates).T, e.target)


@torch.no_grad()
def scores(
    network: Network, kind: str, exams: dict[str, Pictures], before: dict, tuned: dict, labels: list[str], templates
) -> dict[str, list[float]]:
    """Each exam's accuracy at each of STRENGTHS. Leaves the model at the last.

    A tail's exams run the trunk once. A probe answers for the classes taught (labels); for all others the base does, as it
    would without it.
    """
    interpolate(network.model, before, before, 0.0)
    found: dict[str, list[float]] = {name: [] for name in exams}
    if kind == "probe":
        weight, bias = zero_shot_probe(network, labels, templates)
        for name, pictures in exams.items():
            e = exam(network, pictures, templates)
            x = network.embed(e.images)
            if pictures.labels == labels:
                of_base, of_probe = x @ weight.T + bias, x @ tuned["probe.weight"].T + tuned["probe.bias"]
                found[name] = [accuracy((1 - s) * of_base + s * of_probe, e.target) for s in STRENGTHS]
            else:
                found[name] = [sit(network, e)] * len(STRENGTHS)
        return found
    kept = {} if kind == "full" else {name: exam(network, p, templates) for name, p in exams.items()}
    base = {name: before[name] for name in tuned}
    for strength in STRENGTHS:
        interpolate(network.model, base, tuned, strength)
        for name, pictures in exams.items():
            found[name].append(sit(network, kept.get(name) or exam(network, pictures, templates)))
    return found


def harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


def value(taught: list[float], other: list[float] | None, place: int) -> float:
    """What a strength is worth: the accuracy on the classes taught; where other classes are looked at, the harmonic mean."""
    return taught[place] if other is None else harmonic(taught[place], other[place])


def choose(taught: list[float], other: list[float] | None) -> int:
    """Which of STRENGTHS is worth most, by validation alone; of those within SLACK of it the smallest."""
    worth = [value(taught, other, place) for place in range(len(STRENGTHS))]
    return min(i for i in range(1, len(STRENGTHS)) if worth[i] >= max(worth[1:]) - SLACK)


def gentle(taught: list[float], other: list[float] | None) -> int:
    """The greatest of STRENGTHS at which, by validation, other classes lose at most COST points; 0 where none does."""
    return max(i for i in range(len(STRENGTHS)) if other is None or other[i] >= other[0] - COST)
