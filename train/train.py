"""Trains LIMoE by a recipe of recipes/, and can go on from its last checkpoint.

The schedules follow the share of the time that is used up, not steps: on a machine that others use too, the run still
ends annealed when it should. A stopped process (SIGSTOP) does not age. A run that may last as long as it likes follows
the share of a number of pairs instead (--pairs).

Work is split over processes of one thread each: they meet twice a step, where threads would meet at every operator,
which costs dearly when a core is taken away for a moment.

    python train.py --recipe pictograms --data DIR --run DIR --minutes 90 [--resume]
"""

import argparse
import json
import math
import signal
import sys
import time
import tomllib
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

import losses
from augment import augment, flatten_on_white
from evaluate import accuracy, embed_pictures, embed_texts, use_of_experts
from export import export, load
from grow import grow
from model import ROW_MULTIPLE, Config, LIMoE, Routing, Segments
from pairs import Pairs
from scene_pairs import ScenePairs
from tokenizer import EOS_ID, PAD_ID, Tokenizer


def config_of(args, vocab: int) -> Config:
    return Config(
        name=args.name, width=args.width, blocks=args.blocks, heads=args.width // args.head, mlp=4 * args.width,
        embed=args.embed,
        image={"size": args.size, "patch": args.patch, "mean": [0.5] * 3, "std": [0.5] * 3,
               "resize": "pad", "background": [255] * 3},
        text={"vocab": vocab, "length": args.length, "eos_id": EOS_ID, "pad_id": PAD_ID, "pad": "ignore"},
        moe={"blocks": list(range(1, args.blocks, 2)), "experts": args.experts, "top_k": 1, "renormalize": False},
    )  # fmt: skip


PLAIN = 0.05  # a patch each of whose channels stays within this much, of 2, shows nothing but background
RECIPES = Path(__file__).parent / "recipes"


def ramp(x: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (x - low) / (high - low)))


def plain(patches: Tensor) -> Tensor:
    """[B, n, p * p * 3] -> whether each patch is of one colour, whichever: bool [B, n]."""
    pixels = patches.unflatten(-1, (-1, 3))
    return (pixels.amax(2) - pixels.amin(2)).amax(-1) < PLAIN


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


def auxiliary_weights(f: float, begun: bool) -> dict[str, float]:
    """f: share of training done. The entropy losses come in once the router has something to say: at once where the run
    began from a trained model."""
    late = 1.0 if begun else ramp(f, 0.05, 0.25)
    return {
        "importance": 0.01, "load": 0.01, "z": 1e-4, "local_image": 0.01 * late, "local_text": 0.02 * late,
        "global_image": 0.02 + 0.05 * late, "global_text": 0.02 + 0.05 * late,
    }  # fmt: skip


