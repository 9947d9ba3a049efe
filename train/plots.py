"""Draws expert use by modality from a model's evaluation.json: experts.png for the model card.

python plots.py --model DIR
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def draw(model: Path) -> None:
    layers = json.loads((model / "evaluation.json").read_text())["experts"]
    blocks = json.loads((model / "config.json").read_text())["moe"]["blocks"]
    figure, axes = plt.subplots(1, len(layers), figsize=(2.6 * len(layers), 2.4), sharey=True)
    for axis, layer, block in zip(axes, layers, blocks):
        experts = range(len(layer["image"]))
        axis.bar([e - 0.2 for e in experts], layer["image"], 0.4, label="image tokens", color="#d95f02")
        axis.bar([e + 0.2 for e in experts], layer["text"], 0.4, label="text tokens", color="#1b6ca8")
        axis.set_title(f"block {block}", fontsize=9)
        axis.set_xticks(list(experts))
        axis.tick_params(labelsize=8)
        axis.set_xlabel("expert", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("% of the modality's tokens", fontsize=8)
    axes[-1].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(model / "experts.png", dpi=110)
    print(model / "experts.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("../models/pictograms"))
    draw(parser.parse_args().model)
