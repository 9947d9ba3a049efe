"""Descriptions of preprocessing as folders have them, and odd pictures to prepare by them."""

import hashlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from original_reference import OPENAI_MEAN, OPENAI_STD
from pictures import cmyk, exif, photo, save, with_alpha

SIZES = [
    (1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (1, 300), (300, 1), (2, 1000), (1000, 2), (2, 3), (7, 5), (17, 31), (31, 17),
    (31, 31), (32, 32), (33, 33), (31, 33), (33, 31), (32, 65), (65, 32), (64, 64), (63, 65), (65, 63), (60, 500), (500, 60),
    (999, 30), (30, 999), (127, 128), (250, 249), (401, 400), (641, 479), (479, 641),
]  # fmt: skip

CLIP = {"image_processor_type": "CLIPImageProcessor"}
SIGLIP = {"image_processor_type": "SiglipImageProcessor"}

HUGGING_FACE = {
    # As they are published, but for the side.
    "clip, as OpenAI has it": {
        "crop_size": 32, "do_center_crop": True, "do_normalize": True, "do_resize": True, "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": OPENAI_MEAN, "image_std": OPENAI_STD, "resample": 3, "size": 32,
    },
    "clip, as LAION has it": {
        "crop_size": {"height": 33, "width": 33}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
        "do_rescale": True, "do_resize": True, "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": OPENAI_MEAN,
        "image_processor_type": "CLIPImageProcessor", "image_std": OPENAI_STD, "resample": 3,
        "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 33},
    },
    "siglip": {
        "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5], "processor_class": "SiglipProcessor",
        "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"height": 32, "width": 32},
    },
    "siglip 2": {
        "crop_size": None, "data_format": "channels_first", "default_to_square": True, "device": None, "disable_grouping": None,
        "do_center_crop": None, "do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessorFast", "image_std": [0.5, 0.5, 0.5],
        "input_data_format": None, "resample": 2, "rescale_factor": 0.00392156862745098, "return_tensors": None,
        "size": {"height": 64, "width": 64},
    },
    "chinese clip": {
        "do_center_crop": False, "feature_extractor_type": "ChineseCLIPFeatureExtractor", "image_mean": OPENAI_MEAN,
        "image_std": OPENAI_STD, "resample": 3, "size": {"height": 32, "width": 32},
    },
    # All that is left out, and all that may be said.
    "clip's defaults": CLIP,
    "siglip's defaults": SIGLIP,
    "vit": {"image_processor_type": "ViTImageProcessor", "size": 31},
    "nearest": CLIP | {"size": 32, "crop_size": 32, "resample": 0},
    "lanczos": CLIP | {"size": 32, "crop_size": 32, "resample": 1},
    "bilinear": CLIP | {"size": 32, "crop_size": 32, "resample": 2},
    "box": CLIP | {"size": 32, "crop_size": 32, "resample": 4},
    "hamming": CLIP | {"size": 32, "crop_size": 32, "resample": 5},
    "nearest, both sides": SIGLIP | {"size": {"height": 47, "width": 47}, "resample": 0},
    "lanczos, both sides": SIGLIP | {"size": {"height": 47, "width": 47}, "resample": 1},
    "a crop that is smaller": CLIP | {"size": {"shortest_edge": 48}, "crop_size": [31, 31]},
    "a crop that is larger": CLIP | {"size": {"shortest_edge": 20}, "crop_size": 33},
    "other sides, then a crop": CLIP | {"size": [50, 37], "crop_size": 40},
    "no resize": CLIP | {"do_resize": False, "crop_size": 41},
    "no rescale": SIGLIP | {
        "size": {"height": 16, "width": 16}, "do_rescale": False, "image_mean": [123.675, 116.28, 103.53], "image_std": 58.4,
    },
    "no normalize": SIGLIP | {"size": {"height": 16, "width": 16}, "do_normalize": False},
    "neither": SIGLIP | {"size": {"height": 16, "width": 16}, "do_normalize": False, "do_rescale": False},
    "another factor": SIGLIP | {
        "size": {"height": 16, "width": 16}, "rescale_factor": 0.00784313725490196, "image_mean": 1.0, "image_std": 1.0,
    },
}  # fmt: skip


def of_open_clip(side: object, **preprocess: object) -> dict:
    return {"model_cfg": {"embed_dim": 64, "vision_cfg": {"image_size": side, "patch_size": 16}}, "preprocess_cfg": preprocess}


OPEN_CLIP = {
    "as pushed to a hub": of_open_clip(
        32, mean=OPENAI_MEAN, std=OPENAI_STD, interpolation="bicubic", resize_mode="shortest"
    ),
    "siglip": of_open_clip(33, mean=[0.5] * 3, std=[0.5] * 3, interpolation="bicubic", resize_mode="squash"),
    "defaults": of_open_clip(224),
    "shortest, odd": of_open_clip([33, 33], interpolation="bilinear"),
    "longest": of_open_clip(32, resize_mode="longest", mean=None),
    "longest, odd": of_open_clip(31, resize_mode="longest", fill_color=127, interpolation="bilinear"),
    "squash, bilinear": of_open_clip(47, resize_mode="squash", interpolation="bilinear", mean=0.5, std=0.25),
    "what it ignores": of_open_clip(32, interpolation="random", size=99, crop_pct=0.9, mode="RGB"),
}


KINDS = {"hugging_face": HUGGING_FACE, "open_clip": OPEN_CLIP}


def descriptions() -> list[tuple[str, str]]:
    return [(kind, name) for kind, named in KINDS.items() for name in named]


def some_of(pictures: dict[str, bytes], description: str) -> dict[str, bytes]:
    """All of them; of those that are made as large as published models have them a sample, and none that is a line, of which
    Pillow makes the whole before it cuts."""
    if "defaults" not in description:
        return pictures
    return {name: pictures[name] for name in list(pictures)[::9] if "1000" not in name}


def is_folded(description: str) -> bool:
    """Whether its factor is none or another than 1 / 255, which the last places of all numbers show."""
    return description in ("no rescale", "neither", "another factor")


def is_the_same_everywhere(picture: str) -> bool:
    """Whether no version of Pillow writes it with other pixels."""
    return not any(word in picture for word in ("palette", "turned", "gif", "webp", "photo", "two colours"))


def digest(numbers: Iterable[np.ndarray]) -> str:
    """Of float32 values, and of the shapes they are in. -0 is 0."""
    found = hashlib.sha256()
    for array in numbers:
        found.update(f"{array.shape}{array.dtype}".encode())
        found.update((array + np.float32(0)).tobytes())
    return found.hexdigest()


def odd_pictures() -> dict[str, bytes]:
    """More than 200, each file read without loss, or as Pillow and model/image/ read it alike."""
    found = {}
    for width, height in SIZES:
        size, rgb = f"{width}x{height}", photo(width, height)
        clear = with_alpha(width, height)
        found[f"{size} rgb"] = save(rgb, "PNG")
        found[f"{size} rgba"] = save(clear, "PNG")
        found[f"{size} grey"] = save(rgb.convert("L"), "PNG")
        found[f"{size} grey with alpha"] = save(clear.convert("LA"), "PNG")
        found[f"{size} palette"] = save(rgb.quantize(50), "PNG")
        found[f"{size} palette, one colour clear"] = save(rgb.quantize(50), "PNG", transparency=3)
        found[f"{size} cmyk"] = save(cmyk(width, height), "TIFF")
    for orientation in range(1, 9):
        found[f"turned {orientation}"] = save(photo(37, 53), "JPEG", exif=exif(orientation))
    found["two colours"] = save(photo(99, 60).convert("1"), "PNG")
    found["gif"] = save(photo(99, 60).quantize(200), "GIF")
    found["16-bit grey"] = save(Image.fromarray((np.arange(99 * 60).reshape(60, 99) * 11).astype(np.uint16)), "PNG")
    found["webp"] = save(with_alpha(99, 60), "WEBP", lossless=True)
    found["photo"] = save(photo(800, 600), "JPEG", quality=90)
    return found