class Trainer:
    def __init__(self, args, rank: int):
        self.args, self.rank, self.world = args, rank, args.processes
        torch.manual_seed(args.seed)  # the same weights in every process
        self.tokenizer_path = (args.start or args.data) / "tokenizer.model"
        self.tokenizer = Tokenizer(self.tokenizer_path, args.length)
        self.pairs = Pairs(args.data, self.tokenizer, args.seed)
        # Of a batch so many are scenes; each process makes its own.
        self.scenes = round(args.scenes * args.batch) // self.world * self.world
        self.singles = args.batch - self.scenes
        self.scene_pairs = ScenePairs(args.data, self.tokenizer, args.seed, args.size) if self.scenes else None
        self.model = LIMoE(config_of(args, self.tokenizer.pieces.vocab_size()))
        if args.start:
            grow(self.model, load(args.start))
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
        done = self.pairs_seen / self.args.pairs if self.args.pairs else self.elapsed / total
        clock = torch.tensor([self.elapsed, min(1.0, done)], dtype=torch.float64)
        dist.broadcast(clock, 0)
        self.elapsed, self.fraction = clock.tolist()

    def batch(self) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """patches [B, m, p * p * 3], which patches they are [B, m] or None for all, tokens, lengths: of single
        pictures, then of scenes. After the texts of all pictures come the scenes' untrue sentences."""
        args, pairs = self.args, self.pairs
        mine = slice(self.rank, None, self.world)
        pictures, captions = (a[mine] for a in pairs.draw(self.singles))  # the draw is the same in every process
        rgb = augment(
            torch.from_numpy(pairs.pictures[pictures]),
            *(torch.from_numpy(a) for a in (pairs.mono[pictures], pairs.flag[pictures], pairs.mirror[pictures])),
            self.model.config.image["size"], self.generator, args.augment,
        )  # fmt: skip
        tokens, lengths = pairs.tokens[captions], pairs.lengths[captions]
        if self.scenes:
            pixels, sentences, wrong = self.scene_pairs.draw(
                self.step * self.scenes + self.rank, self.world, self.scenes // self.world
            )
            rgb = torch.cat([rgb, torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255])
            more, longer = self.tokenizer.encode_padded(sentences + wrong)
            tokens, lengths = np.concatenate([tokens, more]), np.concatenate([lengths, longer])
        patches, keep = self.cut(rgb)
        return patches, keep, torch.from_numpy(tokens).long(), torch.from_numpy(lengths).long()

    def cut(self, rgb: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pictures as normalised patches, of which training drops some before --whole-from."""
        args, p = self.args, self.args.patch
        side = args.size // p
        patches = (
            (rgb * 2 - 1).view(-1, 3, side, p, side, p).permute(0, 2, 4, 3, 5, 1).reshape(len(rgb), side * side, -1)
        )
        if self.fraction >= args.whole_from or args.keep >= 1:
            return patches, None
        order = torch.rand(len(rgb), side * side, generator=self.generator)
        if args.content_first:
            order = order + plain(patches)
        keep = order.argsort(-1)[:, : round(args.keep * side * side)]
        return patches.gather(1, keep[:, :, None].expand(-1, -1, patches.shape[-1])), keep

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
        warm = self.args.warm_up
        rate = min(1.0, f / warm + 0.02) * (0.5 + 0.5 * math.cos(math.pi * ramp(f, warm, 1.0)) + 0.002)
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.lr * rate * group["rate"]
        patches, keep, tokens, lengths = self.batch()
        s = Segments.of(len(patches), patches.shape[1], lengths, ROW_MULTIPLE)
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            images, texts, routings = self.model.encode(self.model.embed_rows(patches, keep, tokens, s), s)
        texts, wrong = texts[: len(images)], texts[len(images) :]
        images, texts = self.gather(images), self.gather(texts)
        wrong = self.gather(wrong) if self.scenes else None
        contrast = losses.contrastive(images, texts, self.model.logit_scale, wrong)
        parts = auxiliary(routings, s, self.args.experts)
        weights = auxiliary_weights(f, self.args.start is not None)
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
        return {
            "loss": contrast.item(),
            **self.told_apart(images, texts, wrong),
            "norm": norm.item(),
            **{k: v.item() for k, v in parts.items()},
        }

    @torch.no_grad()
    def told_apart(self, images: Tensor, texts: Tensor, wrong: Tensor | None) -> dict[str, float]:
        """How well the batch is told apart: single pictures among themselves, so that recipes with and without scenes
        can be compared, and scenes among scenes, with how often the true sentence beats its untrue one."""

        def top1(a: Tensor, b: Tensor) -> float:
            return (a @ b.T).argmax(1).eq(torch.arange(len(a))).float().mean().item()

        # The batch is each process's single pictures and scenes in turn.
        scene = (torch.arange(self.singles + self.scenes) % (len(images) // self.world)) >= self.singles // self.world
        found = {"batch_top1": top1(images[~scene], texts[~scene])}
        if wrong is not None:
            found["loss_singles"] = losses.contrastive(images[~scene], texts[~scene], self.model.logit_scale).item()
            found["scenes_top1"] = top1(images[scene], texts[scene])
            margin = (images[scene] * (texts[scene] - wrong)).sum(-1)
            found["scenes_true"] = (margin > 0).float().mean().item()
        return found

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
        export(self.average, self.tokenizer_path, self.args.run / "model")

    def resume(self) -> None:
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
    # PyTorch has the kernel send this when the first process dies. A shell's background jobs ignore it, and would train
    # on, over the checkpoints of whoever resumes.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(str(args.run / "store"), args.processes),
        rank=rank,
        world_size=args.processes,
        timeout=timedelta(days=30),  # the other process may be stopped for as long as its owner likes
    )
    trainer = Trainer(args, rank)
    if args.resume and (args.run / "checkpoint.pt").exists():
        trainer.resume()
    if rank == 0:
        total, pairs = sum(p.numel() for p in trainer.model.parameters()), trainer.pairs
        print(f"{total / 1e6:.2f} M parameters, {len(pairs.concepts)} concepts, {len(pairs.concept)} pictures")
    trainer.run()


def clock_time(text: str) -> float:
    hours, minutes = map(int, text.split(":"))
    return datetime.now().replace(hour=hours, minute=minutes, second=0).timestamp()


def read_recipe(name: str, options: set[str]) -> dict:
    """The values of recipes/NAME.toml, all of which must be options."""
    path = RECIPES / f"{name}.toml"
    if not path.is_file():
        raise SystemExit(
            f"train.py: no recipe {name!r}; there are {', '.join(sorted(p.stem for p in RECIPES.glob('*.toml')))}"
        )
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    if unknown := values.keys() - options:
        raise SystemExit(f"train.py: {path}: {', '.join(sorted(unknown))}: no such option of train.py")
    return {key: Path(value) if key in ("run", "start") else value for key, value in values.items()}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command's options over the recipe's values over the defaults."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default="pictograms", help="a file of recipes/, without .toml (default pictograms)")
    parser.add_argument("--name", default="pictograms", help="of the model")
    parser.add_argument("--data", type=Path, default=Path("cache"))
    parser.add_argument("--run", type=Path, default=Path("runs/pictograms"))
    parser.add_argument(
        "--start", type=Path, help="folder of a model to start from, see grow.py; its tokenizer is used"
    )
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--pairs", type=int, help="end after so many, instead of after --minutes")
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
    parser.add_argument("--length", type=int, default=16, help="pieces of a text at most")
    parser.add_argument("--batch", type=int, default=384)
    parser.add_argument("--scenes", type=float, default=0.0, help="share of a batch that are scenes")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warm-up", type=float, default=0.04, help="share of training in which the rate rises")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--keep", type=float, default=0.8, help="share of the patches fed before --whole-from")
    parser.add_argument("--content-first", action="store_true", help="of the patches, drop plain background first")
    parser.add_argument("--whole-from", type=float, default=0.8, help="share of training after which all are fed")
    parser.add_argument("--augment", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=2, help="of one thread each")
    parser.add_argument("--save-every", type=float, default=240, help="seconds")
    parser.add_argument("--develop-every", type=float, default=240, help="seconds")
    parser.add_argument("--tag", help="only shows in the process list")
    known = parser.parse_known_args(argv)[0]
    parser.set_defaults(**read_recipe(known.recipe, set(vars(known)) - {"recipe"}))
    return parser.parse_args(argv)


def main() -> None:
    args = arguments()
    args.run.mkdir(parents=True, exist_ok=True)
    (args.run / "store").unlink(missing_ok=True)
    torch.multiprocessing.start_processes(work, (args,), args.processes, start_method="fork")


if __name__ == "__main__":
    main()
