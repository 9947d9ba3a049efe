"""Protects what a client sees of pictures: odd files that the world sends are answered as good ones are, with the same
bits; broken ones are refused with a reason; and every format is read within the sandbox of the decoders.

How files are odd in all their ways, and what Pillow makes of them, is tested in tests/preprocess.
"""

import io
import struct
import zlib

import pytest
from PIL import Image

from conftest import ROOT, b64, picture, png_chunk, png_file

DATA = ROOT / "tests" / "unit" / "model" / "image" / "data"


def embed(client, *files):
    response = client.post("/v1/embeddings", json={"input": [{"image": b64(data)} for data in files]})
    assert response.status_code == 200, response.text
    return [item["embedding"] for item in response.json()["data"]]


def assert_same(client, odd, good):
    vectors = embed(client, odd, good)
    assert vectors[0] == vectors[1]


def assert_refused(client, data, reason):
    response = client.post("/v1/embeddings", json={"input": [{"image": b64(data)}]})
    assert response.status_code == 400, response.text
    assert reason in response.json()["error"]["message"]


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(mode="RGB"):
    return Image.open(io.BytesIO(picture())).convert(mode)


def few():
    return photo().quantize(16)


def png_of(stream):
    return png_file(photo().size, stream)


def png_rows():
    image = photo()
    width = 3 * image.width
    pixels = image.tobytes()
    return b"".join(b"\0" + pixels[i : i + width] for i in range(0, len(pixels), width))


@pytest.mark.parametrize(
    "name",
    ["photo.heic", "photo.avif", "picture.tif", "picture.psd", "picture.tga", "picture.ppm", "picture.webp", "colours.gif",
     "colours.bmp", "cmyk.jpg", "alpha.psd", "photo-progressive.jpg"],
)  # fmt: skip
def test_every_format_is_read_in_the_sandbox(client, server, name):
    """A decoder that does what the sandbox forbids is killed and replaced, which is counted."""
    before = server.metric("limoe_decoder_restarts_total")
    truth = {"photo.heic": "photo-heic.ppm", "photo.avif": "photo-avif.ppm", "cmyk.jpg": "cmyk.ppm", "alpha.psd": "alpha.png"}
    truth = truth.get(name, f"{name.split('-')[0].split('.')[0]}.ppm")
    assert_same(client, (DATA / name).read_bytes(), (DATA / truth).read_bytes())
    assert server.metric("limoe_decoder_restarts_total") == before


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "jpeg", "group3", "group4"])
def test_every_way_of_a_tiff_is_read_in_the_sandbox(client, server, compression):
    before = server.metric("limoe_decoder_restarts_total")
    data = saved(photo("1" if compression.startswith("group") else "RGB"), "TIFF", compression=compression)
    if compression == "jpeg":
        embed(client, data)
    else:
        assert_same(client, data, saved(Image.open(io.BytesIO(data)), "PNG"))
    assert server.metric("limoe_decoder_restarts_total") == before


def test_alpha_turns_and_large_pictures_of_avif_are_read_in_the_sandbox(client, server):
    before = server.metric("limoe_decoder_restarts_total")
    clear = photo("RGBA")
    clear.putalpha(photo("L"))
    turned = Image.Exif()
    turned[0x112] = 6
    for image, options in ((clear, {}), (photo(), {"exif": turned}), (photo().resize((2000, 1500)), {"speed": 10})):
        embed(client, saved(image, "AVIF", **options))
    assert server.metric("limoe_decoder_restarts_total") == before


