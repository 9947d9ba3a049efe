"""Models as limoe-2 has them (docs/format.md): a config and tensors by its names. CLIP-MoE and V-MoE become such."""

import math
import re
from collections.abc import Mapping

import numpy as np

from checkpoints import Refused, open_clip
from checkpoints.open_clip import need
from checkpoints.tensors import Tensor, join

HALVES = ("image", "text")


def flat_patches(t: Tensor) -> Tensor:
    """[d, 3, p, p] of a convolution to [d, p p 3]: row, column, channel."""
    return t.map(lambda v: v.transpose(0, 2, 3, 1).reshape(len(v), -1))


def transposed(t: Tensor) -> Tensor:
    return t.map(np.transpose)


def stack_experts(parts: list[Tensor]) -> Tensor:
    return join(parts, np.stack)


# ---- CLIP-MoE (arXiv 2409.19291)

_EXPERT = re.compile(r"\.experts\.(\d{1,4})\.c_fc\.weight$")
_BLOCK_OF_CLIP = {
    "ln_1.weight": "ln1.weight", "ln_1.bias": "ln1.bias", "ln_2.weight": "ln2.weight", "ln_2.bias": "ln2.bias",
    "attn.in_proj_weight": "attn.qkv.weight", "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj.weight": "attn.out.weight", "attn.out_proj.bias": "attn.out.bias",
}  # fmt: skip


def is_clip_moe(tensors: Mapping[str, Tensor]) -> bool:
    return any(_EXPERT.search(name) for name in tensors)


class _Clip:
    """The tensors of a CLIP under their OpenAI names, taken one after the other."""

    def __init__(self, where: str, tensors: Mapping[str, Tensor]):
        self.where, self.left, self.made = where, dict(tensors), {}

    def take(self, name: str, rank: int) -> Tensor:
        t = need(self.where, self.left, name, rank)
        del self.left[name]
        return t

    def give(self, name: str, t: Tensor) -> None:
        self.made[name] = t

    def block(self, prefix: str, to: str) -> int:
        """One block; how many experts it has, 0 if it is dense."""
        for name, new in _BLOCK_OF_CLIP.items():
            self.give(to + new, self.take(prefix + name, 2 if new in ("attn.qkv.weight", "attn.out.weight") else 1))
        experts = len({m[1] for name in self.left if name.startswith(prefix) and (m := _EXPERT.search(name))})
        for half, fc in (("c_fc", "fc1"), ("c_proj", "fc2")):
            for part, rank in (("weight", 2), ("bias", 1)):
                if experts:
                    stack = [self.take(f"{prefix}experts.{e}.{half}.{part}", rank) for e in range(experts)]
                    if len({t.shape for t in stack}) != 1:
                        raise Refused(f'{self.where}: experts of "{prefix}" differ in shape')
                    self.give(f"{to}moe.{fc}.{part}", stack_experts(stack))
                else:
                    self.give(f"{to}mlp.{fc}.{part}", self.take(f"{prefix}mlp.{half}.{part}", rank))
        if experts:
            gate = self.take(prefix + "gate.weight", 2)
            if gate.shape[0] != experts:
                raise Refused(
                    f'{self.where}: "{prefix}gate.weight" has {gate.shape[0]} rows, there are {experts} experts'
                )
            self.give(to + "moe.router.weight", gate)
        return experts

    def tower(self, prefix: str, to: str, blocks: int) -> tuple[list[int], set[int]]:
        counts = [self.block(f"{prefix}{i}.", f"{to}{i}.") for i in range(blocks)]
        return [i for i, n in enumerate(counts) if n], {n for n in counts if n}


