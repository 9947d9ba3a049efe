"""The ways to learn from a few pictures a class: a linear probe, Skip Tuning, full fine-tuning.

Skip Tuning (arXiv 2412.11509) tunes the tail of the network alone and skips the rest: LSkip caches the rows that enter
the start block, CSkip leaves most classes out of most batches. Here one tower serves pictures and texts, so both share
the tail and its rate; routers and the logit scale stay as they are, and nothing adds noise to routing.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model import LIMoE, Segments

from .crops import augment, whole

KINDS = ("probe", "lskip", "cskip", "full")
WARM_UP = 5  # steps: the scale makes the first losses steep
SURE = 0.5  # CSkip: of the classes, those that every batch trains against
CHUNK = 64  # pictures in a forward pass of the trunk


@dataclass
class Options:
    kind: str = "lskip"
    start_block: int = 4
    rate: float = 5e-4
    epochs: int = 10
    batch: int = 32
    decay: float = 0.01
    seed: int = 0
    flip: bool = False
    colours: bool = True
    views: int = 4  # probe: embeddings of each picture, one of it whole and the others of crops
    steps: int = 200  # probe: full-batch steps


@dataclass
class Rows:
    """What enters a block: of pictures [I, n, d], of texts packed [R, d] with where each lies."""

    images: Tensor
    texts: Tensor
    lengths: Tensor


class Network:
    """A model as trunk and tail. Start block 0 has an empty trunk: the rows are what the embedding gives."""

    def __init__(self, model: LIMoE, tokenizer, start_block: int):
        if not 0 <= start_block < model.config.blocks:
            raise ValueError(f"start block {start_block}: this model has blocks 0 to {model.config.blocks - 1}")
        self.model, self.tokenizer, self.start = model.eval(), tokenizer, start_block
        self.size = model.config.image["size"]

    def tail_names(self) -> list[str]:
        """The tensors that tuning from the start block changes."""
        last = ("ln.", "image.proj.", "text.proj.")
        return [
            name
            for name, _ in self.model.named_parameters()
            if (name.startswith("blocks.") and int(name.split(".")[1]) >= self.start and "router" not in name)
            or name.startswith(last)
        ]

    def prompts(self, labels: list[str], templates: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids [labels * templates, length] and lengths, a label's templates next to each other."""
        texts = [template.replace("{}", label) for label in labels for template in templates]
        ids, lengths = self.tokenizer.encode_padded(texts)
        return torch.from_numpy(ids).long(), torch.from_numpy(lengths).long()

    def through(self, x: Tensor, s: Segments, blocks: range) -> Tensor:
        for i in blocks:
            x, _ = self.model.blocks[i](x, s)
        return x

    def image_trunk(self, pixels: Tensor) -> Tensor:
        """uint8 [I, size, size, 3] -> rows of the start block [I, n, d]."""
        n, none = self.model.config.patches, torch.zeros(0, dtype=torch.long)
        rows = []
        for some in pixels.split(CHUNK):
            s = Segments.of(len(some), n, none)
            x = self.model.embed_rows(self.model.patches(some), None, none, s)
            rows.append(self.through(x, s, range(self.start)).view(len(some), n, -1))
        return torch.cat(rows)

    def text_trunk(self, ids: Tensor, lengths: Tensor) -> Tensor:
        s = Segments.of(0, 0, lengths)
        return self.through(self.model.embed_rows(None, None, ids, s), s, range(self.start))

    def tail(self, images: Tensor, texts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the start block -> embeddings of unit length: [I, embed], [T, embed]."""
        s = Segments.of(len(images), self.model.config.patches, lengths)
        x = torch.cat([images.reshape(-1, self.model.config.width), texts])
        x = self.model.ln(self.through(x, s, range(self.start, self.model.config.blocks)))
        of_images = x[: s.image_rows].view(s.images, -1, x.shape[-1]).mean(1) if s.images else x[:0]
        item = torch.arange(len(lengths)).repeat_interleave(lengths)
        sums = x.new_zeros(len(lengths), x.shape[1]).index_add(0, item, x[s.image_rows :])
        of_texts = sums / lengths[:, None]
        return (
            F.normalize(self.model.image.proj(of_images), dim=-1),
            F.normalize(self.model.text.proj(of_texts), dim=-1),
        )

    @torch.no_grad()
    def embed(self, rows: Tensor) -> Tensor:
        """Rows of pictures -> embeddings, by the tail as it is now."""
        none = torch.zeros(0, dtype=torch.long)
        empty = torch.zeros(0, self.model.config.width)
        return torch.cat([self.tail(some, empty, none)[0] for some in rows.split(CHUNK)])

    @torch.no_grad()
    def prototypes(self, texts: Tensor, lengths: Tensor, templates: int) -> Tensor:
        """Rows of prompts -> a unit vector a label, the mean of its templates."""
        none = torch.zeros(0, self.model.config.patches, self.model.config.width)
        return mean_of_templates(self.tail(none, texts, lengths)[1], templates)


def mean_of_templates(embeddings: Tensor, templates: int) -> Tensor:
    if templates == 1:
        return embeddings
    return F.normalize(embeddings.view(-1, templates, embeddings.shape[-1]).mean(1), dim=-1)


def schedule(step: int, steps: int, warm_up: int = WARM_UP) -> float:
    """The share of the rate at a step: a line up, then a half cosine down to nothing."""
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))


def survivors(similarity: Tensor, target: Tensor, ratio: float, rng: np.random.Generator) -> Tensor:
    """CSkip: the classes that a batch trains against, ascending. similarity [B, C] of its pictures with zero-shot prototypes.

    Classes are ranked by their nearest picture, the true ones first. The first K = min(ceil(ratio C), 50) stay; of the
    others, one at position x of linspace(0, 5) stays with the probability exp(-0.3 x), rescaled to [0, 1].
    """
    classes = similarity.shape[1]
    nearest = similarity.max(0).values.clone()
    nearest[target] = math.inf
    order = nearest.argsort(descending=True, stable=True).numpy()
    sure = max(min(math.ceil(ratio * classes), 50), len(torch.unique(target)))
    rest = order[sure:]
    density = np.exp(-0.3 * np.linspace(0, 5, len(rest)))
    span = density.max() - density.min() if len(rest) else 0.0
    chance = (density - density.min()) / span if span > 0 else np.ones(len(rest))
    kept = np.concatenate([order[:sure], rest[rng.random(len(rest)) < chance]])
    return torch.from_numpy(np.sort(kept)).long()


def tune(
    network: Network, pixels: Tensor, target: Tensor, labels: list[str], templates: list[str], o: Options, tell=None
) -> dict[str, Tensor]:
    """Skip Tuning, with or without CSkip, or full fine-tuning. Changes network.model; returns {name: tuned tensor}.

    pixels uint8 [N, S, S, 3]; target [N]. Cross-entropy of exp(scale) cos(picture, prompt of the class).
    """
    full = o.kind == "full"
    parameters = trained(network, full)
    optimizer = optimizer_of(parameters, o)
    g = torch.Generator().manual_seed(o.seed)
    prompts = Prompts(network, labels, templates, o)
    steps, step = o.epochs * math.ceil(len(target) / o.batch), 0
    for epoch in range(o.epochs):
        seen = augment(pixels, network.size, o.flip, g, o.colours)
        if not full:
            with torch.no_grad():
                seen = network.image_trunk(seen)  # from here on rows of the start block
        total = 0.0
        for rows in torch.randperm(len(target), generator=g).split(o.batch):
            for group in optimizer.param_groups:
                group["lr"] = o.rate * schedule(step, steps)
            images = network.image_trunk(seen[rows]) if full else seen[rows]
            loss = prompts.loss(images, target[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            total += loss.item() * len(rows)
        if tell:
            tell(epoch, total / len(target))
    network.model.requires_grad_(False)
    return {name: p.detach().clone() for name, p in parameters.items()}


def trained(network: Network, full: bool) -> dict[str, Tensor]:
    """The parameters that take a gradient: those of the tail, or all. Routers and the logit scale never do."""
    parameters = dict(network.model.named_parameters())
    everything = [name for name in parameters if "router" not in name and name != "logit_scale"]
    names = everything if full else network.tail_names()
    for name, p in parameters.items():
        p.requires_grad_(name in names)
    return {name: parameters[name] for name in names}


def optimizer_of(parameters: dict[str, Tensor], o: Options) -> torch.optim.Optimizer:
    """AdamW; vectors are not decayed."""
    matrices, vectors = [], []
    for p in parameters.values():
        (matrices if p.dim() >= 2 else vectors).append(p)
    groups = [{"params": matrices, "weight_decay": o.decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=o.rate)


class Prompts:
    """The classes' prompts: rows that enter the start block, computed once where the trunk stays as it is; and the loss."""

    def __init__(self, network: Network, labels: list[str], templates: list[str], o: Options):
        self.network, self.count = network, len(templates)
        self.ids, self.lengths = network.prompts(labels, templates)
        self.every = torch.arange(len(labels))
        self.rng = np.random.default_rng(o.seed)
        self.scale = network.model.logit_scale.exp().detach()
        with torch.no_grad():
            self.rows = None if o.kind == "full" else network.text_trunk(self.ids, self.lengths)
            self.zero_shot = network.prototypes(self.rows, self.lengths, self.count) if o.kind == "cskip" else None

    def loss(self, images: Tensor, target: Tensor) -> Tensor:
        """images: rows of the start block [B, n, d]."""
        classes = self.every
        if self.zero_shot is not None:
            classes = survivors(self.network.embed(images) @ self.zero_shot.T, target, SURE, self.rng)
        rows = self.network.text_trunk(self.ids, self.lengths) if self.rows is None else self.rows
        rows, lengths = of_classes(rows, self.lengths, classes, self.count)
        of_images, of_texts = self.network.tail(images, rows, lengths)
        logits = self.scale * of_images @ mean_of_templates(of_texts, self.count).T
        return F.cross_entropy(logits, torch.searchsorted(classes, target))


def of_classes(texts: Tensor, lengths: Tensor, classes: Tensor, templates: int) -> tuple[Tensor, Tensor]:
    """The packed rows of some classes' prompts, and their lengths."""
    if len(classes) * templates == len(lengths):
        return texts, lengths
    prompts = (classes[:, None] * templates + torch.arange(templates)).flatten()
    ends = lengths.cumsum(0)
    rows = torch.cat([torch.arange(ends[p] - lengths[p], ends[p]) for p in prompts.tolist()])
    return texts[rows], lengths[prompts]


def probe(
    network: Network, pixels: Tensor, target: Tensor, labels: list[str], templates: list[str], o: Options, tell=None
):
    """A linear layer on the embedding: {"probe.weight": [C, embed], "probe.bias": [C]}.

    It begins as the zero-shot classifier, weight = exp(scale) times the prototypes and no bias, so that one picture a
    class moves it little; all views of all pictures in each step, AdamW.
    """
    g = torch.Generator().manual_seed(o.seed)
    views = [whole(pixels, network.size)] + [
        augment(pixels, network.size, o.flip, g, o.colours) for _ in range(o.views - 1)
    ]
    with torch.no_grad():
        x = torch.cat([network.embed(network.image_trunk(view)) for view in views])
    y = target.repeat(len(views))
    weight, bias = zero_shot_probe(network, labels, templates)
    weight.requires_grad_(True), bias.requires_grad_(True)
    optimizer = torch.optim.AdamW([weight, bias], lr=o.rate, weight_decay=0.0)
    for step in range(o.steps):
        for group in optimizer.param_groups:
            group["lr"] = o.rate * schedule(step, o.steps)
        loss = F.cross_entropy(x @ weight.T + bias, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if tell and step % 20 == 19:
            tell(step, loss.item())
    return {"probe.weight": weight.detach(), "probe.bias": bias.detach()}


def learn(
    network: Network, pixels: Tensor, target: Tensor, labels, templates, o: Options, tell=None
) -> dict[str, Tensor]:
    """By whichever kind the options name."""
    return (probe if o.kind == "probe" else tune)(network, pixels, target, labels, templates, o, tell)


@torch.no_grad()
def zero_shot_probe(network: Network, labels: list[str], templates: list[str]) -> tuple[Tensor, Tensor]:
    """The probe that answers as the base model does."""
    ids, lengths = network.prompts(labels, templates)
    prototypes = network.prototypes(network.text_trunk(ids, lengths), lengths, len(templates))
    return network.model.logit_scale.exp() * prototypes, torch.zeros(len(labels))


@torch.no_grad()
def interpolate(model: LIMoE, base: dict[str, Tensor], tuned: dict[str, Tensor], strength: float) -> None:
    """Puts (1 - strength) base + strength tuned into the model; at 0 and 1 the bits of either."""
    parameters = dict(model.named_parameters())
    for name, of_base in base.items():
        if strength in (0.0, 1.0):
            parameters[name].copy_(tuned[name] if strength else of_base)
        else:
            parameters[name].copy_(of_base + strength * (tuned[name] - of_base))
