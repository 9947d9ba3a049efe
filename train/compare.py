"""Prints two models side by side, a line for each row of the model card, and says where the first is ahead.

    python compare.py --model runs/pictograms-2/model --beside ../models/pictograms --data DIR [--scenes 640]

To the card's rows come everyday words on the pictures of examples/, scenes, and whether the experts share the work.
Ends with 0 if the first model is ahead in every row and its experts are in use, else with 1.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evaluate import accuracy, embed_pictures, embed_texts, evaluate, on_white
from export import load
from model import LIMoE
from scenes import LANGUAGES, negatives, open_library, references, stream
from tokenizer import Tokenizer

EXAMPLES = Path(__file__).parents[1] / "examples"
EVERYDAY = {
    "bee": "蜂", "book": "本", "cat": "猫", "clock": "時計", "dog": "犬", "house": "家", "lemon": "レモン",
    "pineapple": "パイナップル", "rocket": "ロケット", "snowman": "雪だるま", "spider": "クモ", "strawberry": "いちご",
}  # fmt: skip
# What evaluate.py reports -> the card's words for it.
ROWS = {
    "english": "all English names", "flags": "flags alone", "not_flags": "all but flags",
    "gemojione_names": "gemojione's own names", "japanese_100": "100 Japanese names",
    "japanese_100_mean_of_20_draws": "the same, mean of 20 draws",
}  # fmt: skip
MOST, LEAST = 40.0, 2.0  # per cent of a layer's tokens that an expert may take


def everyday(model: LIMoE, tokenizer: Tokenizer) -> dict[str, float]:
    """How often the picture's own word scores highest among all of them; and 猫 (cat) over 犬 (dog) on the cat."""
    files = [next(EXAMPLES.glob(f"{name}.*")) for name in EVERYDAY]
    pixels = torch.from_numpy(np.stack([on_white(path, model.config.image["size"]) for path in files]))
    images, _ = embed_pictures(model, pixels)
    english, japanese = (embed_texts(model, tokenizer, words)[0] for words in (list(EVERYDAY), list(EVERYDAY.values())))
    target = torch.arange(len(EVERYDAY))
    cat, dog = (list(EVERYDAY).index(word) for word in ("cat", "dog"))
    return {
        "everyday words, English": accuracy(images, english, target)["top1"],
        "everyday words, Japanese": accuracy(images, japanese, target)["top1"],
        "cosine of the cat: 猫 less 犬": round(float(images[cat] @ (japanese[cat] - japanese[dog])), 3),
    }


def resized(pixels: np.ndarray, size: int) -> Tensor:
    """Scenes are drawn at 96 pixels; a model of another size sees them as it would see any picture."""
    if pixels.shape[1] == size:
        return torch.from_numpy(pixels)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    x = torch.nn.functional.interpolate(x, (size, size), mode="bicubic", antialias=True, align_corners=False)
    return x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def on_scenes(model: LIMoE, tokenizer: Tokenizer, data: Path, split: str, count: int) -> dict[str, float]:
    """Per cent of sentences that score above themselves with one fact changed, by what was changed."""
    pixels, pairs = [], []  # (number of the scene, kind, sentence, untrue sentence)
    for row, scene in enumerate(stream(open_library(data, split), split, 0, 0, count)):
        pixels.append(scene.pixels)
        for language in LANGUAGES:
            sentence = references(scene, language, 2)[-1]
            pairs += [(row, kind, sentence.text, s.text) for kind, s in negatives(scene, sentence, language)]
    images, _ = embed_pictures(model, resized(np.stack(pixels), model.config.image["size"]))
    true, _ = embed_texts(model, tokenizer, [p[2] for p in pairs])
    untrue, _ = embed_texts(model, tokenizer, [p[3] for p in pairs])
    right = ((images[[p[0] for p in pairs]] * (true - untrue)).sum(-1) > 0).tolist()
    by_kind = defaultdict(list)
    for (_, kind, _, _), hit in zip(pairs, right):
        by_kind[kind].append(hit)
    return {f"{split}: {kind} told from a changed one": round(100 * sum(h) / len(h), 1) for kind, h in by_kind.items()}


def measure(folder: Path, data: Path, scenes: int) -> dict[str, float]:
    """Row -> figure, higher is better; and the experts' largest and smallest share."""
    model = load(folder)
    tokenizer = Tokenizer(folder / "tokenizer.model", model.config.text["length"])
    report = evaluate(model, tokenizer, data / "root")
    names = dict(ROWS) | {
        key: "all such Japanese names" for key in report if key.startswith("japanese_1") and key not in ROWS
    }
    rows = {f"{names[key]}, {top}": report[key][top] for key in names for top in ("top1", "top5")}
    rows |= everyday(model, tokenizer)
    for split in ("combinations", "style") if scenes else ():
        rows |= on_scenes(model, tokenizer, data, split, scenes)
    return rows | {"largest share": report["largest_share"], "smallest share": report["smallest_share"]}


def table(first: dict[str, float], second: dict[str, float], names: tuple[str, str]) -> tuple[list[str], bool]:
    """Lines to print, and whether the first model is ahead everywhere with its experts in use."""
    widest = max(map(len, first))
    lines = [f"{'':{widest}}  {names[0]:>14}  {names[1]:>14}"]
    behind = []
    for row, value in first.items():
        if row.endswith(" share"):
            fine = value <= MOST if row.startswith("largest") else value >= LEAST
        else:
            fine = value > second[row] or value == second[row] == 100
        lines.append(f"{row:{widest}}  {value:14}  {second[row]:14}{'' if fine else '  behind'}")
        behind += [] if fine else [row]
    shares = f"experts' shares from {LEAST:g} to {MOST:g} % of a layer's tokens are asked for"
    lines.append(f"{names[0]} is ahead in {len(first) - len(behind)} of {len(first)} rows; {shares}")
    return lines, not behind


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--beside", type=Path, default=Path("../models/pictograms"))
    parser.add_argument("--data", type=Path, default=Path("cache"))
    parser.add_argument("--scenes", type=int, default=640, help="of each split; 0 for none (default 640)")
    args = parser.parse_args()
    figures = [measure(folder, args.data, args.scenes) for folder in (args.model, args.beside)]
    names = tuple(load(folder).config.name for folder in (args.model, args.beside))
    lines, ahead = table(*figures, names)
    print("\n".join(lines))
    return 0 if ahead else 1


if __name__ == "__main__":
    sys.exit(main())
