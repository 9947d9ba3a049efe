"""What a scene is made for: one question whose answer is set before the scene is drawn.

Indexes come in rounds of ROUND x SLOTS. The same question, word for word, is asked in the SLOTS scenes of a block, and its
answers take turns over them: within whole rounds every answer of every question text is equally frequent, so nothing can
be gained from the text alone. Neighbouring indexes belong to different blocks, so a training batch does not repeat.
"""

from dataclasses import dataclass, field

from .draws import Draws
from .lexicon import held_out

SLOTS, ROUND = 10, 64
TEMPLATES = ("exists", "has_colour", "has_count", "relation", "how_many", "what_colour", "where", "which")
WHERE = ("left", "right", "top", "bottom", "middle")


@dataclass(frozen=True)
class Wanted:
    """A group that the scene must show: exactly these words are true of it."""

    noun: str
    count: int = 1
    colour: str = ""  # "" means any
    place: str = ""  # one of WHERE, "" means any


@dataclass(frozen=True)
class Focus:
    template: str
    about: tuple  # what the question names: nouns, then a colour, count or axis
    answer: object
    answers: tuple
    groups: tuple[Wanted, ...]
    absent: tuple[str, ...] = ()
    relation: tuple[int, str, int] | None = None  # between the groups
    block: int = field(default=0)


def place_in_round(index: int) -> tuple[int, int]:
    """(block, slot) of an index."""
    within = index % (ROUND * SLOTS)
    return index // (ROUND * SLOTS) * ROUND + within % ROUND, within // ROUND


def focus_of(library, split: str, seed: int, index: int) -> Focus:
    block, slot = place_in_round(index)
    draws = Draws("focus", seed, split, block)
    template = TEMPLATES[block % len(TEMPLATES)]
    return _MAKERS[template](library, split, draws, slot, block)


def _turn(slot: int, draws: Draws, answers: list):
    """The slot's answer; which answer comes first is drawn for the block."""
    return answers[(slot + draws.below(len(answers))) % len(answers)]


def _painted(library, split, draws, fewest: int) -> tuple[str, list[str]]:
    """A noun and its colours that the split may ask for; held-out ones alone in `combinations`."""

    def colours(n):
        return library.held_colours(n) if split == "combinations" else library.allowed_colours(n, split)

    noun = draws.pick([n for n in library.nouns if len(colours(n)) >= fewest])
    return noun, colours(noun)


def _exists(library, split, draws, slot, block) -> Focus:
    noun = draws.pick(library.nouns)
    answer = _turn(slot, draws, ["yes", "no"])
    groups = (Wanted(noun),) if answer == "yes" else ()
    return Focus("exists", (noun,), answer, ("yes", "no"), groups, () if groups else (noun,), block=block)


def _has_colour(library, split, draws, slot, block) -> Focus:
    """Both scenes hold the noun and the colour; only in one are they the same thing's."""
    noun, colours = _painted(library, split, draws, 2)
    colour, other = draws.sample(colours, 2)
    pool = [n for n in library.nouns if n != noun and {colour, other} <= set(library.allowed_colours(n, split))]
    companion = draws.pick(
        [n for n in pool if split != "combinations" or {colour, other} & set(library.held_colours(n))] or pool
    )
    answer = _turn(slot, draws, ["yes", "no"])
    mine, its = (colour, other) if answer == "yes" else (other, colour)
    groups = (Wanted(noun, colour=mine), Wanted(companion, colour=its))
    return Focus("has_colour", (noun, colour), answer, ("yes", "no"), groups, block=block)


def _counts(split: str, noun: str) -> list[int]:
    if split == "combinations":
        return [n for n in range(2, 6) if held_out("count", noun, n)]
    return [n for n in range(1, 6) if not held_out("count", noun, n)]


def _has_count(library, split, draws, slot, block) -> Focus:
    noun = draws.pick([n for n in library.nouns if len(_counts(split, n)) >= 2])
    counts = _counts(split, noun)
    first = draws.below(len(counts) - 1)
    asked, other = draws.shuffled(counts[first : first + 2])
    answer = _turn(slot, draws, ["yes", "no"])
    groups = (Wanted(noun, count=asked if answer == "yes" else other),)
    return Focus("has_count", (noun, asked), answer, ("yes", "no"), groups, block=block)


def _how_many(library, split, draws, slot, block) -> Focus:
    fewest = 2 if split == "combinations" else 5
    noun = draws.pick([n for n in library.nouns if len(_counts(split, n)) >= fewest])
    answers = _counts(split, noun)
    answer = _turn(slot, draws, answers)
    return Focus("how_many", (noun,), answer, tuple(answers), (Wanted(noun, count=answer),), block=block)


def _what_colour(library, split, draws, slot, block) -> Focus:
    fewest = 2 if split == "combinations" else 5
    noun, colours = _painted(library, split, draws, fewest)
    answers = draws.sample(colours, fewest)
    answer = _turn(slot, draws, answers)
    return Focus("what_colour", (noun,), answer, tuple(answers), (Wanted(noun, colour=answer),), block=block)


def _where(library, split, draws, slot, block) -> Focus:
    noun = draws.pick(library.nouns)
    answer = _turn(slot, draws, list(WHERE))
    return Focus("where", (noun,), answer, WHERE, (Wanted(noun, place=answer),), block=block)


def _pair(library, split, draws) -> tuple[str, str, str]:
    axis = draws.pick(("left_of", "above"))
    while True:
        a, b = draws.sample(library.nouns, 2)
        if held_out("relation", axis, a, b) == (split == "combinations"):
            return axis, a, b


def _relation(library, split, draws, slot, block) -> Focus:
    axis, a, b = _pair(library, split, draws)
    answer = _turn(slot, draws, ["yes", "no"])
    groups = (Wanted(a), Wanted(b))
    order = (0, axis, 1) if answer == "yes" else (1, axis, 0)
    return Focus("relation", (a, b, axis), answer, ("yes", "no"), groups, relation=order, block=block)


def _which(library, split, draws, slot, block) -> Focus:
    axis, a, b = _pair(library, split, draws)
    answer = _turn(slot, draws, [a, b])
    order = (0, axis, 1) if answer == a else (1, axis, 0)
    return Focus("which", (a, b, axis), answer, (a, b), (Wanted(a), Wanted(b)), relation=order, block=block)


_MAKERS = {
    "exists": _exists, "has_colour": _has_colour, "has_count": _has_count, "relation": _relation,
    "how_many": _how_many, "what_colour": _what_colour, "where": _where, "which": _which,
}  # fmt: skip
