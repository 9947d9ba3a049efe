"""Models of the published sizes, with random weights, in the engine beside the library that they were made for.

    python tests/families/full.py [--build build] [--keep DIR] [NAME...]

Each is made by transformers or open_clip, saved as they save it, answered by them for two pictures and four texts, and
then by build/tests/families/embed_bits, in float32: a cosine of 0.99999 is demanded. Takes minutes and up to 10 GB of
memory; needs torch, transformers, open_clip_torch. Not part of scripts/test, whose golden vectors hold the same code.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import make
import numpy as np
import open_clip
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

CLIP = dict(  # vision width, layers, heads, patch, size; text width, layers, heads; embed
    **{
        "clip-vit-base-patch32": (768, 12, 12, 32, 224, 512, 12, 8, 512),
        "clip-vit-base-patch16": (768, 12, 12, 16, 224, 512, 12, 8, 512),
        "clip-vit-large-patch14": (1024, 24, 16, 14, 224, 768, 12, 12, 768),
        "clip-vit-large-patch14-336": (1024, 24, 16, 14, 336, 768, 12, 12, 768),
        "clip-vit-h-14": (1280, 32, 16, 14, 224, 1024, 24, 16, 1024),
    }
)
SIGLIP = dict(  # width, mlp, layers, heads, patch, size
    **{
        "siglip-base-patch16-224": (768, 3072, 12, 12, 16, 224),
        "siglip-so400m-patch14-384": (1152, 4304, 27, 16, 14, 384),
    }
)
CHINESE_CLIP = ["chinese-clip-vit-base-patch16"]  # its text tower is a RoBERTa of base size
OPEN_CLIP = ["ViT-B-32-quickgelu", "ViT-B-16-SigLIP"]
PICTURES, TEXTS = 2, 4


def values(pixels: np.ndarray, out: Path) -> torch.Tensor:
    """By what the folder says of mean and deviation."""
    said = out / "preprocessor_config.json"
    config = json.loads(said.read_text()) if said.exists() else dict(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return torch.from_numpy((pixels / 255.0 - config["image_mean"]) / config["image_std"]).permute(0, 3, 1, 2)


def items(out: Path, size: int, tokens: np.ndarray, lengths: np.ndarray, encode_image, encode_text) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (PICTURES, size, size, 3), dtype=np.uint8)
    with torch.no_grad():
        image = encode_image(values(pixels, out).float())
        word = encode_text(torch.from_numpy(tokens).long())
    image, word = (x if isinstance(x, torch.Tensor) else x.pooler_output for x in (image, word))
    z = torch.cat([torch.nn.functional.normalize(v.double(), dim=-1).float() for v in (image, word)])
    save_file(
        {
            "pixels": torch.from_numpy(pixels),
            "tokens": torch.from_numpy(tokens),
            "lengths": torch.from_numpy(lengths),
            "embedding": z.contiguous(),
        },
        out / "items.safetensors",
    )


def clip_texts(length: int = 77, begin: int = 49406, end: int = 49407) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    tokens = np.full((TEXTS, length), end, dtype=np.int32)
    lengths = np.array([3, 8, 20, length], dtype=np.int32)
    for row, n in zip(tokens, lengths):
        row[:n] = [begin, *rng.integers(0, 49000, n - 2), end]
    return tokens, lengths


def siglip_texts(vocab: int = 32000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    tokens = np.ones((TEXTS, 64), dtype=np.int32)
    for row, n in zip(tokens, (2, 5, 20, 64)):
        row[: n - 1] = rng.integers(3, vocab, n - 1)
    return tokens, np.full(TEXTS, 64, dtype=np.int32)


def chinese_texts(length: int = 52) -> tuple[np.ndarray, np.ndarray]:
    """[CLS] is 101, [SEP] 102, [PAD] 0."""
    rng = np.random.default_rng(5)
    tokens, lengths = np.zeros((TEXTS, length), dtype=np.int32), np.array([3, 8, 20, length], dtype=np.int32)
    for row, n in zip(tokens, lengths):
        row[:n] = [101, *rng.integers(670, 8000, n - 2), 102]
    return tokens, lengths


def clip_files(out: Path, size: int) -> None:
    """The real tokenizer, whose vocabulary open_clip brings along, and the preprocessing of OpenAI's models."""
    simple = open_clip.tokenizer.SimpleTokenizer()
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.get)
    special = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {special.get(piece, piece): number for piece, number in simple.encoder.items()}
    (out / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in merges))
    (out / "tokenizer_config.json").write_text(
        json.dumps(
            dict(
                tokenizer_class="CLIPTokenizer", unk_token="<|endoftext|>", bos_token="<|startoftext|>",
                eos_token="<|endoftext|>", pad_token="<|endoftext|>", model_max_length=77, do_lower_case=True,
            )
        )
    )  # fmt: skip
    (out / "preprocessor_config.json").write_text(
        json.dumps(
            dict(
                image_processor_type="CLIPImageProcessor", do_resize=True, size=dict(shortest_edge=size), resample=3,
                do_center_crop=True, crop_size=dict(height=size, width=size), do_rescale=True, rescale_factor=1 / 255,
                do_normalize=True, image_mean=[0.48145466, 0.4578275, 0.40821073],
                image_std=[0.26862954, 0.26130258, 0.27577711], do_convert_rgb=True,
            )
        )
    )  # fmt: skip


