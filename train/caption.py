"""Trains a decoder that captions scenes, over a model whose weights stay as they are, and writes both as a folder of format limoe-2.

The model is a folder of format limoe-1. A run is a function of its arguments: a batch depends on seed and step alone, and
stopped or killed it goes on from its last checkpoint (--resume) to the same weights.

    python caption.py --model ../models/pictograms --data cache --run runs/captions [--resume]
"""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from decoder import Decoder, DecoderConfig, export, picture_rows
from export import load
from model import LIMoE
from scene_pairs import ScenePairs
from scenes import MissingSources
from tokenizer import EOS_ID, PAD_ID, Tokenizer

WARM_UP, LEAST = 0.05, 0.05  # of the steps; of the rate at the end


class Trainer:
    def __init__(self, args: argparse.Namespace, model: LIMoE, scenes):
        """scenes.draw(first, step, count) -> pixels uint8 [count, size, size, 3], sentences, and more that is not asked."""
        self.args, self.scenes = args, scenes
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = Tokenizer(args.model / "tokenizer.model", args.length)
        torch.manual_seed(args.seed)
        config = DecoderConfig(
            width=args.width, blocks=args.blocks, heads=args.heads, mlp=4 * args.width, length=args.length,
            begin_id=PAD_ID, end_id=EOS_ID,
        )  # fmt: skip
        self.decoder = Decoder(config, model.config.text["vocab"], model.config.width)
        plain = [p for p in self.decoder.parameters() if p.dim() < 2]
        tables = [self.decoder.token, self.decoder.pos]
        kept = {id(p) for p in plain + tables}
        decayed = [p for p in self.decoder.parameters() if id(p) not in kept]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain + tables, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98))
        self.step = 0

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """pixels [B, …], what is read [B, L], and what follows each [B, L], -100 behind the end."""
        pixels, sentences = self.scenes.draw(self.step * self.args.batch, 1, self.args.batch)[:2]
        ids, lengths = (torch.from_numpy(a) for a in self.tokenizer.encode_padded(sentences))
        longest = int(lengths.max())
        ids = ids[:, :longest].long()
        read = torch.cat([torch.full((len(ids), 1), PAD_ID), ids[:, :-1]], 1)
        return torch.from_numpy(pixels), read, ids.masked_fill(torch.arange(longest) >= lengths[:, None], -100)

    def rate(self) -> float:
        """Of --lr at this step: up in a line, down along half a cosine."""
        done = self.step / self.args.steps
        if done < WARM_UP:
            return (self.step + 1) / max(1, WARM_UP * self.args.steps)
        return LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))

    def advance(self) -> float:
        """One step; its loss, the mean of -ln p for a token."""
        pixels, read, follows = self.batch()
        with torch.no_grad():
            rows = picture_rows(self.model, pixels)
        loss = F.cross_entropy(self.decoder(rows, read).flatten(0, 1), follows.flatten(), ignore_index=-100)
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.lr * self.rate()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    # ---- what a run is told by, beside what changes with its steps

    def arguments(self) -> dict:
        return {key: str(value) for key, value in vars(self.args).items() if key not in ("resume", "every", "run", "threads")}

    def save(self) -> None:
        """The checkpoint, whole or not at all."""
        state = {"arguments": self.arguments(), "step": self.step, "decoder": self.decoder.state_dict(),
                 "optimizer": self.optimizer.state_dict()}  # fmt: skip
        torch.save(state, self.args.run / "checkpoint.partial")
        os.replace(self.args.run / "checkpoint.partial", self.args.run / "checkpoint.pt")

    def restore(self) -> None:
        state = torch.load(self.args.run / "checkpoint.pt", weights_only=True)
        for key, value in self.arguments().items():
            if state["arguments"].get(key) != value:
                raise ValueError(f"--{key} is {value}, and the run was begun with {state['arguments'].get(key)}")
        self.decoder.load_state_dict(state["decoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def run(trainer: Trainer) -> None:
    """To the last step; each --every steps a line of log.jsonl and a checkpoint. Then RUN/model."""
    args = trainer.args
    args.run.mkdir(parents=True, exist_ok=True)
    if args.resume and (args.run / "checkpoint.pt").is_file():
        trainer.restore()
    begun, losses = time.monotonic(), []
    while trainer.step < args.steps:
        losses.append(trainer.advance())
        if trainer.step % args.every and trainer.step < args.steps:
            continue
        line = {"step": trainer.step, "loss": sum(losses) / len(losses), "seconds": time.monotonic() - begun}
        with open(args.run / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        print(f"step {trainer.step} of {args.steps}  loss {line['loss']:.3f}  {line['seconds']:.0f} s", flush=True)
        trainer.save()
        losses = []
    export(trainer.model, trainer.decoder, args.model / "tokenizer.model", args.run / "model")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("../models/pictograms"), help="a folder of format limoe-1")
    parser.add_argument("--data", type=Path, default=Path("cache"), help="where sources.py and build_data.py wrote")
    parser.add_argument("--run", type=Path, default=Path("runs/captions"), help="checkpoint, log, and the model at the end")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--batch", type=int, default=64, help="scenes of a step")
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--length", type=int, default=40, help="the most tokens of a caption, the end included")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    torch.set_num_threads(args.threads)
    model = load(args.model)
    tokenizer = Tokenizer(args.model / "tokenizer.model", args.length)
    try:
        scenes = ScenePairs(args.data, tokenizer, args.seed, model.config.image["size"])
        run(Trainer(args, model, scenes))
    except (MissingSources, OSError, ValueError) as error:
        print(f"caption.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
