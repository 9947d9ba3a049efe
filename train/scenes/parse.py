"""Reads sentences back into facts: those of the grammar exactly, free text as far as its words are known.

English and Japanese are both read as a row of symbols (noun, colour, size, number, place, relation, …), longest first;
words between them are skipped. Unknown words are never an error: a caption model may say anything.
"""

import re
import unicodedata

from .facts import Facts, Mention
from .lexicon import COLOUR_NOUN_JA, COLOURS, JAPANESE_COLOURS, KANJI_NUMBERS, NOUNS, NUMBERS, PLACES, RELATIONS, SIZES

LONGEST = 4000  # characters that are read of one text


def _add(table: dict, words, kind: str, value) -> None:
    for word in words:
        table.setdefault(word, (kind, value))


def _english_table() -> dict:
    table: dict = {}
    for name, noun in NOUNS.items():
        _add(table, noun.english, "noun", (name, True))
        _add(table, noun.plurals, "noun", (name, False))
    for colour in COLOURS:
        _add(table, [colour], "colour", colour)
    _add(table, ["gray"], "colour", "grey")
    for size, (words, _) in SIZES.items():
        _add(table, words, "size", size)
    _add(table, ["tiny"], "size", "small")
    _add(table, ["huge"], "size", "big")
    for n, word in enumerate(NUMBERS[1:], 1):
        _add(table, [word, str(n)], "number", n)
    _add(table, ["a", "an", "single"], "number", 1)
    _add(table, ["the"], "the", None)
    for place, (words, _) in PLACES.items():
        _add(table, words, "place", place)
    for place, words in (
        ("top left", "in the top left"),
        ("top right", "in the top right"),
        ("middle", "in the center"),
    ):
        _add(table, [words], "place", place)
    for place, words in (
        ("bottom left", "in the bottom left"),
        ("bottom right", "in the bottom right"),
        ("middle", "at the centre"),
    ):
        _add(table, [words], "place", place)
    for relation, (pair, _) in RELATIONS.items():
        for inverse, words in enumerate(pair):
            _add(table, words, "relation", (relation, bool(inverse)))
    _add(table, ["on the left of"], "relation", ("left_of", False))
    _add(table, ["on the right of"], "relation", ("left_of", True))
    _add(table, ["over", "on top of"], "relation", ("above", False))
    _add(table, ["beneath", "underneath"], "relation", ("above", True))
    _add(table, ["is", "are"], "is", None)
    _add(table, ["from left to right"], "order", "left_of")
    _add(table, ["from top to bottom"], "order", "above")
    _add(table, ["and", "with", ",", ";"], "break", None)
    _add(table, ["."], "stop", None)
    return table


_ENGLISH = _english_table()
_ENGLISH_SYMBOL = re.compile(
    "|".join(
        (r"\b%s\b" if w[0].isalnum() else "%s") % re.escape(w) for w in sorted(_ENGLISH, key=lambda w: (-len(w), w))
    )
)


class _Reader:
    """Mentions and relations as they come up, and what waits for the next noun."""

    def __init__(self):
        self.mentions: list[dict] = []
        self.relations: list[tuple[int, str, int]] = []
        self.waiting: dict = {}
        self.open: tuple | None = None  # (mention, relation, inverse) whose other end comes next
        self.order: str | None = None
        self.first_in_order = 0

    def noun(self, noun: str, count: int | None, known: bool = False) -> int:
        """`known`: "the cat" after "a cat" is the same one."""
        earlier = [k for k, m in enumerate(self.mentions) if m["noun"] == noun] if known else []
        if earlier:
            k = earlier[-1]
            self.mentions[k].update({n: v for n, v in self.waiting.items() if v})
        else:
            self.mentions.append({"noun": noun, "count": count, **self.waiting})
            k = len(self.mentions) - 1
        self.waiting = {}
        if self.order is not None and k > self.first_in_order:
            self.relations.append((k - 1, self.order, k))
        return k

    def relate(self, a: int, relation: str, inverse: bool, b: int) -> None:
        if a != b:
            self.relations.append((b, relation, a) if inverse else (a, relation, b))

    def facts(self) -> Facts:
        fields = ("noun", "count", "colour", "size", "place")
        return Facts(
            tuple(Mention(**{f: m[f] for f in fields if f in m}) for m in self.mentions),
            tuple(dict.fromkeys(self.relations)),
        )


