"""What a sentence says, apart from its words: the meeting point of grammar, parser, hard negatives and scorer."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Mention:
    """A group as a sentence speaks of it; "" and None are what it leaves unsaid."""

    noun: str
    count: int | None = None
    colour: str = ""
    size: str = ""
    place: str = ""


@dataclass(frozen=True)
class Facts:
    mentions: tuple[Mention, ...]
    relations: tuple[tuple[int, str, int], ...] = ()  # as in Scene: left_of, above, in_front_of

    def changed(self, number: int, **what) -> "Facts":
        mentions = list(self.mentions)
        mentions[number] = replace(mentions[number], **what)
        return replace(self, mentions=tuple(mentions))

    def normal(self):
        """Comparable whatever the order of the sentence: mentions sorted, relations by what they join."""
        return sorted(map(_key, self.mentions)), sorted(
            (_key(self.mentions[i]), r, _key(self.mentions[j])) for i, r, j in self.relations
        )


def _key(m: Mention) -> tuple:
    return m.noun, m.count or 0, m.colour, m.size, m.place
