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
    if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16"):
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


def resize(picture: Image.Image, size: int, mode: str, background: tuple[int, int, int]) -> Image.Image:
    """An RGB picture as size x size. mode: "pad", "squash" or "crop", as in config.json's image.resize."""
    width, height = picture.size
    if mode == "squash":
        return picture.resize((size, size), BICUBIC)
    if mode == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return picture.resize((size, size), BICUBIC, box=(left, top, left + side, top + side))
    scale = size / max(width, height)
    fitted = tuple(max(1, round(side * scale)) for side in (width, height))
    square = Image.new("RGB", (size, size), background)
    square.paste(picture.resize(fitted, BICUBIC), ((size - fitted[0]) // 2, (size - fitted[1]) // 2))
    return square


def preprocess(
    data: bytes, size: int, mode: str = "pad", background: tuple[int, int, int] = (255, 255, 255)
) -> np.ndarray:
    """[size, size, 3] uint8, as limoe_process_image writes it."""
    return np.asarray(resize(flatten(decode(data), background), size, mode, background))
