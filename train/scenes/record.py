"""A scene as one JSON line, and scenes as an endless or finite stream for training."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .library import Library
from .questions import question
from .scene import Scene, make_scene
from .sentences import LANGUAGES, negatives, references


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask read row by row, background first: 0 where the first pixel is inside."""
    flat = np.concatenate([[0], mask.reshape(-1).astype(np.int8), [1 - int(mask.reshape(-1)[-1])]])
    edges = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], edges])).tolist()


def mask_of(lengths: list[int], size: int) -> np.ndarray:
    """The mask whose runs these are."""
    if any(n < 0 for n in lengths) or sum(lengths) != size * size:
        raise ValueError(f"runs of {sum(lengths)} pixels, {size} x {size} wanted")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size, size)


def texts(scene: Scene, sentences: int = 5) -> dict[str, dict]:
    """For each language: captions, and negatives as (number of the caption, kind, text)."""
    out = {}
    for language in LANGUAGES:
        found = references(scene, language, sentences)
        wrong = [
            {"of": n, "kind": k, "text": s.text} for n, r in enumerate(found) for k, s in negatives(scene, r, language)
        ]
        out[language] = {"captions": [s.text for s in found], "negatives": wrong}
    return out


def record(scene: Scene, sentences: int = 5) -> dict:
    """Everything that is known of the scene but its pixels, as JSON can hold it."""
    words = texts(scene, sentences)
    return {
        "seed": scene.seed,
        "index": scene.index,
        "split": scene.split,
        "size": scene.size,
        "background": list(scene.background),
        "things": [
            {
                "group": t.group, "noun": t.noun, "style": t.style, "colour": t.colour, "size": t.size, "place": t.place,
                "box": list(t.box), "area": t.area, "visible": t.visible, "mask": runs(scene.mask(k)),
            }
            for k, t in enumerate(scene.things)
        ],
        "groups": groups_of(scene),
        "relations": [list(r) for r in scene.relations],
        "captions": {language: w["captions"] for language, w in words.items()},
        "negatives": {language: w["negatives"] for language, w in words.items()},
        "question": {
            language: {"template": q.template, "text": q.text, "answer": q.answer, "choices": list(q.choices)}
            for language in LANGUAGES
            for q in [question(scene, language)]
        },
    }  # fmt: skip


def groups_of(scene: Scene) -> list[dict]:
    return [
        {
            "noun": g.noun,
            "count": g.count,
            "colour": g.colour,
            "size": g.size,
            "place": g.place,
            "box": list(g.box),
            "members": g.members,
        }
        for g in scene.groups
    ]


def stream(
    library: Library, split: str, seed: int, start: int = 0, count: int | None = None, size: int = 96, step: int = 1
) -> Iterator[Scene]:
    """Scenes of the indexes start, start + step, …; touches no disk. Worker w of n takes start=w, step=n."""
    made = 0
    while count is None or made < count:
        yield make_scene(library, split, seed, start + made * step, size)
        made += 1


def write_scene(scene: Scene, folder: Path) -> str:
    """Writes the picture; its name."""
    from PIL import Image

    name = f"{scene.split}-{scene.seed}-{scene.index:07d}.png"
    Image.fromarray(scene.pixels).save(folder / name)
    return name