def from_clip_moe(where: str, tensors: Mapping[str, Tensor], name: str, top_k: int) -> tuple[dict, dict[str, Tensor]]:
    tensors = open_clip.merge_positions(where, open_clip.weights(where, tensors))
    s, clip = open_clip.sizes(where, tensors), _Clip(where, tensors)
    for half in ("width", "text"):
        if s[half] % 64:
            raise Refused(f"{where}: a width of {s[half]} is no multiple of CLIP's heads of 64")
    once = (
        ("visual.conv1.weight", "image.patch.weight", 4, flat_patches),
        ("visual.class_embedding", "image.class", 1, None),
        ("visual.positional_embedding", "image.pos", 2, None),
        ("visual.ln_pre.weight", "image.pre_ln.weight", 1, None),
        ("visual.ln_pre.bias", "image.pre_ln.bias", 1, None),
        ("visual.ln_post.weight", "image.ln.weight", 1, None),
        ("visual.ln_post.bias", "image.ln.bias", 1, None),
        ("visual.proj", "image.proj.weight", 2, transposed),
        ("token_embedding.weight", "text.token", 2, None),
        ("positional_embedding", "text.pos", 2, None),
        ("ln_final.weight", "text.ln.weight", 1, None),
        ("ln_final.bias", "text.ln.bias", 1, None),
        ("text_projection", "text.proj.weight", 2, transposed),
        ("logit_scale", "logit_scale", 0, None),
    )
    for old, new, rank, change in once:
        t = clip.take(old, rank)
        clip.give(new, change(t) if change else t)
    mlp = [open_clip.mlp_width(where, tensors, p) for p in ("visual.transformer.resblocks.", "transformer.resblocks.")]
    image, counts = clip.tower("visual.transformer.resblocks.", "image.blocks.", s["layers"])
    text, more = clip.tower("transformer.resblocks.", "text.blocks.", s["text_layers"])
    if clip.left:
        raise Refused(f'{where}: tensor "{min(clip.left)[:100]}" is none of a CLIP-MoE')
    if len(counts | more) != 1:
        raise Refused(f"{where}: blocks have {sorted(counts | more)} experts; one number is accepted")
    experts = (counts | more).pop()
    if not 1 <= top_k <= experts:
        raise Refused(f"{where}: --top-k is {top_k}; 1 to {experts} are accepted")
    common = dict(activation="quick_gelu", ln_eps=1e-5)
    config = dict(
        format="limoe-2",
        name=name,
        embed=s["embed"],
        image=dict(
            size=s["image"], patch=s["patch"], mean=open_clip.MEAN, std=open_clip.STD, resize="crop", class_token=True,
            patch_bias=False,
            tower=dict(
                width=s["width"], blocks=s["layers"], heads=s["width"] // 64, mlp=mlp[0], pre_norm=True, pool="first", **common
            ),
        ),
        text=dict(
            vocab=s["vocab"], length=s["length"], eos_id=s["vocab"] - 1, pad_id=0,
            tower=dict(
                width=s["text"], blocks=s["text_layers"], heads=s["text"] // 64, mlp=mlp[1], causal=True, pool="last", **common
            ),
        ),
        moe={half: blocks for half, blocks in (("image", image), ("text", text)) if blocks}
        | dict(experts=experts, top_k=top_k, renormalize=True),
    )  # fmt: skip
    return config, clip.made


# ---- V-MoE (arXiv 2106.05974)


class _Flax:
    def __init__(self, where: str, tensors: Mapping[str, Tensor]):
        self.where, self.left, self.made = where, dict(tensors), {}

    def take(self, name: str, rank: int) -> Tensor:
        t = need(self.where, self.left, name, rank)
        del self.left[name]
        return t

    def norm(self, name: str, to: str) -> None:
        self.made[to + ".weight"] = self.take(name + "/scale", 1)
        self.made[to + ".bias"] = self.take(name + "/bias", 1)

    def dense(self, name: str, to: str, experts: bool = False) -> None:
        """[in, out], or [experts, in, out], to [out, in]."""
        self.made[to + ".weight"] = self.take(name + "/kernel", 3 if experts else 2).map(lambda v: v.swapaxes(-1, -2))
        self.made[to + ".bias"] = self.take(name + "/bias", 2 if experts else 1)

    def attention(self, name: str, to: str) -> tuple[int, bool]:
        """Heads, and whether queries and keys are normed. q, k, v [d, heads, size] to [3 d, d]."""
        kernels = [self.take(f"{name}/{part}/kernel", 3) for part in ("query", "key", "value")]
        biases = [self.take(f"{name}/{part}/bias", 2) for part in ("query", "key", "value")]
        heads, size = kernels[0].shape[1:]
        flat = [t.map(lambda v: v.reshape(len(v), -1).T) for t in kernels]
        self.made[to + ".qkv.weight"] = join(flat, np.concatenate)
        self.made[to + ".qkv.bias"] = join([t.map(np.ravel) for t in biases], np.concatenate)
        out = self.take(name + "/out/kernel", 3)
        self.made[to + ".out.weight"] = out.map(lambda v: v.reshape(-1, v.shape[-1]).T)
        self.made[to + ".out.bias"] = self.take(name + "/out/bias", 1)
        normed = name + "/query_ln/scale" in self.left
        for part, new in (("query_ln", "q_norm"), ("key_ln", "k_norm")) if normed else ():
            scale = self.take(f"{name}/{part}/scale", 1)
            self.made[f"{to}.{new}.weight"] = scale
            self.made[f"{to}.{new}.bias"] = self.left.pop(f"{name}/{part}/bias", Tensor("F32", np.zeros(size, "<f4")))
        return heads, normed

    def head(self) -> bool:
        """How it pools: by attention, or by its class token."""
        if "MapHead/probe" not in self.left:
            return False
        name = "MapHead/MultiHeadDotProductAttention"
        self.made["image.pool.probe"] = self.take("MapHead/probe", 3).map(np.ravel)
        if self.attention(name, "image.pool")[1]:
            raise Refused(f'{self.where}: "{name}/query_ln": a head that norms its queries is not supported')
        self.norm("MapHead/LayerNorm", "image.pool.ln")
        self.dense("MapHead/Mlp/Dense_0", "image.pool.fc1")
        self.dense("MapHead/Mlp/Dense_1", "image.pool.fc2")
        return True


