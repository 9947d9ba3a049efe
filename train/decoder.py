"""The text decoder in PyTorch: captions of pictures from the rows that a tower's last block leaves. The reference for the engine.

    x = token + position
    x += Attention(LN(x), itself and before);  x += Attention(LN(x), picture);  x += MLP(LN(x))   in each block
    logits = LN(x) token^T

Shapes: B texts of L tokens about B pictures of n patches; d width, t the tower's width, V pieces.
"""

import dataclasses
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model import ACTIVATIONS, Config, LIMoE, Segments

TOWER = ("width", "blocks", "heads", "mlp", "activation", "ln_eps", "qk_norm")


@dataclass
class DecoderConfig:
    """ "decoder" of config.json, format limoe-2, word for word."""

    width: int
    blocks: int
    heads: int
    mlp: int
    length: int
    begin_id: int
    end_id: int
    activation: str = "gelu_tanh"
    ln_eps: float = 1e-6


class Attention(nn.Module):
    def __init__(self, c: DecoderConfig, rows: int):
        super().__init__()
        self.heads = c.heads
        self.q, self.kv = nn.Linear(c.width, c.width), nn.Linear(rows, 2 * c.width)
        self.out = nn.Linear(c.width, c.width)

    def forward(self, x: Tensor, rows: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, L, d] attends to rows [B, S, …], where mask [L, S] is true."""

        def split(y: Tensor) -> Tensor:
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, (k, v) = split(self.q(x)), map(split, self.kv(rows).chunk(2, -1))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, c: DecoderConfig):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(c.width, c.mlp), nn.Linear(c.mlp, c.width)
        self.activation = ACTIVATIONS[c.activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, c: DecoderConfig, rows: int):
        super().__init__()
        self.ln1, self.attn = nn.LayerNorm(c.width, c.ln_eps), Attention(c, c.width)
        self.ln2, self.cross = nn.LayerNorm(c.width, c.ln_eps), Attention(c, rows)
        self.ln3, self.mlp = nn.LayerNorm(c.width, c.ln_eps), MLP(c)

    def forward(self, x: Tensor, picture: Tensor, causal: Tensor) -> Tensor:
        h = self.ln1(x)
        x = x + self.attn(h, h, causal)
        x = x + self.cross(self.ln2(x), picture, None)
        return x + self.mlp(self.ln3(x))


class Decoder(nn.Module):
    """Parameters have the checkpoint's names, behind "decoder."."""

    def __init__(self, c: DecoderConfig, vocab: int, rows: int):
        super().__init__()
        self.config = c
        self.token, self.pos = nn.Parameter(torch.empty(vocab, c.width)), nn.Parameter(torch.empty(c.length, c.width))
        self.rows_ln = nn.LayerNorm(rows, c.ln_eps)
        self.blocks = nn.ModuleList(Block(c, rows) for _ in range(c.blocks))
        self.ln = nn.LayerNorm(c.width, c.ln_eps)
        self.initialise()

    def initialise(self) -> None:
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() == 2:
                nn.init.normal_(p, std=p.shape[-1] ** -0.5)
        nn.init.normal_(self.pos, std=0.02)
        for block in self.blocks:  # residual branches start small, so that depth does not grow the variance
            for last in (block.attn.out, block.cross.out, block.mlp.fc2):
                nn.init.normal_(last.weight, std=(6 * self.config.blocks * last.in_features) ** -0.5)

    def forward(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """rows [B, n, t] of pictures, tokens [B, L], the begin first -> logits [B, L, V], of what follows each."""
        length = tokens.shape[1]
        x = F.embedding(tokens, self.token) + self.pos[:length]
        picture = self.rows_ln(rows)
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        for block in self.blocks:
            x = block(x, picture, causal)
        return self.ln(x) @ self.token.T


def picture_rows(model: LIMoE, pixels: Tensor) -> Tensor:
    """pixels uint8 [B, size, size, 3] -> the rows [B, n, t] that the last block leaves, before the final norm."""
    s = Segments.of(len(pixels), model.config.patches, torch.empty(0, dtype=torch.long))
    x = model.embed_rows(model.patches(pixels), None, torch.empty(0, 0, dtype=torch.long), s)
    for block in model.blocks:
        x, _ = block(x, s)
    return x.view(len(pixels), model.config.patches, -1)


# ---- captions


def philox(counter: tuple[int, int, int, int], key: int) -> int:
    """The first of the four 32-bit numbers of Philox4x32-10 (Salmon et al., SC 2011)."""
    x, k, low = list(counter), [key & 0xFFFFFFFF, key >> 32], 0xFFFFFFFF
    for _ in range(10):
        a, b = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(b >> 32) ^ x[1] ^ k[0], b & low, (a >> 32) ^ x[3] ^ k[1], a & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return x[0]


USE = 3  # what numbers are for: captions


def uniform(seed: int, sample: int, position: int) -> float:
    return (philox((0, sample, position, USE), seed) >> 8) * 2.0**-24


@dataclass
class Caption:
    tokens: list[int]  # the end left out
    ended: bool
    logprob: float  # of all tokens, and of the end where there is one

    @property
    def mean(self) -> float:
        return self.logprob / (len(self.tokens) + self.ended)


class Writer:
    """Captions of one picture. `closest` is the smallest difference that a decision hung on."""

    def __init__(self, decoder: Decoder, rows: Tensor):
        self.decoder, self.rows, self.closest = decoder, rows, math.inf

    def logits(self, tokens: list[int]) -> Tensor:
        """[V] of what follows the tokens of a text."""
        read = torch.tensor([[self.decoder.config.begin_id, *tokens]])
        return self.decoder(self.rows[None], read)[0, -1].double()

    def allowed(self, text: Caption, logits: Tensor, least: int) -> list[int]:
        """Ids by falling logit, ties to the lower id."""
        barred = {self.decoder.config.begin_id} | ({self.decoder.config.end_id} if len(text.tokens) < least else set())
        return [i for i in logits.sort(descending=True, stable=True).indices.tolist() if i not in barred]

    def note(self, falling: list[float], most: int) -> None:
        """Which of these come first, and in which order, is a decision."""
        kept = falling[: most + 1]
        self.closest = min([self.closest, *(a - b for a, b in zip(kept, kept[1:]))])

    def append(self, text: Caption, token: int, logprob: float) -> Caption:
        ended = token == self.decoder.config.end_id
        return Caption(text.tokens if ended else [*text.tokens, token], ended, logprob)

    def is_done(self, text: Caption, most: int) -> bool:
        return text.ended or len(text.tokens) == most

    def search(self, n: int = 1, beams: int = 1, least: int = 0, most: int = 0) -> list[Caption]:
        """Of all that could follow the live texts the most probable go on, as many as beams are left; greedy with one."""
        most = most or self.decoder.config.length
        live, done = [Caption([], False, 0.0)], []
        while live:
            room, found = beams - len(done), []
            for text in live:
                logits = self.logits(text.tokens)
                base = text.logprob - logits.logsumexp(0).item()
                best = self.allowed(text, logits, least)
                self.note([logits[i].item() for i in best], room)
                found += [self.append(text, i, base + logits[i].item()) for i in best[:room]]
            found.sort(key=lambda text: -text.logprob)
            self.note([text.logprob for text in found], room)
            done += [text for text in found[:room] if self.is_done(text, most)]
            live = [text for text in found[:room] if not self.is_done(text, most)]
        done.sort(key=lambda text: -text.mean)
        self.note([text.mean for text in done], n)
        return done[:n]

    def sample(self, n: int, top_k: int, temperature: float = 1, seed: int = 0, least: int = 0, most: int = 0):
        most = most or self.decoder.config.length
        return [self.draw(number, top_k, temperature, seed, least, most) for number in range(n)]

    def draw(self, number: int, top_k: int, temperature: float, seed: int, least: int, most: int) -> Caption:
        text = Caption([], False, 0.0)
        while not self.is_done(text, most):
            logits = self.logits(text.tokens)
            best = self.allowed(text, logits, least)
            self.note([logits[i].item() for i in best[top_k - 1 : top_k + 1]], 1)
            weights = ((logits[best[:top_k]] - logits[best[0]]) / temperature).exp()
            ends = weights.cumsum(0) / weights.sum()
            u = uniform(seed, number, len(text.tokens))
            self.closest = min(self.closest, (ends[:-1] - u).abs().min().item() if len(ends) > 1 else math.inf)
            token = best[min(int((ends <= u).sum()), len(ends) - 1)]
            text = self.append(text, token, text.logprob + (logits[token] - logits.logsumexp(0)).item())
        return text


# ---- folders


def export(model: LIMoE, decoder: Decoder, tokenizer: Path | None, out: Path, dtype=torch.bfloat16) -> None:
    """A folder of format limoe-2: the model's one tower, and the decoder."""
    if "capacity" in model.config.moe:
        raise ValueError("parity mode is limoe-1's; a captioner's model has no moe.capacity")
    c, tower = dataclasses.asdict(model.config), {}
    for key in TOWER:
        tower[key] = c.pop(key)
    config = {"format": "limoe-2", "name": c["name"], "embed": c["embed"], "tower": tower, "image": c["image"],
              "text": c["text"]}  # fmt: skip
    if c["moe"]["blocks"]:
        config["moe"] = c["moe"]
    config["decoder"] = dataclasses.asdict(decoder.config)
    named = [*model.named_parameters(), *((f"decoder.{name}", p) for name, p in decoder.named_parameters())]
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file({name: p.detach().to(dtype).contiguous() for name, p in named}, out / "model.safetensors", {"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # safetensors makes files that only their owner reads
    if tokenizer is not None:
        shutil.copyfile(tokenizer, out / "tokenizer.model")


def load(directory: Path) -> tuple[LIMoE, Decoder]:
    """What export wrote, in float32."""
    found = json.loads((directory / "config.json").read_text())
    decoder = found.pop("decoder")
    tower = found.pop("tower")
    config = Config(**{key: value for key, value in found.items() if key != "format"}, **tower)
    state = {name: tensor.float() for name, tensor in load_file(directory / "model.safetensors").items()}
    model = LIMoE(config)
    model.load_state_dict({name: t for name, t in state.items() if not name.startswith("decoder.")})
    writer = Decoder(DecoderConfig(**decoder), config.text["vocab"], config.width)
    writer.load_state_dict({name[8:]: t for name, t in state.items() if name.startswith("decoder.")})
    return model.eval(), writer.eval()