def through_program(out: Path, build: Path, model) -> bool:
    """Pictures and texts as bytes, through `limoe embed`, beside the library's own processor."""
    root = Path(__file__).resolve().parents[2]
    pictures = sorted((root / "examples").glob("*.png"))[:6]
    texts = ["a cat", "a photo of a dog.", "  Two  CATS &amp; one dog's bone  ", "naïve café — 日本語 🐶", "x" * 500]
    command = [build / "limoe", "embed", "--model", out, "--dtype", "float32", "--json"]
    for picture in pictures:
        command += ["--image", picture]
    for text in texts:
        command += ["--text", text]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    have = torch.tensor([row["embedding"] for row in sorted(answer["data"], key=lambda row: row["index"])])
    images = transformers.CLIPImageProcessorPil if hasattr(transformers, "CLIPImageProcessorPil") else transformers.CLIPImageProcessor
    pixels = images.from_pretrained(out)([Image.open(p) for p in pictures], return_tensors="pt")
    tokens = transformers.AutoTokenizer.from_pretrained(out)(texts, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        image = model.get_image_features(**pixels)
        word = model.get_text_features(**tokens)
    image, word = (x if isinstance(x, torch.Tensor) else x.pooler_output for x in (image, word))
    want = torch.cat([torch.nn.functional.normalize(v, dim=-1) for v in (image, word)])
    worst, difference = (have * want).sum(-1).min(), (have - want).abs().max()
    print(f"  {len(pictures)} pictures and {len(texts)} texts through limoe embed: largest difference {difference:.1e}, worst cosine {worst:.7f}")
    return bool(worst >= 0.99999)


def through_engine(out: Path, build: Path) -> bool:
    """Pixels and token ids, through the engine alone."""
    items, answer = out / "items.safetensors", out / "answer.f32"
    subprocess.run([build / "tests/families/embed_bits", out, items, answer], check=True)
    want = load_file(items)["embedding"]
    have = torch.from_numpy(np.fromfile(answer, dtype=np.float32)).reshape(want.shape)
    worst = []
    for what, rows in (("pictures", slice(0, PICTURES)), ("texts", slice(PICTURES, None))):
        worst.append(float((have[rows].double() * want[rows]).sum(-1).min()))
        difference = (have[rows] - want[rows]).abs().max()
        print(f"  {len(want[rows])} {what}: largest difference {difference:.1e}, worst cosine {worst[-1]:.7f}")
    return min(worst) >= 0.99999


def scale(model: torch.nn.Module) -> None:
    """As the libraries begin, but with positions and tokens that matter."""
    for name, p in model.named_parameters():
        if "embedding" in name or "pos_embed" in name:
            with torch.no_grad():
                p.mul_(10)


def make_clip(out: Path, name: str):
    width, layers, heads, patch, size, text_width, text_layers, text_heads, embed = CLIP[name]
    act = "gelu" if name == "clip-vit-h-14" else "quick_gelu"
    config = transformers.CLIPConfig(
        vision_config=dict(
            hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
            patch_size=patch, image_size=size, projection_dim=embed, hidden_act=act,
        ),
        text_config=dict(
            hidden_size=text_width, intermediate_size=4 * text_width, num_hidden_layers=text_layers,
            num_attention_heads=text_heads, projection_dim=embed, hidden_act=act,
        ),
        projection_dim=embed,
    )  # fmt: skip
    model = transformers.CLIPModel(config).eval()
    scale(model)
    model.save_pretrained(out)
    clip_files(out, size)
    items(out, size, *clip_texts(), model.get_image_features, model.get_text_features)
    return model


def make_chinese_clip(out: Path, name: str) -> None:
    vision = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, patch_size=16)
    config = transformers.ChineseCLIPConfig(vision_config=vision, text_config=dict(vocab_size=21128), projection_dim=512)
    model = transformers.ChineseCLIPModel(config).eval()
    scale(model)
    model.save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps(make.preprocessor(224)))
    tokens, lengths = chinese_texts()
    mask = torch.from_numpy(np.arange(tokens.shape[1]) < lengths[:, None]).long()
    words = lambda ids: model.get_text_features(ids, attention_mask=mask)  # noqa: E731
    items(out, 224, tokens, lengths, model.get_image_features, words)


