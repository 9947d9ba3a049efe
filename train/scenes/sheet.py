"""A contact sheet: scenes with boxes, a caption in each language, the question and its answer, to be looked at."""

import subprocess

from PIL import Image, ImageDraw, ImageFont

from .questions import question
from .scene import Scene
from .sentences import references

SIDE, TEXT, COLUMNS, MARGIN, POINTS = 192, 118, 6, 6, 11


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Any font with Japanese that fontconfig knows; without one, Japanese is shown as boxes."""
    try:
        path = subprocess.run(
            ["fc-match", "-f", "%{file}", "sans:lang=ja"], capture_output=True, text=True, check=True
        ).stdout
        return ImageFont.truetype(path, POINTS)
    except (OSError, subprocess.CalledProcessError):
        return ImageFont.load_default(POINTS)


def _wrapped(text: str, font, width: int) -> list[str]:
    lines = [""]
    # Japanese has no spaces between words and may be cut anywhere.
    for part in [p + " " for p in text.split(" ")] if text.isascii() else list(text):
        if font.getlength(lines[-1] + part) > width and lines[-1]:
            lines.append("")
        lines[-1] += part
    return lines


def contact_sheet(scenes: list[Scene]) -> Image.Image:
    rows = -(-len(scenes) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + MARGIN), max(1, rows) * (SIDE + TEXT + MARGIN)), (150, 150, 150))
    draw, font = ImageDraw.Draw(sheet), _font()
    for n, scene in enumerate(scenes):
        x, y = n % COLUMNS * (SIDE + MARGIN), n // COLUMNS * (SIDE + TEXT + MARGIN)
        sheet.paste(Image.fromarray(scene.pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y))
        for thing in scene.things:
            draw.rectangle(
                [at + round(v * SIDE / scene.size) for at, v in zip((x, y, x, y), thing.box)], outline=(0, 180, 180)
            )
        draw.rectangle((x, y + SIDE, x + SIDE - 1, y + SIDE + TEXT - 1), fill=(255, 255, 255))
        lines = []
        for language in ("en", "ja"):
            asked = question(scene, language)
            lines += _wrapped(references(scene, language, 3)[-1].text, font, SIDE - 4)
            lines += _wrapped(f"{asked.text} {asked.answer}", font, SIDE - 4)
        for k, line in enumerate(lines[: TEXT // (POINTS + 2)]):
            draw.text((x + 2, y + SIDE + 1 + k * (POINTS + 2)), line, fill=(0, 0, 0), font=font)
    return sheet
