"""Writes and reads a model directory of format limoe-1: config.json, model.safetensors, tokenizer.model.

python export.py --model runs/pictograms/model --out DIR
"""

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from model import Config, LIMoE


def export(model: LIMoE, tokenizer: Path | None, out: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    out.mkdir(parents=True, exist_ok=True)
    config = dataclasses.asdict(model.config)
    config = {"format": config.pop("format"), **config}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {name: p.detach().to(dtype).contiguous() for name, p in model.named_parameters()}
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # safetensors makes files that only their owner reads
    if tokenizer is not None:
        shutil.copyfile(tokenizer, out / "tokenizer.model")


def load(directory: Path) -> LIMoE:
    """The reference model of a directory, in float32."""
    model = LIMoE(Config.load(directory / "config.json"))
    state = {name: tensor.float() for name, tensor in load_file(directory / "model.safetensors").items()}
    model.load_state_dict(state)
    return model.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("runs/pictograms/model"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    export(load(args.model), args.model / "tokenizer.model", args.out)
