"""What a limoe-2 model answers, from the formulas, in float64: nothing here is shared with the engine or with train/.

    x = patches W + b (+ class token) + positions, or tokens + positions;  x = LN(x) with pre_norm
    x += Attention(LN(x));  x += MLP(LN(x)), or in a MoE block the sum over the k largest of softmax(LN(x) Wr)
    z = pooled LN(x), projected,  z / |z|

arXiv 2010.11929 (ViT), 2103.00020 (CLIP), 2106.05974 (V-MoE), 2303.15343 (SigLIP: its head pools by attention).
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

STORED = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I32": "<i4", "U8": "u1"}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor; what is a fraction in float64."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[start + begin : start + end], STORED[entry["dtype"]]).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        found[name] = values.astype(np.float64) if values.dtype.kind == "f" else values
    return found


def layernorm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
}


def attend(q, k, v, causal):
    """[heads, rows, size] each."""
    logits = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
    if causal:
        logits = np.where(np.tril(np.ones(logits.shape[-2:], bool)), logits, -np.inf)
    return softmax(logits) @ v


def choose(logits, top_k, renormalize):
    """Experts by falling gate, ties to the lower index, and the gates; then how far the choice was from another."""
    gates = softmax(logits)
    order = np.argsort(-gates, axis=-1, kind="stable")
    kept = np.take_along_axis(gates, order[:, :top_k], -1)
    ranked = np.take_along_axis(gates, order, -1)[:, : top_k + 1]
    nearest = (ranked[:, :-1] - ranked[:, 1:]).min() if ranked.shape[1] > 1 else 1.0
    return order[:, :top_k], kept / kept.sum(-1, keepdims=True) if renormalize else kept, nearest


@dataclass
class Routing:
    """One item's: (layer, experts [rows, top_k], gates) of each MoE layer that it passed."""

    layers: list = field(default_factory=list)
    nearest: float = 1.0


