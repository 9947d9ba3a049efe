"""model/image/ against Pillow, bit for bit, on every kind of picture; and what it says to files that are none."""

import io
import os
import resource
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pillow_reference
from pictures import photo, pictures, png, png_chunk, save

TOOL = Path(os.environ.get("LIMOE_BUILD", "build")) / "tests" / "preprocess" / "decode_tool"
PICTURES = pictures()
BACKGROUND = (255, 128, 16)
MOST = 36 << 20


def run(path: Path, *arguments: str) -> bytes:
    done = subprocess.run([TOOL, *arguments, path], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def decode(path: Path) -> np.ndarray:
    head, _, pixels = run(path, "decode").partition(b"\n")
    width, height, channels = map(int, head.split())
    return np.frombuffer(pixels, np.uint8).reshape(height, width, channels)


def preprocess(path: Path, size: int, mode: str) -> np.ndarray:
    pixels = run(path, "preprocess", str(size), mode, bytes(BACKGROUND).hex())
    return np.frombuffer(pixels, np.uint8).reshape(size, size, 3)


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    done = subprocess.run([TOOL, "decode", path], capture_output=True, timeout=60, preexec_fn=bound)
    assert done.returncode == 1, f"status {done.returncode}, {len(done.stdout)} bytes of picture"
    return done.stderr.decode()


def bound() -> None:
    """No refusal takes more than 128 MiB, whatever the file would inflate to, or 5 seconds of processor."""
    resource.setrlimit(resource.RLIMIT_AS, (128 << 20, 128 << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (5, 5))


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    off = np.abs(found.astype(int) - expected.astype(int))
    assert off.max() == 0, f"{(off > 0).sum()} of {off.size} samples differ, by up to {off.max()}"


def test_there_are_many_pictures():
    assert len(PICTURES) >= 100


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(PICTURES[name])
    expected = pillow_reference.decode(PICTURES[name])
    assert_same(decode(path), np.asarray(expected))
    flat = pillow_reference.flatten(expected, BACKGROUND)
    for size, mode in ((64, "pad"), (97, "squash"), (32, "crop")):
        square = pillow_reference.resize(flat, size, mode, BACKGROUND)
        assert_same(preprocess(path, size, mode), np.asarray(square))


@pytest.mark.parametrize("size", [(63, 65), (65, 63), (50, 200), (200, 50), (300, 301), (10, 2000), (3, 2)])
def test_the_reference_scales_as_pillow_does(size):
    if int(Image.__version__.split(".")[0]) < 13 and size[1] > size[0]:
        pytest.skip("Pillow 13 changed the order of the passes")
    picture = photo(*size)
    for target, box in (((64, 64), (0, 0, *size)), ((31, 90), (0.5, 0.25, size[0] - 0.5, size[1] - 1))):
        found = pillow_reference.scale(picture, target, box)
        assert_same(np.asarray(found), np.asarray(picture.resize(target, Image.Resampling.BICUBIC, box=box)))


@pytest.mark.parametrize("name", [name for name in PICTURES if name.startswith("jpeg") and "cmyk" not in name])
def test_jpeg_is_as_djpeg_decodes_it(name, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(PICTURES[name])
    shown = subprocess.run(["djpeg", "-ppm", "-rgb", path], capture_output=True, check=True).stdout
    expected = np.asarray(Image.open(io.BytesIO(shown)).convert("RGB"))
    if "turned" in name:
        expected = np.rot90(expected, -1)
    assert_same(decode(path), expected)


def test_vertically_subsampled_jpeg(tmp_path):
    """4:4:0: what turning a camera's 4:2:2 without recompression leaves."""
    path = tmp_path / "picture"
    data = save(photo(64, 48), "JPEG", subsampling="4:2:2")
    turned = subprocess.run(["jpegtran", "-rotate", "90"], input=data, capture_output=True, check=True).stdout
    path.write_bytes(turned)
    assert_same(decode(path), np.asarray(Image.open(io.BytesIO(turned))))


@pytest.mark.parametrize("size", [(333, 65), (101, 33), (640, 48)])
@pytest.mark.parametrize("how", ["1x1", "2x1", "1x2", "2x2", "4x1", "4x2", "2x2,2x1,1x1", "-grayscale", "-restart 1", "-progressive"])
def test_columns_that_do_not_count_change_nothing(how, size, tmp_path):
    """What a crop drops of a JPEG is not transformed; the pixels beside keep what they take from it."""
    path = tmp_path / "picture"
    options = how.split() if how.startswith("-") else ["-sample", how]
    data = subprocess.run(["cjpeg", *options], input=save(photo(*size), "PPM"), capture_output=True, check=True).stdout
    for orientation in (1, 6):
        path.write_bytes(turned_jpeg(data, orientation))
        whole = Image.fromarray(decode(path))
        for side in (size[1] - 1, 24):
            square = pillow_reference.resize(whole, side, "crop", BACKGROUND)
            assert_same(preprocess(path, side, "crop"), np.asarray(square))


def turned_jpeg(data: bytes, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_never_there_as_a_whole(orientation, tmp_path):
    """36 MB of pixels in 36 MiB of address space, of which the program and its libraries take most."""
    path = tmp_path / "picture"
    large = photo(400, 300).resize((4000, 3000), Image.Resampling.BILINEAR)
    path.write_bytes(turned_jpeg(save(large, "JPEG"), orientation))
    command = [TOOL, "preprocess", "224", "squash", "ffffff", path]
    subprocess.run(command, capture_output=True, check=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST)))


def test_a_jpeg_of_too_many_scans_is_refused_soon(tmp_path):
    scans = "0: 0-0, 0, 0;\n" + "".join(f"0: {k}-{k}, 0, 1;\n" for k in range(1, 64))
    scans += "".join(f"0: {k}-{k}, 1, 0;\n" for k in range(1, 30))
    script = tmp_path / "scans"
    script.write_text(scans)
    data = save(photo(2000, 2000).convert("L"), "JPEG", quality=20)
    bomb = subprocess.run(["jpegtran", "-scans", script], input=data, capture_output=True, check=True).stdout
    assert "JPEG: more than 64 scans" in refusal(tmp_path / "bomb", bomb)


def test_what_a_png_holds_behind_its_last_pixel_is_not_inflated(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(png(np.zeros((10, 10, 3), np.uint8), 2, more=bytes(4 << 30)))
    assert path.stat().st_size < 8 << 20
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert_same(decode(path), np.zeros((10, 10, 3), np.uint8))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 1  # all of it would take ten


def test_inflating_text_and_profiles_are_skipped(tmp_path):
    """Chunks that do not change the pixels may inflate to gigabytes; they are not inflated."""
    bomb = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(200 << 20)))
    profile = png_chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(200 << 20)))
    data = save(photo(20, 20), "PNG")
    path = tmp_path / "picture"
    path.write_bytes(data[:33] + bomb + profile + data[33:])
    assert_same(decode(path), np.asarray(photo(20, 20)))


def test_header_of_a_png_over_the_limit(tmp_path):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    said = refusal(tmp_path / "picture", b"\x89PNG\r\n\x1a\n" + header)
    assert said == "too_large: PNG: 30000 x 30000 is 900000000 pixels; at most 12500000 are accepted\n"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TGA"])
def test_half_a_file_is_refused(format, tmp_path):
    data = save(photo(120, 90), format)
    assert "truncated after" in refusal(tmp_path / "picture", data[: len(data) // 2])


@pytest.mark.parametrize("format", ["ICO", "JPEG2000", "PDF"])
def test_other_types_are_refused_by_name(format, tmp_path):
    try:
        data = save(photo(32, 32), format)
    except OSError:
        pytest.skip(f"this Pillow does not write {format}")
    said = refusal(tmp_path / "picture", data)
    assert "accepted are JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF, BMP, PNM, TGA and PSD" in said
    assert said.startswith("unsupported: ")


def test_tools_are_here():
    """They come with libjpeg-turbo-progs; without them tests above would not say why they fail."""
    assert shutil.which("cjpeg") and shutil.which("djpeg") and shutil.which("jpegtran")
