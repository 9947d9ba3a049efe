"""What image preprocessing means, in Pillow: the definition that model/image/ is held to, and that training uses.

decode → EXIF orientation → alpha over the background → antialiased bicubic resize, all at 8 bits a channel.
"""

import io

import numpy as np
from PIL import Image, ImageOps

BICUBIC = Image.Resampling.BICUBIC


def decode(data: bytes) -> Image.Image:
    """The first frame, upright, as RGB, or as RGBA where the file has transparency."""
    picture = Image.open(io.BytesIO(data))
    if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "CMYK"):
        raise ValueError(f"{picture.mode} pictures are refused")
    picture = ImageOps.exif_transpose(picture)
    # Pillow clips 16-bit grey at 255 where it halves the depth of 16-bit colour: PNG keeps the high byte here too.
    if picture.mode == "I;16":
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    elif picture.mode == "I":  # a PGM of more than 8 bits, scaled to 65535 by Pillow
        picture = Image.fromarray(((np.asarray(picture) * 255 + 32767) // 65535).astype(np.uint8))
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def flatten(picture: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    flat = Image.new("RGB", picture.size, background)
    flat.paste(picture, mask=picture.getchannel("A"))
    return flat


def scale(picture: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """Image.resize(size, BICUBIC, box) of Pillow 13, its two passes spelt out: each rounds to 8 bits, so their order
    shows, and before Pillow 13 rows always came first."""
    left, top, right, bottom = box

    def rows(picture: Image.Image) -> Image.Image:
        return picture.resize((size[0], picture.height), BICUBIC, box=(left, 0, right, picture.height))

    def columns(picture: Image.Image) -> Image.Image:
        return picture.resize((picture.width, size[1]), BICUBIC, box=(0, top, picture.width, bottom))

    columns_first = picture.height - size[1] > max(0, 2 * (picture.width - size[0]))
    return rows(columns(picture)) if columns_first else columns(rows(picture))


def resize(picture: Image.Image, size: int, mode: str, background: tuple[int, int, int]) -> Image.Image:
    """An RGB picture as size x size. mode: "pad", "squash" or "crop", as in config.json's image.resize."""
    width, height = picture.size
    whole = (0, 0, width, height)
    if mode == "squash":
        return scale(picture, (size, size), whole)
    if mode == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return scale(picture, (size, size), (left, top, left + side, top + side))
    factor = size / max(width, height)
    fitted = tuple(max(1, round(side * factor)) for side in (width, height))
    square = Image.new("RGB", (size, size), background)
    square.paste(scale(picture, fitted, whole), ((size - fitted[0]) // 2, (size - fitted[1]) // 2))
    return square


def preprocess(
    data: bytes, size: int, mode: str = "pad", background: tuple[int, int, int] = (255, 255, 255)
) -> np.ndarray:
    """[size, size, 3] uint8, as limoe_process_image writes it."""
    return np.asarray(resize(flatten(decode(data), background), size, mode, background))
