"""Makes the golden vectors of tests/golden/gradients: what PyTorch answers for each operation of kernels/backward.h,
forward and backward, on small random arrays, in float64; and for the tails of whole models. tests/golden/README.md
describes the files.

    python gradients.py --out ../tests/golden/gradients
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from export import load
from golden import random_items
from model import ACTIVATIONS, LIMoE, Segments
from safetensors.torch import save_file
from torch import Tensor

STARTS = [0, 1, 6, 15]  # of the packed sequences, and where the last one ends
OFFSETS = [0, 4, 4, 15]  # of the rows of three matrices


def noise(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    """float32's numbers, computed with in float64."""
    values = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.double().requires_grad_()


def stored(t: Tensor) -> Tensor:
    return (t.float() if t.is_floating_point() else t).detach().contiguous()


def integers(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def differentiate(outputs: dict[str, Tensor], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """outputs, a random d<output> of each, the inputs and their d<input>."""
    given = {f"d{name}": noise(100 + i, *y.shape).detach() for i, (name, y) in enumerate(outputs.items())}
    gradients = torch.autograd.grad(list(outputs.values()), list(inputs.values()), list(given.values()))
    return {**outputs, **given, **inputs, **{f"d{n}": g for n, g in zip(inputs, gradients)}}


def linear() -> dict[str, Tensor]:
    i = {"x": noise(1, 15, 6), "weight": noise(2, 3, 5, 6), "bias": noise(3, 3, 5)}
    parts = [slice(a, b) for a, b in zip(OFFSETS, OFFSETS[1:])]
    y = torch.cat([F.linear(i["x"][p], w, b) for p, w, b in zip(parts, i["weight"], i["bias"])])
    return {"offset": integers(OFFSETS), **differentiate({"y": y}, i)}


def activation(name: str) -> dict[str, Tensor]:
    v = noise(4, 97, scale=2.5)
    return differentiate({"y": ACTIVATIONS[name](v)}, {"v": v})


def layernorm() -> dict[str, Tensor]:
    i = {"x": noise(5, 9, 7), "weight": noise(6, 7), "bias": noise(7, 7)}
    return differentiate({"y": F.layer_norm(i["x"], (7,), i["weight"], i["bias"], 1e-5)}, i)


def attention(causal: bool, norms: bool, heads: int = 2, head: int = 5) -> dict[str, Tensor]:
    width = heads * head
    i = {"qkv": noise(8, STARTS[-1], 3 * width)}
    if norms:
        i |= {f"{of}_{what}": noise(9 + n, head) for n, (of, what) in enumerate(
            (of, what) for of in "qk" for what in ("weight", "bias"))}  # fmt: skip
    out = []
    for first, last in zip(STARTS, STARTS[1:]):
        q, k, v = i["qkv"][first:last].view(last - first, 3, heads, head).permute(1, 2, 0, 3)
        if norms:
            q = F.layer_norm(q, (head,), i["q_weight"], i["q_bias"], 1e-5)
            k = F.layer_norm(k, (head,), i["k_weight"], i["k_bias"], 1e-5)
        out.append(F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(0, 1).flatten(1))
    return {"start": integers(STARTS), **differentiate({"out": torch.cat(out)}, i)}


def attention_pool(heads: int = 2, head: int = 5) -> dict[str, Tensor]:
    i = {"query": noise(13, heads * head), "kv": noise(14, STARTS[-1], 2 * heads * head)}
    out = []
    for first, last in zip(STARTS, STARTS[1:]):
        k, v = i["kv"][first:last].view(last - first, 2, heads, head).permute(1, 2, 0, 3)
        q = i["query"].view(heads, 1, head)
        out.append(F.scaled_dot_product_attention(q, k, v).flatten())
    return {"start": integers(STARTS), **differentiate({"out": torch.stack(out)}, i)}


def mixture(top_k: int, renormalize: bool) -> dict[str, Tensor]:
    """y = sum of gate_e Expert_e(x): router, gate, experts and their sum."""
    rows, width, mlp, experts = 12, 6, 8, 4
    i = {
        "x": noise(15, rows, width), "router": noise(16, experts, width), "fc1": noise(17, experts, mlp, width),
        "fc1_bias": noise(18, experts, mlp), "fc2": noise(19, experts, width, mlp),
        "fc2_bias": noise(20, experts, width),
    }  # fmt: skip
    gates = (i["x"] @ i["router"].T).softmax(-1)
    weight, expert = gates.topk(top_k)
    if renormalize:
        weight = weight / weight.sum(-1, keepdim=True)
    each = torch.einsum("rd,emd->erm", i["x"], i["fc1"]) + i["fc1_bias"][:, None]
    each = torch.einsum("erm,edm->erd", ACTIVATIONS["gelu_tanh"](each), i["fc2"]) + i["fc2_bias"][:, None]
    y = (each.transpose(0, 1).gather(1, expert[..., None].expand(-1, -1, width)) * weight[..., None]).sum(1)
    return {"expert": expert.int(), **differentiate({"y": y}, i)}


def pool(kind: str) -> dict[str, Tensor]:
    x = noise(21, STARTS[-1], 5)
    parts = [x[first:last] for first, last in zip(STARTS, STARTS[1:])]
    take = {
        "mean": lambda p: p.mean(0),
        "rest": lambda p: p[1:].mean(0) if len(p) > 1 else p[0],
        "first": lambda p: p[0],
        "last": lambda p: p[-1],
    }[kind]
    return {"start": integers(STARTS), **differentiate({"out": torch.stack([take(p) for p in parts])}, {"x": x})}


def answer() -> dict[str, Tensor]:
    """The mean cross-entropy over scale * cosine of pictures z and classes, both normalised."""
    i = {"z": noise(22, 6, 8), "classes": noise(23, 5, 8)}
    label, scale = torch.tensor([0, 3, 1, 4, 4, 2]), 12.5
    cosine = F.normalize(i["z"], dim=-1) @ F.normalize(i["classes"], dim=-1).T
    losses = F.cross_entropy(scale * cosine, label, reduction="none")
    gradients = torch.autograd.grad(losses.mean(), list(i.values()))
    return {
        "label": label.int(), "scale": torch.tensor([scale]), "cosine": cosine, "loss": losses,
        **i, **{f"d{n}": g for n, g in zip(i, gradients)},
    }  # fmt: skip


def adamw(steps: int = 12, warm: int = 4) -> dict[str, Tensor]:
    """Weights after each of some steps with the rate rising, then falling along a cosine."""
    weight = torch.nn.Parameter(noise(24, 10).detach())
    gradient = noise(25, steps, 10, scale=0.3).detach()
    begin = weight.detach().clone()
    optimizer = torch.optim.AdamW([weight], lr=2e-2, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warm, total_iters=warm - 1)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warm, eta_min=1e-3)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], [warm - 1])
    rates, after = [], []
    for g in gradient:
        rates.append(schedule.get_last_lr()[0])
        weight.grad = g.clone()
        optimizer.step()
        schedule.step()
        after.append(weight.detach().clone())
    return {"weight": begin, "gradient": gradient, "rate": torch.tensor(rates), "after": torch.stack(after)}


