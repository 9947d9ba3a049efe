"""Names and keywords of emoji from CLDR: the text side of the pairs."""

import re
from pathlib import Path
from xml.etree import ElementTree

# English is about half of what is sampled and Japanese a fifth; the rest share what is left (captions.py).
LANGUAGES = ("en ja zh ko de fr es it pt nl ru uk pl cs sv da fi hu ro el tr ar he hi th vi id").split()

SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]")
VARIATION = re.compile("[\ufe0e\ufe0f]")


def strip(emoji: str) -> str:
    """The key of an emoji everywhere in the recipe: its code points without variation selectors."""
    return VARIATION.sub("", emoji)


def read_cldr(folder: Path, language: str) -> dict[str, tuple[str, list[str]]]:
    """emoji -> (short name, keywords), skin tones left out. `folder` is CLDR's `common`."""
    names: dict[str, str] = {}
    keywords: dict[str, list[str]] = {}
    for kind in ("annotations", "annotationsDerived"):
        path = folder / kind / f"{language}.xml"
        if not path.exists():
            continue
        for node in ElementTree.parse(path).iter("annotation"):
            emoji, text = strip(node.attrib["cp"]), (node.text or "").strip()
            if SKIN_TONES.search(emoji) or not text or "↑" in text:
                continue
            if node.attrib.get("type") == "tts":
                names[emoji] = text
            else:
                keywords[emoji] = [word.strip() for word in text.split("|")]
    return {e: (name, [k for k in keywords.get(e, []) if k != name]) for e, name in names.items()}
