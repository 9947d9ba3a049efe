"""Words a scene's question and its answer in both languages. The wording is drawn by block, not by answer."""

from dataclasses import dataclass

from .draws import Draws
from .lexicon import COLOUR_NOUN_JA, JAPANESE_COLOURS, NOUNS, NUMBERS, PLACES, article
from .scene import Scene
from .sentences import japanese_count

YES_JA = {"yes": "はい", "no": "いいえ"}


@dataclass(frozen=True)
class Question:
    template: str
    text: str
    answer: str
    choices: tuple[str, ...]


def question(scene: Scene, language: str) -> Question:
    focus = scene.focus
    draws = Draws("question", scene.seed, scene.split, focus.block, language)
    if language == "en":
        text, word = _english(focus, draws)
    elif language == "ja":
        text, word = _japanese(focus, draws)
    else:
        raise ValueError(f"language {language!r}: en or ja")
    return Question(focus.template, text, word(focus.answer), tuple(word(a) for a in focus.answers))


def _english(focus, draws: Draws):
    noun, *rest = focus.about
    one, many = NOUNS[noun].english[0], NOUNS[noun].plurals[0]
    first = draws.chance(50)
    if focus.template == "exists":
        return (f"Is there {article(one)} {one}?" if first else f"Can you see {article(one)} {one}?"), str
    if focus.template == "has_colour":
        return (f"Is the {one} {rest[0]}?" if first else f"Is there {article(rest[0])} {rest[0]} {one}?"), str
    if focus.template == "has_count":
        things = f"{NUMBERS[rest[0]]} {one if rest[0] == 1 else many}"
        return (
            f"{'Is' if rest[0] == 1 else 'Are'} there exactly {things}?" if first else f"Do you see exactly {things}?"
        ), str
    if focus.template == "relation":
        other, axis = rest
        how = {"left_of": ("to the left of", "left of"), "above": ("above", "higher than")}[axis][0 if first else 1]
        return f"Is the {one} {how} the {NOUNS[other].english[0]}?", str
    if focus.template == "how_many":
        return (f"How many {many} are there?" if first else f"How many {many} can you see?"), lambda n: NUMBERS[n]
    if focus.template == "what_colour":
        return (f"What colour is the {one}?" if first else f"Which colour does the {one} have?"), str
    if focus.template == "where":
        return (f"Where is the {one}?" if first else f"In which part of the picture is the {one}?"), lambda p: PLACES[
            p
        ][0][0]
    other, axis = rest
    how = {"left_of": "further left", "above": "higher up"}[axis]
    return f"Which is {how}, the {one} or the {NOUNS[other].english[0]}?", lambda n: f"the {NOUNS[n].english[0]}"


def _japanese(focus, draws: Draws):
    noun, *rest = focus.about
    thing = NOUNS[noun]
    word = thing.japanese[0]
    first = draws.chance(50)
    there = ("いますか" if first else "は見えますか") if thing.animate else ("ありますか" if first else "は見えますか")
    if focus.template == "exists":
        return f"{word}{'は' if first else ''}{there}？", YES_JA.get
    if focus.template == "has_colour":
        return f"{JAPANESE_COLOURS[rest[0]][0][0]}{word}{'は' if first else ''}{there}？", YES_JA.get
    if focus.template == "has_count":
        count = japanese_count(rest[0], thing.counter, draws)
        verb = "います" if thing.animate else "あります"
        return f"{word}は{'ちょうど' if first else ''}{count}{verb}か？", YES_JA.get
    if focus.template == "relation":
        other, axis = rest
        side = {"left_of": "左", "above": "上"}[axis]
        return (
            f"{word}は{NOUNS[other].japanese[0]}の{side}に{'います' if thing.animate else 'あります'}か？",
            YES_JA.get,
        )
    if focus.template == "how_many":
        verb = "います" if thing.animate else "あります"
        # One way of counting for all answers, or the way would tell the answer.
        return f"{word}は何{thing.counter}{verb}か？", lambda n: f"{n}{thing.counter}"
    if focus.template == "what_colour":
        return (f"{word}は何色ですか？" if first else f"{word}の色は何ですか？"), COLOUR_NOUN_JA.get
    if focus.template == "where":
        return f"{word}はどこに{'います' if thing.animate else 'あります'}か？", lambda p: PLACES[p][1][0]
    other, axis = rest
    how = {"left_of": "より左", "above": "より上"}[axis]
    both = f"{word}と{NOUNS[other].japanese[0]}"
    return (
        f"{both}では、どちらが{how}に{'います' if thing.animate and NOUNS[other].animate else 'あります'}か？",
        lambda n: NOUNS[n].japanese[0],
    )
