"""Pictures of every kind that model/image/ reads, made in memory: name → the bytes of a file."""

import functools
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

FIXTURES = Path(__file__).parent.parent / "unit" / "model" / "image" / "data"
SIZES = [(1, 1), (1, 9), (9, 1), (2, 3), (8, 8), (17, 31), (63, 65), (64, 64), (65, 63), (60, 500), (999, 30), (641, 479)]
TWO = [(37, 53), (202, 115)]


@functools.cache
def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Gradients, an edge and noise. Shared: not to be changed."""
    rgb = np.random.default_rng(seed).integers(0, 60, (height, width, 3), dtype=np.uint8)
    rgb[..., 0] += np.linspace(0, 195, width).astype(np.uint8)
    rgb[..., 1] += np.linspace(195, 0, height).astype(np.uint8)[:, None]
    rgb[..., 2] += (np.arange(width) * 5 % 196).astype(np.uint8)
    rgb[height // 3 : height // 2, width // 4 : width // 2] = (240, 30, 20)
    return Image.fromarray(rgb)


def with_alpha(width: int, height: int) -> Image.Image:
    picture = photo(width, height).copy()
    picture.putalpha(photo(width, height, seed=1).getchannel(2))
    return picture


def cmyk(width: int, height: int) -> Image.Image:
    """Inks of every strength; black is not what RGB to CMYK leaves of it, nothing."""
    channels = [photo(width, height).getchannel(c) for c in range(3)] + [photo(width, height, seed=1).getchannel(0)]
    return Image.merge("CMYK", channels)


def save(picture: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: np.ndarray, colour: int, interlaced: bool = False, more: bytes = b"") -> bytes:
    """What Pillow does not write: 16-bit colour, Adam7. pixels [height, width, channels], big-endian if 16-bit."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [pixels[y::dy, x::dx] for y, x, dy, dx in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, pixels.itemsize * 8, colour, 0, 0, interlaced)
    body = png_chunk(b"IDAT", zlib.compress(rows + more)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body


def bmp16(picture: Image.Image, masks: tuple[int, int, int], shifts: tuple[int, int, int]) -> bytes:
    """16 bits a pixel, rows from the top."""
    rgb = np.asarray(picture).astype(np.uint16)
    bits = [mask.bit_count() for mask in masks]
    pixels = sum((rgb[..., c] >> (8 - bits[c])) << shifts[c] for c in range(3)).astype("<u2")
    pixels = np.pad(pixels, ((0, 0), (0, picture.width % 2)))
    header = struct.pack("<IiiHHIIiiIIIII", 40, picture.width, -picture.height, 1, 16, 3, 0, 0, 0, 0, 0, *masks)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + pixels.nbytes, 0, 0, 14 + len(header)) + header + pixels.tobytes()


def plain_pnm(kind: int, pixels: np.ndarray, maximum: int) -> bytes:
    height, width = pixels.shape[:2]
    head = f"P{kind}\n# made by hand\n{width} {height}\n" + (f"{maximum}\n" if kind != 1 else "")
    return (head + "\n".join(" ".join(map(str, row.ravel())) for row in pixels) + "\n").encode()


def packbits(row: bytes) -> bytes:
    """Runs where there are any, what is between them as it is."""
    out, at = b"\x80", 0  # begins with a no-op, which readers must pass
    while at < len(row):
        n = 1
        while n < 128 and at + n < len(row) and row[at + n] == row[at]:
            n += 1
        if n > 1:
            out += bytes([257 - n, row[at]])
        else:
            while n < 128 and at + n < len(row) and row[at + n] != row[at + n - 1]:
                n += 1
            out += bytes([n - 1]) + row[at : at + n]
        at += n
    return out