def from_vmoe(where: str, tensors: Mapping[str, Tensor], top_k: int) -> tuple[dict, dict, dict[str, Tensor]]:
    """The image tower: config's "image" and "moe", and its tensors. The classifier behind it ("head") is left out."""
    flax = _Flax(where, open_clip.weights(where, tensors))
    conv = flax.take("embedding/kernel", 4)
    patch, width = conv.shape[0], conv.shape[3]
    if conv.shape[:3] != (patch, patch, 3):
        raise Refused(f'{where}: "embedding/kernel" has shape {conv.shape}; [p, p, 3, d] is accepted')
    flax.made["image.patch.weight"] = conv.map(lambda v: v.reshape(-1, width).T)  # row, column, channel already
    flax.made["image.patch.bias"] = flax.take("embedding/bias", 1)
    if "pre_logits/kernel" in flax.left:
        raise Refused(f'{where}: "pre_logits/kernel": a layer before the classifier is not supported')
    if "Encoder/posembed_input/pos_embedding" not in flax.left:
        raise Refused(f'{where}: no "Encoder/posembed_input/pos_embedding"; learned positions are accepted')
    positions = flax.take("Encoder/posembed_input/pos_embedding", 3).map(lambda v: v[0])
    token, rows = "cls" in flax.left, positions.shape[0]
    side = math.isqrt(rows - token)
    if side * side != rows - token:
        raise Refused(f"{where}: {rows} positions are no square of patches{' and a class token' if token else ''}")
    flax.made["image.pos"] = positions
    if token:
        flax.made["image.class"] = flax.take("cls", 3).map(np.ravel)
    blocks = len({m[1] for n in flax.left if (m := re.match(r"Encoder/encoderblock_(\d{1,4})/", n))})
    moe, counts, heads, normed, mlp = [], set(), set(), set(), set()
    for i in range(blocks):
        name, to = f"Encoder/encoderblock_{i}/", f"image.blocks.{i}."
        flax.norm(name + "LayerNorm_0", to + "ln1")
        flax.norm(name + "LayerNorm_1", to + "ln2")
        h, n = flax.attention(name + "SelfAttention", to + "attn")
        heads.add(h)
        normed.add(n)
        experts = name + "Moe/Router/dense/kernel" in flax.left
        if experts:
            moe.append(i)
            router = flax.take(name + "Moe/Router/dense/kernel", 2)
            counts.add(router.shape[1])
            flax.made[to + "moe.router.weight"] = transposed(router)
        for dense, fc in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
            inside, outside = ("Moe/Mlp/", "moe.") if experts else ("Mlp/", "mlp.")
            flax.dense(name + inside + dense, to + outside + fc, experts)
        mlp.add(flax.made[to + ("moe." if experts else "mlp.") + "fc1.weight"].shape[-2])
    flax.norm("Encoder/encoder_norm", "image.ln")
    pool = "attention" if flax.head() else "first" if token else "mean"
    for name in ("head/kernel", "head/bias"):
        flax.left.pop(name, None)
    if flax.left:
        raise Refused(f'{where}: array "{min(flax.left)[:100]}" is none of a V-MoE')
    if len(heads) != 1 or len(normed) != 1 or len(mlp) != 1 or len(counts) > 1:
        raise Refused(f"{where}: blocks differ: heads {heads}, MLPs {mlp}, experts {counts}")
    if counts and not 1 <= top_k <= min(counts):
        raise Refused(f"{where}: --top-k is {top_k}; 1 to {min(counts)} are accepted")
    image = dict(
        size=side * patch, patch=patch, mean=[0.5] * 3, std=[0.5] * 3, resize="squash", class_token=token, projection=False,
        tower=dict(
            width=width, blocks=blocks, heads=heads.pop(), mlp=mlp.pop(), activation="gelu_tanh", ln_eps=1e-6,
            qk_norm=normed.pop(), pool=pool,
        ),
    )  # fmt: skip
    return image, dict(image=moe, experts=counts.pop(), top_k=top_k, renormalize=False) if moe else {}, flax.made
