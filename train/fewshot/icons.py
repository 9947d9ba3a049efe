"""Icons by their freedesktop.org names, in eight themes. Themes are the domains: whole themes are held out, since one
theme draws a name alike at every size, and a split of pictures would test on what was taught.
"""

import io
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from .sets import LARGEST, Pictures, distinct, gather, square, visible

THEMES = {
    "adwaita": "Adwaita", "breeze": "breeze", "elementary-xfce": "elementary-xfce", "faenza": "Faenza", "gnome": "gnome",
    "mate": "mate", "oxygen": "oxygen", "papirus": "Papirus",
}  # fmt: skip
TEST, VALID = ("papirus", "oxygen"), ("breeze", "elementary-xfce")
TRAINING = 16  # drawings that a class has at least in the themes that are left, and of test and validation together:
TESTING, VALIDATING = 4, 4

# Words that say what an icon is for rather than what it shows.
CONTEXTS = (
    "accessories", "utilities", "preferences-desktop", "preferences-system", "preferences", "applications", "system",
    "emblem", "dialog", "user", "document", "office",
)  # fmt: skip
# Kinds of files, and names of one toolkit: few drawings show what they say.
LEFT_OUT = ("application-", "text-", "image-x-", "audio-x-", "video-x-", "gtk-")


def label_of(name: str) -> str:
    """ "accessories-calculator" -> "calculator", "face-sad" -> "sad face", "edit-copy" -> "edit copy"."""
    words = name.removeprefix("x-")
    for context in CONTEXTS:
        if words.startswith(context + "-"):
            words = words.removeprefix(context + "-")
            break
    if words.startswith("face-"):
        words = words.removeprefix("face-") + "-face"
    return words.replace("-", " ")


def files(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """name -> (theme, file), of the names that enough themes have."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for theme, folder in THEMES.items():
        for path in sorted((root / "usr/share/icons" / folder).rglob("*")):
            inside = path.relative_to(root)
            if path.suffix not in (".png", ".svg") or "@" in str(inside) or "symbolic" in str(inside):
                continue
            if path.stem.startswith(LEFT_OUT):
                continue
            if path.is_file():  # a link may lead out of what is unpacked
                found.setdefault(path.stem, []).append((theme, path))
    wanted = set(TEST + VALID)
    themes = {name: {theme for theme, _ in of_name} for name, of_name in found.items()}
    return {name: found[name] for name in sorted(found) if wanted <= themes[name] and len(themes[name]) >= 6}


def render(path: Path) -> np.ndarray | None:
    """On white; None where it cannot be drawn."""
    try:
        if path.suffix == ".svg":
            command = ["rsvg-convert", "--keep-aspect-ratio", "-w", "128", "-h", "128", path]
            png = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
            return square(Image.open(io.BytesIO(png)))
        with Image.open(path) as picture:
            return None if picture.width * picture.height > LARGEST else square(picture)
    except (OSError, subprocess.SubprocessError):
        return None


def read(root: Path) -> Pictures:
    jobs = [(name, theme, path) for name, of_name in files(root).items() for theme, path in of_name]
    with ThreadPoolExecutor(2) as pool:
        drawn = list(pool.map(lambda job: render(job[2]), jobs))
    found = [
        (name, theme, pixels) for (name, theme, _), pixels in zip(jobs, drawn) if pixels is not None and visible(pixels)
    ]
    found = distinct(found)
    counts = Counter((name, "test" if t in TEST else "valid" if t in VALID else "train") for name, t, _ in found)
    least = {"train": TRAINING, "test": TESTING, "valid": VALIDATING}
    enough: dict[str, str] = {}  # label -> name
    for name in sorted({name for name, _, _ in found}):
        if all(counts[name, part] >= number for part, number in least.items()):
            enough.setdefault(label_of(name), name)
    labels = {name: label for label, name in enough.items()}
    return gather([(labels[name], theme, pixels) for name, theme, pixels in found if name in labels])
