"""The grammar: facts of a scene become sentences in English and Japanese, in many forms.

A sentence is drawn in two steps. `choose` picks a form and what it says; `write` words it. Written again with the same
draws after one fact was changed, a sentence changes in that fact's words alone: a hard negative.
"""

from dataclasses import dataclass, replace

from .draws import Draws
from .facts import Facts, Mention
from .lexicon import COLOURS, JAPANESE_COLOURS, NOUNS, NUMBERS, PLACES, RELATIONS, SIZES, article, held_out
from .scene import Scene

FORMS = ("list", "list", "relation", "relation", "place", "predicate", "order")
LANGUAGES = ("en", "ja")


@dataclass(frozen=True)
class Sentence:
    text: str
    facts: Facts
    form: str
    key: tuple  # of the draws that worded it


def choose(scene: Scene, language: str, draws: Draws) -> tuple[str, Facts]:
    """A form that the scene can fill, and what it will say."""
    form = draws.pick(FORMS)
    groups = scene.groups
    if form == "relation" and scene.relations:
        i, relation, j = draws.pick(scene.relations)
        return form, Facts(
            (_mention(groups[i], language, draws), _mention(groups[j], language, draws)), ((0, relation, 1),)
        )
    if form == "place":
        placed = [g for g in groups if g.place]
        if placed:
            some = draws.shuffled(placed)[: draws.between(1, 2)]
            return form, Facts(tuple(replace(_mention(g, language, draws), place=g.place, size="") for g in some))
    if form == "predicate":
        coloured = [g for g in groups if g.colour]
        if coloured:
            some = draws.shuffled(coloured)[: draws.between(1, 2)]
            count = 1 if language == "en" else None
            if all(g.count == 1 for g in some):
                return form, Facts(tuple(Mention(g.noun, count, g.colour) for g in some))
    if form == "order" and len(groups) >= 2:
        # Neighbours in the row must each be truly one left of the other.
        row = sorted(range(len(groups)), key=lambda g: groups[g].box[0])
        chain = [row[0]]
        for g in row[1:]:
            if (chain[-1], "left_of", g) in scene.relations:
                chain.append(g)
        if len(chain) >= 2:
            links = tuple((k, "left_of", k + 1) for k in range(len(chain) - 1))
            return form, Facts(tuple(_mention(groups[g], language, draws) for g in chain), links)
    some = draws.shuffled(groups)
    if draws.chance(25):
        some = some[: draws.between(1, len(some))]
    return "list", Facts(tuple(_mention(g, language, draws) for g in some))


def _mention(group, language: str, draws: Draws) -> Mention:
    """Count and colour mostly, size where it is plain; a bare Japanese noun leaves a count of one unsaid."""
    colour = group.colour if draws.chance(80) else ""
    size = group.size if draws.chance(40) else ""
    said = group.count > 1 or language == "en" or draws.chance(45)
    return Mention(group.noun, group.count if said else None, colour, size)


def write(form: str, facts: Facts, language: str, key: tuple) -> Sentence:
    draws = Draws("words", *key)
    words = _english if language == "en" else _japanese
    return Sentence(words(form, facts, draws), facts, form, key)


# ---- English


def number(n: int, draws: Draws) -> str:
    return NUMBERS[n] if draws.chance(85) else str(n)


def english_noun(m: Mention, draws: Draws, definite: bool = False) -> str:
    noun = NOUNS[m.noun]
    one = m.count == 1
    k = draws.below(len(noun.english)) if draws.chance(40) else 0
    adjectives = [draws.pick(SIZES[m.size][0])] if m.size else []
    if m.colour:
        adjectives.append("gray" if m.colour == "grey" and draws.chance(30) else m.colour)
    words = " ".join([*adjectives, (noun.english if one else noun.plurals)[k]])
    spelt, once = number(m.count, draws), draws.chance(8)
    if definite:
        return f"the {words}"
    return f"{'one' if once else article(words)} {words}" if one else f"{spelt} {words}"


