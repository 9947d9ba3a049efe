"""Writes server/vocabulary/: the terms that pictures are described by, and the pictures that say what is usual.

    python vocabularies.py --data DIR [--out ../server/vocabulary]

tags.txt: things that can be seen, a term a line. From CLDR's English names of emoji, Open Clip Art's names where WordNet
has them as nouns too, and WordNet's nouns for animals, artifacts, food, plants and natural objects that its corpus has met
in that meaning first. People and parts of the body are a list of our own, since WordNet has words of abuse for both.
attributes.txt: colours, counts, shapes, parts, materials, places, looks; our own.
reference/: pictures of Open Clip Art, 64 pixels wide, named by their contents. They are no test of anything: cosines with
them say how high a term's cosines usually are.

The packages are fetched as sources.py fetches its own; server/vocabulary/README.md has their licences.
"""

import argparse
import hashlib
import re
from io import BytesIO
from pathlib import Path

from PIL import Image

from names import read_cldr
from pictures import read_clip_art
from sources import fetch_debian

PACKAGES = ("unicode-cldr-core", "wordnet-base", "openclipart-png", "openclipart-svg")
MOST_WORDS = 3
# WordNet's files of nouns by number (lexnames(5WN)).
SEEN = {"05": "animal", "06": "artifact", "13": "food", "17": "object", "20": "plant"}
REFERENCES = 64
SIDE = 64
COLOURS = 48  # of a picture: each is 1 or 2 KB then

# What nobody wants to be told of a picture by a guess.
LEFT_OUT = (
    "atom_bomb atomic_bomb bawdyhouse bordello brothel butt cannabis cocaine concentration_camp condom contraceptive "
    "contraceptive_device cur death_house gas_chamber gibbet guillotine hashish heroin marijuana opium sex_shop slave_market "
    "slaughterhouse torture_chamber whorehouse brassiere panties garter g-string barbital barbiturate morphine poison"
).split()
PEOPLE = (
    "person man woman child boy girl baby toddler teenager adult family couple crowd team audience doctor nurse teacher student "
    "farmer cook chef waiter soldier sailor pilot astronaut police_officer firefighter mechanic scientist artist painter "
    "musician singer dancer actor athlete runner swimmer skier cyclist rider driver fisherman hunter carpenter tailor "
    "baker butcher judge priest monk king queen prince princess knight pirate clown magician ghost angel witch wizard "
    "bride groom mother father grandmother grandfather old_man old_woman worker builder gardener photographer reader writer"
).split()
BODY = "face head hair beard moustache eye ear nose mouth lips tooth tongue neck arm hand fist finger thumb leg knee foot toe".split()

HUES = "red orange yellow green blue purple violet pink brown black white grey turquoise beige gold silver".split()
SHADES = ("light", "dark", "bright", "pale")
COUNTS = "one two three four five six seven eight nine ten several many few".split()
SHAPES = (
    "round square rectangular triangular oval star-shaped heart-shaped long short tall wide narrow thin thick flat pointed curved straight "
    "bent twisted hollow cylindrical spherical conical cube-shaped ring-shaped crescent-shaped symmetrical spiral zigzag "
    "tiny small large huge open closed empty full broken folded rolled pierced"
).split()
TEXTURES = (
    "smooth rough shiny matt transparent fluffy furry feathery hairy scaly spiky wrinkled striped spotted dotted checked "
    "patterned plain wet dry dusty rusty frozen glowing burning soft hard sharp"
).split()
MATERIALS = "wooden metal iron golden glass plastic paper cardboard leather woollen cotton silk rubber stone brick clay ceramic".split()
PARTS = (
    "wings feathers beak horns antlers tusks trunk mane fur tail fins scales shell claws paws hooves whiskers four_legs six_legs "
    "eight_legs two_legs large_ears pointed_ears long_ears large_eyes long_neck sharp_teeth wheels two_wheels four_wheels "
    "windows doors roof chimney sails mast engine wires buttons screen keyboard lens handle blade strings keys lid spout "
    "straps laces sleeves collar pockets buckle brim stem leaves petals roots branches thorns seeds stone peel crust filling "
    "icing candles stripes spots dots letters numbers face smile tears hat glasses beard moustache ribbon bow flag light flame "
    "smoke steam water_drops snow propeller rotor ladder crane lights pedals handlebar saddle anchor"
).split()
PLACES = (
    "on_the_left on_the_right at_the_top at_the_bottom in_the_middle in_the_background in_a_row side_by_side above below "
    "inside outdoors indoors in_water in_the_air on_the_ground on_a_table in_snow at_night in_the_dark by_day "
    "flying swimming running jumping sitting standing lying sleeping eating drinking smiling laughing crying "
    "sailing driving growing blooming melting falling hanging spinning"
).split()
LOOKS = (
    "drawing cartoon icon symbol logo photograph painting sketch silhouette outline diagram map pattern text black_and_white "
    "colourful monochrome simple detailed realistic old new modern antique cute funny scary sad happy angry surprised tired "
    "fresh ripe raw cooked fried baked sliced peeled sweet spicy salty sour hot cold"
).split()


