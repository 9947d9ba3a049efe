"""Makes the golden vectors of tests/golden/{clip,siglip,chinese_clip,open_clip}-*: small random models, saved by the libraries whose
formats they are (transformers, open_clip), and what those libraries answer in float64.

    python tests/families/make.py --out tests/golden [NAME...]

The files are those of tests/golden/README.md. Needs torch, transformers, open_clip_torch; the tests do not.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import torch
import transformers
from safetensors.torch import save_file

PICTURES = TEXTS = 20
VOCAB, LENGTH = 64, 12

CLIP_VISION = dict(
    hidden_size=32, intermediate_size=72, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4
)
CLIP_TEXT = dict(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    vocab_size=VOCAB,
    max_position_embeddings=LENGTH,
    bos_token_id=VOCAB - 2,
    eos_token_id=VOCAB - 1,
    pad_token_id=VOCAB - 1,
)
BERT_TEXT = {**{k: v for k, v in CLIP_TEXT.items() if k != "bos_token_id"}, "pad_token_id": 0}
SIGLIP_TEXT = {**CLIP_TEXT, "hidden_size": 32, "num_attention_heads": 2, "eos_token_id": 1, "pad_token_id": 1}

# name -> the library, what differs from the above; "dtype" of the checkpoint, "shard" its largest file.
TRANSFORMERS = {
    "clip": dict(kind="clip"),
    "clip-gelu": dict(kind="clip", vision=dict(hidden_act="gelu"), text=dict(hidden_act="gelu")),
    "clip-remainder": dict(kind="clip", vision=dict(image_size=30, patch_size=14)),
    "clip-wide-heads": dict(
        kind="clip",
        vision=dict(hidden_size=160, num_attention_heads=2, num_hidden_layers=1, intermediate_size=48),
        text=dict(hidden_size=88, num_attention_heads=1, num_hidden_layers=3),
        projection=40,
        dtype=torch.float16,
    ),
    "clip-eps": dict(kind="clip", vision=dict(layer_norm_eps=1e-3), text=dict(layer_norm_eps=1e-2)),
    "clip-old-eos": dict(kind="clip", text=dict(eos_token_id=2)),
    "clip-float16": dict(kind="clip", dtype=torch.float16),
    "clip-bfloat16-shards": dict(kind="clip", dtype=torch.bfloat16, shard="40KB"),
    "siglip": dict(kind="siglip"),
    "siglip-remainder": dict(kind="siglip", vision=dict(image_size=30, patch_size=14)),
    "siglip-heads-of-72": dict(
        kind="siglip",
        vision=dict(hidden_size=144, num_hidden_layers=1, intermediate_size=56),
        text=dict(hidden_size=40, num_attention_heads=5, projection_size=144),
        dtype=torch.float16,
    ),
    "siglip-float16": dict(kind="siglip", dtype=torch.float16),
    "chinese_clip": dict(kind="chinese_clip"),
    "chinese_clip-eps-types": dict(
        kind="chinese_clip",
        text=dict(layer_norm_eps=1e-2, hidden_act="gelu_new", type_vocab_size=5, hidden_size=40, num_attention_heads=5),
    ),
    "chinese_clip-float16": dict(kind="chinese_clip", dtype=torch.float16),
}

# One tower alone: the class, and where its answer is.
TOWERS = {
    "clip-vision": (transformers.CLIPVisionModelWithProjection, "image_embeds"),
    "clip-text": (transformers.CLIPTextModelWithProjection, "text_embeds"),
    "clip-vision-bare": (transformers.CLIPVisionModel, "pooler_output"),
    "clip-text-bare": (transformers.CLIPTextModel, "pooler_output"),
    "siglip-vision": (transformers.SiglipVisionModel, "pooler_output"),
    "siglip-text": (transformers.SiglipTextModel, "pooler_output"),
}

OPEN_VISION = dict(image_size=16, layers=2, width=32, head_width=16, patch_size=4, mlp_ratio=2.5)
OPEN_TEXT = dict(context_length=LENGTH, vocab_size=VOCAB, width=24, heads=3, layers=2)
OPEN_CLIP = {
    "open_clip": {},
    "open_clip-quick-gelu": dict(quick_gelu=True),
    "open_clip-no-pre-norm": dict(vision=dict(no_ln_pre=True)),
    "open_clip-average": dict(vision=dict(pool_type="avg")),
    "open_clip-average-late-norm": dict(vision=dict(pool_type="avg", final_ln_after_pool=True, no_ln_pre=True)),
    "open_clip-late-norm": dict(vision=dict(final_ln_after_pool=True)),
    "open_clip-heads-of-104": dict(vision=dict(width=104, head_width=104, layers=1, mlp_ratio=0.9231)),
    "open_clip-tanh": dict(
        vision=dict(act_kwargs=dict(approximate="tanh"), norm_kwargs=dict(eps=1e-6)),
        text=dict(act_kwargs=dict(approximate="tanh"), norm_kwargs=dict(eps=1e-4)),
    ),
    "open_clip-custom": dict(custom_text=True),
    "open_clip-custom-bidirectional": dict(
        custom_text=True,
        init_logit_bias=-10,
        text=dict(no_causal_mask=True, pool_type="last", proj_bias=True, norm_kwargs=dict(eps=1e-6)),
    ),
    "open_clip-bfloat16": dict(dtype=torch.bfloat16),
}


def spread(model: torch.nn.Module) -> None:
    """Values that tell mistakes apart: norms near 1, biases that matter, positions and tokens of one size."""
    for name, p in model.named_parameters():
        with torch.no_grad():
            if "logit_scale" in name:
                p.fill_(2.5)
            elif "logit_bias" in name:
                p.fill_(-1.5)
            elif "bias" in name:
                p.normal_(0, 0.1)
            elif p.ndim == 1 and ("norm" in name or "ln_" in name):
                p.normal_(1, 0.2)
            elif any(word in name for word in ("embedding", "probe", "latent")) and "patch" not in name:
                p.normal_(0, 0.5)
            else:
                p.normal_(0, p[0].numel() ** -0.5)


def pictures(size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (PICTURES, size, size, 3), dtype=np.uint8)


def values(pixels: np.ndarray) -> torch.Tensor:
    """Mean and deviation 0.5, as the preprocessing beside each model says."""
    return torch.from_numpy((pixels / 255.0 - 0.5) / 0.5).permute(0, 3, 1, 2)


def texts(begin: list[int], end: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    tokens = np.full((TEXTS, LENGTH), pad, dtype=np.int32)
    lengths = rng.integers(len(begin) + 1, LENGTH + 1, TEXTS).astype(np.int32)
    lengths[:2] = len(begin) + 1, LENGTH
    for row, length in zip(tokens, lengths):
        row[:length] = [*begin, *rng.integers(3, VOCAB - 2, length - len(begin) - 1), end]
    return tokens, lengths


def save_items(out: Path, pixels, image_tokens: int, tokens, lengths, attend: bool, answers, scores=None) -> None:
    """`answers`: of pictures, texts or both; `scores`: [pictures, texts], of both."""
    embedding = torch.cat([torch.nn.functional.normalize(z, dim=-1) for z in answers]).to(torch.float32)
    kept = np.full_like(lengths, LENGTH) if attend else lengths
    rows = len(pixels) * image_tokens + int(kept.sum())
    save_file(
        {
            **({} if scores is None else {"scores": scores.to(torch.float32).contiguous()}),
            "pixels": torch.from_numpy(pixels),
            "tokens": torch.from_numpy(tokens),
            "lengths": torch.from_numpy(kept),
            "embedding": embedding.contiguous(),
            "expert": torch.zeros((0, rows, 1), dtype=torch.int32),
            "gate": torch.zeros((0, rows, 1)),
        },
        out / "items.safetensors",
    )


def preprocessor(size: int) -> dict:
    return dict(
        do_resize=True, size=dict(height=size, width=size), resample=3, do_center_crop=False, do_rescale=True,
        rescale_factor=1 / 255, do_normalize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True,
    )  # fmt: skip


def save_transformers(out: Path, model, case: dict, size: int | None) -> None:
    """`size`: of the model's pictures, where it has any."""
    spread(model)
    model.to(case.get("dtype", torch.float32)).save_pretrained(out, max_shard_size=case.get("shard", "1GB"))
    if size:
        (out / "preprocessor_config.json").write_text(json.dumps(preprocessor(size)) + "\n")
    model.double().eval()