def psd(planes: np.ndarray, mode: int, packed: bool, palette: bytes = b"") -> bytes:
    """planes [channels, height, width], of 8 bits or, big-endian, of 16. mode: 1 grey, 2 palette, 3 RGB, 8 duotone."""
    channels, height, width = planes.shape
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, planes.itemsize * 8, mode)
    resources, layers = b"8BIM" + struct.pack(">HHI", 0x0404, 0, 0), bytes(4)
    head += b"".join(struct.pack(">I", len(block)) + block for block in (palette, resources, layers))
    if not packed:
        return head + struct.pack(">H", 0) + planes.tobytes()
    rows = [packbits(row.tobytes()) for plane in planes for row in plane]
    return head + struct.pack(">H", 1) + b"".join(struct.pack(">H", len(row)) for row in rows) + b"".join(rows)


def psds() -> Iterator[tuple[str, bytes]]:
    for size in [(1, 1), (3, 2), *TWO]:
        few = photo(*size).quantize(50)
        rgba = np.asarray(with_alpha(*size)).transpose(2, 0, 1)
        colours = bytes(few.getpalette()).ljust(768, b"\0")
        planar = b"".join(colours[c::3] for c in range(3))
        for packed in (False, True):
            yield f"psd {size} grey {packed=}", psd(rgba[:1], 1, packed)
            yield f"psd {size} duotone {packed=}", psd(rgba[:1], 8, packed, b"inks")
            yield f"psd {size} palette {packed=}", psd(np.asarray(few)[None], 2, packed, planar)
            yield f"psd {size} rgb {packed=}", psd(rgba[:3], 3, packed)
            yield f"psd {size} rgba {packed=}", psd(rgba, 3, packed)


