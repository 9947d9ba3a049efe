"""Odd files that the world sends, and broken ones that look like them: the first as Pillow reads them, the others refused.

Each test is named after the fault that it protects from.
"""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import pillow_reference
from pictures import RGB_TAGS, cmyk, photo, plain_pnm, png_chunk, psd, save, tga, tiff
from test_pillow import assert_same, decode, refusal

SIZE = (37, 29)
PHOTO = photo(*SIZE)


@pytest.fixture
def same(tmp_path):
    """Asserts that a file is read as Pillow reads it, or as Pillow reads another one."""

    def check(data: bytes, truth: bytes | None = None) -> None:
        path = tmp_path / "picture"
        path.write_bytes(data)
        assert_same(decode(path), np.asarray(pillow_reference.decode(truth or data)))

    return check


# ---- JPEG

JPEGS = {
    "sequential": save(PHOTO, "JPEG"),
    "progressive": save(PHOTO, "JPEG", progressive=True),
    "grey": save(PHOTO.convert("L"), "JPEG"),
    "inks": save(cmyk(*SIZE), "JPEG"),
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("behind", [b"", b"\xff", b"trailer" * 20, bytes(300), b"\xff\xe1\0\x40cut"], ids=repr)
def test_f2_a_jpeg_with_all_pixels_needs_no_end(kind, behind, same):
    data = JPEGS[kind]
    assert data[-2:] == b"\xff\xd9"
    same(data[:-2] + behind, data)


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("behind", [b"", b"\xff\xd9", b"\xff\xd9" + bytes(100)], ids=repr)
def test_f2_a_jpeg_without_all_pixels_is_refused(kind, behind, tmp_path):
    data = JPEGS[kind]
    scan = data.rindex(b"\xff\xda")
    for end in (scan + 14, (scan + len(data)) // 2, len(data) - 3):
        assert "bad_image: JPEG: " in refusal(tmp_path / "picture", data[:end] + behind)


def scans(data: bytes) -> list[int]:
    """Where the segments of a progressive JPEG's scans begin, the tables before each included."""
    starts, at = [], 2
    while data[at : at + 2] != b"\xff\xd9":
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if kind in (0xC4, 0xDA):
            starts.append(at)
        at += 2 + length
        if kind == 0xDA:
            while data[at] != 0xFF or data[at + 1] in (0, *range(0xD0, 0xD8)):
                at += 1
    return starts


def test_f2_a_progressive_jpeg_that_lacks_scans_is_refused(tmp_path):
    data = JPEGS["progressive"]
    starts = scans(data)
    assert len(starts) > 10
    for at in starts:
        assert "JPEG: truncated" in refusal(tmp_path / "picture", data[:at])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:0"}], ids=str)
def test_f16_inks_are_converted_as_pillow_does(options, same):
    same(save(cmyk(*SIZE), "JPEG", **options))


def adobe(data: bytes, transform: int | None) -> bytes:
    """Another transform in Adobe's marker: 0, CMYK; 2, YCCK. None: no marker."""
    at = data.index(b"\xff\xee\0\x0eAdobe")
    marker = b"" if transform is None else data[at : at + 15] + bytes([transform])
    return data[:at] + marker + data[at + 16 :]


@pytest.mark.parametrize("transform", [0, 2, None])
def test_f16_with_and_without_adobes_marker(transform, same):
    same(adobe(JPEGS["inks"], transform))


def orientation(value: int, kind: int, order: str = "<", count: int = 1) -> bytes:
    """A TIFF block that says how a picture is turned, in a field of any type of integer."""
    field = struct.pack(order + {1: "Bxxx", 3: "Hxx", 4: "L", 6: "bxxx", 8: "hxx", 9: "l"}[kind], value)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HLHHHL", 42, 8, 1, 0x112, kind, count)
    return head + field + bytes(4)


def with_segments(*segments: bytes) -> bytes:
    data = JPEGS["sequential"]
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(s)) + s for s in segments) + data[2:]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
def test_f15_orientation_in_every_type_of_integer(kind, order, same):
    for value in (3, 6):
        same(with_segments(b"Exif\0\0" + orientation(value, kind, order)))


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize(
    "segments",
    [
        [b"Exif\0\0", b"Exif\0\0" + orientation(6, 3)],
        [b"Exif\0\0" + orientation(6, 3), b"Exif\0\0" + orientation(3, 3)],
        [b"Exif\0\0" + orientation(8, 3)[:13], b"Exif\0\0" + orientation(8, 3)[13:]],
        [b"Exif\0\0Exif\0\0" + orientation(5, 3)],
        [b"Exif\0\0" + orientation(6, 3, count=2)],
        [b"http://ns.adobe.com/xap/1.0/\0<x/>", b"Exif\0\0" + orientation(7, 8)],
    ],
    ids=["empty before", "another behind", "in two parts", "named twice", "two values", "behind XMP"],
)
def test_f15_exif_in_odd_segments(segments, same):
    same(with_segments(*segments))


