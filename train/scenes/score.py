"""Scores captions against the structured truth of scenes: F1 of nouns, colours, counts, bindings and relations.

Truth is a record's "groups" and "relations" (record.py), or a Scene. Over many captions the hits are summed first and
F1 is taken once (micro). A bare Japanese noun counts as one of it; an English plural without a number claims no count.
"""

from dataclasses import dataclass, field

from .facts import Facts
from .parse import parse

KINDS = ("nouns", "colours", "counts", "bindings", "relations")


def truth_of(record: dict) -> dict[str, set]:
    """What is true, as sets of keys a kind. Asks of the record only what it uses."""
    groups = record["groups"]
    noun = [g["noun"] for g in groups]
    return {
        "nouns": set(noun),
        "colours": {g["colour"] for g in groups if g["colour"]},
        "counts": {(g["noun"], g["count"]) for g in groups},
        "bindings": {(g["noun"], g["colour"]) for g in groups if g["colour"]},
        "relations": {(noun[i], r, noun[j]) for i, r, j in record["relations"]},
    }


def claims_of(facts: Facts, language: str) -> dict[str, set]:
    mentions = facts.mentions
    counts = {
        (m.noun, m.count if m.count is not None else 1) for m in mentions if m.count is not None or language == "ja"
    }
    return {
        "nouns": {m.noun for m in mentions},
        "colours": {m.colour for m in mentions if m.colour},
        "counts": counts,
        "bindings": {(m.noun, m.colour) for m in mentions if m.colour},
        "relations": {(mentions[i].noun, r, mentions[j].noun) for i, r, j in facts.relations},
    }


@dataclass
class Score:
    """Sums over captions: hits, claims and truths of each kind."""

    hits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    claims: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    truths: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    captions: int = 0

    def add(self, record: dict, caption: str, language: str) -> None:
        truth, claims = truth_of(record), claims_of(parse(caption, language), language)
        self.captions += 1
        for kind in KINDS:
            self.hits[kind] += len(truth[kind] & claims[kind])
            self.claims[kind] += len(claims[kind])
            self.truths[kind] += len(truth[kind])

    def report(self) -> dict[str, dict[str, float]]:
        """Precision, recall and F1 a kind, in per cent. Nothing claimed and nothing true is 100."""
        out = {}
        for kind in KINDS:
            hits, claims, truths = self.hits[kind], self.claims[kind], self.truths[kind]
            both = claims + truths
            out[kind] = {
                "precision": round(100 * hits / claims, 2) if claims else 100.0,
                "recall": round(100 * hits / truths, 2) if truths else 100.0,
                "f1": round(200 * hits / both, 2) if both else 100.0,
            }
        return out
