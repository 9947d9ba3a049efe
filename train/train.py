"""Trains LIMoE on the pairs for a given number of minutes, and can go on from its last checkpoint.

The schedules follow the share of the time that is used up, not steps: on a machine that others use too, the run still
ends annealed when it should. A stopped process (SIGSTOP) does not age.

Work is split over processes of one thread each: they meet twice a step, where threads would meet at every operator,
which costs dearly when a core is taken away for a moment.

    python train.py --data DIR --run DIR --minutes 90 [--resume]
"""

import argparse
import json
import math
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

import losses
from augment import augment, flatten_on_white
from evaluate import accuracy, embed_pictures, embed_texts, use_of_experts
from export import export
from model import ROW_MULTIPLE, Config, LIMoE, Routing, Segments
from pairs import Pairs
from tokenizer import EOS_ID, PAD_ID, Tokenizer


def config_of(args, vocab: int) -> Config:
    return Config(
        name="pictograms", width=args.width, blocks=args.blocks, heads=args.width // args.head, mlp=4 * args.width,
        embed=args.embed,
        image={"size": args.size, "patch": args.patch, "mean": [0.5] * 3, "std": [0.5] * 3,
               "resize": "pad", "background": [255] * 3},
        text={"vocab": vocab, "length": 16, "eos_id": EOS_ID, "pad_id": PAD_ID, "pad": "ignore"},
        moe={"blocks": list(range(1, args.blocks, 2)), "experts": args.experts, "top_k": 1, "renormalize": False},
    )  # fmt: skip


def ramp(x: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (x - low) / (high - low)))


def auxiliary(routings: list[Routing], s: Segments, experts: int) -> dict[str, Tensor]:
    """The routing losses, each a mean over MoE layers."""
    total: dict[str, Tensor] = {}

    def add(name: str, value: Tensor) -> None:
        total[name] = total.get(name, 0) + value / len(routings)

    for r in routings:
        logits, noisy = r.logits[: s.rows], r.noisy[: s.rows]
        gates = logits.softmax(-1)
        add("importance", losses.importance(gates))
        add("load", losses.load(logits, noisy, r.expert.shape[1], 1 / experts))
        add("z", losses.z_loss(logits))
        for modality, part in (("image", gates[: s.image_rows]), ("text", gates[s.image_rows :])):
            # Images bring most tokens and may use every expert; text asks for a third of them.
            soft = experts * (0.75 if modality == "image" else 0.34)
            add(f"local_{modality}", losses.local_entropy(part))
            add(f"global_{modality}", losses.global_entropy(part, math.log(soft)))
    return total


def auxiliary_weights(f: float) -> dict[str, float]:
    """f: share of training done. The entropy losses come in once the router has something to say."""
    late = ramp(f, 0.05, 0.25)
    return {
        "importance": 0.01, "load": 0.01, "z": 1e-4, "local_image": 0.01 * late, "local_text": 0.02 * late,
        "global_image": 0.02 + 0.05 * late, "global_text": 0.02 + 0.05 * late,
    }  # fmt: skip


