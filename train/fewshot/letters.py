"""Letters by font: taught in upright sans-serif faces, tested in upright and slanted serif ones. Fonts are the domains."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .sets import Pictures, gather

CLASSES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Of Debian's fonts-dejavu-core, fonts-dejavu-extra, fonts-liberation and fonts-freefont-ttf: style -> files.
STYLES = {
    "train": (
        "dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-Bold.ttf", "dejavu/DejaVuSansCondensed.ttf",
        "dejavu/DejaVuSansMono.ttf", "liberation/LiberationSans-Regular.ttf", "liberation/LiberationSans-Bold.ttf",
        "liberation/LiberationMono-Regular.ttf", "freefont/FreeSans.ttf", "freefont/FreeSansBold.ttf",
    ),
    "valid": ("freefont/FreeMono.ttf", "freefont/FreeMonoBold.ttf", "liberation/LiberationSansNarrow-Regular.ttf"),
    "test": (
        "dejavu/DejaVuSerif.ttf", "dejavu/DejaVuSerif-Bold.ttf", "liberation/LiberationSerif-Regular.ttf",
        "liberation/LiberationSerif-BoldItalic.ttf", "freefont/FreeSerif.ttf", "freefont/FreeSerifBoldItalic.ttf",
    ),
}  # fmt: skip
SIZES = (40, 54, 66)  # of a font in a square of 80


def letter(font: ImageFont.FreeTypeFont, text: str) -> np.ndarray:
    picture = Image.new("RGB", (80, 80), (255, 255, 255))
    ImageDraw.Draw(picture).text((40, 40), text, fill=(0, 0, 0), font=font, anchor="mm")
    return np.asarray(picture)


def read(root: Path) -> Pictures:
    found = []
    for part, fonts in STYLES.items():
        for name in fonts:
            path = root / "usr/share/fonts/truetype" / name
            for size in SIZES:
                font = ImageFont.truetype(str(path), size)
                found += [(f"letter {c}", f"{part}:{path.stem}", letter(font, c)) for c in CLASSES]
    return gather(found)
