"""Makes the golden vectors of tests/golden: what this reference answers on small random models that cover every switch
of config.json, and what SentencePiece answers on awkward strings. tests/golden/README.md describes the files.

    python golden.py --out ../tests/golden --cldr DIR
"""

import argparse
import json
import math
import random
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from export import export, load
from model import Config, LIMoE
from names import read_cldr
from tokenizer import Tokenizer, train

ITEMS = 32
CLOSEST = 1e-5  # no routing decision hangs on a smaller difference between two gates

BASE = dict(width=32, blocks=2, heads=2, mlp=40, embed=24, size=16, patch=4, texts=14, length=8, vocab=64,
            moe=dict(blocks=[1], experts=4, top_k=1, renormalize=False))  # fmt: skip
PARITY = dict(blocks=[0, 1], experts=4, top_k=2, renormalize=False, capacity=1.0, group=64, priority=True)


def moe(**changes) -> dict:
    return {**BASE["moe"], **changes}


# name -> what differs from BASE; between them they take every value of every switch.
CASES = {
    "base": {},
    "top2": dict(moe=moe(top_k=2)),
    "top2-renormalize": dict(moe=moe(top_k=2, renormalize=True)),
    "top3-renormalize": dict(blocks=3, moe=moe(blocks=[0, 2], experts=6, top_k=3, renormalize=True)),
    "top1-renormalize": dict(moe=moe(renormalize=True)),
    "top-all": dict(moe=moe(experts=3, top_k=3)),
    "two-experts": dict(moe=moe(experts=2)),
    "one-expert": dict(moe=moe(experts=1)),
    "eight-experts": dict(width=40, heads=5, mlp=24, blocks=4, moe=moe(blocks=[1, 3], experts=8)),
    "all-blocks-sparse": dict(blocks=3, moe=moe(blocks=[0, 1, 2], experts=5, top_k=2)),
    "gelu": dict(activation="gelu"),
    "quick-gelu": dict(activation="quick_gelu", moe=moe(top_k=2)),
    "qk-norm": dict(qk_norm=True),
    "qk-norm-gelu": dict(
        qk_norm=True, activation="gelu", width=40, heads=4, mlp=72, moe=moe(top_k=2, renormalize=True)
    ),
    "attend": dict(pad="attend"),
    "attend-pad-is-one": dict(pad="attend", pad_id=1, eos_id=1, texts=20),
    "attend-qk-norm-top2": dict(pad="attend", qk_norm=True, moe=moe(top_k=2)),
    "squash": dict(resize="squash", size=24, patch=8, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    "crop": dict(resize="crop", size=32, patch=8, mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0]),
    "background": dict(background=[16, 32, 64], size=20, patch=5),
    "one-patch": dict(size=16, patch=16),
    "ln-eps": dict(ln_eps=1e-3, width=96, heads=6, mlp=16, embed=16),
    "embed-wider": dict(embed=80, width=40, heads=5, mlp=56),
    "long-text": dict(length=24, texts=24, vocab=96),
    "images-only": dict(texts=0),
    "texts-only": dict(texts=ITEMS, length=12),
    "bfloat16": dict(dtype="bfloat16", blocks=3, moe=moe(blocks=[1, 2], experts=6)),
    "bfloat16-top2": dict(dtype="bfloat16", qk_norm=True, moe=moe(top_k=2, renormalize=True)),
    "float16": dict(dtype="float16"),
    "float16-quick-gelu": dict(dtype="float16", activation="quick_gelu", pad="attend", moe=moe(top_k=2)),
    "capacity": dict(moe={**PARITY, "priority": False}),
    "capacity-priority": dict(moe=PARITY),
    "capacity-tight": dict(moe={**PARITY, "capacity": 0.5, "group": 40}),
    "capacity-one-group": dict(moe={k: v for k, v in {**PARITY, "capacity": 0.75}.items() if k != "group"}),
    "capacity-top1": dict(moe={**PARITY, "top_k": 1, "experts": 8, "capacity": 1.05}),
    "capacity-renormalize": dict(moe={**PARITY, "renormalize": True, "capacity": 0.75}),
    "capacity-attend": dict(pad="attend", moe={**PARITY, "top_k": 3, "priority": False, "capacity": 0.8}),
}


