"""What the originals make of a picture, in Pillow and numpy: transformers' image processors (the Pillow ones) and OpenCLIP's
image_transform. test_originals.py holds model/ to this, and this to the libraries themselves where they are installed."""

import numpy as np
from PIL import Image

import pillow_reference

OPENAI_MEAN, OPENAI_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
CLIP = dict(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}, do_center_crop=True, resample=3,
            image_mean=OPENAI_MEAN, image_std=OPENAI_STD)
SIGLIP = dict(size={"height": 224, "width": 224}, do_center_crop=False, resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3)
VIT = SIGLIP | dict(resample=2)
CLASSES = {"CLIP": CLIP, "ChineseCLIP": CLIP, "Siglip": SIGLIP, "ViT": VIT}


def sizes(size: object, square: bool) -> dict:
    if isinstance(size, int):
        return {"height": size, "width": size} if square else {"shortest_edge": size}
    return {"height": size[0], "width": size[1]} if isinstance(size, list) else size


def in_proportion(picture: Image.Image, edge: int) -> tuple[int, int]:
    width, height = picture.size
    return (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)


def cut(picture: Image.Image, left: int, top: int, width: int, height: int, margin: tuple[int, int, int]) -> Image.Image:
    """What a window shows, which may reach beyond the picture."""
    square = Image.new("RGB", (width, height), margin)
    square.paste(picture, (-left, -top))
    return square


def stem(config: dict) -> str:
    """ "CLIP" of "CLIPImageProcessorFast"."""
    name = config.get("image_processor_type") or config.get("feature_extractor_type") or "CLIPImageProcessor"
    return name.removesuffix("Fast").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")


def hugging_face(config: dict, picture: Image.Image) -> np.ndarray:
    """[height, width, 3] float32. config: preprocessor_config.json; picture: upright, RGB or RGBA."""
    name = stem(config)
    usual = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255} | CLASSES[name]
    config = usual | {key: value for key, value in config.items() if value is not None or key.startswith("do_")}
    picture = pillow_reference.flatten(picture, (255, 255, 255))
    if config["do_resize"]:
        size = sizes(config["size"], config.get("default_to_square", name == "ViT"))
        target = in_proportion(picture, size["shortest_edge"]) if "shortest_edge" in size else (size["width"], size["height"])
        picture = picture.resize(target, config["resample"])
    if config["do_center_crop"]:
        crop = sizes(config["crop_size"], True)
        width, height = crop["width"], crop["height"]
        picture = cut(picture, (picture.width - width) // 2, (picture.height - height) // 2, width, height, (0, 0, 0))
    pixels = np.asarray(picture)
    if config["do_rescale"]:
        pixels = (pixels.astype(np.float64) * config["rescale_factor"]).astype(np.float32)
    pixels = pixels.astype(np.float32)
    if config["do_normalize"]:
        pixels = (pixels - np.float32(config["image_mean"])) / np.float32(config["image_std"])
    return pixels


def middle(side: int, size: int) -> int:
    """torchvision's, halves to even; what is too small is padded by the smaller half first."""
    return round((side - size) / 2) if side >= size else -((size - side) // 2)


def open_clip(config: dict, picture: Image.Image) -> np.ndarray:
    """[size, size, 3] float32. config: open_clip_config.json; picture: upright, RGB or RGBA."""
    size = config["model_cfg"]["vision_cfg"]["image_size"]
    size = size if isinstance(size, int) else size[0]
    config = {"resize_mode": "shortest", "interpolation": "bicubic", "fill_color": 0, "mean": OPENAI_MEAN, "std": OPENAI_STD} | {
        key: value for key, value in config.get("preprocess_cfg", {}).items() if value is not None}
    picture = picture.convert("RGB")
    if config["resize_mode"] == "shortest":
        target = in_proportion(picture, size)
    elif config["resize_mode"] == "squash":
        target = (size, size)
    else:
        ratio = max(picture.width / size, picture.height / size)
        target = tuple(max(1, round(side / ratio)) for side in picture.size)
    picture = picture.resize(target, 2 if config["interpolation"] == "bilinear" else 3)
    picture = cut(picture, middle(picture.width, size), middle(picture.height, size), size, size, (config["fill_color"],) * 3)
    pixels = np.asarray(picture).astype(np.float32) / np.float32(255)
    return (pixels - np.float32(config["mean"])) / np.float32(config["std"])
