"""A text tower for a model of pictures alone: the smallest there is, which gives every text the same embedding.

The server's models have two modalities, and V-MoE has pictures alone. What is written here keeps the folder's promises
(pictures are embedded, texts are not refused) and says nothing about any text; convert.py asks for it by name (--no-text).
"""

import struct

import numpy as np

from checkpoints.tensors import Tensor

WIDTH = 4
UNKNOWN, CONTROL, NORMAL = 2, 3, 1
PIECES = (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), ("\u2581", NORMAL))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def tokenizer() -> bytes:
    """sentencepiece_model.proto: pieces (text, score, kind), then the kind of model (1, unigram)."""
    pieces = b"".join(
        _message(1, _message(1, text.encode()) + b"\x15" + struct.pack("<f", 0.0) + b"\x18" + _varint(kind))
        for text, kind in PIECES
    )
    return pieces + _message(2, b"\x18\x01") + _message(3, _message(1, b"identity"))


def text_config() -> dict:
    tower = dict(width=WIDTH, blocks=1, heads=1, mlp=WIDTH, pool="last", causal=True)
    return dict(vocab=len(PIECES), length=4, eos_id=2, tower=tower)


def tensors(embed: int) -> dict[str, Tensor]:
    """Zeros but for the final norm's bias, which the projection spreads evenly over the embedding."""

    def zeros(*shape):
        return Tensor("F32", np.zeros(shape, "<f4"))

    d, block = WIDTH, "text.blocks.0."
    found = {"text.token": zeros(len(PIECES), d), "text.pos": zeros(4, d), "text.ln.weight": zeros(d)}
    found |= {block + f"{ln}.{part}": zeros(d) for ln in ("ln1", "ln2") for part in ("weight", "bias")}
    found |= {block + "attn.qkv.weight": zeros(3 * d, d), block + "attn.qkv.bias": zeros(3 * d)}
    found |= {block + f"{name}.weight": zeros(d, d) for name in ("attn.out", "mlp.fc1", "mlp.fc2")}
    found |= {block + f"{name}.bias": zeros(d) for name in ("attn.out", "mlp.fc1", "mlp.fc2")}
    found["text.ln.bias"] = Tensor("F32", np.ones(d, "<f4"))
    found["text.proj.weight"] = Tensor("F32", np.ones((embed, d), "<f4"))
    return found | {"logit_scale": zeros()}