def make_siglip(out: Path, name: str) -> None:
    width, mlp, layers, heads, patch, size = SIGLIP[name]
    both = dict(hidden_size=width, intermediate_size=mlp, num_hidden_layers=layers, num_attention_heads=heads)
    config = transformers.SiglipConfig(
        vision_config=dict(both, patch_size=patch, image_size=size), text_config=dict(both, vocab_size=32000)
    )
    model = transformers.SiglipModel(config).eval()
    scale(model)
    model.save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps(make.preprocessor(size)))
    items(out, size, *siglip_texts(), model.get_image_features, model.get_text_features)


def make_open_clip(out: Path, name: str) -> None:
    config = open_clip.get_model_config(name)
    model = open_clip.create_model(name).eval()
    scale(model)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, out / "open_clip_model.safetensors")
    (out / "open_clip_config.json").write_text(json.dumps(dict(model_cfg=config, preprocess_cfg=dict(mean=[0.5] * 3, std=[0.5] * 3))))
    siglip = "SigLIP" in name
    texts = siglip_texts() if siglip else clip_texts()
    items(out, config["vision_cfg"]["image_size"], *texts, model.encode_image, model.encode_text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--keep", type=Path, help="make the folders here, and leave them")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the models; default all")
    arguments = parser.parse_args()
    makers = ((CLIP, make_clip), (CHINESE_CLIP, make_chinese_clip), (SIGLIP, make_siglip), (OPEN_CLIP, make_open_clip))
    known = {name: maker for names, maker in makers for name in names}
    failed = 0
    for name in arguments.names or known:
        if name not in known:
            parser.error(f"{name}: one of {', '.join(known)}")
        with tempfile.TemporaryDirectory() as scratch:
            out = (arguments.keep or Path(scratch)) / name
            out.mkdir(parents=True, exist_ok=True)
            torch.manual_seed(1)
            model = known[name](out, name)
            print(name, flush=True)
            failed += model is not None and not through_program(out, arguments.build, model)
            failed += not through_engine(out, arguments.build)
    print(f"{failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