def test_f15_orientation_in_xmp_alone_is_left(same):
    """As browsers have it, and as docs/api.md says; Pillow would turn it."""
    packet = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="6"/>'
    same(with_segments(packet), JPEGS["sequential"])


# ---- PNG


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def assemble(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def rows(more: bytes = b"") -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in np.asarray(PHOTO)) + more


def of_stream(stream: bytes, parts: int = 1) -> bytes:
    """A PNG whose IDAT chunks hold these bytes."""
    step = -(-len(stream) // parts)
    pixels = [(b"IDAT", stream[i : i + step]) for i in range(0, len(stream), step)]
    return assemble([chunks(save(PHOTO, "PNG"))[0], *pixels, (b"IEND", b"")])


STREAM = zlib.compress(rows())


def without_last_block() -> bytes:
    """All pixels, then no block that says that it is the last, nor a checksum."""
    deflate = zlib.compressobj()
    return deflate.compress(rows()) + deflate.flush(zlib.Z_SYNC_FLUSH)


WHOLE = of_stream(STREAM)
ODD_PNGS = {
    "a byte behind the zlib stream": of_stream(STREAM + b"x"),
    "an IDAT behind the zlib stream": of_stream(STREAM + bytes(len(STREAM)), 2),
    "more row data": of_stream(zlib.compress(rows(bytes(100)))),
    "much more row data": of_stream(zlib.compress(rows(bytes(1 << 20)))),
    "no checksum": of_stream(STREAM[:-4]),
    "half a checksum": of_stream(STREAM[:-2]),
    "no last deflate block": of_stream(without_last_block()),
    "no IEND": WHOLE[:-12],
    "half an IEND": WHOLE[:-6],
    "IEND with a bad CRC": WHOLE[:-1] + b"x",
    "no CRC of the last IDAT": WHOLE[:-16],
    "cut in the checksum": WHOLE[:-18],
    "a broken chunk instead of IEND": WHOLE[:-12] + b"\0\0\0\1abcdx1234",
    "rubbish behind IEND": WHOLE + b"rubbish" * 100,
    "rubbish instead of IEND": WHOLE[:-12] + b"\xff" * 100,
}


@pytest.mark.parametrize("name", ODD_PNGS)
def test_f3_a_png_with_all_pixels_is_a_picture(name, same):
    same(ODD_PNGS[name], WHOLE)


def test_f3_interlaced_too(same):
    picture = photo(50, 40)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    pixels = np.asarray(picture)
    lines = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx])
    head = struct.pack(">IIBBBBB", 50, 40, 8, 2, 0, 0, 1)
    for stream in (zlib.compress(lines)[:-4], zlib.compress(lines + bytes(999))):
        same(assemble([(b"IHDR", head), (b"IDAT", stream)]), save(picture, "PNG"))


@pytest.mark.parametrize("lost", [1, 40, 2000])
def test_f3_a_png_without_all_pixels_is_refused(lost, tmp_path):
    short = zlib.compress(rows()[:-lost])
    assert "bad_image: PNG: " in refusal(tmp_path / "picture", of_stream(short))
    assert "bad_image: PNG: " in refusal(tmp_path / "picture", of_stream(short)[:-12])
    stored = zlib.compress(rows(), 0)[: -4 - lost]
    assert "PNG: truncated after" in refusal(tmp_path / "picture", of_stream(stored)[:-16])


def test_f3_a_wrong_crc_of_pixels_is_refused(tmp_path):
    data = bytearray(WHOLE)
    data[-13] ^= 1  # of the IDAT's CRC
    assert "bad_image: PNG: the chunk at byte 33 does not have the CRC it states" in refusal(tmp_path / "picture", data)


def indexed(colours: int, alpha: bytes, early: bool, depth: int = 8) -> bytes:
    few = PHOTO.quantize(colours)
    parts = dict(chunks(save(few, "PNG", bits=depth)))
    transparency, palette = (b"tRNS", alpha), (b"PLTE", parts[b"PLTE"][: 3 * colours])
    between = [transparency, (b"tEXt", b"a\0b"), palette] if early else [palette, (b"tEXt", b"a\0b"), transparency]
    return assemble([(b"IHDR", parts[b"IHDR"]), *between, (b"IDAT", parts[b"IDAT"]), (b"IEND", b"")])


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("alpha", [b"\0", bytes(range(0, 200, 9)), bytes(range(256))], ids=len)
def test_f14_alpha_of_a_palette_longer_than_it_or_before_it(alpha, early, same):
    same(indexed(16, alpha, early))
    same(indexed(4, alpha, early, depth=2))
    same(indexed(16, alpha + bytes(300), early), indexed(16, alpha + bytes(256 - len(alpha)), early))  # Pillow fails