def cases() -> dict[str, dict[str, Tensor]]:
    made = {"linear": linear(), "layernorm": layernorm(), "attention_pool": attention_pool(), "answer": answer()}
    made |= {f"activation-{name}": activation(name) for name in ACTIVATIONS}
    made |= {"attention": attention(False, False), "attention-causal": attention(True, False)}
    made |= {"attention-norms": attention(False, True), "attention-causal-norms": attention(True, True)}
    made |= {"mixture": mixture(1, False), "mixture-top2": mixture(2, False)}
    made |= {"mixture-top2-renormalize": mixture(2, True)}
    made |= {f"pool-{kind}": pool(kind) for kind in ("mean", "rest", "first", "last")}
    made["adamw"] = adamw()
    return made


# name -> the model's folder, the first block of the tail
TAILS = {
    "pictograms": ("models/pictograms", 4),
    "all-blocks-sparse": ("tests/golden/all-blocks-sparse", 1),
    "renormalize": ("tests/golden/top3-renormalize", 0),
    "qk-norm": ("tests/golden/qk-norm-gelu", 0),
    "quick-gelu": ("tests/golden/quick-gelu", 1),
    "answer-alone": ("tests/golden/gelu", 2),
}
IMAGES, TEXTS = 3, 4
SAMPLES = 24


def sampled(name: str, gradient: Tensor) -> dict[str, Tensor]:
    """Some elements of a parameter's gradient, evenly spread, and its norm."""
    flat = gradient.flatten()
    n = min(SAMPLES, len(flat))
    return {name: flat[torch.arange(n) * len(flat) // n], f"{name}|norm": flat.norm()[None]}


def cut(model: LIMoE, first: int) -> tuple[Tensor, Segments]:
    """The rows that enter block `first` for some pictures and texts, in float32; the model loses its trunk."""
    g = torch.Generator().manual_seed(26)
    pixels, tokens, lengths = random_items(model.config, 32 - IMAGES, g)
    segments = Segments.of(IMAGES, model.config.patches, lengths[:TEXTS])
    with torch.no_grad():
        x = model.embed_rows(model.patches(pixels), None, tokens[:TEXTS].long(), segments)
        for block in model.blocks[:first]:
            x, _ = block(x, segments)
    model.blocks = model.blocks[first:]
    return x, segments


def renumbered(name: str, first: int) -> str:
    """A parameter's name in the whole model, of whose blocks the first ones were cut off."""
    parts = name.split(".")
    if parts[0] == "blocks":
        parts[1] = str(int(parts[1]) + first)
    return ".".join(parts)


def tail(folder: Path, first: int) -> dict[str, Tensor]:
    """A batch through a model's tail: the loss of its pictures with its texts as classes, and all gradients."""
    model = load(folder)
    rows, segments = cut(model, first)
    model.double()
    label = torch.tensor([1, 3, 1])
    images, texts, _ = model.encode(rows.double(), segments)
    scale = model.logit_scale.exp().detach()
    losses = F.cross_entropy(scale * images @ texts.T, label, reduction="none")
    losses.mean().backward()
    lengths = [segments.image_length] * IMAGES + segments.text_lengths
    given = {
        "first_block": integers([first]), "images": integers([IMAGES]), "label": label.int(), "scale": scale[None],
        "start": integers([sum(lengths[:i]) for i in range(len(lengths) + 1)]), "rows": rows,
        "z": torch.cat([images, texts]), "loss": losses,
    }  # fmt: skip
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            given |= sampled(renumbered(name, first), parameter.grad)
    return given


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("../tests/golden/gradients"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    args.out.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).parents[1]
    made = cases() | {f"tail-{name}": tail(root / folder, first) for name, (folder, first) in TAILS.items()}
    for name, tensors in made.items():
        path = args.out / f"{name}.safetensors"
        save_file({k: stored(v) for k, v in tensors.items()}, path)
        path.chmod(0o644)
        print(f"{name:28s} {path.stat().st_size} bytes")
