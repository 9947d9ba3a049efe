"""Makes the golden vectors of tests/golden/captions-*: small random models with a decoder, and what this reference writes.

    python golden_captions.py --out ../tests/golden
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

import decoder as captions
from decoder import Decoder, DecoderConfig, Writer, picture_rows
from golden import config_of, random_items, randomise
from model import LIMoE
from tokenizer import EOS_ID, PAD_ID, Tokenizer

PICTURES = 4
CLOSEST = 1e-5  # no text hangs on a smaller difference
EVERY = 16  # of the logits one in so many is kept

TOWER = dict(vocab=1600, texts=0, width=16, embed=12)
# name -> the tower (as golden.py has them) and the decoder
CASES = {
    "captions": (
        dict(**TOWER, moe=dict(blocks=[1], experts=4, top_k=2, renormalize=True)),
        dict(width=24, blocks=2, heads=2, mlp=40, length=12),
    ),
    "captions-bfloat16": (
        dict(**TOWER, blocks=3, moe=dict(blocks=[]), heads=4, qk_norm=True),
        dict(width=16, blocks=3, heads=1, mlp=24, length=9, activation="gelu", ln_eps=1e-4),
    ),
}
# As struct limoe_caption_options has them; tests/unit/model/caption/test_caption.c has the same list.
OPTIONS = {
    "greedy": dict(),
    "longer": dict(min_length=4, max_length=7),
    "beams": dict(beams=5, n=3, min_length=2),
    "samples": dict(top_k=20, n=6, seed=7),
    "warm": dict(top_k=64, n=4, seed=(1 << 63) + 5, temperature=0.5, max_length=5),
}


def write(writer: Writer, options: dict) -> list[captions.Caption]:
    o = dict(options)
    limits = dict(least=o.pop("min_length", 0), most=o.pop("max_length", 0))
    return writer.sample(**o, **limits) if "top_k" in o else writer.search(**o, **limits)


def randomise_decoder(decoder: Decoder, g: torch.Generator) -> None:
    for name, p in decoder.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if name.endswith("bias"):
            p.data = 0.1 * noise
        elif p.dim() == 1:
            p.data = 1 + 0.2 * noise
        elif name in ("token", "pos"):
            p.data = 0.5 * noise
        else:
            p.data = noise * p.shape[-1] ** -0.5
    decoder.token.data[decoder.config.end_id] *= 3  # so that texts end


@torch.inference_mode()
def attempt(name: str, seed: int, tokenizer: Path, out: Path) -> tuple[float, dict]:
    tower, sizes = CASES[name]
    g = torch.Generator().manual_seed(1000 * seed + sum(map(ord, name)))
    model = LIMoE(config_of(name, tower))
    randomise(model, g)
    config = model.config
    decoder = Decoder(DecoderConfig(**sizes, begin_id=PAD_ID, end_id=EOS_ID), config.text["vocab"], config.width)
    randomise_decoder(decoder, g)
    shutil.rmtree(out, ignore_errors=True)
    captions.export(model, decoder, None, out, torch.bfloat16 if "bfloat16" in name else torch.float32)
    model, decoder = captions.load(out)  # what the file holds, rounded to its dtype
    pixels = random_items(config, 32 - PICTURES, g)[0]
    rows = picture_rows(model, pixels)
    read = torch.randint(3, config.text["vocab"], (PICTURES, sizes["length"]), generator=g)
    read[:, 0] = decoder.config.begin_id
    tensors = {"pixels": pixels, "read": read.int(), "logits": decoder(rows, read)[..., ::EVERY]}
    closest, pieces, texts = 1.0, Tokenizer(tokenizer, 16).pieces, []
    for key, options in OPTIONS.items():
        found = []
        for picture in rows:
            writer = Writer(decoder, picture)
            found += write(writer, options)
            if writer.closest < CLOSEST:
                return writer.closest, {}
            closest = min(closest, writer.closest)
        tokens = torch.zeros(len(found), sizes["length"], dtype=torch.int32)
        for row, text in zip(tokens, found):
            row[: len(text.tokens)] = torch.tensor(text.tokens, dtype=torch.int32)
        tensors[f"{key}.tokens"] = tokens
        tensors[f"{key}.length"] = torch.tensor([len(text.tokens) for text in found], dtype=torch.int32)
        tensors[f"{key}.ended"] = torch.tensor([text.ended for text in found], dtype=torch.int32)
        tensors[f"{key}.logprob"] = torch.tensor([text.logprob for text in found])
        texts += [pieces.decode(text.tokens) for text in found]
    tensors["texts"] = torch.tensor(list("\0".join([*texts, ""]).encode()), dtype=torch.uint8)
    return closest, tensors


def make(name: str, tokenizer: Path, out: Path) -> str:
    for seed in range(1000):
        closest, tensors = attempt(name, seed, tokenizer, out)
        if closest < CLOSEST:
            continue
        lengths = tensors["greedy.length"].tolist() + tensors["samples.length"].tolist()
        if tensors["greedy.ended"].any() and len(set(lengths)) > 3:
            break
    else:
        raise RuntimeError(f"{name}: no seed keeps every decision clear")
    save_file({k: v.contiguous() for k, v in tensors.items()}, out / "captions.safetensors")
    (out / "captions.safetensors").chmod(0o644)
    return json.dumps({"seed": seed, "closest": closest, "lengths": lengths})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("../tests/golden"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in CASES:
        print(name, make(name, args.out / "tokenizer/tokenizer.model", args.out / name))
