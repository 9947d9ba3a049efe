"""PyTorch as the engine's peer: times a limoe-1 directory in the reference model, as fast as PyTorch reasonably gets.

One picture at a time and in a batch: from pixels of image.size to the embedding, float32 and bfloat16, eager and
compiled. In bfloat16 the weights are bfloat16, the router float32, as the engine has it. Prints one JSON object.

    python peer.py --model DIR --threads 2
    python peer.py --model DIR --device cuda --dtype bfloat16 --mode eager compiled graphs --moe grouped grouped_mm

On a GPU pixels come from pinned memory and embeddings go back to the host, both timed, as the engine does it.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export import load
from model import ACTIVATIONS, LIMoE


# PyTorch has had it under both names; without either, "grouped_mm" is refused.
grouped_product = getattr(F, "grouped_mm", getattr(torch, "_grouped_mm", None))
MODES = {
    "eager": lambda model: model,
    "compiled": lambda model: torch.compile(model, dynamic=False),
    "graphs": lambda model: torch.compile(model, dynamic=False, mode="reduce-overhead"),
}


class Encoder(nn.Module):
    """One modality's path of the reference without what only training needs: fused attention, weights laid out for
    inference, and an MoE in one of four ways: "grouped", expert by expert; "gathered", the same without a word to the
    host, for exporters; "dense", which a compiler can see through; "grouped_mm", PyTorch's own grouped product.

    Pictures are pixels as they come, uint8 [I, size, size, 3]; texts token ids [T, n], all of n tokens."""

    def __init__(self, model: LIMoE, dtype: torch.dtype, moe: str = "grouped", modality: str = "image"):
        super().__init__()
        c = model.config
        self.config, self.way, self.dtype, self.modality = c, moe, dtype, modality
        self.activation = ACTIVATIONS[c.activation]
        self.blocks, self.ln = model.blocks.to(dtype), model.ln.to(dtype)
        if modality == "image":
            self.fold(model)
        else:
            self.register_buffer("token", model.text.token.to(dtype))
            self.register_buffer("bias", model.text.pos.to(dtype))
        self.register_buffer("proj", getattr(model, modality).proj.weight.to(dtype))
        for block in self.blocks:
            if block.sparse:
                block.router = block.moe.router.weight.float()
                if moe == "gathered":
                    self.part(block.moe)

    def fold(self, model: LIMoE) -> None:
        """Normalisation into the patch layer."""
        c = self.config
        mean, std = (torch.tensor(c.image[k]).repeat(c.image["patch"] ** 2) for k in ("mean", "std"))
        weight = model.image.patch.weight.float()
        self.register_buffer("patch_weight", (weight / (255 * std)).to(self.dtype))
        self.register_buffer(
            "bias", (model.image.patch.bias.float() - weight @ (mean / std) + model.image.pos.float()).to(self.dtype)
        )

    @staticmethod
    def part(moe) -> None:
        """Each expert's matrices by themselves, as quantisers look for them."""
        for fc in (moe.fc1, moe.fc2):
            layers = []
            for weight, bias in zip(fc.weight.detach(), fc.bias.detach()):
                layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
                layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
                layers.append(layer)
            fc.parts = nn.ModuleList(layers)
            fc.weight = fc.bias = None

    def rows(self, x: Tensor) -> Tensor:
        if self.modality == "text":
            return F.embedding(x, self.token) + self.bias[: x.shape[1]]
        c = self.config.image
        p, side = c["patch"], c["size"] // c["patch"]
        x = x.view(-1, side, p, side, p, 3).transpose(2, 3).reshape(-1, side * side, p * p * 3)
        return F.linear(x.to(self.dtype), self.patch_weight) + self.bias

    def forward(self, x: Tensor) -> Tensor:
        x = self.rows(x)
        for block in self.blocks:
            x = x + self.attention(block.attn, block.ln1(x))
            y = block.ln2(x)
            x = x + (self.moe(block, y) if block.sparse else block.mlp(y))
        return F.normalize(F.linear(self.ln(x).mean(1), self.proj).float(), dim=-1)

    def attention(self, attn, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = attn.qkv(x).view(b, n, 3, attn.heads, attn.head).permute(2, 0, 3, 1, 4)
        if attn.q_norm is not None:
            q, k = attn.q_norm(q), attn.k_norm(k)
        return attn.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))

    def moe(self, block, x: Tensor) -> Tensor:
        moe, shape = block.moe, x.shape
        x = x.flatten(0, 1)
        gates = F.linear(x.float(), block.router).softmax(-1)
        weight, expert = gates.topk(moe.top_k)
        if moe.renormalize:
            weight = weight / weight.sum(-1, keepdim=True)
        if self.way == "grouped_mm":
            return self.grouped_mm(moe, x, weight, expert).view(shape)
        if self.way == "gathered":
            return self.gathered(moe, x, weight, expert).view(shape)
        if self.way == "dense":
            # Every expert on every row as two batched products: more arithmetic, no data-dependent shapes.
            hidden = self.activation(
                torch.baddbmm(moe.fc1.bias[:, None], x.expand(moe.experts, -1, -1), moe.fc1.weight.transpose(1, 2))
            )
            y = torch.baddbmm(moe.fc2.bias[:, None], hidden, moe.fc2.weight.transpose(1, 2))
            mix = torch.zeros_like(gates).scatter(1, expert, weight).to(x.dtype)
            return torch.einsum("re,erd->rd", mix, y).view(shape)
        return self.grouped(moe, x, weight, expert).view(shape)

    def grouped_mm(self, moe, x: Tensor, weight: Tensor, expert: Tensor) -> Tensor:
        """Two products over all experts' rows, whose counts stay on the device."""
        chosen, order = expert.flatten().sort(stable=True)
        rows = order // moe.top_k
        last = torch.arange(moe.experts, device=x.device, dtype=chosen.dtype)
        end = torch.searchsorted(chosen, last, right=True).to(torch.int32)
        hidden = self.activation(
            grouped_product(x[rows], moe.fc1.weight.transpose(1, 2), offs=end) + moe.fc1.bias[chosen]
        )
        y = grouped_product(hidden, moe.fc2.weight.transpose(1, 2), offs=end) + moe.fc2.bias[chosen]
        return torch.zeros_like(x).index_add_(0, rows, y * weight.flatten()[order, None].to(y.dtype))

    def gathered(self, moe, x: Tensor, weight: Tensor, expert: Tensor) -> Tensor:
        """Expert by expert, each taking its rows out and adding what it makes of them."""
        y = torch.zeros_like(x)
        for e, (fc1, fc2) in enumerate(zip(moe.fc1.parts, moe.fc2.parts)):
            for k in range(moe.top_k):
                rows = (expert[:, k] == e).nonzero().squeeze(1)
                answer = fc2(self.activation(fc1(x[rows]))) * weight[rows, k, None].to(x.dtype)
                y = y.index_add(0, rows, answer)
        return y

    @torch.compiler.disable  # expert counts change from call to call, and a compiler would compile for each
    def grouped(self, moe, x: Tensor, weight: Tensor, expert: Tensor) -> Tensor:
        chosen, order = expert.flatten().sort(stable=True)
        rows = order // moe.top_k
        counts = torch.bincount(chosen, minlength=moe.experts).tolist()
        outputs = []
        for e, batch in enumerate(x[rows].split(counts)):
            if len(batch):
                hidden = self.activation(F.linear(batch, moe.fc1.weight[e], moe.fc1.bias[e]))
                outputs.append(F.linear(hidden, moe.fc2.weight[e], moe.fc2.bias[e]))
        y = torch.cat(outputs) * weight.flatten()[order, None].to(x.dtype)
        return torch.zeros_like(x).index_add_(0, rows, y)


