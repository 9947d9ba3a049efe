"""HEIC and AVIF: as libheif's own tools show them, upright, and no more than their headers announce.

heif-enc and heif-convert come with libheif-examples.
"""

import io
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image

from pictures import exif, photo, save, with_alpha
from test_pillow import decode, refusal

SIZES = [(16, 16), (63, 65), (301, 203), (640, 480)]


def encode(folder, picture: Image.Image, *options: str, suffix: str = "heic") -> bytes:
    picture.save(folder / "source.png")
    path = folder / f"encoded.{suffix}"
    subprocess.run(["heif-enc", *options, folder / "source.png", "-o", path], check=True, capture_output=True)
    return path.read_bytes()


def read(folder, data: bytes) -> np.ndarray:
    (folder / "picture").write_bytes(data)
    return decode(folder / "picture")


def shown(folder, data: bytes, suffix: str) -> np.ndarray:
    """As heif-convert has it, by the decoders that libheif would choose."""
    (folder / f"shown.{suffix}").write_bytes(data)
    subprocess.run(["heif-convert", folder / f"shown.{suffix}", folder / "shown.png"], check=True, capture_output=True)
    return np.asarray(Image.open(folder / "shown.png"))


def apart(found: np.ndarray, expected: np.ndarray) -> int:
    assert found.shape == expected.shape
    return int(np.abs(found.astype(int) - expected.astype(int)).max())


@pytest.mark.parametrize("suffix", ["heic", "avif"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("alpha", [False, True])
def test_a_picture_is_what_libheif_shows(size, alpha, suffix, tmp_path):
    picture = with_alpha(*size) if alpha else photo(*size)
    options = ["-A"] if suffix == "avif" else []
    for quality in ("30", "90"):
        data = encode(tmp_path, picture, "-q", quality, *options, suffix=suffix)
        assert apart(read(tmp_path, data), shown(tmp_path, data, suffix)) == 0


@pytest.mark.parametrize("alpha", [False, True])
def test_a_lossless_picture_is_its_source(alpha, tmp_path):
    """To the rounding of the way to YCbCr and back."""
    picture = with_alpha(77, 51) if alpha else photo(77, 51)
    data = encode(tmp_path, picture, "-L", "-p", "chroma=444", "--matrix_coefficients=0")
    assert apart(read(tmp_path, data), np.asarray(picture)) <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_an_avif_is_as_pillow_decodes_it(mode, tmp_path):
    """Chroma at full size: how it is brought there from less is up to the decoder."""
    data = save(with_alpha(75, 50).convert(mode), "AVIF", quality=90, subsampling="4:4:4")
    expected = Image.open(io.BytesIO(data))
    found = read(tmp_path, data)
    assert apart(found, np.asarray(expected.convert("RGBA" if mode == "RGBA" else "RGB"))) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_once(orientation, tmp_path):
    """By the file's own turn and mirror; an EXIF block that says the same is left."""
    upright = photo(45, 28)
    data = save(upright, "AVIF", quality=100, subsampling="4:4:4", exif=exif(orientation))
    turned = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_270),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_90),
    }[orientation]
    assert apart(read(tmp_path, data), np.asarray(turned)) <= 3


@pytest.mark.parametrize("depth", ["10", "12"])
def test_more_than_8_bits_are_rounded(depth, tmp_path):
    data = encode(tmp_path, photo(64, 48), "-q", "95", "-b", depth, "-p", "chroma=444")
    assert apart(read(tmp_path, data), np.asarray(photo(64, 48))) < 40


@pytest.mark.parametrize("suffix", ["heic", "avif"])
def test_no_part_of_a_file_is_a_picture(suffix, tmp_path):
    data = encode(tmp_path, photo(64, 48), *(["-A"] if suffix == "avif" else []), suffix=suffix)
    for n in [*range(12, 700, 67), *range(700, len(data), 401), len(data) - 1]:
        assert "bad_image: HEIF: " in refusal(tmp_path / "picture", data[:n])


def announce(data: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """The file with another size in each property that says one, and in its grid."""
    assert data.count(b"ispe\0\0\0\0" + struct.pack(">II", *old)) > 0
    return data.replace(b"ispe\0\0\0\0" + struct.pack(">II", *old), b"ispe\0\0\0\0" + struct.pack(">II", *new))


@pytest.mark.parametrize("suffix", ["heic", "avif"])
def test_a_stream_of_more_pixels_than_announced_is_refused(suffix, tmp_path):
    data = encode(tmp_path, photo(1280, 960), *(["-A"] if suffix == "avif" else []), suffix=suffix)
    small = announce(data, (1280, 960), (64, 48))
    assert "HEIF: " in refusal(tmp_path / "picture", small)


def test_a_picture_made_of_itself_is_refused(tmp_path):
    """libheif would follow it until the stack ends."""
    data = encode(tmp_path, photo(64, 48), "-q", "50")
    at = data.index(b"dimg")
    source, count, tile = struct.unpack_from(">HHH", data, at + 4)
    assert (source, count) == (2, 1)
    assert apart(read(tmp_path, data), shown(tmp_path, data, "heic")) == 0
    said = refusal(tmp_path / "picture", data[: at + 8] + struct.pack(">H", source) + data[at + 10 :])
    assert said == "bad_image: HEIF: pictures made of each other in too many levels\n"


def test_a_size_over_the_limit_is_refused_from_the_header(tmp_path):
    data = announce(encode(tmp_path, photo(64, 64)), (64, 64), (30000, 30000))
    said = refusal(tmp_path / "picture", data)
    assert said == "too_large: HEIF: 30000 x 30000 is 900000000 pixels; at most 12500000 are accepted\n"


def test_films_are_named(tmp_path):
    said = refusal(tmp_path / "picture", b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + bytes(100))
    assert said.startswith("unsupported: ISO media pictures are not supported; accepted are JPEG, PNG, WebP, HEIC, AVIF")