def test_f14_alpha_of_one_colour_beside_a_channel_of_alpha(same):
    clear = PHOTO.copy()
    clear.putalpha(photo(*SIZE, seed=1).getchannel(2))
    parts = chunks(save(clear, "PNG"))
    same(assemble([parts[0], (b"tRNS", bytes(6)), *parts[1:]]), save(clear, "PNG"))


def test_f14_an_index_past_the_palette_is_black(same):
    few = PHOTO.quantize(16)
    parts = dict(chunks(save(few, "PNG", bits=8)))
    head = (b"IHDR", parts[b"IHDR"])
    for kept in (1, 9, 15):
        same(assemble([head, (b"PLTE", parts[b"PLTE"][: 3 * kept]), (b"IDAT", parts[b"IDAT"]), (b"IEND", b"")]))


# ---- GIF


@pytest.mark.parametrize("zeros", [1, 2, 300])
@pytest.mark.parametrize("options", [{}, {"transparency": 3, "comment": b"hello"}], ids=str)
def test_f10_zero_bytes_between_the_blocks_of_a_gif(zeros, options, same):
    data = save(PHOTO.quantize(16), "GIF", interlace=0, **options)
    palette = 13 + (6 << (data[10] & 7))
    frame = data.index(b",\0\0\0\0" + struct.pack("<HH", *SIZE))
    for at in {palette, frame}:
        same(data[:at] + bytes(zeros) + data[at:], data)


@pytest.mark.parametrize("behind", [b"", b"\0", b"\0" * 40, b"\0rubbish"], ids=repr)
def test_f10_a_gif_needs_no_trailer(behind, same):
    data = save(PHOTO.quantize(16), "GIF", interlace=0)
    assert data[-2:] == b"\0;"
    same(data[:-2] + behind, data)


# ---- BMP


def bitmap(
    bits: int, pixels: bytes, header: int = 40, compression: int = 0, masks: tuple = (), palette: bytes = b"", offset=None, top=False
) -> bytes:
    height = -SIZE[1] if top else SIZE[1]
    dib = struct.pack("<IiiHHIIiiII", header, SIZE[0], height, 1, bits, compression, len(pixels), 0, 0, len(palette) // 4, 0)
    fields = struct.pack(f"<{len(masks)}I", *masks)
    dib = dib + fields + bytes(max(0, header - 40 - len(fields)))
    begin = 14 + len(dib) + len(palette)
    return b"BM" + struct.pack("<IHHI", begin + len(pixels), 0, 0, begin if offset is None else offset) + dib + palette + pixels


def lines(pixels: np.ndarray) -> bytes:
    """Rows from the bottom, each padded to four bytes."""
    return b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in pixels[::-1])


BLUE_FIRST = np.ascontiguousarray(np.asarray(PHOTO)[..., ::-1])
FEW = PHOTO.quantize(16)
INDICES = np.asarray(FEW)
PALETTE = b"".join(bytes([b, g, r, 0]) for r, g, b in np.reshape(FEW.getpalette()[: 16 * 3], (16, 3)).tolist())
RGB = (0xFF0000, 0xFF00, 0xFF)


@pytest.mark.parametrize("offset", [None, 0])
@pytest.mark.parametrize("header", [40, 52, 56, 64, 108, 124])
def test_f11_bitmaps_with_every_header(header, offset, same):
    same(bitmap(24, lines(BLUE_FIRST), header, offset=offset))
    same(bitmap(8, lines(INDICES), header, palette=PALETTE, offset=offset))


@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
def test_f11_fields_of_24_bits(header, same):
    same(bitmap(24, lines(BLUE_FIRST), header, compression=3, masks=RGB))


def test_f11_fields_of_24_bits_in_any_order(same):
    data = bitmap(24, lines(np.ascontiguousarray(BLUE_FIRST[..., ::-1])), compression=3, masks=RGB[::-1])
    same(data, save(PHOTO, "BMP"))  # Pillow knows but one order