def median_ms(forward, pixels: Tensor, seconds: float) -> float:
    """Different pictures from call to call, as a server sees; the median of single calls."""
    for i in range(20):
        forward(pixels[i % len(pixels)])
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 10:
        start = time.perf_counter()
        forward(pixels[len(times) % len(pixels)])
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def measure(args, batch: int, dtype: str, mode: str, moe: str, pixels: Tensor, reference: Tensor) -> dict:
    """One variant, from pixels on the host to embeddings on the host."""
    model = Encoder(load(args.model), getattr(torch, dtype), moe).eval()
    compute = MODES[mode](model)
    device = torch.device(args.device)

    def forward(pictures: Tensor) -> Tensor:
        return compute(pictures.to(device, non_blocking=True)).cpu()

    answer = forward(pixels[0])
    ms = median_ms(forward, pixels, args.seconds)
    return {
        "batch": batch, "dtype": dtype, "mode": mode, "moe": moe, "median_ms": round(ms, 3),
        "images_per_s": round(1000 * batch / ms, 1),
        "least_cosine_to_reference": round((answer * reference).sum(-1).min().item(), 5),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--mode", nargs="+", choices=list(MODES), default=["eager", "compiled"])
    parser.add_argument("--moe", nargs="+", choices=["grouped", "dense", "grouped_mm"], default=["grouped", "dense"])
    parser.add_argument("--seconds", type=float, default=3, help="of timing for each variant")
    args = parser.parse_args()
    if "grouped_mm" in args.moe and grouped_product is None:
        parser.error("this PyTorch has no grouped_mm")
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)
    torch.manual_seed(0)
    size = load(args.model).config.image["size"]
    variants = []
    for batch in args.batch:
        pixels = torch.randint(0, 256, (8, batch, size, size, 3), dtype=torch.uint8, device="cpu")
        if args.device != "cpu":
            pixels = pixels.pin_memory()
        with torch.inference_mode():
            reference = load(args.model)(pixels[0].to(args.device), torch.zeros(0, 1), torch.zeros(0))[0].cpu()
            for dtype in args.dtype:
                for mode in args.mode:
                    for moe in args.moe:
                        try:
                            variants.append(measure(args, batch, dtype, mode, moe, pixels, reference))
                        except RuntimeError as error:  # a compiler or a product that this machine lacks
                            print(f"{dtype}, {mode}, {moe}: {str(error).splitlines()[0]}", file=sys.stderr)
    best = {
        str(b): min(of_batch, key=lambda v: v["median_ms"])
        for b in args.batch
        if (of_batch := [v for v in variants if v["batch"] == b])
    }
    print(
        json.dumps({"torch": torch.__version__, "threads": args.threads, "variants": variants, "best": best}, indent=1)
    )


if __name__ == "__main__":
    main()