def config_of(name: str, case: dict) -> Config:
    c = {**BASE, **case}
    return Config(
        name=name, width=c["width"], blocks=c["blocks"], heads=c["heads"], mlp=c["mlp"], embed=c["embed"],
        activation=c.get("activation", "gelu_tanh"), ln_eps=c.get("ln_eps", 1e-6), qk_norm=c.get("qk_norm", False),
        image={"size": c["size"], "patch": c["patch"], "mean": c.get("mean", [0.5] * 3), "std": c.get("std", [0.5] * 3),
               "resize": c.get("resize", "pad"), "background": c.get("background", [255] * 3)},
        text={"vocab": c["vocab"], "length": c["length"], "eos_id": c.get("eos_id", 2), "pad_id": c.get("pad_id", 0),
              "pad": c.get("pad", "ignore")},
        moe=c["moe"],
    )  # fmt: skip


def randomise(model: LIMoE, g: torch.Generator) -> None:
    """Every tensor random, so that a swapped bias or a forgotten gain shows; routers sharp enough to choose."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if name == "logit_scale":
            p.data.fill_(math.log(20.0))
        elif name.endswith("bias"):
            p.data = 0.1 * noise
        elif p.dim() == 1:
            p.data = 1 + 0.2 * noise
        elif "router" in name:
            p.data = 1.5 * noise * p.shape[-1] ** -0.5
        elif "token" in name or "pos" in name:
            p.data = 0.5 * noise
        else:
            p.data = noise * p.shape[-1] ** -0.5


def random_items(c: Config, texts: int, g: torch.Generator):
    images = ITEMS - texts
    size, length, eos = c.image["size"], c.text["length"], c.text["eos_id"]
    # Half the pictures are smooth and half are noise: flat areas make rows that differ little.
    coarse = torch.rand((images, 3, 4, 4), generator=g)
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear") if images else coarse
    noise = torch.rand((images, 3, size, size), generator=g)
    mixed = torch.where((torch.arange(images) % 2 == 0)[:, None, None, None], smooth, noise) if images else noise
    pixels = (mixed * 255).round().byte().permute(0, 2, 3, 1).contiguous()
    tokens = torch.full((texts, length), c.text["pad_id"], dtype=torch.int32)
    lengths = torch.randint(2, length + 1, (texts,), generator=g, dtype=torch.int32)
    if texts:
        lengths[0], lengths[1] = 1, length  # an empty text is its EOS alone; a long one was truncated
    for row, n in enumerate(lengths.tolist()):
        tokens[row, : n - 1] = torch.randint(3, c.text["vocab"], (n - 1,), generator=g, dtype=torch.int32)
        tokens[row, n - 1] = eos
    return pixels, tokens, lengths


def closest(gates: torch.Tensor, c: Config) -> float:
    """The smallest difference of two gates that could change a decision, were it rounded the other way."""
    ranked = gates.sort(-1, descending=True).values
    k = c.moe["top_k"]
    gaps = [ranked[:, i] - ranked[:, i + 1] for i in range(min(k, gates.shape[1] - 1))]
    if c.moe.get("priority"):
        group = c.moe.get("group") or len(gates)
        gaps += [part.sort().values.diff() for part in ranked[:, 0].split(group)]
    return min((gap.min().item() for gap in gaps if len(gap)), default=1.0)


@torch.inference_mode()
def make(name: str, case: dict, out: Path) -> dict:
    dtype = getattr(torch, case.get("dtype", "float32"))
    texts = {**BASE, **case}["texts"]
    for seed in range(1000):
        g = torch.Generator().manual_seed(1000 * seed + sum(map(ord, name)))
        config = config_of(name, case)
        model = LIMoE(config)
        randomise(model, g)
        shutil.rmtree(out, ignore_errors=True)
        export(model, None, out, dtype)
        model = load(out)  # what the file holds, rounded to its dtype
        pixels, tokens, lengths = random_items(config, texts, g)
        images, texts_, routings = model(pixels, tokens, lengths)
        gap = min(closest(r.gates, config) for r in routings)
        dropped = sum((r.weight == 0).sum().item() for r in routings)
        if gap >= CLOSEST and (("capacity" in config.moe) == (dropped > 0)):
            break
    else:
        raise RuntimeError(f"{name}: no seed keeps every decision clear")
    tensors = {
        "pixels": pixels, "tokens": tokens, "lengths": lengths, "embedding": torch.cat([images, texts_]),
        "expert": torch.stack([r.expert for r in routings]).int(), "gate": torch.stack([r.weight for r in routings]),
    }  # fmt: skip
    save_file({k: v.contiguous() for k, v in tensors.items()}, out / "items.safetensors")
    (out / "items.safetensors").chmod(0o644)
    return {"seed": seed, "rows": tensors["expert"].shape[1], "closest_gates": gap, "dropped": dropped}


STRINGS = [
    "", " ", "cat", "Cat", "CAT FACE", "a picture of a cat", "  leading and   inner  spaces  ", "flag: Japan", "O’clock",
    "naïve café", "nai\u0308ve cafe\u0301", "STRASSE straße", "İstanbul", "ΣΊΣΥΦΟΣ", "ﬁre ﬂame", "½ ² ① ㍿", "Ａ ｆｕｌｌ－ｗｉｄｔｈ　ｃａｔ",
    "猫", "ネコの顔", "ﾈｺ", "ねこの絵", "日本の国旗", "ハートがいっぱい", "パ", "ハ\u309a", "がぎぐげご", "東京タワー", "１２３", "ｶﾞｷﾞｸﾞ",
    "😀", "👨‍👩‍👧", "🇯🇵", "❤️", "❤", "1️⃣", "cat😀dog", "\u200bzero\u200bwidth", "soft\u00adhyphen", "no\u00a0break", "tab\tand\nline\r\nbreaks",
    "\x01\x02\x7f", "\u0085next", "\ufeffbom", "\ufffd", "﷽", "한국어 고양이", "\u1112\u1161\u11ab", "العربية", "עברית", "कुत्ता", "แมว", "кошка",
    "Ça", "DŽ ǆ ǅ", "𝓬𝓪𝓽", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "<unk> <s> </s> <0x41>", "▁▁", "_", "a" * 300, "cat " * 50, "猫" * 100, "the cat sat on the mat and looked at the dog",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "e\u0301\u0302\u0303\u0304", "\u0301", "\U0010ffff", "c" + "\u0327" * 40,
]  # fmt: skip


def make_tokenizer(cldr: Path, out: Path, length: int = 16) -> None:
    names = [name for language in ("en", "ja") for name, _ in read_cldr(cldr, language).values()]
    random.Random(0).shuffle(names)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        train(names, Path(folder) / "small", 1600)
        shutil.copyfile(Path(folder) / "small.model", out / "tokenizer.model")
    tokenizer = Tokenizer(out / "tokenizer.model", length)
    cases = [{"text": text, "ids": tokenizer.encode(text)} for text in STRINGS]
    (out / "strings.json").write_text(
        json.dumps({"length": length, "eos_id": 2, "cases": cases}, ensure_ascii=True, indent=0) + "\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("../tests/golden"))
    parser.add_argument("--cldr", type=Path, default=Path("/usr/share/unicode/cldr/common"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, case in CASES.items():
        print(f"{name:24s} {make(name, case, args.out / name)}")
    make_tokenizer(args.cldr, args.out / "tokenizer")