def make_transformers(out: Path, case: dict) -> None:
    kind = case["kind"]
    vision = {**CLIP_VISION, **case.get("vision", {})}
    text = {**dict(clip=CLIP_TEXT, siglip=SIGLIP_TEXT, chinese_clip=BERT_TEXT)[kind], **case.get("text", {})}
    if kind == "siglip":
        model = transformers.SiglipModel(transformers.SiglipConfig(vision_config=vision, text_config=text))
    else:
        classes = dict(
            clip=(transformers.CLIPModel, transformers.CLIPConfig),
            chinese_clip=(transformers.ChineseCLIPModel, transformers.ChineseCLIPConfig),
        )
        width = case.get("projection", 20)
        config = classes[kind][1](
            vision_config={**vision, "projection_dim": width},
            text_config={**text, "projection_dim": width} if kind == "clip" else text,
            projection_dim=width,
        )
        model = classes[kind][0](config)
    save_transformers(out, model, case, vision["image_size"])
    pixels = pictures(vision["image_size"])
    # The end token of a CLIP is its largest id; behind it stand ends, or by older files zeros.
    begin, end = ([], 1) if kind == "siglip" else ([VOCAB - 2], VOCAB - 1)
    tokens, lengths = texts(begin, end, 0 if text["eos_token_id"] == 2 else text["pad_token_id"])
    asked = dict(input_ids=torch.from_numpy(tokens).long())
    if kind == "chinese_clip":
        asked["attention_mask"] = torch.from_numpy(np.arange(LENGTH) < lengths[:, None]).long()
    with torch.no_grad():
        image = model.get_image_features(pixel_values=values(pixels))
        word = model.get_text_features(**asked)
        logits = model(pixel_values=values(pixels), **asked).logits_per_image
    answers = [x if isinstance(x, torch.Tensor) else x.pooler_output for x in (image, word)]
    scores = torch.sigmoid(logits) if kind == "siglip" else logits.softmax(-1)
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    save_items(out, pixels, patches + (kind != "siglip"), tokens, lengths, kind == "siglip", answers, scores)


