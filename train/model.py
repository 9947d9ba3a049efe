"""LIMoE in PyTorch: one sparse mixture-of-experts transformer for images and texts. The reference for the engine.

Shapes: I images of n patches, T texts; R rows (tokens of all sequences, packed end to end), d width, E experts.
The paper is arXiv 2206.02770; the router's semantics are V-MoE's, arXiv 2106.05974.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# oneDNN compiles a kernel for each shape it meets, about a millisecond each. In training, where every step would bring
# new row counts, they are rounded up to multiples of this, which keeps the shapes few.
ROW_MULTIPLE = 128

ACTIVATIONS = {
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu": F.gelu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}


@dataclass
class Config:
    """config.json of format limoe-1, word for word."""

    name: str
    width: int
    blocks: int
    heads: int
    mlp: int
    embed: int
    image: dict
    text: dict
    moe: dict = field(default_factory=lambda: {"blocks": []})  # as it stands: a dense model
    activation: str = "gelu_tanh"
    ln_eps: float = 1e-6
    qk_norm: bool = False
    pool: str = "mean"
    format: str = field(default="limoe-1")

    @staticmethod
    def load(path: Path) -> "Config":
        return Config(**json.loads(Path(path).read_text()))

    @property
    def patches(self) -> int:
        return (self.image["size"] // self.image["patch"]) ** 2


@dataclass
class Segments:
    """Where each sequence lies in the packed rows: images first, then texts."""

    images: int
    image_length: int  # patches of each image
    text_lengths: list[int]
    text_rows: Tensor | None  # [rows of text] positions in a [texts, longest] grid, when lengths differ
    text_mask: Tensor | None  # [texts, 1, 1, longest], True where there is a token
    padding: int = 0  # rows after the last sequence that belong to none (training only, see ROW_MULTIPLE)

    @staticmethod
    def of(images: int, image_length: int, lengths: Tensor, multiple: int = 1) -> "Segments":
        if len(lengths) == 0:
            return Segments(images, image_length, [], None, None)
        counts = lengths.tolist()
        grid = torch.arange(max(counts)) < lengths[:, None]
        padding = -(images * image_length + sum(counts)) % multiple
        return Segments(images, image_length, counts, grid.flatten().nonzero().squeeze(1), grid[:, None, None], padding)

    @property
    def image_rows(self) -> int:
        return self.images * self.image_length

    @property
    def rows(self) -> int:
        return self.image_rows + sum(self.text_lengths)


@dataclass
class Routing:
    """What one MoE layer decided, row by row."""

    logits: Tensor  # [R, E], clean
    noisy: Tensor  # [R, E], equal to logits outside training
    gates: Tensor  # [R, E], softmax over all experts
    expert: Tensor  # [R, K], in order of falling gate, ties to the lower index
    weight: Tensor  # [R, K], 0 where the assignment was dropped


class Attention(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.heads, self.head = c.heads, c.width // c.heads
        self.qkv = nn.Linear(c.width, 3 * c.width)
        self.out = nn.Linear(c.width, c.width)
        self.q_norm = nn.LayerNorm(self.head, c.ln_eps) if c.qk_norm else None
        self.k_norm = nn.LayerNorm(self.head, c.ln_eps) if c.qk_norm else None

    def forward(self, x: Tensor, s: Segments) -> Tensor:
        """x [R, d]: attention within each sequence, bidirectional."""
        qkv = self.qkv(x)
        mixed = []
        if s.images:
            mixed.append(self.attend(qkv[: s.image_rows].view(s.images, s.image_length, -1), None))
        if s.text_lengths:
            texts, longest = len(s.text_lengths), s.text_mask.shape[-1]
            rows = qkv[s.image_rows : s.rows]
            if len(rows) == texts * longest:
                mixed.append(self.attend(rows.view(texts, longest, -1), None))
            else:
                grid = rows.new_zeros(texts * longest, rows.shape[1]).index_copy(0, s.text_rows, rows)
                mixed.append(self.attend(grid.view(texts, longest, -1), s.text_mask).index_select(0, s.text_rows))
        if s.padding:
            mixed.append(qkv.new_zeros(s.padding, self.heads * self.head))
        return self.out(torch.cat(mixed))

    def attend(self, qkv: Tensor, mask: Tensor | None) -> Tensor:
        """qkv [sequences, length, 3d] -> [sequences * length, d]."""
        sequences, length, _ = qkv.shape
        q, k, v = qkv.view(sequences, length, 3, self.heads, self.head).permute(2, 0, 3, 1, 4).contiguous()
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        # Written out: on a CPU in bfloat16 two small batched products train 4x faster than the fused operator.
        scores = q @ k.transpose(-1, -2) * self.head**-0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        y = scores.softmax(-1).to(v.dtype) @ v  # [sequences, heads, length, head]
        return y.transpose(1, 2).reshape(sequences * length, -1)


class MLP(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(c.width, c.mlp), nn.Linear(c.mlp, c.width)
        self.activation = ACTIVATIONS[c.activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class Experts(nn.Module):
    """E two-layer MLPs side by side: weight [E, out, in], bias [E, out]."""

    def __init__(self, experts: int, fan_in: int, fan_out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, fan_out, fan_in))
        self.bias = nn.Parameter(torch.zeros(experts, fan_out))


class MoE(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.experts, self.top_k = c.moe["experts"], c.moe["top_k"]
        self.renormalize = c.moe["renormalize"]
        self.capacity, self.group = c.moe.get("capacity"), c.moe.get("group", 0)
        self.priority = c.moe.get("priority", False)
        self.router = nn.Linear(c.width, self.experts, bias=False)
        self.fc1 = Experts(self.experts, c.width, c.mlp)
        self.fc2 = Experts(self.experts, c.mlp, c.width)
        self.activation = ACTIVATIONS[c.activation]

    def route(self, x: Tensor) -> Routing:
        with torch.autocast("cpu", enabled=False):  # the router is float32 always
            logits = F.linear(x.float(), self.router.weight.float())
            # Noise of the order 1/E on the logits, in training only, lets experts near a tie both learn.
            noisy = logits + torch.randn_like(logits) / self.experts if self.training else logits
            gates = noisy.softmax(-1)
            # A stable sort gives ties to the lower index, which topk does not promise.
            if self.top_k == 1:
                weight, expert = gates.max(-1, keepdim=True)
            else:
                expert = gates.sort(dim=-1, descending=True, stable=True).indices[:, : self.top_k]
                weight = gates.gather(-1, expert)
            if self.capacity is not None:
                weight = weight * self.within_capacity(gates, expert)
            if self.renormalize:
                weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-30)
        return Routing(logits, noisy, gates, expert, weight)

    def within_capacity(self, gates: Tensor, expert: Tensor) -> Tensor:
        """1 for assignments within their expert's capacity, 0 for dropped ones: [R, K]. Parity with V-MoE."""
        kept = torch.zeros(expert.shape)
        group = self.group or len(expert)
        for start in range(0, len(expert), group):
            rows = slice(start, min(start + group, len(expert)))
            slots = buffer_slots(gates[rows], expert[rows], self.priority)
            kept[rows] = (slots < expert_capacity(rows.stop - start, self.top_k, self.capacity, self.experts)).float()
        return kept

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """x [R, d], already normalised -> (what to add to the residual [R, d], the routing)."""
        routing = self.route(x)
        # Dispatch: rows sorted by expert, each expert's rows contiguous. Dropped assignments have weight 0.
        chosen, order = routing.expert.flatten().sort(stable=True)
        rows = order // self.top_k
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        counts = torch.bincount(chosen, minlength=self.experts)
        batches, slots = self.dispatch(x.to(dtype).index_select(0, rows), chosen, counts)
        # unbind, not [e]: the gradient of an index is a tensor of zeros as large as all experts, once for each expert.
        parameters = (p.to(dtype).unbind() for p in (self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias))
        outputs = [
            F.linear(self.activation(F.linear(batch, w1, b1)), w2, b2)
            for batch, w1, b1, w2, b2 in zip(batches, *parameters)
        ]
        y = torch.cat(outputs) if slots is None else torch.cat(outputs).index_select(0, slots)
        # Combine: for top-k > 1 a row receives its experts' outputs in ascending expert order.
        weighted = y * routing.weight.flatten()[order, None].to(y.dtype)
        return torch.zeros_like(x, dtype=weighted.dtype).index_add(0, rows, weighted), routing

    def dispatch(self, x: Tensor, chosen: Tensor, counts: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """x [R * K, d] sorted by expert -> each expert's rows, and in training (rounded up) where each row went."""
        if not self.training:
            return x.split(counts.tolist()), None
        rounded = (counts + ROW_MULTIPLE - 1) // ROW_MULTIPLE * ROW_MULTIPLE
        shift = (rounded.cumsum(0) - rounded) - (counts.cumsum(0) - counts)
        slots = torch.arange(len(x)) + shift[chosen]
        buffer = x.new_zeros(int(rounded.sum()), x.shape[1]).index_copy(0, slots, x)
        return buffer.split(rounded.tolist()), slots


def expert_capacity(rows: int, top_k: int, factor: float, experts: int) -> int:
    """Buffer slots of an expert for a group of rows: ceil(rows * K * C / E), then up to a multiple of 4."""
    return math.ceil(math.ceil(rows * top_k * factor / experts) / 4) * 4


def buffer_slots(gates: Tensor, expert: Tensor, priority: bool) -> Tensor:
    """The slot that each assignment of one group takes in its expert's buffer: [rows, K].

    Batch Priority Routing: rows in order of falling top-1 gate (stable), all first choices before any second choice.
    Without priority, rows in order of arrival.
    """
    order = gates.max(-1).values.sort(descending=True, stable=True).indices if priority else torch.arange(len(gates))
    slots = torch.empty_like(expert)
    used = [0] * gates.shape[1]
    for k in range(expert.shape[1]):
        for row in order.tolist():
            e = int(expert[row, k])
            slots[row, k] = used[e]
            used[e] += 1
    return slots


class Block(nn.Module):
    def __init__(self, c: Config, sparse: bool):
        super().__init__()
        self.ln1, self.attn = nn.LayerNorm(c.width, c.ln_eps), Attention(c)
        self.ln2 = nn.LayerNorm(c.width, c.ln_eps)
        if sparse:
            self.moe = MoE(c)
        else:
            self.mlp = MLP(c)
        self.sparse = sparse

    def forward(self, x: Tensor, s: Segments) -> tuple[Tensor, Routing | None]:
        x = x + self.attn(self.ln1(x), s)
        if not self.sparse:
            return x + self.mlp(self.ln2(x)), None
        y, routing = self.moe(self.ln2(x))
        return x + y, routing


class Image(nn.Module):
    """Patches (row by row; inside a patch: row, column, channel) through a linear layer, plus learned positions."""

    def __init__(self, c: Config):
        super().__init__()
        self.patch = nn.Linear(c.image["patch"] ** 2 * 3, c.width)
        self.pos = nn.Parameter(torch.empty(c.patches, c.width))
        self.proj = nn.Linear(c.width, c.embed, bias=False)


class Text(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.token = nn.Parameter(torch.empty(c.text["vocab"], c.width))
        self.pos = nn.Parameter(torch.empty(c.text["length"], c.width))
        self.proj = nn.Linear(c.width, c.embed, bias=False)


class LIMoE(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.config = c
        self.image, self.text = Image(c), Text(c)
        self.blocks = nn.ModuleList(Block(c, i in c.moe["blocks"]) for i in range(c.blocks))
        self.ln = nn.LayerNorm(c.width, c.ln_eps)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.initialise()

    def initialise(self) -> None:
        """Positions and token embeddings start far larger than usual: tokens that look alike make a router collapse."""
        d, c = self.config.width, self.config
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() >= 2:
                nn.init.trunc_normal_(p, std=p.shape[-1] ** -0.5)
        nn.init.normal_(self.image.pos, std=0.3)
        nn.init.normal_(self.text.pos, std=0.2)
        nn.init.normal_(self.text.token, std=0.5)
        for block in self.blocks:
            # Residual branches start small, so that depth does not grow the variance.
            nn.init.trunc_normal_(block.attn.out.weight, std=(2 * c.blocks * d) ** -0.5)
            last = block.moe.fc2 if block.sparse else block.mlp.fc2
            nn.init.trunc_normal_(last.weight, std=(2 * c.blocks * c.mlp) ** -0.5)

    def patches(self, pixels: Tensor) -> Tensor:
        """pixels uint8 [I, size, size, 3] -> [I, n, p * p * 3], normalised."""
        c = self.config.image
        p, side = c["patch"], c["size"] // c["patch"]
        x = (pixels.float() / 255 - torch.tensor(c["mean"])) / torch.tensor(c["std"])
        x = x.view(-1, side, p, side, p, 3).transpose(2, 3)
        return x.reshape(-1, side * side, p * p * 3)

    def embed_rows(self, patches: Tensor, keep: Tensor | None, tokens: Tensor, s: Segments) -> Tensor:
        """The packed rows [R, d]. keep [I, m] picks patches of each image (training drops some), tokens [T, length]."""
        rows = []
        if s.images:
            pos = self.image.pos if keep is None else self.image.pos[keep]
            rows.append((self.image.patch(patches) + pos).flatten(0, 1))
        if s.text_lengths:
            longest = s.text_mask.shape[-1]
            x = F.embedding(tokens[:, :longest], self.text.token) + self.text.pos[:longest]
            rows.append(x.flatten(0, 1).index_select(0, s.text_rows))
        if s.padding:
            rows.append(rows[0].new_zeros(s.padding, self.config.width))
        return torch.cat([r.float() for r in rows])

    def encode(self, x: Tensor, s: Segments) -> tuple[Tensor, Tensor, list[Routing]]:
        """Packed rows -> (image embeddings [I, embed], text embeddings [T, embed], routing of each MoE layer)."""
        routing = []
        for block in self.blocks:
            x, r = block(x, s)
            if r is not None:
                routing.append(r)
        x = self.ln(x)
        images = x[: s.image_rows].view(s.images, -1, x.shape[-1]).mean(1) if s.images else x[:0]
        texts = x[:0]
        if s.text_lengths:
            lengths = torch.tensor(s.text_lengths)
            item = torch.arange(len(lengths)).repeat_interleave(lengths)
            sums = x.new_zeros(len(lengths), x.shape[1]).index_add(0, item, x[s.image_rows : s.rows])
            texts = sums / lengths[:, None]
        return (
            F.normalize(self.image.proj(images).float(), dim=-1),
            F.normalize(self.text.proj(texts).float(), dim=-1),
            routing,
        )

    def forward(self, pixels: Tensor, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, list[Routing]]:
        """pixels uint8 [I, size, size, 3], tokens int [T, length] with PAD beyond lengths int [T] (EOS counted)."""
        if self.config.text["pad"] == "attend":
            lengths = torch.full_like(lengths, self.config.text["length"])
        s = Segments.of(len(pixels), self.config.patches, lengths)
        patches = self.patches(pixels) if s.images else pixels
        return self.encode(self.embed_rows(patches, None, tokens.long(), s), s)