def joined(parts: list[str], comma: str = ", ", last: str = " and ") -> str:
    return parts[0] if len(parts) == 1 else comma.join(parts[:-1]) + last + parts[-1]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _english(form: str, facts: Facts, draws: Draws) -> str:
    style = draws.below(4)
    forward, spelling = draws.chance(60), draws.below(8)
    ordered = facts.mentions
    base = draws.below(1 << 30)
    # Each thing's words are drawn by its name, so that they stay when a relation is turned round.
    parts = [english_noun(m, Draws("phrase", base, m.noun)) for m in ordered]
    is_are = "is" if ordered[0].count == 1 else "are"
    if form == "relation":
        i, relation, j = facts.relations[0]
        a, b = (i, j) if forward else (j, i)
        phrases = RELATIONS[relation][0][0 if forward else 1]
        phrase = phrases[spelling % len(phrases)]
        verb = "is" if ordered[a].count == 1 else "are"
        return (
            f"{parts[a]} {phrase} {parts[b]}",
            f"{_capital(parts[a])} {verb} {phrase} {parts[b]}.",
            f"There {verb} {parts[a]} {phrase} {parts[b]}.",
            f"a picture of {parts[a]} {phrase} {parts[b]}",
        )[style]
    if form == "place":
        places = [PLACES[m.place][0][spelling % len(PLACES[m.place][0])] for m in ordered]
        if style % 2:
            return (
                _capital(
                    joined([f"{p} {'is' if m.count == 1 else 'are'} {n}" for p, m, n in zip(places, ordered, parts)])
                )
                + "."
            )
        text = joined([f"{n} {p}" for p, n in zip(places, parts)])
        return text if style else f"There {is_are} {text}."
    if form == "predicate":
        colours = [m.colour for m in ordered]
        bare = [english_noun(replace(m, colour=""), Draws("phrase", base, m.noun), True) for m in ordered]
        return _capital(joined([f"{n} is {c}" for n, c in zip(bare, colours)])) + "."
    if form == "order":
        return f"{'From left to right: ' if style % 2 else 'from left to right, '}{joined(parts)}{'.' if style % 2 else ''}"
    text = joined(parts)
    return (text, f"There {is_are} {text}.", f"a picture of {text}", f"{_capital(text)}.")[style]


# ---- Japanese


def japanese_count(n: int, counter: str, draws: Draws) -> str:
    kanji = draws.chance(20)
    if counter == "人" and n <= 2:
        return ("一人", "二人")[n - 1] if kanji or draws.chance(60) else f"{n}人"
    if counter == "個" and n <= 9 and draws.chance(35):
        return "一つ 二つ 三つ 四つ 五つ 六つ 七つ 八つ 九つ".split()[n - 1]
    return ("一二三四五六七八九"[n - 1] if kanji and n <= 9 else str(n)) + counter


def japanese_noun(m: Mention, draws: Draws, particle: str = "") -> str:
    """The number before with の, or after, floating behind the particle が."""
    noun = NOUNS[m.noun]
    word = draws.pick(noun.japanese) if draws.chance(60) else noun.japanese[0]
    size, forms = draws.below(2), draws.below(4)
    colour = JAPANESE_COLOURS[m.colour][0] if m.colour else ("",)
    words = (SIZES[m.size][1][size] if m.size else "") + colour[forms % len(colour)] + word
    count, before = japanese_count(m.count or 1, noun.counter, draws), draws.chance(50)
    if m.count is None:
        return words + particle
    if before:
        return f"{count}の{words}{particle}"
    return f"{words}{particle}{count}" if particle == "が" else f"{words}{count}{particle}"


def _there_is(mentions, draws: Draws) -> str:
    """Living things いる, others ある; a list of both is seen or drawn."""
    polite = draws.chance(50)
    alive = {NOUNS[m.noun].animate for m in mentions}
    if len(alive) == 2:
        return "が見えます" if polite else "が描かれている"
    return ("がいます" if polite else "がいる") if alive == {True} else ("があります" if polite else "がある")


def _japanese(form: str, facts: Facts, draws: Draws) -> str:
    style = draws.below(4)
    forward, spelling, base = draws.chance(60), draws.below(8), draws.below(1 << 30)
    ordered = facts.mentions

    def phrase(m: Mention, particle: str = "") -> str:
        return japanese_noun(m, Draws("phrase", base, m.noun), particle)

    def exists(mentions) -> str:
        return _there_is(mentions, Draws("verb", base))

    if form == "relation":
        i, relation, j = facts.relations[0]
        a, b = (ordered[i], ordered[j]) if forward else (ordered[j], ordered[i])
        phrases = RELATIONS[relation][1][0 if forward else 1]
        where = f"{phrase(b)}の{phrases[spelling % len(phrases)]}に"
        return (
            f"{where}{phrase(a, 'が')}{exists([a])[1:]}。",
            f"{phrase(a)}は{where}{exists([a])[1:]}。",
            f"{where}{'いる' if NOUNS[a.noun].animate else 'ある'}{phrase(a)}の絵",
            f"{where}{phrase(a)}",
        )[style]
    if form == "place":
        places = [PLACES[m.place][1][spelling % len(PLACES[m.place][1])] for m in ordered]
        if style % 2:
            return "、".join(f"{p}に{phrase(m)}" for p, m in zip(places, ordered))
        return "".join(f"{p}に{phrase(m, 'が')}{exists([m])[1:]}。" for p, m in zip(places, ordered))
    if form == "predicate":
        return "".join(f"{phrase(replace(m, colour=''))}は{JAPANESE_COLOURS[m.colour][1]}。" for m in ordered)
    if form == "order":
        return "左から順に、" + "、".join(map(phrase, ordered)) + ("。" if style % 2 else "")
    text = ("と" if style < 3 else "、").join(map(phrase, ordered))
    return (text + exists(ordered) + "。", text, text + "の絵", text)[style]