def tga(pixels: bytes, size: tuple[int, int], kind: int, bits: int, direction: int, first: int = 0, colours: bytes = b"") -> bytes:
    entry = 3 if colours else 0
    head = struct.pack("<BBBHHB", 2, bool(colours), kind, first, len(colours) // 3, 8 * entry)
    return head + struct.pack("<HHHHBB", 0, 0, *size, bits, direction) + b"id" + colours + pixels


def tgas() -> Iterator[tuple[str, bytes]]:
    for size in [(1, 1), (3, 2), *TWO]:
        rgb = np.asarray(photo(*size))
        grey = np.asarray(photo(*size).convert("L"))
        for direction in (0, 0x10, 0x20, 0x30):
            yield f"tga {size} grey {direction=}", tga(grey.tobytes(), size, 3, 8, direction)
            yield f"tga {size} colour {direction=}", tga(rgb.tobytes(), size, 2, 24, direction)


RGB_TAGS = {258: (8, 8, 8), 262: 2, 277: 3}


def tiff(size: tuple[int, int], parts: list[bytes], tags: dict, order: str = "<", wide: bool = False) -> bytes:
    """A TIFF of strips, or of tiles where tags have 322 and 323. tags: number → an integer or several, all SHORT."""
    tiled = 322 in tags
    offset, data, offsets = 16, b"", []
    for part in parts:
        offsets.append(offset + len(data))
        data += part + bytes(len(part) % 2)
    fields = {256: size[0], 257: size[1], 259: 1, **tags, 324 if tiled else 273: offsets, 325 if tiled else 279: [*map(len, parts)]}
    word, count, long = ("Q", "Q", 8) if wide else ("L", "H", 4)
    at = offset + len(data)
    entries, values = b"", b""
    behind = at + struct.calcsize("<" + count) + len(fields) * (20 if wide else 12) + long
    for tag, value in sorted(fields.items()):
        value = value if isinstance(value, (list, tuple)) else [value]
        kind = 4 if tag in (273, 279, 324, 325) else 3
        packed = struct.pack(f"{order}{len(value)}{'L' if kind == 4 else 'H'}", *value)
        if len(packed) > long:
            values, packed = values + packed, struct.pack(order + word, behind + len(values))
        entries += struct.pack(order + "HH" + word, tag, kind, len(value)) + packed.ljust(long, b"\0")
    head = b"II" if order == "<" else b"MM"
    head += struct.pack(order + "HHHQ", 43, 8, 0, at) if wide else struct.pack(order + "HL", 42, at) + bytes(8)
    return head + data + struct.pack(order + count, len(fields)) + entries + bytes(long) + values


def tiles(pixels: np.ndarray, side: int) -> list[bytes]:
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    return [
        padded[y : y + side, x : x + side].tobytes() for y in range(0, height, side) for x in range(0, width, side)
    ]


def tiffs() -> Iterator[tuple[str, bytes]]:
    lossless = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd")
    for size in [(1, 1), (3, 2), *TWO]:
        picture, clear = photo(*size), with_alpha(*size)
        few = picture.quantize(50)
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
            kind = few if mode == "P" else cmyk(*size) if mode == "CMYK" else clear.convert(mode)
            for compression in lossless:
                yield f"tiff {size} {mode} {compression}", save(kind, "TIFF", compression=compression)
        for compression in ("tiff_ccitt", "group3", "group4"):
            yield f"tiff {size} {compression}", save(picture.convert("1"), "TIFF", compression=compression)
        for mode in ("L", "RGB", "CMYK", "YCbCr"):
            kind = cmyk(*size) if mode == "CMYK" else picture.convert(mode)
            yield f"tiff {size} {mode} jpeg", save(kind, "TIFF", compression="jpeg", quality=90)
        yield f"tiff {size} big", save(picture, "TIFF", big_tiff=True)
        yield f"tiff {size} 16-bit grey", save(Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 250), "TIFF")
        yield f"tiff {size} two pages", save(picture, "TIFF", save_all=True, append_images=[clear])
        yield f"tiff {size} predictor", save(picture, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
        rgb = np.asarray(picture)
        deep = np.random.default_rng(3).integers(0, 65536, (size[1], size[0], 3))
        for order in "<>":
            yield f"tiff {size} rgb {order}", tiff(size, [rgb.tobytes()], RGB_TAGS, order)
            yield f"tiff {size} 16-bit rgb {order}", tiff(size, [deep.astype(order + "u2").tobytes()], RGB_TAGS | {258: (16, 16, 16)}, order)
        yield f"tiff {size} tiles", tiff(size, tiles(rgb, 16), RGB_TAGS | {322: 16, 323: 16})
        packed = [zlib.compress(tile) for tile in tiles(rgb, 48)]
        yield f"tiff {size} tiles, packed", tiff(size, packed, RGB_TAGS | {259: 8, 322: 48, 323: 48})
        planes = [plane.tobytes() for plane in rgb.transpose(2, 0, 1)]
        yield f"tiff {size} planes", tiff(size, planes, RGB_TAGS | {284: 2, 278: size[1]})
        split = [tile for c in range(3) for tile in tiles(rgb[..., c : c + 1], 32)]
        yield f"tiff {size} planes in tiles", tiff(size, split, RGB_TAGS | {284: 2, 322: 32, 323: 32})
        rgba = np.asarray(clear)
        for kind in (0, 1, 2):
            shown = rgba if kind != 1 else np.dstack([rgba[..., :3] * (rgba[..., 3:] / 255), rgba[..., 3]]).astype(np.uint8)
            tags = {258: (8, 8, 8, 8), 262: 2, 277: 4, 338: kind}
            yield f"tiff {size} fourth sample of kind {kind}", tiff(size, [shown.tobytes()], tags)
        for bits in (1, 2, 4):
            values = np.random.default_rng(bits).integers(0, 1 << bits, size[::-1])
            rows = [np.packbits((row[:, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8)).tobytes() for row in values]
            for photometric in (0, 1):
                yield f"tiff {size} {bits} bits, kind {photometric}", tiff(size, [b"".join(rows)], {258: bits, 262: photometric, 277: 1})
            colours = np.random.default_rng(9).integers(0, 65536, 3 << bits).tolist()
            yield f"tiff {size} {bits} bits, palette", tiff(size, [b"".join(rows)], {258: bits, 262: 3, 277: 1, 320: colours})
        for orientation in range(1, 9):
            yield f"tiff {size} turned {orientation}", tiff(size, [rgb.tobytes()], RGB_TAGS | {274: orientation})


def jpegs() -> Iterator[tuple[str, bytes]]:
    for size in SIZES:
        yield f"jpeg {size}", save(photo(*size), "JPEG")
    for size in TWO:
        picture = photo(*size)
        for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
            for progressive in (False, True):
                options = {"subsampling": subsampling, "progressive": progressive, "quality": 93}
                yield f"jpeg {size} {subsampling} progressive={progressive}", save(picture, "JPEG", **options)
        yield f"jpeg {size} quality 5", save(picture, "JPEG", quality=5)
        yield f"jpeg {size} restarts", save(picture, "JPEG", restart_marker_blocks=3)
        yield f"jpeg {size} grey", save(picture.convert("L"), "JPEG")
        yield f"jpeg {size} rgb", save(picture, "JPEG", keep_rgb=True)
        for options in ({}, {"progressive": True}, {"subsampling": "4:2:0"}):
            yield f"jpeg {size} cmyk {options}", save(cmyk(*size), "JPEG", **options)
    yield "jpeg 12 megapixels", save(photo(4000, 3000), "JPEG", quality=80)
    yield "jpeg 12 megapixels, turned", save(photo(4000, 3000), "JPEG", quality=80, exif=exif(6))


def pngs() -> Iterator[tuple[str, bytes]]:
    for size in SIZES:
        yield f"png {size}", save(photo(*size), "PNG")
    for size in TWO:
        picture, grey = photo(*size), photo(*size).convert("L")
        for mode in ("1", "L", "LA"):
            yield f"png {size} {mode}", save(picture.convert(mode), "PNG")
        for colours in (2, 4, 16, 256):
            few = picture.quantize(colours)
            yield f"png {size} {colours} colours", save(few, "PNG")
            yield f"png {size} {colours} colours, one clear", save(few, "PNG", transparency=1)
        yield f"png {size} palette alpha", save(picture.quantize(200), "PNG", transparency=bytes(range(200)))
        yield f"png {size} grey, one clear", save(grey, "PNG", transparency=int(np.asarray(grey)[0, 0]))
        yield f"png {size} rgb, one clear", save(picture, "PNG", transparency=picture.getpixel((0, 0)))
        yield f"png {size} rgba", save(with_alpha(*size), "PNG")
        deep = np.random.default_rng(2).integers(0, 65536, (size[1], size[0], 4)).astype(">u2")
        yield f"png {size} 16-bit grey", png(deep[..., :1], 0)
        yield f"png {size} 16-bit rgb", png(deep[..., :3], 2)
        yield f"png {size} 16-bit grey and alpha", png(deep[..., :2], 4)
        yield f"png {size} 16-bit rgba", png(deep, 6)
    for size in [(1, 1), (3, 2), (8, 9), *TWO]:
        yield f"png {size} Adam7", png(np.asarray(with_alpha(*size)), 6, interlaced=True)
    yield "png 12 megapixels", save(photo(3000, 4000), "PNG", compress_level=1)


def webps() -> Iterator[tuple[str, bytes]]:
    for size in [(1, 1), (2, 3), *TWO]:
        picture, clear = photo(*size), with_alpha(*size)
        yield f"webp {size}", save(picture, "WEBP", quality=80)
        yield f"webp {size} lossless", save(picture, "WEBP", lossless=True)
        yield f"webp {size} alpha", save(clear, "WEBP", quality=80)
        yield f"webp {size} alpha, lossless", save(clear, "WEBP", lossless=True, exact=True)
        yield f"webp {size} animated", save(picture, "WEBP", save_all=True, append_images=[picture.rotate(180)])


def gifs() -> Iterator[tuple[str, bytes]]:
    for size in [(1, 1), (2, 3), *TWO]:
        few = photo(*size).quantize(60)
        yield f"gif {size}", save(few, "GIF", interlace=0)
        yield f"gif {size} interlaced", save(few, "GIF", interlace=1)
        yield f"gif {size} grey", save(photo(*size).convert("L"), "GIF")
        yield f"gif {size} one clear", save(few, "GIF", transparency=0)
        yield f"gif {size} animated", save(few, "GIF", save_all=True, append_images=[few.rotate(180)], optimize=False)
    # A frame that covers a part of its canvas, with and without a clear colour; then one that reaches past it.
    plain = bytearray(save(photo(20, 10).quantize(16), "GIF", interlace=0))
    plain[6:10] = struct.pack("<HH", 33, 22)
    yield "gif smaller than its canvas", bytes(plain)
    clear = bytearray(save(photo(20, 10).quantize(16), "GIF", interlace=0, transparency=3))
    clear[6:10] = struct.pack("<HH", 33, 22)
    yield "gif smaller than its canvas, one clear", bytes(clear)
    plain[6:10] = struct.pack("<HH", 7, 8)
    yield "gif larger than its canvas", bytes(plain)


def others() -> Iterator[tuple[str, bytes]]:
    for size in [(1, 1), (3, 2), *TWO]:
        picture, clear = photo(*size), with_alpha(*size)
        for mode in ("1", "L", "P", "RGB"):
            yield f"bmp {size} {mode}", save(picture.quantize(9) if mode == "P" else picture.convert(mode), "BMP")
        yield f"bmp {size} 32 bits", save(clear, "BMP")
        yield f"bmp {size} 565", bmp16(picture, (0xF800, 0x7E0, 0x1F), (11, 5, 0))
        yield f"bmp {size} 555", bmp16(picture, (0x7C00, 0x3E0, 0x1F), (10, 5, 0))
        for mode in ("L", "LA", "P", "RGB", "RGBA"):
            kind = picture.quantize(50) if mode == "P" else clear.convert(mode)
            for options in ({}, {"compression": "tga_rle"}, {"orientation": 1}):
                yield f"tga {size} {mode} {options}", save(kind, "TGA", **options)
        for mode in ("1", "L", "RGB"):
            yield f"pnm {size} {mode}", save(picture.convert(mode), "PPM")
        grey, rgb = np.asarray(picture.convert("L")), np.asarray(picture)
        yield f"pnm {size} P1", plain_pnm(1, grey // 128, 1)
        yield f"pnm {size} P2", plain_pnm(2, grey // 8, 31)
        yield f"pnm {size} P3", plain_pnm(3, rgb // 3, 85)
        head = f"{size[0]} {size[1]} 65535\n".encode()
        yield f"pnm {size} P5 16 bits", b"P5 " + head + (grey.astype(">u2") * 256 + 99).tobytes()
        yield f"pnm {size} P6 16 bits", b"P6 " + head + (rgb.astype(">u2") * 257).astype(">u2").tobytes()
        yield f"pnm {size} P6 of 1000", f"P6 {size[0]} {size[1]} 1000\n".encode() + (rgb.astype(">u2") * 3).astype(">u2").tobytes()


def turned() -> Iterator[tuple[str, bytes]]:
    for orientation in range(1, 9):
        for format, options in (("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True})):
            yield f"{format} turned {orientation}", save(photo(45, 28), format, exif=exif(orientation), **options)


def pictures() -> dict[str, bytes]:
    made = dict(entry for maker in (jpegs, pngs, webps, gifs, others, psds, tgas, tiffs, turned) for entry in maker())
    for path in sorted(FIXTURES.iterdir()):
        if path.suffix not in (".py", ".pyc", ".heic", ".avif") and path.is_file():
            made[f"fixture {path.name}"] = path.read_bytes()
    return made
