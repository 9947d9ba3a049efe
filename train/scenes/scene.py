"""One scene: groups of like pictograms are laid out, drawn, and then measured. All that is stated was measured.

Geometry is in pixels of a square of `size`; boxes are [x0, y0, x1, y1), of the solid pixels (alpha 128 or more) that
nothing in front covers. Object k owns the pixels of `ids` that equal k + 1.
"""

from dataclasses import dataclass

import numpy as np

from . import colours
from .draws import Draws
from .focus import Focus, Wanted, focus_of
from .lexicon import NOUNS, held_out

VISIBLE = 70  # per cent of a thing's solid pixels that must be seen
MOST_THINGS = 8
SMALL, BIG = 21, 36  # per cent of the side: a box's longer side at most, at least
GAP = 2  # pixels between things that do not overlap
ATTEMPTS = 400
BACKGROUNDS = (
    (255, 255, 255),
    (255, 255, 255),
    (255, 255, 255),
    (250, 244, 230),
    (228, 240, 250),
    (232, 246, 232),
    (246, 234, 246),
    (236, 236, 238),
)


Box = tuple[int, int, int, int]


@dataclass
class Thing:
    group: int
    noun: str
    style: str
    painted: str  # the colour it was given, or ""
    row: int
    side: int
    x: int = 0
    y: int = 0
    colour: str = ""  # the word that was measured, or ""
    size: str = ""
    place: str = ""
    box: Box = (0, 0, 0, 0)
    visible: float = 0.0
    area: int = 0


@dataclass
class Group:
    noun: str
    count: int
    colour: str
    size: str
    place: str
    members: list[int]
    box: Box


@dataclass
class Scene:
    seed: int
    index: int
    split: str
    size: int
    background: tuple[int, int, int]
    things: list[Thing]
    groups: list[Group]
    relations: list[tuple[int, str, int]]  # between groups, each stated in one direction
    focus: Focus
    pixels: np.ndarray  # uint8 [size, size, 3]
    ids: np.ndarray  # uint8 [size, size], 0 is background

    def mask(self, thing: int) -> np.ndarray:
        return self.ids == thing + 1


