"""Small files of large pictures: none costs more memory or time than its pixels may."""

import resource
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from pictures import RGB_TAGS, packbits, psd, save, tga, tiff
from test_pillow import TOOL

SIDE = 2048
SIZE = (SIDE, SIDE)
PIXELS = SIDE * SIDE
BYTES_PER_PIXEL = 12  # server/decoder/decoder.c
SPARE = 24 << 20  # tables, windows, the file itself
CPU_SECONDS = 4  # a machine that does nothing else needs a twentieth

BLACK = Image.new("RGB", SIZE)
CLEAR = Image.new("RGBA", SIZE)
EXIF = Image.Exif()
EXIF[0x112] = 6


def deflated(bytes_per_pixel: int, tags: dict) -> bytes:
    return tiff(SIZE, [zlib.compress(bytes(PIXELS * bytes_per_pixel))], RGB_TAGS | {259: 8} | tags)


def bmp_of_runs() -> bytes:
    runs = (b"\xff\0" * 8 + b"\x08\0" + b"\0\0") * SIDE
    head = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + head + bytes(1024) + runs


def heic(folder, *options: str) -> bytes:
    BLACK.save(folder / "source.png")
    command = ["heif-enc", "-q", "10", "-p", "preset=ultrafast", *options, folder / "source.png", "-o", folder / "made.heic"]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "made.heic").read_bytes()


BOMBS = {
    "jpeg, progressive": lambda _: save(BLACK, "JPEG", progressive=True, subsampling="4:4:4"),
    "jpeg, turned": lambda _: save(BLACK, "JPEG", progressive=True, exif=EXIF),
    "jpeg, inks": lambda _: save(Image.new("CMYK", SIZE), "JPEG"),
    "png": lambda _: save(CLEAR, "PNG", exif=EXIF),
    "webp": lambda _: save(CLEAR, "WEBP", lossless=True, method=0, exif=EXIF),
    "webp, lossy": lambda _: save(CLEAR, "WEBP", method=0),
    "gif": lambda _: save(Image.new("P", SIZE), "GIF", transparency=1),
    "bmp": lambda _: bmp_of_runs(),
    "tga": lambda _: tga((b"\xff" + bytes(4)) * (PIXELS // 128), SIZE, 10, 32, 0x10),
    "psd": lambda _: psd(np.zeros((4, SIDE, SIDE), np.uint8), 3, True),
    "psd, 16 bits": lambda _: psd(np.zeros((4, SIDE, SIDE), ">u2"), 3, True),
    "tiff": lambda _: deflated(3, {}),
    "tiff, 16 bits, alpha": lambda _: deflated(8, {258: (16,) * 4, 277: 4, 338: 2}),
    "tiff, ycbcr": lambda _: tiff(SIZE, [zlib.compress(bytes(PIXELS * 3 // 2))], RGB_TAGS | {259: 8, 262: 6, 530: (2, 2)}),
    "tiff, inks": lambda _: deflated(4, {258: (8,) * 4, 277: 4, 262: 5}),
    "avif": lambda _: save(BLACK, "AVIF", speed=10),
    "avif, 4:4:4": lambda _: save(BLACK, "AVIF", speed=10, subsampling="4:4:4"),
    "heic": lambda folder: heic(folder),
    "heic, 4:4:4": lambda folder: heic(folder, "-p", "chroma=444"),
}
HALVED = {  # of these, half as many pixels are accepted
    "avif, alpha": lambda _: save(CLEAR, "AVIF", speed=10),
    "heic, 10 bits": lambda folder: heic(folder, "-b", "10", "-p", "chroma=444"),
}


def cost(path, data_limit: int) -> float:
    """Decodes, within so much memory; returns the seconds of processor that it took."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (data_limit, data_limit))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([TOOL, "preprocess", "64", "pad", "000000", path], capture_output=True, preexec_fn=bound)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 64 * 64 * 3
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("name", [*BOMBS, *HALVED])
def test_a_small_file_of_a_large_picture_keeps_its_bounds(name, tmp_path):
    data = {**BOMBS, **HALVED}[name](tmp_path)
    assert len(data) < PIXELS // 4
    (tmp_path / "bomb").write_bytes(data)
    twice = 2 if name in HALVED else 1
    assert cost(tmp_path / "bomb", twice * BYTES_PER_PIXEL * PIXELS + SPARE) < CPU_SECONDS


def test_packed_rows_are_small():
    """Else the files above would be no bombs."""
    assert len(packbits(bytes(4096))) < 100