def make_tower(out: Path, name: str) -> None:
    kind, answer = TOWERS[name]
    siglip, vision = name.startswith("siglip"), "vision" in name
    config = CLIP_VISION if vision else SIGLIP_TEXT if siglip else CLIP_TEXT
    extra = {} if siglip else dict(projection_dim=20)
    model = kind(kind.config_class(**config, **extra))
    save_transformers(out, model, {}, config["image_size"] if vision else None)
    pixels = pictures(CLIP_VISION["image_size"])
    tokens, lengths = texts([], 1, 1) if siglip else texts([VOCAB - 2], VOCAB - 1, VOCAB - 1)
    with torch.no_grad():
        if vision:
            tokens, lengths = tokens[:0], lengths[:0]
            z = getattr(model(pixel_values=values(pixels)), answer)
        else:
            pixels = pixels[:0]
            z = getattr(model(input_ids=torch.from_numpy(tokens).long()), answer)
    patches = (CLIP_VISION["image_size"] // CLIP_VISION["patch_size"]) ** 2
    save_items(out, pixels, patches + (not siglip), tokens, lengths, siglip, [z])


def make_open_clip(out: Path, case: dict) -> None:
    vision, text = {**OPEN_VISION, **case.get("vision", {})}, {**OPEN_TEXT, **case.get("text", {})}
    top = {k: case[k] for k in ("quick_gelu", "custom_text", "init_logit_bias") if k in case}
    custom = case.get("custom_text", False)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    config = dict(embed_dim=20, **top, vision_cfg=vision, text_cfg=text)
    arguments = {k: v for k, v in config.items() if k != "custom_text"}
    model = kind(**arguments)
    spread(model)
    model.to(case.get("dtype", torch.float32))
    state = {k: v.contiguous() for k, v in model.state_dict().items() if k != "attn_mask"}
    save_file(state, out / "open_clip_model.safetensors")
    whole = dict(model_cfg=config, preprocess_cfg=dict(mean=[0.5] * 3, std=[0.5] * 3, interpolation="bicubic", resize_mode="shortest"))
    (out / "open_clip_config.json").write_text(json.dumps(whole, indent=1) + "\n")
    pixels = pictures(vision["image_size"])
    attend = text.get("no_causal_mask", False)
    tokens, lengths = texts([VOCAB - 2], VOCAB - 1, 0)
    model.double().eval()
    with torch.no_grad():
        image = model.encode_image(values(pixels))
        word = model.encode_text(torch.from_numpy(tokens).long())
        logits = model.get_logits(values(pixels), torch.from_numpy(tokens).long())[0]
    scores = torch.sigmoid(logits) if "init_logit_bias" in case else logits.softmax(-1)
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    save_items(out, pixels, patches + 1, tokens, lengths, attend, [image, word], scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="tests/golden")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the cases; default all")
    arguments = parser.parse_args()
    cases = {**TRANSFORMERS, **TOWERS, **OPEN_CLIP}
    for name in arguments.names or cases:
        out = arguments.out / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        torch.manual_seed(len(name))
        if name in TOWERS:
            make_tower(out, name)
        else:
            (make_transformers if name in TRANSFORMERS else make_open_clip)(out, cases[name])
        print(name, sum(f.stat().st_size for f in out.iterdir()) // 1000, "kB")


if __name__ == "__main__":
    main()