class Trainer:
    def __init__(self, args, rank: int):
        self.args, self.rank, self.world = args, rank, args.processes
        torch.manual_seed(args.seed)  # the same weights in every process
        self.tokenizer = Tokenizer(args.data / "tokenizer.model", 16)
        self.pairs = Pairs(args.data, self.tokenizer, args.seed)
        self.model = LIMoE(config_of(args, self.tokenizer.pieces.vocab_size()))
        self.average = LIMoE(self.model.config).eval()
        self.average.load_state_dict(self.model.state_dict())
        self.generator = torch.Generator().manual_seed(args.seed + 1000 * rank)
        decay, plain, scale = [], [], []
        for name, p in self.model.named_parameters():
            table = "pos" in name or "token" in name
            (scale if name == "logit_scale" else decay if p.dim() >= 2 and not table else plain).append(p)
        groups = [
            {"params": decay, "weight_decay": args.weight_decay, "rate": 1.0},
            {"params": plain, "weight_decay": 0.0, "rate": 1.0},
            {"params": scale, "weight_decay": 0.0, "rate": 3.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.97), fused=True)
        self.elapsed, self.fraction, self.step, self.pairs_seen = 0.0, 0.0, 0, 0  # elapsed in seconds of computing

    def advance(self, seconds: float) -> None:
        """Moves the clock of all processes to that of the first one."""
        self.elapsed += seconds
        total = 60 * self.args.minutes
        if self.args.until:
            total = self.elapsed + max(0.0, self.args.until - time.time())
        clock = torch.tensor([self.elapsed, min(1.0, self.elapsed / total)], dtype=torch.float64)
        dist.broadcast(clock, 0)
        self.elapsed, self.fraction = clock.tolist()

    def batch(self) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """patches [B, m, p * p * 3], which patches they are [B, m] or None for all, tokens, lengths."""
        args, pairs = self.args, self.pairs
        mine = slice(self.rank, None, self.world)
        pictures, captions = (a[mine] for a in pairs.draw(args.batch))  # the draw is the same in every process
        rgb = augment(
            torch.from_numpy(pairs.pictures[pictures]),
            *(torch.from_numpy(a) for a in (pairs.mono[pictures], pairs.flag[pictures], pairs.mirror[pictures])),
            self.model.config.image["size"], self.generator, args.augment,
        )  # fmt: skip
        p = args.patch
        side = args.size // p
        patches = (
            (rgb * 2 - 1).view(-1, 3, side, p, side, p).permute(0, 2, 4, 3, 5, 1).reshape(len(rgb), side * side, -1)
        )
        keep = None
        if self.fraction < args.whole_from and args.keep < 1:
            kept = round(args.keep * side * side)
            keep = torch.rand(len(rgb), side * side, generator=self.generator).argsort(-1)[:, :kept]
            patches = patches.gather(1, keep[:, :, None].expand(-1, -1, patches.shape[-1]))
        tokens = torch.from_numpy(pairs.tokens[captions]).long()
        return patches, keep, tokens, torch.from_numpy(pairs.lengths[captions]).long()

    def gather(self, mine: Tensor) -> Tensor:
        """The embeddings of the whole batch, with a gradient for this process's own."""
        parts = [torch.empty_like(mine) for _ in range(self.world)]
        dist.all_gather(parts, mine.detach())
        parts[self.rank] = mine
        return torch.cat(parts)

    def reduce_gradients(self) -> None:
        """Every process has the gradient of the whole loss through its own pairs; the sum is the gradient."""
        self.model.logit_scale.grad /= self.world  # the one parameter that every process sees in full
        gradients = [p.grad for p in self.model.parameters()]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        for g, part in zip(gradients, flat.split([g.numel() for g in gradients])):
            g.copy_(part.view_as(g))

    def learn(self) -> dict[str, float]:
        f = self.fraction
        rate = min(1.0, f / 0.04 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * ramp(f, 0.04, 1.0)) + 0.002)
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.lr * rate * group["rate"]
        patches, keep, tokens, lengths = self.batch()
        s = Segments.of(len(patches), patches.shape[1], lengths, ROW_MULTIPLE)
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            images, texts, routings = self.model.encode(self.model.embed_rows(patches, keep, tokens, s), s)
        images, texts = self.gather(images), self.gather(texts)
        contrast = losses.contrastive(images, texts, self.model.logit_scale)
        parts = auxiliary(routings, s, self.args.experts)
        weights = auxiliary_weights(f)
        loss = contrast + sum(weights[name] * value for name, value in parts.items()) / self.world
        self.optimizer.zero_grad()
        loss.backward()
        self.reduce_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(math.log(10), math.log(100))
            if self.rank == 0:
                self.follow()
        self.step += 1
        self.pairs_seen += self.args.batch
        top1 = (images @ texts.T).argmax(1).eq(torch.arange(len(images))).float().mean()
        return {
            "loss": contrast.item(),
            "batch_top1": top1.item(),
            "norm": norm.item(),
            **{k: v.item() for k, v in parts.items()},
        }

    def follow(self) -> None:
        """Moves the averaged weights; they forget over about 2 % of the steps so far, 2000 steps at most."""
        pace = 1 / min(2000, max(1, 0.02 * self.step + 1))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), pace)

    def save(self) -> None:
        path = self.args.run / "checkpoint.pt"
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "elapsed": self.elapsed,
            "step": self.step,
            "pairs_seen": self.pairs_seen,
            "rng": self.pairs.rng.bit_generator.state,
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)
        export(self.average, self.args.data / "tokenizer.model", self.args.run / "model")

    def load(self) -> None:
        state = torch.load(self.args.run / "checkpoint.pt", weights_only=False)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.elapsed, self.step, self.pairs_seen = state["elapsed"], state["step"], state["pairs_seen"]
        self.pairs.rng.bit_generator.state = state["rng"]
        # Each process goes on with random numbers of its own.
        self.generator.manual_seed(hash((self.args.seed, self.rank, self.step)))
        torch.manual_seed(hash((self.args.seed, self.rank, self.step, 1)))

    def develop(self) -> dict:
        """Accuracy of the averaged weights on the Twemoji pictures kept out, among all English emoji names."""
        pairs = self.pairs
        emoji = np.flatnonzero(pairs.is_emoji)
        names = [pairs.names[c] for c in emoji]
        pixels = flatten_on_white(torch.from_numpy(pairs.pictures[pairs.dev]), self.args.size)
        target = torch.from_numpy(np.searchsorted(emoji, pairs.concept[pairs.dev]))
        images, image_routing = embed_pictures(self.average, pixels)
        texts, text_routing = embed_texts(self.average, self.tokenizer, names)
        return {**accuracy(images, texts, target), "experts": use_of_experts(image_routing, text_routing)}

    def run(self) -> None:
        args = self.args
        log = open(args.run / "log.jsonl", "a")
        saved = developed = reported = time.time()
        window: list[dict] = []
        spent: list[float] = []

        def report(row: dict) -> None:
            for out in (sys.stdout, log):
                print(json.dumps(row), file=out, flush=True)

        self.advance(0.0)
        while self.fraction < 1:
            start = time.time()
            window.append(self.learn())
            spent.append(time.time() - start)
            # A pause of the processes shows as one long step and is not counted.
            usual = sorted(spent[-50:])[len(spent[-50:]) // 2]
            self.advance(min(spent[-1], 4 * usual))
            if self.rank != 0:
                continue
            now = time.time()
            if now - reported > 20:
                mean = {k: round(sum(w[k] for w in window) / len(window), 4) for k in window[0]}
                speed = round(len(window) * args.batch / sum(spent[-len(window) :]))
                report(
                    {
                        "step": self.step,
                        "fraction": round(self.fraction, 4),
                        "pairs": self.pairs_seen,
                        "pairs_per_s": speed,
                        "eta_min": round((1 / self.fraction - 1) * self.elapsed / 60, 1),
                        "scale": round(self.model.logit_scale.exp().item(), 2),
                        **mean,
                    }
                )
                window, reported = [], now
            if now - developed > args.develop_every:
                report({"step": self.step, "fraction": round(self.fraction, 4), "dev": self.develop()})
                developed = time.time()
            if now - saved > args.save_every:
                self.save()
                saved = time.time()
        if self.rank == 0:
            self.save()
            report({"dev": self.develop()})


def work(rank: int, args) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", store=dist.FileStore(str(args.run / "store"), args.processes), rank=rank, world_size=args.processes
    )
    trainer = Trainer(args, rank)
    if args.resume and (args.run / "checkpoint.pt").exists():
        trainer.load()
    if rank == 0:
        total, pairs = sum(p.numel() for p in trainer.model.parameters()), trainer.pairs
        print(f"{total / 1e6:.2f} M parameters, {len(pairs.concepts)} concepts, {len(pairs.concept)} pictures")
    trainer.run()


def clock_time(text: str) -> float:
    hours, minutes = map(int, text.split(":"))
    return datetime.now().replace(hour=hours, minute=minutes, second=0).timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("cache"))
    parser.add_argument("--run", type=Path, default=Path("runs/pictograms"))
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument(
        "--until", type=clock_time, help="HH:MM today: end then, pauses and all, instead of after --minutes"
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--head", type=int, default=64)
    parser.add_argument("--embed", type=int, default=192)
    parser.add_argument("--size", type=int, default=60)
    parser.add_argument("--patch", type=int, default=12)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--batch", type=int, default=384)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--keep", type=float, default=0.8, help="share of the patches fed before --whole-from")
    parser.add_argument("--whole-from", type=float, default=0.8, help="share of training after which all are fed")
    parser.add_argument("--augment", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=2, help="of one thread each")
    parser.add_argument("--save-every", type=float, default=240, help="seconds")
    parser.add_argument("--develop-every", type=float, default=240, help="seconds")
    parser.add_argument("--tag", help="only shows in the process list")
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    (args.run / "store").unlink(missing_ok=True)
    torch.multiprocessing.start_processes(work, (args,), args.processes, start_method="fork")


if __name__ == "__main__":
    main()
