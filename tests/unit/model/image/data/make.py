"""Makes the pictures of this folder: python3 make.py (Pillow, NumPy, libheif-examples). They are committed, so the unit
tests need none of these.

Files of one stem hold the same pixels in every format; the .ppm is what they must decode to.
"""

import io
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
WIDTH, HEIGHT = 23, 17  # odd, so that row padding, chroma edges and Adam7 passes all have remainders


def picture() -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack([x * 255 // (WIDTH - 1), y * 255 // (HEIGHT - 1), (x * 37 + y * 59) % 256], -1).astype(np.uint8)
    rgb[3:8, 4:12] = (250, 20, 30)
    return rgb


def exif(orientation: int) -> bytes:
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows: bytes, depth: int, colour: int, interlaced: int, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def plain(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def adam7(pixels: np.ndarray) -> bytes:
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return b"".join(plain(pixels[y::dy, x::dx]) for y, x, dy, dx in passes)


def psd(planes: np.ndarray, packed: bool) -> bytes:
    channels = len(planes)
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, HEIGHT, WIDTH, 8, 3) + struct.pack(">III", 0, 0, 0)
    if not packed:
        return head + struct.pack(">H", 0) + planes.tobytes()
    rows = [packbits(row.tobytes()) for plane in planes for row in plane]
    return head + struct.pack(">H", 1) + b"".join(struct.pack(">H", len(row)) for row in rows) + b"".join(rows)


def packbits(row: bytes) -> bytes:
    out, i = b"\x80", 0  # begins with a no-op, which readers must pass
    while i < len(row):
        run = 1
        while i + run < len(row) and run < 128 and row[i + run] == row[i]:
            run += 1
        out += bytes([257 - run, row[i]]) if run > 1 else bytes([0, row[i]])
        i += run
    return out


def riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def animation(stills: list[bytes]) -> bytes:
    """WebP, without the alpha that libwebp's encoder adds between frames."""
    size = struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    head = riff(b"VP8X", b"\x02\0\0\0" + size) + riff(b"ANIM", bytes(6))
    frames = [riff(b"ANMF", bytes(6) + size + b"\x64\0\0\0" + still) for still in stills]
    return riff(b"RIFF", b"WEBP" + head + b"".join(frames))


def write(name: str, data: bytes) -> None:
    (HERE / name).write_bytes(data)


def main() -> None:
    rgb = picture()
    image = Image.fromarray(rgb)
    for name in ("picture.ppm", "picture.png", "picture.bmp", "picture.tga"):
        image.save(HERE / name)
    image.save(HERE / "picture-rle.tga", compression="tga_rle")
    image.save(HERE / "picture.webp", lossless=True)
    write("picture-adam7.png", png(adam7(rgb), 8, 2, 1))
    deep = (rgb.astype(">u2") << 8 | 0x80).astype(">u2")  # the high byte is what counts
    write("picture-16.png", png(plain(deep), 16, 2, 0))
    write("picture.psd", psd(rgb.transpose(2, 0, 1), packed=False))
    write("picture-packed.psd", psd(rgb.transpose(2, 0, 1), packed=True))

    few = image.quantize(13)
    few.convert("RGB").save(HERE / "colours.ppm")
    for name in ("colours.png", "colours.bmp", "colours.tga"):
        few.save(HERE / name)
    few.save(HERE / "colours.gif", interlace=0)
    few.save(HERE / "colours-interlaced.gif", interlace=1)
    few.save(HERE / "colours-animated.gif", save_all=True, append_images=[few.rotate(180)], optimize=False)
    still = (HERE / "picture.webp").read_bytes()[12:]
    other = io.BytesIO()
    image.rotate(180).save(other, "WEBP", lossless=True)
    write("picture-animated.webp", animation([still, other.getvalue()[12:]]))

    image.save(HERE / "photo.jpg", quality=90)
    image.save(HERE / "photo-progressive.jpg", quality=90, progressive=True)
    Image.open(HERE / "photo.jpg").convert("RGB").save(HERE / "photo.ppm")
    image.convert("CMYK").save(HERE / "cmyk.jpg")

    Image.open(HERE / "cmyk.jpg").convert("RGB").save(HERE / "cmyk.ppm")
    image.save(HERE / "picture.tif", compression="tiff_lzw")
    for name, options in (("photo.heic", ["-q", "90"]), ("photo.avif", ["-A", "-q", "90"])):
        truth = HERE / (name.replace(".", "-") + ".png")
        subprocess.run(["heif-enc", *options, HERE / "picture.png", "-o", HERE / name], check=True)
        subprocess.run(["heif-convert", HERE / name, truth], check=True)
        Image.open(truth).convert("RGB").save(truth.with_suffix(".ppm"))
        truth.unlink()

    alpha = np.dstack([rgb, np.flipud(rgb[..., 0])])
    for name, options in (("alpha.png", {}), ("alpha.webp", {"lossless": True, "exact": True}), ("alpha.tga", {})):
        Image.fromarray(alpha).save(HERE / name, **options)
    write("alpha.psd", psd(alpha.transpose(2, 0, 1), packed=True))
    write("keyed.png", png(plain(rgb), 8, 2, 0, chunk(b"tRNS", struct.pack(">HHH", 250, 20, 30))))

    # Stored turned, with the orientation that turns it back.
    turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.save(HERE / "picture-turned.png", exif=exif(6))
    turned.save(HERE / "picture-turned.webp", exif=exif(6), lossless=True)
    image.save(HERE / "photo-turned.jpg", exif=b"Exif\0\0" + exif(6), quality=90)


if __name__ == "__main__":
    main()
