#!/usr/bin/env python3
"""Compares original_reference.py with the libraries themselves, bit for bit on every picture, and writes what they make of
pictures, as digests, to originals.json. test_originals.py does the former wherever they are installed, and compares model/
with the latter everywhere.

    pip install torch torchvision transformers open_clip_torch && python make_originals.py
"""

import importlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import original_reference
import pillow_reference
from originals import KINDS, descriptions, digest, is_folded, is_the_same_everywhere, odd_pictures, some_of

GOLDEN = Path(__file__).parent / "originals.json"
MODULES = {"CLIP": "clip", "ChineseCLIP": "chinese_clip", "Siglip": "siglip", "ViT": "vit"}


def opened(data: bytes) -> Image.Image:
    """As transformers' load_image and the reader of model/image/ have it: upright, 16-bit grey as 8 bits."""
    picture = Image.open(io.BytesIO(data))
    return pillow_reference.decode(data) if picture.mode.startswith("I") else ImageOps.exif_transpose(picture)


def transformers(config: dict) -> Callable[[bytes], np.ndarray | None]:
    """What the processor that the description names makes of a file; None where it fails, for want of do_convert_rgb."""
    name = original_reference.stem(config)
    module = importlib.import_module(f"transformers.models.{MODULES[name]}.image_processing_pil_{MODULES[name]}")
    processor = getattr(module, f"{name}ImageProcessorPil").from_dict(dict(config))

    def prepare(data: bytes) -> np.ndarray | None:
        picture = opened(data)
        if not processor.do_convert_rgb and picture.mode != "RGB":
            return None
        found = processor(images=picture, return_tensors="np")["pixel_values"][0]
        return np.ascontiguousarray(found.transpose(1, 2, 0), np.float32)

    return prepare


def open_clip(config: dict) -> Callable[[bytes], np.ndarray | None]:
    """The same by OpenCLIP, of pictures that are RGB already, as in its training; None where it fails, for want of a pixel."""
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    size = config["model_cfg"]["vision_cfg"]["image_size"]
    found = merge_preprocess_dict(PreprocessCfg(), config.get("preprocess_cfg", {}))
    transform = image_transform_v2(PreprocessCfg(**found | {"size": size}), is_train=False)

    def prepare(data: bytes) -> np.ndarray | None:
        try:
            return np.ascontiguousarray(transform(opened(data).convert("RGB")).numpy().transpose(1, 2, 0))
        except ValueError as error:
            if "height and width must be > 0" not in str(error):
                raise
            return None

    return prepare


LIBRARIES = {"hugging_face": transformers, "open_clip": open_clip}


def differing(kind: str, config: dict, pictures: dict[str, bytes]) -> list[str]:
    """Of which pictures the reference makes something else than the library."""
    library, reference = LIBRARIES[kind](config), getattr(original_reference, kind)
    wrong = []
    for name, data in pictures.items():
        found = library(data)
        if found is not None and not np.array_equal(found, reference(config, pillow_reference.decode(data))):
            wrong.append(name)
    return wrong


def main() -> None:
    pictures, golden = odd_pictures(), {}
    for kind, name in descriptions():
        config = KINDS[kind][name]
        some = some_of(pictures, name)
        assert not (wrong := differing(kind, config, some)), f"{kind}, {name}: {wrong}"
        if is_folded(name):
            continue  # no digest can know last places that may differ
        library, reference = LIBRARIES[kind](config), getattr(original_reference, kind)
        kept = [data for picture, data in some.items() if is_the_same_everywhere(picture)]
        made = [library(data) for data in kept]
        # Where the library fails there is no golden picture; the reference stands in, so that all are in the digest.
        golden[f"{kind}: {name}"] = digest(
            reference(config, pillow_reference.decode(data)) if found is None else found
            for data, found in zip(kept, made, strict=True)
        )
        print(f"{kind}, {name}: {len(made)} pictures, of which the library refuses {sum(found is None for found in made)}")
    versions = {name: importlib.import_module(name).__version__ for name in ("PIL", "open_clip", "torchvision", "transformers")}
    GOLDEN.write_text(json.dumps({"made by": versions, "digests": golden}, indent=1) + "\n")


if __name__ == "__main__":
    main()