@pytest.mark.parametrize("name", ["photo.heic", "photo.avif", "picture.tif", "picture.psd", "picture.tga", "picture.webp"])
def test_a_broken_file_of_every_format_is_refused_and_ends_no_decoder(client, server, name):
    before = server.metric("limoe_decoder_restarts_total")
    data = (DATA / name).read_bytes()
    assert_refused(client, data[: len(data) // 2], {"he": "HEIF: ", "av": "HEIF: ", "ti": "TIFF: "}.get(name.split(".")[1][:2], "truncated after"))
    broken = bytearray(data)
    for at in range(40, len(broken), 7):
        broken[at] ^= 0x55
    client.post("/v1/embeddings", json={"input": [{"image": b64(bytes(broken))}]})
    embed(client, data)
    assert server.metric("limoe_decoder_restarts_total") == before


def test_f2_a_jpeg_with_all_pixels_needs_no_end(client):
    data = saved(photo(), "JPEG")
    assert_same(client, data[:-2] + b"trailer" * 20, data)
    assert_same(client, data[:-2], data)


def test_f2_a_jpeg_that_lacks_data_is_refused(client):
    data = saved(photo(), "JPEG")
    assert_refused(client, data[: len(data) // 2], "JPEG: truncated after")
    assert_refused(client, data[: len(data) // 2] + b"\xff\xd9", "JPEG: Corrupt JPEG data: premature end of data segment")


@pytest.mark.parametrize(
    "odd",
    [
        lambda: png_of(zlib.compress(png_rows()) + b"x"),
        lambda: png_of(zlib.compress(png_rows() + bytes(99))),
        lambda: png_of(zlib.compress(png_rows())[:-4]),
        lambda: png_of(zlib.compress(png_rows()))[:-12],
        lambda: png_of(zlib.compress(png_rows()))[:-1] + b"x",
    ],
    ids=["a byte behind zlib", "more rows", "no checksum", "no IEND", "bad IEND"],
)
def test_f3_a_png_with_all_pixels_is_a_picture(client, odd):
    assert_same(client, odd(), picture())


def test_f3_a_png_that_lacks_pixels_is_refused(client):
    assert_refused(client, png_of(zlib.compress(png_rows()[:-1])), "PNG: Not enough image data")


def test_f10_zero_bytes_between_the_blocks_of_a_gif(client):
    data = saved(few(), "GIF", interlace=0)
    frame = data.index(b",\0\0\0\0" + data[6:10])
    assert_same(client, data[:frame] + b"\0\0" + data[frame:], data)


def test_f11_bitmaps_of_os2_and_without_an_offset(client):
    data = saved(photo(), "BMP")
    assert data[10:18] == struct.pack("<II", 54, 40)
    assert_same(client, data[:10] + bytes(4) + data[14:], data)
    assert_same(client, data[:10] + struct.pack("<II", 78, 64) + data[18:54] + bytes(24) + data[54:], data)


def test_f11_runs_in_a_bitmap(client):
    image = few()
    data = saved(image, "BMP")
    offset = struct.unpack_from("<I", data, 10)[0]
    rows = [image.crop((0, y, image.width, y + 1)).tobytes() for y in reversed(range(image.height))]
    runs = b"".join(b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in rows) + b"\0\1"
    head = bytearray(data[:offset])
    struct.pack_into("<I", head, 30, 1)
    assert head[28] == 8
    assert_same(client, bytes(head) + runs, data)


def test_f14_alpha_before_the_palette_or_longer_than_it(client):
    data = saved(few(), "PNG", transparency=bytes([0, 128] + [255] * 14))
    palette, alpha = data.index(b"PLTE") - 4, data.index(b"tRNS") - 4
    end = alpha + 12 + int.from_bytes(data[alpha : alpha + 4], "big")
    length = end - alpha - 12
    moved = data[:palette] + data[alpha:end] + data[palette:alpha] + data[end:]
    longer = data[:alpha] + png_chunk(b"tRNS", data[alpha + 8 : alpha + 8 + length].ljust(200, b"\0")) + data[end:]
    assert_same(client, moved, data)
    assert_same(client, longer, data)


def test_f15_orientation_behind_an_empty_segment_and_as_a_signed_number(client):
    data = saved(photo(), "JPEG", quality=95)
    for kind in (3, 8):
        block = struct.pack("<2sHIHHHIhHI", b"II", 42, 8, 1, 0x112, kind, 1, 3, 0, 0)
        odd, good = (
            data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(s)) + s for s in segments) + data[2:]
            for segments in ([b"Exif\0\0", b"Exif\0\0" + block], [b"Exif\0\0" + block[:18] + b"\3\0" + block[20:]])
        )
        assert_same(client, odd, good)
        assert embed(client, odd) != embed(client, data)


def test_f16_inks_become_colours(client):
    inks = saved(photo("CMYK"), "JPEG", quality=95)
    assert_same(client, inks, saved(Image.open(io.BytesIO(inks)).convert("RGB"), "PNG"))