def runs(indices: np.ndarray, bits: int, literal: bool) -> bytes:
    """Rows from the bottom, as runs or, three and more at a time, as they are."""
    coded = bytearray()
    for row in indices[::-1].tolist():
        at = 0
        while at < len(row):
            if literal and at + 3 <= len(row):
                n = min(7, len(row) - at)
                part = row[at : at + n]
                pairs = [*part, 0] if n % 2 else part
                packed = bytes(part) if bits == 8 else bytes(16 * a + b for a, b in zip(pairs[::2], pairs[1::2]))
                coded += bytes([0, n]) + packed + bytes(len(packed) % 2)
            else:
                n = 1
                while n < 255 and at + n < len(row) and row[at + n] == row[at]:
                    n += 1
                coded += bytes([n, row[at] if bits == 8 else 17 * row[at]])
            at += n
        coded += b"\0\0"
    return bytes(coded + b"\0\1")


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_f11_runs(bits, literal, same):
    coded = runs(INDICES, bits, literal)
    same(bitmap(bits, coded, compression=1 if bits == 8 else 2, palette=PALETTE), save(FEW, "BMP"))
    same(bitmap(bits, coded, 64, compression=1 if bits == 8 else 2, palette=PALETTE, offset=0), save(FEW, "BMP"))


def test_f11_runs_that_skip_pixels(same):
    coded = b"\x05\x01\0\0" + b"\0\2\3\2\x04\x02\0\0" + b"\0\0" + b"\x01\x03\0\2\x24\x18"
    assert len(pillow_reference.decode(bitmap(8, coded, compression=1, palette=PALETTE)).getcolors()) == 4
    same(bitmap(8, coded, compression=1, palette=PALETTE))
    same(bitmap(8, b"\x05\x01\xff\x02\0\0\0\2\xff\xff\0\1", compression=1, palette=PALETTE))


def test_f11_runs_that_end_early_are_refused(tmp_path):
    whole = bitmap(8, runs(INDICES, 8, True), compression=1, palette=PALETTE)
    assert "BMP: truncated after" in refusal(tmp_path / "picture", whole[: len(whole) // 2])
    early = bitmap(8, b"\x05\x01\0\1more", compression=1, palette=PALETTE)
    assert "BMP: the runs end after 5 of 1073 pixels" in refusal(tmp_path / "picture", early)
    past = bitmap(8, runs(INDICES + 9, 8, True), compression=1, palette=PALETTE)
    assert "past the 16 of the palette" in refusal(tmp_path / "picture", past)


# ---- what stb_image alone would get wrong


def test_a_tga_palette_that_does_not_begin_at_0(same, tmp_path):
    few = PHOTO.quantize(16)
    blue_first = np.reshape(few.getpalette()[:48], (16, 3))[:, ::-1].astype(np.uint8).tobytes()
    pixels = (np.asarray(few) + 40).tobytes()
    same(tga(pixels, SIZE, 1, 8, 0x20, 40, blue_first), save(few.convert("RGB"), "PNG"))
    for first in (41, 39, 300):
        said = refusal(tmp_path / "picture", tga(pixels, SIZE, 1, 8, 0x20, first, blue_first))
        assert f"the palette has {first} to {first + 15}" in said


@pytest.mark.parametrize("direction", [0, 0x10, 0x20, 0x30])
def test_tga_runs_across_rows_in_all_directions(direction, same):
    grey = np.asarray(PHOTO.convert("L")) // 32
    coded, row, at = bytearray(), grey.ravel().tolist(), 0
    while at < len(row):
        n = 1
        while n < 128 and at + n < len(row) and row[at + n] == row[at]:
            n += 1
        coded += bytes([0x80 | n - 1, row[at]]) if n > 1 else bytes([0, row[at]])
        at += n
    flipped = grey[:: 1 if direction & 0x20 else -1, :: -1 if direction & 0x10 else 1]
    same(tga(bytes(coded), SIZE, 11, 8, direction), plain_pnm(2, flipped, 255))


def test_tga_colours_of_15_and_16_bits(same):
    """The bit that is left says nothing: there are files with all of them 0, and files with all of them 1."""
    five = (np.asarray(PHOTO) >> 3).astype("<u2")
    words = five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]
    truth = plain_pnm(3, five.astype(int) * 255 // 31, 255)
    for bits, words_there in ((15, words), (16, words), (16, words | 0x8000)):
        same(tga(words_there.tobytes(), SIZE, 2, bits, 0x20), truth)


def test_psd_samples_of_16_bits_lose_their_low_byte(same):
    deep = np.random.default_rng(5).integers(0, 65536, (4, SIZE[1], SIZE[0])).astype(">u2")
    high = (deep >> 8).astype(np.uint8)
    for packed in (False, True):
        for channels, mode in ((1, 1), (3, 3), (4, 3)):
            same(psd(deep[:channels], mode, packed), psd(high[:channels], mode, packed))


def test_psd_channels_beside_the_colours_are_left(same):
    planes = np.random.default_rng(6).integers(0, 256, (6, SIZE[1], SIZE[0]), dtype=np.uint8)
    for packed in (False, True):
        same(psd(planes, 3, packed), psd(planes[:3], 3, packed))
        same(psd(planes[:3], 1, packed), psd(planes[:1], 1, packed))


@pytest.mark.parametrize("packed", [False, True])
def test_a_psd_without_all_rows_is_refused(packed, tmp_path):
    planes = np.random.default_rng(7).integers(0, 256, (4, SIZE[1], SIZE[0]), dtype=np.uint8)
    data = psd(planes, 3, packed)
    for lost in (1, 50, 2000):
        assert "PSD: truncated after" in refusal(tmp_path / "picture", data[:-lost])


@pytest.mark.parametrize("kind", ["P5", "P6"])
@pytest.mark.parametrize("maximum", [1, 100, 255, 256, 65535])
def test_a_pnm_without_all_samples_is_refused(kind, maximum, tmp_path):
    size = 1 + (maximum > 255)
    data = f"{kind} 9 7 {maximum}\n".encode() + bytes(63 * (3 if kind == "P6" else 1) * size)
    (tmp_path / "whole").write_bytes(data)
    assert decode(tmp_path / "whole").max() == 0
    assert "PNM: truncated after" in refusal(tmp_path / "picture", data[:-1])
    if maximum not in (255, 65535):
        over = data[: -size] + (maximum + 1).to_bytes(size, "big")
        assert f"over the maximum of {maximum}" in refusal(tmp_path / "picture", over)


# ---- TIFF


def test_a_tiff_of_64_bits_in_either_order(same):
    pixels = np.asarray(PHOTO).tobytes()
    for order in "<>":
        same(tiff(SIZE, [pixels], RGB_TAGS, order, wide=True), save(PHOTO, "PNG"))


def patch(data: bytes, tag: int, old: int, new: int) -> bytes:
    """Another value for a field of one integer."""
    for kind, form in ((3, "<HHLHxx"), (4, "<HHLL")):
        found = data.find(struct.pack(form, tag, kind, 1, old))
        if found >= 0:
            return data[: found + 8] + struct.pack("<L", new) + data[found + 12 :]
    raise ValueError(f"no field {tag} of {old}")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "jpeg", "group3", "group4"])
