"""Zero-shot accuracy of a model directory on EmojiOne's pictures, a drawing style that training never saw.

Set: every picture of the ruby-gemojione package whose code points hold no skin tone and which CLDR names in English.
Labels: all distinct English short names of those pictures. A picture is right when its own name scores highest.

    python evaluate.py --model DIR --data DIR [--json FILE]
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from names import read_cldr, strip
from pictures import GEMOJIONE, emojione
from tokenizer import Tokenizer


@torch.inference_mode()
def embed_pictures(model, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """pixels uint8 [I, size, size, 3] -> (embeddings, tokens per expert of each MoE layer)."""
    return _embed(
        model, [(pixels[i : i + 128], torch.zeros(0, 1), torch.zeros(0)) for i in range(0, len(pixels), 128)], 0
    )


@torch.inference_mode()
def embed_texts(model, tokenizer: Tokenizer, texts: list[str]) -> tuple[Tensor, list[Tensor]]:
    ids, lengths = (torch.from_numpy(a).long() for a in tokenizer.encode_padded(texts))
    none = torch.zeros((0,), dtype=torch.uint8)
    return _embed(model, [(none, ids[i : i + 256], lengths[i : i + 256]) for i in range(0, len(ids), 256)], 1)


def _embed(model, batches, modality: int) -> tuple[Tensor, list[Tensor]]:
    model.eval()
    embeddings, counts = [], None
    for batch in batches:
        *both, routings = model(*batch)
        embeddings.append(both[modality])
        now = [torch.bincount(r.expert.flatten(), minlength=model.config.moe["experts"]) for r in routings]
        counts = now if counts is None else [a + b for a, b in zip(counts, now)]
    return torch.cat(embeddings), counts


def accuracy(images: Tensor, texts: Tensor, target: Tensor) -> dict[str, float]:
    """Per cent; target [I] is the row of texts that is right."""
    best = (images @ texts.T).topk(min(5, len(texts)), dim=-1).indices
    hit = best == target[:, None]
    return {name: round(100 * h.float().mean().item(), 2) for name, h in (("top1", hit[:, 0]), ("top5", hit.any(1)))}


def use_of_experts(image: list[Tensor], text: list[Tensor]) -> list[dict]:
    """For each MoE layer, each expert's share of the tokens in per cent: by modality, and of the sum of tokens."""
    rows = []
    for i, t in zip(image, text):
        shares = {"image": i / i.sum(), "text": t / t.sum(), "sum": (i + t) / (i.sum() + t.sum())}
        row = {name: [round(100 * s.item(), 1) for s in share] for name, share in shares.items()}
        row["entropy_image"], row["entropy_text"] = (
            round(-(s * s.clamp_min(1e-9).log()).sum().item(), 2) for s in (shares["image"], shares["text"])
        )
        rows.append(row)
    return rows


def on_white(path: Path, size: int) -> np.ndarray:
    """The preprocessing of serving ("pad"): alpha on the background, fitted and centred, Pillow's bicubic."""
    picture = Image.open(path).convert("RGBA")
    flat = Image.new("RGB", picture.size, (255, 255, 255))
    flat.paste(picture, (0, 0), picture)
    scale = size / max(flat.size)
    width, height = (max(1, round(side * scale)) for side in flat.size)
    square = Image.new("RGB", (size, size), (255, 255, 255))
    square.paste(flat.resize((width, height), Image.Resampling.BICUBIC), ((size - width) // 2, (size - height) // 2))
    return np.asarray(square)


def evaluate(model, tokenizer: Tokenizer, root: Path) -> dict:
    cldr = root / "usr/share/unicode/cldr/common"
    english, japanese = read_cldr(cldr, "en"), read_cldr(cldr, "ja")
    all_pictures = emojione(root)
    pictures = [(e, p) for e, p in all_pictures if e in english]
    names = [english[e][0] for e, _ in pictures]
    labels = sorted(set(names))
    pixels = torch.from_numpy(np.stack([on_white(p, model.config.image["size"]) for _, p in pictures]))
    images, image_use = embed_pictures(model, pixels)
    texts, text_use = embed_texts(model, tokenizer, labels)
    target = torch.tensor([labels.index(n) for n in names])
    report = {
        "pictures_without_skin_tone": len(all_pictures), "pictures": len(pictures), "labels": len(labels),
        "english": accuracy(images, texts, target),
    }  # fmt: skip

    index = json.loads((root / GEMOJIONE / "config/index.json").read_text())
    own = {strip("".join(chr(int(c, 16)) for c in v["unicode"].split("-"))): v["name"] for v in index.values()}
    rows = [i for i, (e, _) in enumerate(pictures) if e in own]
    own_labels = sorted({own[pictures[i][0]] for i in rows})
    own_texts, _ = embed_texts(model, tokenizer, own_labels)
    own_target = torch.tensor([own_labels.index(own[pictures[i][0]]) for i in rows])
    report["gemojione_names"] = {
        "pictures": len(rows),
        "labels": len(own_labels),
        **accuracy(images[rows], own_texts, own_target),
    }

    flags = torch.tensor([n.startswith("flag: ") for n in names])
    report["flags"] = {"pictures": int(flags.sum()), **accuracy(images[flags], texts, target[flags])}
    report["not_flags"] = {"pictures": int((~flags).sum()), **accuracy(images[~flags], texts, target[~flags])}

    # 100 Japanese names: the emoji with distinct ones, sorted by code point, 100 drawn by Random(0).
    named = {e: japanese[e][0] for e, _ in pictures if e in japanese}
    uses = Counter(named.values())
    distinct = sorted(e for e, name in named.items() if uses[name] == 1)
    where = {e: i for i, (e, _) in enumerate(pictures)}
    for count, seeds in ((100, range(1)), (100, range(20)), (len(distinct), range(1))):
        scores = []
        for seed in seeds:
            subset = random.Random(seed).sample(distinct, count)
            subset_texts, _ = embed_texts(model, tokenizer, [named[e] for e in subset])
            scores.append(accuracy(images[[where[e] for e in subset]], subset_texts, torch.arange(count)))
        mean = {k: round(sum(s[k] for s in scores) / len(scores), 2) for k in scores[0]}
        report[f"japanese_{count}" + ("_mean_of_20_draws" if len(seeds) > 1 else "")] = mean
    report["experts"] = use_of_experts(image_use, text_use)
    sums = [share for layer in report["experts"] for share in layer["sum"]]
    report["largest_share"], report["smallest_share"] = max(sums), min(sums)
    return report


if __name__ == "__main__":
    from export import load

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("cache"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model = load(args.model)
    report = evaluate(model, Tokenizer(args.model / "tokenizer.model", model.config.text["length"]), args.data / "root")
    text = json.dumps(report, indent=1)
    if args.json:
        args.json.write_text(text + "\n")
    print(text)