class Model:
    def __init__(self, config: dict, tensors: dict[str, np.ndarray]):
        self.config, self.tensors = config, tensors
        self.moe = config.get("moe")
        image = (self.moe or {}).get("image", [])
        self.experts = {"image": image, "text": (self.moe or {}).get("text", [])}
        self.first_layer = {"image": 0, "text": len(image)}
        self.layers = len(image) + len(self.experts["text"])

    @classmethod
    def load(cls, folder: Path) -> "Model":
        return cls(json.loads((folder / "config.json").read_text()), read_safetensors(folder / "model.safetensors"))

    def linear(self, name, x):
        return x @ self.tensors[name + ".weight"].T + self.tensors.get(name + ".bias", 0)

    def norm(self, name, x, tower):
        eps = tower.get("ln_eps", 1e-6)
        return layernorm(x, self.tensors[name + ".weight"], self.tensors[name + ".bias"], eps)

    def attention(self, name, x, tower):
        heads = tower["heads"]
        q, k, v = (
            part.reshape(len(x), heads, -1).transpose(1, 0, 2)
            for part in np.split(self.linear(name + ".qkv", x), 3, -1)
        )
        if tower.get("qk_norm"):
            q, k = self.norm(name + ".q_norm", q, tower), self.norm(name + ".k_norm", k, tower)
        mixed = attend(q, k, v, tower.get("causal", False))
        return self.linear(name + ".out", mixed.transpose(1, 0, 2).reshape(len(x), -1))

    def mlp(self, name, x, tower):
        return self.linear(
            name + ".fc2", ACTIVATIONS[tower.get("activation", "gelu_tanh")](self.linear(name + ".fc1", x))
        )

    def mixture(self, name, x, tower, routing):
        t = self.tensors
        act = ACTIVATIONS[tower.get("activation", "gelu_tanh")]
        renormalize = self.moe.get("renormalize", False)
        expert, gate, nearest = choose(x @ t[name + ".router.weight"].T, self.moe["top_k"], renormalize)
        routing.nearest = min(routing.nearest, nearest)
        out = np.zeros_like(x)
        for row, (experts, gates) in enumerate(zip(expert, gate)):
            for e, g in zip(experts, gates):
                hidden = act(t[name + ".fc1.weight"][e] @ x[row] + t[name + ".fc1.bias"][e])
                out[row] += g * (t[name + ".fc2.weight"][e] @ hidden + t[name + ".fc2.bias"][e])
        return out, expert, gate

    def blocks(self, half, x, tower, routing):
        layer = self.first_layer[half]
        for i in range(tower["blocks"]):
            name = f"{half}.blocks.{i}"
            x = x + self.attention(name + ".attn", self.norm(name + ".ln1", x, tower), tower)
            h = self.norm(name + ".ln2", x, tower)
            if i in self.experts[half]:
                added, expert, gate = self.mixture(name + ".moe", h, tower, routing)
                routing.layers.append((layer, expert, gate))
                layer += 1
                x = x + added
            else:
                x = x + self.mlp(name + ".mlp", h, tower)
        return x

    def pool_by_attention(self, x, tower):
        """A learned query over all tokens, then an MLP with a residual."""
        t, heads = self.tensors, tower["heads"]
        weight, bias = (np.split(t["image.pool.qkv." + part], 3) for part in ("weight", "bias"))
        q, k, v = (
            (rows @ w.T + b).reshape(len(rows), heads, -1).transpose(1, 0, 2)
            for rows, w, b in zip((t["image.pool.probe"][None], x, x), weight, bias)
        )
        y = self.linear("image.pool.out", attend(q, k, v, False).transpose(1, 0, 2).reshape(1, -1))
        return (y + self.mlp("image.pool", self.norm("image.pool.ln", y, tower), tower))[0]

    def pool(self, half, x, tower):
        kind = tower.get("pool", "mean")
        if kind == "attention":
            return self.pool_by_attention(self.norm(half + ".ln", x, tower), tower)
        late = tower.get("late_norm", False)
        x = x if late else self.norm(half + ".ln", x, tower)
        pooled = {"mean": x.mean(0), "rest": x[1:].mean(0) if len(x) > 1 else x[0], "first": x[0], "last": x[-1]}[kind]
        return self.norm(half + ".ln", pooled, tower) if late else pooled

    def finish(self, half, x, tower, routing):
        z = self.pool(half, self.blocks(half, x, tower, routing), tower)
        if self.config[half].get("projection", True):
            z = self.linear(half + ".proj", z)
        return z / np.linalg.norm(z)

    def image(self, pixels):
        """[size, size, 3] of 0 to 255: an embedding, and how it was routed."""
        c, t, routing = self.config["image"], self.tensors, Routing()
        tower, p, side = c["tower"], c["patch"], c["size"] // c["patch"]
        values = (pixels / 255 - np.array(c["mean"])) / np.array(c["std"])
        patches = values.reshape(side, p, side, p, 3).transpose(0, 2, 1, 3, 4).reshape(side * side, p * p * 3)
        x = self.linear("image.patch", patches)
        if c.get("class_token"):
            x = np.concatenate([t["image.class"][None], x])
        x = x + t["image.pos"]
        if tower.get("pre_norm"):
            x = self.norm("image.pre_ln", x, tower)
        return self.finish("image", x, tower, routing), routing

    def text(self, tokens):
        """The ids that are kept."""
        tower, routing = self.config["text"]["tower"], Routing()
        x = self.tensors["text.token"][tokens] + self.tensors["text.pos"][: len(tokens)]
        if tower.get("pre_norm"):
            x = self.norm("text.pre_ln", x, tower)
        return self.finish("text", x, tower, routing), routing

    def image_tokens(self) -> int:
        c = self.config["image"]
        return (c["size"] // c["patch"]) ** 2 + bool(c.get("class_token"))
