"""Pictures to pixels beside Pillow, libvips and libjpeg-turbo: one run, one thread, in turns; a table, and CSV.

Each takes a file's bytes to what CLIP is shown: upright, RGB on white, the short side to --side pixels by the bicubic
filter, the middle of it. Pillow decodes the file whole ("Pillow"), or a JPEG at a scale of libjpeg's choosing ("Pillow, draft").
libvips makes a thumbnail, for which it may decode at a scale, too, or resizes what it has decoded whole. libjpeg-turbo and
"Pillow, decoded" decode and no more. Times are of the processor, so that other programs matter less; the difference is the largest
of any sample to "Pillow".

    python bench/pictures.py --build build

--before BUILD takes its turns as well: another build of limoe's, for before and after in one run. Needs numpy, Pillow, and what of
pyvips (with pyvips-binary) and PyTurboJPEG (with libturbojpeg0) is to stand in the table.
"""

import argparse
import csv
import ctypes
import datetime
import io
import math
import os
import platform
import statistics
import time
from pathlib import Path

os.environ["VIPS_CONCURRENCY"] = "1"  # read when the library is loaded

import numpy as np
import PIL
from PIL import Image, ImageDraw, ImageOps

BICUBIC = Image.Resampling.BICUBIC
ORIENTATION = 0x0112


# ---- the pictures: synthetic, the same in each run