# ---- for a scene


def references(scene: Scene, language: str, count: int = 5) -> list[Sentence]:
    """Different true sentences; the first names everything that is there."""
    found: dict[str, Sentence] = {}
    for k in range(4 * count):
        key = (scene.seed, scene.split, scene.index, language, k)
        draws = Draws("sentence", *key)
        if k:
            form, facts = choose(scene, language, draws)
        else:
            form, facts = (
                "list",
                Facts(
                    tuple(
                        Mention(g.noun, g.count, g.colour, g.size if len(scene.groups) < 3 else "")
                        for g in scene.groups
                    )
                ),
            )
        sentence = write(form, facts, language, key)
        found.setdefault(sentence.text, sentence)
        if len(found) == count:
            break
    return list(found.values())


def negatives(scene: Scene, sentence: Sentence, language: str) -> list[tuple[str, Sentence]]:
    """(kind, sentence) for each kind of hard negative that the sentence has: one fact changed, and so untrue of the
    scene. Outside `combinations` none says a held-out combination: it would be taught to be false."""
    draws = Draws("negative", *sentence.key)
    makers = {"colour": _colour, "count": _count, "relation": _relation}
    if sentence.form == "predicate":
        del makers["count"]  # "The apple is red." counts nothing
    changed = [(kind, make(scene, sentence.facts, draws)) for kind, make in makers.items()]
    out = []
    for kind, facts in changed:
        if facts is not None and (scene.split == "combinations" or not any(held_out(*c) for c in said(facts))):
            other = write(sentence.form, facts, language, sentence.key)
            if other.text != sentence.text:
                out.append((kind, other))
    return out


def said(facts: Facts) -> list[tuple]:
    """The combinations that a sentence speaks of, as keys of held_out."""
    found = [("colour", m.noun, m.colour) for m in facts.mentions if m.colour]
    found += [("count", m.noun, m.count) for m in facts.mentions if m.count]
    return found + [("relation", r, facts.mentions[i].noun, facts.mentions[j].noun) for i, r, j in facts.relations]


def _colour(scene: Scene, facts: Facts, draws: Draws) -> Facts | None:
    """Two things' colours change places; a single coloured thing gets another colour."""
    coloured = [k for k, m in enumerate(facts.mentions) if m.colour]
    pairs = [
        (i, j) for i in coloured for j in coloured if i < j and facts.mentions[i].colour != facts.mentions[j].colour
    ]
    if pairs:
        i, j = draws.pick(pairs)
        mine, its = facts.mentions[i].colour, facts.mentions[j].colour
        return facts.changed(i, colour=its).changed(j, colour=mine)
    if not coloured:
        return None
    k = draws.pick(coloured)
    noun, colour = facts.mentions[k].noun, facts.mentions[k].colour
    others = [c for c in COLOURS if c != colour and (scene.split == "combinations" or not held_out("colour", noun, c))]
    return facts.changed(k, colour=draws.pick(others))


def _count(scene: Scene, facts: Facts, draws: Draws) -> Facts | None:
    """One more or one fewer."""
    counted = [k for k, m in enumerate(facts.mentions) if m.count]
    if not counted:
        return None
    k = draws.pick(counted)
    n = facts.mentions[k].count
    return facts.changed(k, count=n + 1 if n == 1 or draws.chance(50) else n - 1)


def _relation(scene: Scene, facts: Facts, draws: Draws) -> Facts | None:
    if len(facts.relations) != 1:
        return None
    i, relation, j = facts.relations[0]
    return replace(facts, relations=((j, relation, i),))