def parse_english(text: str) -> Facts:
    text = unicodedata.normalize("NFKC", text)[:LONGEST].lower().replace("’", "'")
    r = _Reader()
    count, the, before = None, False, ""
    for found in _ENGLISH_SYMBOL.finditer(text):
        kind, value = _ENGLISH[found.group()]
        if kind == "noun":
            name, single = value
            k = r.noun(name, 1 if single and (count is None) else count, the)
            if r.open:
                r.relate(*r.open, k)
            count, the, r.open = None, False, None
        elif kind == "number":
            count = value
        elif kind == "the":
            the = True
        elif kind in ("colour", "size"):
            if before == "is" and r.mentions and not the and count is None:
                r.mentions[-1][kind] = value
            else:
                r.waiting[kind] = value
        elif kind == "place":
            if before in ("noun", "is") and r.mentions:
                r.mentions[-1]["place"] = value
            else:
                r.waiting["place"] = value
        elif kind == "relation" and r.mentions:
            r.open = (len(r.mentions) - 1, *value)
        elif kind == "order":
            r.order, r.first_in_order = value, len(r.mentions)
        elif kind == "stop":
            r.order, r.open, r.waiting, count, the = None, None, {}, None, False
        before = kind
    return r.facts()


def _japanese_table() -> dict:
    table: dict = {}
    for name, noun in NOUNS.items():
        _add(table, noun.japanese, "noun", name)
    for colour, (forms, predicate) in JAPANESE_COLOURS.items():
        _add(table, [*forms, predicate, predicate.removesuffix("です"), COLOUR_NOUN_JA[colour]], "colour", colour)
    _add(table, ["グレー"], "colour", "grey")
    for size, (_, words) in SIZES.items():
        _add(table, words, "size", size)
    for place, (_, words) in PLACES.items():
        _add(table, [f"{w}に" for w in words], "place", place)
    for relation, (_, pair) in RELATIONS.items():
        for inverse, words in enumerate(pair):
            _add(
                table, [f"の{w}に" for w in words] + [f"の{w}の" for w in words], "relation", (relation, bool(inverse))
            )
    _add(table, ["左から順に", "左から右に"], "order", "left_of")
    _add(table, ["上から順に", "上から下に"], "order", "above")
    _add(table, ["が", "は", "の", "。"], "particle", None)
    return table


_JAPANESE = _japanese_table()
_COUNTERS = "".join(sorted({n.counter for n in NOUNS.values()}))
# "2匹の犬" counts dogs; the の of "犬2匹の左に" and "犬2匹の絵" belongs to what follows.
_NOT_OF = "|".join(sorted([w + "[にの]" for _, pair in RELATIONS.values() for words in pair for w in words]))
_JAPANESE_SYMBOL = re.compile(
    f"(?P<number>(?:[0-9]{{1,3}}|[一二三四五六七八九])(?:[{_COUNTERS}]|つ(?!の葉)))(?P<of>の(?!絵|{_NOT_OF}))?|"
    + "|".join(re.escape(w) for w in sorted(_JAPANESE, key=lambda w: (-len(w), w)))
)


def parse_japanese(text: str) -> Facts:
    text = unicodedata.normalize("NFKC", text)[:LONGEST]
    r = _Reader()
    count, topic, before = None, None, ""
    symbols = list(_JAPANESE_SYMBOL.finditer(text))
    for at, found in enumerate(symbols):
        word = found.group()
        if found.group("number"):
            digit = found.group("number")[:-1]
            n = KANJI_NUMBERS.index(digit) if digit in KANJI_NUMBERS else int(digit)
            kind = "number"
            if found.group("of") or not r.mentions:
                count = n
            else:
                r.mentions[-1]["count"] = n
        else:
            kind, value = _JAPANESE[word]
            if kind == "noun":
                k = r.noun(value, count)
                count = None
                if r.open:
                    b, relation, inverse = r.open
                    r.relate(k, relation, inverse, b)
                    r.open = None
            elif kind in ("colour", "size"):
                after = symbols[at + 1] if at + 1 < len(symbols) else None
                describes = after is not None and (
                    after.group("number") or _JAPANESE[after.group()][0] in ("noun", "colour", "size")
                )
                if topic is not None and before == "は" and not describes:
                    r.mentions[topic][kind] = value
                else:
                    r.waiting[kind] = value
            elif kind == "place":
                if before in ("が", "は") and r.mentions:
                    r.mentions[-1]["place"] = value
                else:
                    r.waiting["place"] = value
            elif kind == "relation" and r.mentions:
                if topic is not None and topic != len(r.mentions) - 1:
                    r.relate(topic, *value, len(r.mentions) - 1)
                else:
                    r.open = (len(r.mentions) - 1, *value)
            elif kind == "order":
                r.order, r.first_in_order = value, len(r.mentions)
            elif word == "は" and r.mentions:
                topic = len(r.mentions) - 1
            elif word == "。":
                r.order, r.open, r.waiting, topic, count = None, None, {}, None, None
        before = word if kind == "particle" else kind
    return r.facts()


def parse(text: str, language: str) -> Facts:
    if language not in ("en", "ja"):
        raise ValueError(f"language {language!r}: en or ja")
    return parse_english(text) if language == "en" else parse_japanese(text)