def photo(width: int, height: int, seed: int = 1) -> Image.Image:
    """Gradients, textures of all scales, edges, and a sensor's noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = np.stack([140 + 80 * np.sin(x / 700 + y / 1100), 130 + 70 * np.cos(x / 900 - y / 500), 150 + 90 * np.sin(y / 800)], axis=2)
    for octave in range(2, 10):
        n = 2**octave
        texture = random.normal(0, 60 / 2 ** (0.45 * octave), (3 * n // 4 + 2, n + 2, 3)).astype(np.float32)
        for c in range(3):
            picture[..., c] += np.asarray(Image.fromarray(texture[..., c]).resize((width, height), BICUBIC))
    for _ in range(150):
        left, top, side = (int(v) for v in random.integers(0, (width, height, width // 8)))
        part = picture[top : top + side, left : left + side]
        part[:] = part * 0.5 + random.integers(0, 255, 3) * 0.6
    picture += random.normal(0, 5, (height, width, 1)) + random.normal(0, 2, (height, width, 3))
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def icon(side: int, seed: int = 3) -> Image.Image:
    """Shapes with smooth edges on a transparent ground."""
    random = np.random.default_rng(seed)
    large = 4 * side
    picture = Image.new("RGBA", (large, large))
    draw = ImageDraw.Draw(picture)
    ground = tuple(int(v) for v in random.integers(60, 220, 3))
    draw.rounded_rectangle((large * 0.05, large * 0.05, large * 0.95, large * 0.95), large * 0.2, fill=(*ground, 255))
    for _ in range(12):
        left, top = random.uniform(0.1, 0.7, 2)
        right, bottom = (left, top) + random.uniform(0.05, 0.3, 2)
        colour = tuple(int(v) for v in random.integers((0, 0, 0, 120), 256))
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((large * left, large * top, large * right, large * bottom), fill=colour)
    shaded = np.asarray(picture).astype(int)
    shaded[..., :3] += np.linspace(-30, 30, large).astype(int)[:, None, None]
    return Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.LANCZOS)


def save(picture: Image.Image, format: str, **how) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **how)
    return file.getvalue()


def pictures() -> dict[str, bytes]:
    phone = photo(4032, 3024)
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    found = {
        "JPEG 4032 x 3024": save(phone, "JPEG", quality=90, subsampling="4:2:0"),
        "the same, on its side": save(phone, "JPEG", quality=90, subsampling="4:2:0", exif=turned),
        "the same, progressive": save(phone, "JPEG", quality=90, subsampling="4:2:0", progressive=True),
    }
    screen = phone.resize((1280, 960), BICUBIC)
    small = phone.resize((640, 480), BICUBIC)
    found["JPEG 640 x 480"] = save(small, "JPEG", quality=90)
    found["WebP 1280 x 960"] = save(screen, "WEBP", quality=80)
    found["PNG 640 x 480, a photo"] = save(small, "PNG")
    for side in (64, 128, 256, 512):
        found[f"PNG {side} x {side}, RGBA"] = save(icon(side), "PNG")
        found[f"PNG {side} x {side}, palette"] = save(icon(side).quantize(64), "PNG")
    return found


# ---- limoe, through its library


class Preprocess(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("size", "resize", "width", "height", "filter", "middle")] + [
        ("drop_alpha", ctypes.c_bool),
        ("background", ctypes.c_uint8 * 3),
        ("margin", ctypes.c_uint8 * 3),
    ]


class Settings(ctypes.Structure):
    _fields_ = [
        ("preprocess", Preprocess),
        ("max_bytes", ctypes.c_size_t),
        ("max_pixels", ctypes.c_uint64),
        ("found_pixels", ctypes.c_uint64),
    ]


SHORTEST, MIDDLE_EVEN = 5, 1  # of limoe.h


def limoe(build: Path, side: int):
    library = ctypes.CDLL(str((build / "liblimoe.so").resolve()))
    settings = Settings(Preprocess(side, SHORTEST, side, 0, BICUBIC, MIDDLE_EVEN, False, (255,) * 3, (255,) * 3))
    pixels = np.empty((side, side, 3), np.uint8)
    error = ctypes.create_string_buffer(4096)

    def run(data: bytes) -> np.ndarray:
        to = pixels.ctypes.data_as(ctypes.c_void_p)
        if library.limoe_process_image_by(ctypes.byref(settings), data, ctypes.c_size_t(len(data)), to, error) != 0:
            raise RuntimeError(f"limoe refuses a picture: {error.raw[:300]!r}")
        return pixels

    return run


# ---- the others


def pillow(side: int, draft: bool = False):
    def run(data: bytes) -> np.ndarray:
        picture = Image.open(io.BytesIO(data))
        if draft:
            picture.draft("RGB", (side, side))
        turned = picture.getexif().get(ORIENTATION, 1) != 1
        if turned:
            picture = ImageOps.exif_transpose(picture)
        if picture.mode == "RGBA" or "transparency" in picture.info:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, (255,) * 4), picture.convert("RGBA"))
        picture = picture.convert("RGB")
        shortest = min(picture.size)
        width, height = (side * n // shortest for n in picture.size)
        left, top = round((width - side) / 2), round((height - side) / 2)
        picture = picture.resize((width, height), BICUBIC)
        return np.asarray(picture.crop((left, top, left + side, top + side)))

    return run


def pillow_decoded(data: bytes) -> None:
    Image.open(io.BytesIO(data)).load()


def vips(side: int, thumbnail: bool):
    import pyvips

    pyvips.cache_set_max(0)

    def run(data: bytes) -> np.ndarray:
        if thumbnail:
            picture = pyvips.Image.thumbnail_buffer(data, side, height=side, crop="centre")
            picture = picture.flatten(background=255) if picture.hasalpha() else picture
        else:
            picture = pyvips.Image.new_from_buffer(data, "", access="sequential")
            picture = picture.flatten(background=255) if picture.hasalpha() else picture
            width, height = (side * n // min(picture.width, picture.height) for n in (picture.width, picture.height))
            picture = picture.resize(width / picture.width, vscale=height / picture.height, kernel="cubic").autorot()
            left, top = (round((n - side) / 2) for n in (picture.width, picture.height))
            picture = picture.crop(left, top, side, side)
        return np.frombuffer(picture.write_to_memory(), np.uint8).reshape(side, side, -1)[..., :3]

    return run


def turbojpeg():
    from turbojpeg import TJPF_RGB, TurboJPEG

    decoder = TurboJPEG()

    def run(data: bytes) -> None:
        decoder.decode(data, pixel_format=TJPF_RGB)

    return run


def ways(arguments: argparse.Namespace) -> dict:
    """name -> (what takes a file's bytes to pixels, or decodes them and returns None; the beginning of the files that it is for)"""
    side = arguments.side
    found = {"limoe": (limoe(arguments.build, side), b"")}
    if arguments.before:
        found["limoe, before"] = (limoe(arguments.before, side), b"")
    found["Pillow"] = (pillow(side), b"")
    found["Pillow, decoded"] = (pillow_decoded, b"")
    found["Pillow, draft"] = (pillow(side, draft=True), b"\xff\xd8")
    try:
        found["libvips"] = (vips(side, False), b"")
        found["libvips, thumbnail"] = (vips(side, True), b"")
    except (ImportError, OSError) as error:
        print(f"without libvips: {error}")
    try:
        found["libjpeg-turbo, decoded"] = (turbojpeg(), b"\xff\xd8")
    except (ImportError, OSError, RuntimeError) as error:
        print(f"without PyTurboJPEG: {error}")
    return found


# ---- the measurement


def sample(run, data: bytes, times: int) -> float:
    """Milliseconds of the processor for one call."""
    began = time.process_time_ns()
    for _ in range(times):
        run(data)
    return (time.process_time_ns() - began) / times / 1e6


def measure(name: str, data: bytes, all_ways: dict, arguments: argparse.Namespace) -> list[dict]:
    chosen = {way: run for way, (run, begin) in all_ways.items() if data.startswith(begin)}
    truth = np.array(chosen["Pillow"](data), int)
    rows, times, samples = [], {}, {way: [] for way in chosen}
    for way, run in chosen.items():
        run(data)
        times[way] = max(1, math.ceil(2 / sample(run, data, 1)))  # at least 2 ms
    for turn in range(arguments.rounds):
        order = list(chosen)
        for way in order[turn % len(order) :] + order[: turn % len(order)]:
            samples[way].append(sample(chosen[way], data, times[way]))
    for way, run in chosen.items():
        found = run(data)
        difference = None if found is None else int(np.abs(found.astype(int) - truth).max())
        quarters = statistics.quantiles(samples[way], n=4)
        rows.append({
            "date": datetime.date.today().isoformat(), "machine": machine(), "picture": name, "bytes": len(data),
            "side": arguments.side, "way": way, "ms": round(quarters[1], 4), "ms_low": round(quarters[0], 4), "ms_high": round(quarters[2], 4), "difference": difference,
        })  # fmt: skip
    return rows


def machine() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def show(name: str, rows: list[dict]) -> None:
    ours = next(row["ms"] for row in rows if row["way"] == "limoe")
    print(f"\n{name}, {rows[0]['bytes']} bytes\n")
    print("| way | ms, median (quarters) | beside limoe | difference |\n|---|---|---|---|")
    for row in rows:
        difference = "" if row["difference"] is None else row["difference"]
        print(f"| {row['way']} | {row['ms']:.3f} ({row['ms_low']:.3f} … {row['ms_high']:.3f}) | {row['ms'] / ours:.2f} | {difference} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--before", type=Path, metavar="BUILD")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--only", default="", metavar="TEXT", help="the pictures whose names have it")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="appends a row for each way and picture")
    arguments = parser.parse_args()
    print(f"{machine()}, {datetime.date.today()}; Pillow {PIL.__version__}; {arguments.rounds} rounds, {arguments.side} pixels")
    all_ways = ways(arguments)
    rows = []
    for name, data in pictures().items():
        if arguments.only in name:
            measured = measure(name, data, all_ways, arguments)
            show(name, measured)
            rows += measured
    if arguments.csv and rows:
        new = not arguments.csv.exists()
        with arguments.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