def make_scene(library, split: str, seed: int, index: int, size: int = 96) -> Scene:
    """The scene of this seed and index: whatever was made before, or elsewhere."""
    focus = focus_of(library, split, seed, index)
    for attempt in range(ATTEMPTS):
        draws = Draws("scene", seed, split, index, attempt)
        # What cannot be laid out is tried with fewer bystanders in the end.
        wanted = _cast(library, split, focus, draws, 0 if attempt > ATTEMPTS // 2 else 3)
        things = _lay_out(library, wanted, focus, draws, size)
        if things is None:
            continue
        scene = _draw(library, things, draws.pick(BACKGROUNDS), size, focus, (seed, index, split))
        if _is_right(scene, wanted, split):
            return scene
    raise RuntimeError(f"no scene for seed {seed}, index {index}, split {split} after {ATTEMPTS} attempts: {focus}")


def _cast(library, split: str, focus: Focus, draws: Draws, bystanders: int) -> list[Wanted]:
    """The question's groups and some others; in `combinations`, at least one held-out combination."""
    cast = list(focus.groups)
    names = {w.noun for w in cast} | set(focus.absent)
    more = draws.below(bystanders + 1) if cast else 1 + draws.below(max(1, bystanders))
    for _ in range(more):
        noun = draws.pick(library.nouns)
        if noun in names or sum(w.count for w in cast) >= MOST_THINGS - 1:
            continue
        names.add(noun)
        count = draws.pick((1, 1, 1, 2, 2, 3, 4, 5))
        count = min(count, MOST_THINGS - sum(w.count for w in cast))
        palette = library.allowed_colours(noun, split)
        cast.append(Wanted(noun, count, draws.pick(palette) if palette and draws.chance(75) else ""))
    if split == "combinations" and focus.template in ("exists", "where"):
        held = [n for n in library.nouns if library.held_colours(n) and n not in names]
        noun = draws.pick(held)
        cast.append(Wanted(noun, 1, draws.pick(library.held_colours(noun))))
    out = []
    for w in cast:
        palette = library.allowed_colours(w.noun, split)
        if not w.colour and palette and w in focus.groups and draws.chance(60):
            w = Wanted(w.noun, w.count, draws.pick(palette), w.place)
        out.append(w)
    return out


def _sides(total: int, draws: Draws, size: int) -> int:
    """The side of a group's pictograms: fewer things are drawn larger. 18 px of 96 is the least that can be read."""
    low, high = ((18, 46), (18, 40), (19, 34), (19, 30))[min(3, (total - 1) // 2)]
    return max(12, 2 * (draws.between(low, high) // 2) * size // 96)  # every other side: rasters are used again


def _area(place: str, width: int, height: int, size: int) -> tuple[int, int, int, int]:
    """Where the corner of a thing may lie so that its middle is in the place: x from, x to, y from, y to."""
    spans = {"low": (0, 30), "middle": (43, 57), "high": (70, 100), "": (0, 100)}
    column = {"left": "low", "right": "high", "top": "middle", "bottom": "middle", "middle": "middle"}.get(place, "")
    row = {"top": "low", "bottom": "high", "left": "middle", "right": "middle", "middle": "middle"}.get(place, "")

    def corners(span, length):
        low, high = spans[span]
        return max(0, low * size // 100 - length // 2), min(size - length, high * size // 100 - length // 2)

    return *corners(column, width), *corners(row, height)


def _lay_out(library, wanted: list[Wanted], focus: Focus, draws: Draws, size: int) -> list[Thing] | None:
    """Things from back to front, or None where one found no room."""
    total = sum(w.count for w in wanted)
    if not total:
        return None
    things: list[Thing] = []
    taken: list[Box] = []
    # Two single things may overlap, one in front of the other, where the question is of neither's place.
    overlap = draws.chance(25) and focus.template not in ("where", "which", "relation")
    for g, w in enumerate(wanted):
        styles = library.painted_styles[w.noun] if w.colour else library.styles_of[w.noun]
        style, side = draws.pick(styles), _sides(total, draws, size)
        row = library.variants[w.noun, style, w.colour]
        height, width = library.raster(row, side)[2].shape
        over = overlap and g == 1 and w.count == wanted[0].count == 1
        for _ in range(w.count):
            area = _halved(_area(w.place, width, height, size), focus.relation, g, width, height, size)
            if over:
                at = _over(taken[0], width, height, draws, size)
            else:
                at = _free(area, width, height, taken, draws)
            if at is None:
                return None
            taken.append((*at, at[0] + width, at[1] + height))
            things.append(Thing(g, w.noun, style, w.colour, row, side, *at))
    return things


def _halved(area, relation, group: int, width: int, height: int, size: int):
    """The area cut to the first or last 45 per cent of the axis, for the two groups of the focus' relation."""
    if not relation or group not in (relation[0], relation[2]):
        return area
    x0, x1, y0, y1 = area
    low, high = (0, 45) if group == relation[0] else (55, 100)
    low, high = low * size // 100, high * size // 100
    return (low, high - width, y0, y1) if relation[1] == "left_of" else (x0, x1, low, high - height)


def _free(area, width: int, height: int, taken: list[Box], draws: Draws) -> tuple[int, int] | None:
    """A corner in the area where the thing comes near no other."""
    x0, x1, y0, y1 = area
    if x1 < x0 or y1 < y0:
        return None
    for _ in range(24):
        x, y = draws.between(x0, x1), draws.between(y0, y1)
        right, bottom = x + width + GAP, y + height + GAP
        if all(x >= t[2] + GAP or right <= t[0] or y >= t[3] + GAP or bottom <= t[1] for t in taken):
            return x, y
    return None


def _over(behind: Box, width: int, height: int, draws: Draws, size: int) -> tuple[int, int] | None:
    """A corner beside another thing by about three quarters of its length, so that a part of it is hidden."""
    for _ in range(24):
        x = behind[0] + draws.pick((-1, 1)) * (behind[2] - behind[0]) * draws.between(60, 85) // 100
        y = behind[1] + draws.between(-4, 4) * size // 96
        if 0 <= x <= size - width and 0 <= y <= size - height:
            return x, y
    return None


def _draw(library, things, background, size, focus, key) -> Scene:
    pixels = np.empty((size, size, 3), np.uint8)
    pixels[:] = background
    ids = np.zeros((size, size), np.uint8)
    for k, t in enumerate(things):
        rgb, through, solid = library.raster(t.row, t.side)
        height, width = solid.shape
        at = np.s_[t.y : t.y + height, t.x : t.x + width]
        pixels[at] = (rgb + pixels[at] * through) // 255
        ids[at][solid] = k + 1
    for k, t in enumerate(things):
        _measure(library, t, k, pixels, ids, size)
    groups = _groups(things, size)
    return Scene(
        key[0], key[1], key[2], size, background, things, groups, _relations(groups, things), focus, pixels, ids
    )


def _measure(library, t: Thing, k: int, pixels, ids, size: int) -> None:
    solid = library.raster(t.row, t.side)[2]
    height, width = solid.shape
    at = np.s_[t.y : t.y + height, t.x : t.x + width]
    mine = ids[at] == k + 1
    t.area = int(np.count_nonzero(mine))
    t.visible = round(t.area / int(np.count_nonzero(solid)), 4)
    if not t.area:
        return
    ys, xs = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
    t.box = (t.x + int(xs[0]), t.y + int(ys[0]), t.x + int(xs[-1]) + 1, t.y + int(ys[-1]) + 1)
    t.colour = colours.dominant(pixels[at][mine])[0] if NOUNS[t.noun].colourable else ""
    longest = max(t.box[2] - t.box[0], t.box[3] - t.box[1])
    t.size = "small" if 100 * longest <= SMALL * size else "big" if 100 * longest >= BIG * size else ""
    t.place = _place(_third(t.box[0] + t.box[2], size), _third(t.box[1] + t.box[3], size))


def _third(twice_middle: int, size: int) -> int | None:
    """0, 1 or 2 for a middle well inside the first 35, the middle 40 to 60, the last 35 per cent; else None."""
    per_cent = 50 * twice_middle / size
    return 0 if per_cent <= 35 else 2 if per_cent >= 65 else 1 if 40 <= per_cent <= 60 else None


def _place(column: int | None, row: int | None) -> str:
    if column is None or row is None:
        return ""
    return (("top left", "top", "top right"), ("left", "middle", "right"), ("bottom left", "bottom", "bottom right"))[
        row
    ][column]


def _same(values) -> str:
    values = set(values)
    return values.pop() if len(values) == 1 else ""


def _groups(things: list[Thing], size: int) -> list[Group]:
    groups = []
    for g in range(things[-1].group + 1):
        members = [k for k, t in enumerate(things) if t.group == g]
        boxes = [things[k].box for k in members]
        box = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
        colour, side, place = (_same(getattr(things[k], name) for k in members) for name in ("colour", "size", "place"))
        groups.append(Group(things[members[0]].noun, len(members), colour, side, place, members, box))
    return groups


def _before(a, b, axis: int) -> bool:
    """Whether box a lies wholly before box b on the axis, and the way between is mostly along it."""
    along = b[axis] + b[axis + 2] - a[axis] - a[axis + 2]
    across = abs(b[1 - axis] + b[3 - axis] - a[1 - axis] - a[3 - axis])
    return a[axis + 2] <= b[axis] and 4 * along >= 5 * across


def _relations(groups: list[Group], things: list[Thing]) -> list[tuple[int, str, int]]:
    found = []
    for i, a in enumerate(groups):
        for j, b in enumerate(groups):
            if i == j:
                continue
            if _before(a.box, b.box, 0):
                found.append((i, "left_of", j))
            elif _before(a.box, b.box, 1):
                found.append((i, "above", j))
            elif len(a.members) == len(b.members) == 1 and i > j and _hides(a.box, things[b.members[0]]):
                found.append((i, "in_front_of", j))
    return found


def _hides(front, behind: Thing) -> bool:
    """Whether the box in front is over a thing of which a part that can be noticed is hidden. Things overlap in pairs
    alone, so nothing else can have hidden it."""
    b = behind.box
    return behind.visible <= 0.95 and front[0] < b[2] and b[0] < front[2] and front[1] < b[3] and b[1] < front[3]


def combinations(scene: Scene) -> list[tuple]:
    """Every combination that can be seen in the scene, as keys of held_out; measured colours, not those asked for."""
    groups = scene.groups
    found = [("count", g.noun, g.count) for g in groups]
    found += [("colour", t.noun, t.colour) for t in scene.things if t.colour]
    return found + [("relation", axis, groups[i].noun, groups[j].noun) for i, axis, j in scene.relations]


def _is_right(scene: Scene, wanted: list[Wanted], split: str) -> bool:
    """Whether the picture says what was asked of it, and shows what its split may show."""
    focus = scene.focus
    if any(100 * t.visible < VISIBLE or (t.painted and t.colour != t.painted) for t in scene.things):
        return False
    if any(w.place and g.place != w.place for w, g in zip(wanted, scene.groups)):
        return False
    if focus.relation and focus.relation not in scene.relations:
        return False
    held = any(held_out(*c) for c in combinations(scene))
    return held == (split == "combinations")