def test_a_tiff_without_all_pixels_is_refused(compression, tmp_path):
    noise = np.random.default_rng(8).integers(0, 256, (90, 120), dtype=np.uint8)
    picture = Image.fromarray(noise).convert("1" if compression.startswith("group") else "L")
    whole = save(picture, "TIFF", compression=compression, tiffinfo={278: 90})
    opened = Image.open(io.BytesIO(whole))
    (offset,), (size,) = opened.tag_v2[273], opened.tag_v2[279]
    if compression == "raw":  # how many bytes there must be follows from the size; so they lie at the file's end
        cut = patch(whole, 273, offset, len(whole) - size // 2)
    else:
        cut = patch(whole, 279, size, size // 2)
    assert "bad_image: TIFF: " in refusal(tmp_path / "picture", cut)


def test_a_tiff_of_floats_is_refused(tmp_path):
    said = refusal(tmp_path / "picture", save(Image.new("F", (9, 9)), "TIFF"))
    assert said.startswith("unsupported: TIFF: samples of 32 bits in format 3; accepted are unsigned integers")


def test_tiff_parts_far_larger_than_the_picture_are_refused(tmp_path):
    parts = [zlib.compress(bytes(3 << 24))] * 3
    bomb = tiff((9, 60000), parts, RGB_TAGS | {259: 8, 322: 1 << 14, 323: 1 << 10})
    assert "TIFF: parts of 16384 x 1024 pixels" in refusal(tmp_path / "picture", bomb)
    bomb = tiff((1, 60000), [zlib.compress(bytes(768))] * 3750, RGB_TAGS | {259: 8, 322: 1 << 10, 323: 16})
    assert "TIFF: 1 x 3750 tiles of 1024 x 16 pixels" in refusal(tmp_path / "picture", bomb)


# ---- rubbish behind a picture, in formats that say where they end


@pytest.mark.parametrize("format", ["WEBP", "GIF", "BMP", "PPM", "PNG", "JPEG"])
def test_rubbish_behind_a_picture_is_not_looked_at(format, same):
    data = save(PHOTO, format)
    same(data + b"rubbish" * 100, data)