def spaced(words) -> list[str]:
    return [word.replace("_", " ") for word in words]


def is_term(name: str) -> bool:
    """Lower-case words of letters, few of them: no codes, no sentences."""
    return bool(re.fullmatch(r"[a-z][a-z'’]*(?:[ -][a-z][a-z'’]*)*", name)) and len(name.split()) <= MOST_WORDS and len(name) > 2


def wordnet(folder: Path) -> tuple[set[str], set[str]]:
    """(every noun, those that are seen): of a noun's meanings the most frequent one counts, if any was met."""
    topic, proper = {}, set()
    for line in (folder / "data.noun").read_text(encoding="latin-1").splitlines():
        if not line.startswith("  "):
            fields = line.split()
            topic[fields[0]] = fields[1]
            words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            proper.update(w.lower() for w in words if w != w.lower())
    nouns, seen = set(), set()
    for line in (folder / "index.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue
        fields = line.split()
        lemma, senses, met = fields[0], int(fields[2]), int(fields[4 + int(fields[3]) + 1])
        if lemma in proper:
            continue
        name = lemma.replace("_", " ")
        nouns.add(name)
        if met and topic[fields[-senses]] in SEEN:
            seen.add(name)
    return nouns, seen


def tags(root: Path) -> list[str]:
    share = root / "usr/share"
    nouns, seen = wordnet(share / "wordnet")
    emoji = {name.lower() for name, _ in read_cldr(share / "unicode/cldr/common", "en").values() if ":" not in name}
    clip_art = {name for name, _, _ in read_clip_art(share / "openclipart/svg", share / "openclipart/png")}
    found = emoji | (clip_art & nouns) | seen | set(spaced(PEOPLE)) | set(BODY)
    return sorted(filter(is_term, found - set(spaced(LEFT_OUT))))


def attributes() -> list[str]:
    found = HUES + [f"{shade} {hue}" for shade in SHADES for hue in HUES if hue not in ("black", "white")]
    found += COUNTS + [f"{count} things" for count in COUNTS[1:]] + SHAPES + TEXTURES + MATERIALS
    found += [f"with {part}" for part in spaced(PARTS)]
    found += [f"{hue} {part}" for hue in HUES[:12] for part in ("fur", "feathers", "leaves", "wheels", "roof", "hair", "background")]
    found += spaced(PLACES) + spaced(LOOKS)
    return sorted(set(found))


def reference(root: Path, out: Path) -> None:
    """Pictures from all over the collection: of each folder as many as its share, chosen by the hash of their paths."""
    share = root / "usr/share/openclipart"
    usable = [picture for _, _, picture in read_clip_art(share / "svg", share / "png")]
    usable.sort(key=lambda p: hashlib.sha256(str(p.relative_to(share)).encode()).digest())
    out.mkdir(exist_ok=True)
    for old in out.glob("*.png"):
        old.unlink()
    made = 0
    for path in usable:
        data = drawn(path)
        if data:
            (out / f"{hashlib.sha256(data).hexdigest()[:16]}.png").write_bytes(data)
            made += 1
        if made == REFERENCES:
            break


def drawn(path: Path) -> bytes | None:
    """On white, as large as it goes; None for what is nearly a line or nothing but white."""
    try:
        picture = Image.open(path)
    except (OSError, Image.DecompressionBombError):
        return None
    with picture:
        picture = picture.convert("RGBA")
        box = picture.getchannel("A").getbbox()
        if not box:
            return None
        picture = picture.crop(box)
        if max(picture.size) > 3 * min(picture.size):
            return None
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        square = Image.new("RGBA", (SIDE, SIDE), "white")
        square.alpha_composite(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
        flat = square.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        if len(flat.getcolors()) < 3:
            return None
        out = BytesIO()
        flat.save(out, "PNG", optimize=True)
        return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("cache"), help="where packages are fetched to (default cache)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "server/vocabulary")
    args = parser.parse_args()
    fetch_debian(args.data, PACKAGES)
    for name, terms in (("tags", tags(args.data / "root")), ("attributes", attributes())):
        (args.out / f"{name}.txt").write_text("".join(f"{term}\n" for term in terms), encoding="utf-8")
        print(f"{name}: {len(terms)} terms")
    reference(args.data / "root", args.out / "reference")


if __name__ == "__main__":
    main()
