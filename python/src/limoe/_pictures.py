"""Pictures as a program has them → the bytes of a file, for limoe's own decoder.

An array becomes a PNG without compression, so that the same code resizes it, row by row, as if it had been sent as a file.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt

from .errors import InvalidError, TooLargeError, UnsupportedError

if TYPE_CHECKING:
    from PIL import Image

Picture = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, "npt.NDArray[np.uint8]", "Image.Image"]

ACCEPTED = "a path, the bytes of a file, an array of uint8 [height, width], [height, width, 3] or [height, width, 4], a PIL image"
PNG_COLOURS = {1: 0, 3: 2, 4: 6}  # channels → PNG's colour type
# How Pillow's modes become what an array may be. Others have no plain reading as 8-bit colours.
PIL_MODES = {"L": "L", "1": "RGB", "P": "RGB", "RGB": "RGB", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB",
             "RGBA": "RGBA", "LA": "RGBA", "PA": "RGBA"}


def encoded(picture: Any, max_bytes: int, where: str) -> tuple[bytes, int]:
    """The bytes of a file, and how many bytes this one may have: of what is no file yet, as many as it takes."""
    if isinstance(picture, (str, os.PathLike)):
        return _read(picture, max_bytes, where), max_bytes
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return bytes(picture), max_bytes
    if _is_pil(picture):
        picture = _pil_array(picture, where)
    if isinstance(picture, np.ndarray):
        file = _png(picture, where)
        return file, len(file)
    raise TypeError(f"{where} is of type {type(picture).__name__}; accepted: {ACCEPTED}")


def _read(path: str | os.PathLike[str], max_bytes: int, where: str) -> bytes:
    with open(path, "rb") as file:
        found = file.read(max_bytes + 1)
    if len(found) > max_bytes:
        raise TooLargeError(f"{where}: {os.fspath(path)} has more than {max_bytes} bytes; max_bytes says how many are accepted")
    return found


def _is_pil(picture: Any) -> bool:
    """Without importing Pillow: who has an image of its has imported it."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(picture, module.Image)


def _pil_array(image: Image.Image, where: str) -> npt.NDArray[np.uint8]:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode not in PIL_MODES:
        raise UnsupportedError(f'{where} is a PIL image of mode "{upright.mode}"; accepted: {", ".join(PIL_MODES)}')
    mode = "RGBA" if "transparency" in upright.info else PIL_MODES[upright.mode]
    return np.asarray(upright.convert(mode))


def _png(pixels: npt.NDArray[np.uint8], where: str) -> bytes:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2] if pixels.ndim == 3 else 0
    if pixels.dtype != np.uint8 or channels not in PNG_COLOURS:
        raise InvalidError(f"{where} is an array of {pixels.dtype} {list(pixels.shape)}; accepted: uint8 [height, width], "
                           "[height, width, 3] (RGB) or [height, width, 4] (RGBA)")
    height, width = pixels.shape[:2]
    if not height or not width:
        raise InvalidError(f"{where} is an array of {height} x {width} pixels; accepted: 1 x 1 or more")
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # before each row its filter: none
    rows[:, 1:] = pixels.reshape(height, width * channels)
    head = struct.pack(">IIBBBBB", width, height, 8, PNG_COLOURS[channels], 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 0)) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
