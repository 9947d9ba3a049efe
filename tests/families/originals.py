"""CLIP, CLIP-MoE and V-MoE from their papers' formulas, on checkpoints in their own names: small random ones, and what they
answer, in float64. Of reference.py only its arithmetic is used."""

import numpy as np
from reference import ACTIVATIONS, attend, choose, layernorm

SIZE, PATCH, LENGTH, VOCAB, EMBED = 16, 4, 30, 40, 24
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


def randomly(rng, name: str, shape: tuple) -> np.ndarray:
    noise = rng.standard_normal(shape).astype(np.float32)
    last = name.replace("/", ".").rsplit(".", 1)[-1]
    if last in ("bias", "in_proj_bias"):
        return 0.1 * noise
    if "embedding" in name and "kernel" not in name or last in ("cls", "probe"):
        return 0.5 * noise
    if len(shape) <= 1:
        return 1 + 0.2 * noise
    fan_in = shape[-2] if last == "kernel" else shape[-1]
    if last == "kernel" and name.endswith(("query.kernel", "key.kernel", "value.kernel")):
        fan_in = shape[0]
    return noise * (1.5 if "gate" in name or "Router" in name else 1) * fan_in**-0.5


# ---- CLIP in OpenAI's names, with experts or without


def clip_state(seed: int, experts: int = 0, moe: dict | None = None, long: bool = False) -> dict[str, np.ndarray]:
    rng, shapes = np.random.default_rng(seed), {}

    def tower(prefix, width, mlp, blocks, with_experts):
        for i in range(blocks):
            b = f"{prefix}transformer.resblocks.{i}."
            shapes.update({b + "ln_1.weight": (width,), b + "ln_1.bias": (width,)})
            shapes.update({b + "ln_2.weight": (width,), b + "ln_2.bias": (width,)})
            shapes.update({b + "attn.in_proj_weight": (3 * width, width), b + "attn.in_proj_bias": (3 * width,)})
            shapes.update({b + "attn.out_proj.weight": (width, width), b + "attn.out_proj.bias": (width,)})
            for mid in [f"experts.{e}." for e in range(experts)] if i in with_experts else ["mlp."]:
                shapes.update({b + mid + "c_fc.weight": (mlp, width), b + mid + "c_fc.bias": (mlp,)})
                shapes.update({b + mid + "c_proj.weight": (width, mlp), b + mid + "c_proj.bias": (width,)})
            if i in with_experts:
                shapes[b + "gate.weight"] = (experts, width)

    tower("visual.", 128, 96, 2, (moe or {}).get("image", ()))
    tower("", 64, 80, 2, (moe or {}).get("text", ()))
    rows = (SIZE // PATCH) ** 2 + 1
    shapes |= {
        "visual.class_embedding": (128,),
        "visual.positional_embedding": (rows, 128),
        "visual.proj": (128, EMBED),
    }
    shapes |= {"visual.conv1.weight": (128, 3, PATCH, PATCH), "token_embedding.weight": (VOCAB, 64)}
    shapes |= {f"visual.{ln}.{part}": (128,) for ln in ("ln_pre", "ln_post") for part in ("weight", "bias")}
    shapes |= {"positional_embedding": (LENGTH, 64), "text_projection": (64, EMBED)}
    shapes |= {"ln_final.weight": (64,), "ln_final.bias": (64,)}
    if long:
        shapes["positional_embedding_res"] = (LENGTH, 64)
    state = {name: randomly(rng, name, shape) for name, shape in shapes.items()}
    state["visual.conv1.weight"] *= PATCH**-0.5
    return state | {"logit_scale": np.array(2.5, np.float32)}


class Clip:
    def __init__(self, state: dict[str, np.ndarray], top_k: int = 2, act: str = "quick_gelu"):
        self.s = {name: values.astype(np.float64) for name, values in state.items()}
        self.top_k, self.act = top_k, ACTIVATIONS[act]

    def norm(self, name, x):
        return layernorm(x, self.s[name + ".weight"], self.s[name + ".bias"], 1e-5)

    def mlp(self, name, x):
        hidden = self.act(x @ self.s[name + "c_fc.weight"].T + self.s[name + "c_fc.bias"])
        return hidden @ self.s[name + "c_proj.weight"].T + self.s[name + "c_proj.bias"]

    def block(self, b, x, causal):
        h = self.norm(b + "ln_1", x)
        qkv = h @ self.s[b + "attn.in_proj_weight"].T + self.s[b + "attn.in_proj_bias"]
        q, k, v = (part.reshape(len(x), -1, 64).transpose(1, 0, 2) for part in np.split(qkv, 3, -1))
        mixed = attend(q, k, v, causal).transpose(1, 0, 2).reshape(x.shape)
        x = x + mixed @ self.s[b + "attn.out_proj.weight"].T + self.s[b + "attn.out_proj.bias"]
        h = self.norm(b + "ln_2", x)
        if b + "gate.weight" not in self.s:
            return x + self.mlp(b + "mlp.", h)
        expert, gate, _ = choose(h @ self.s[b + "gate.weight"].T, self.top_k, True)
        every = np.stack([self.mlp(f"{b}experts.{e}.", h) for e in range(len(self.s[b + "gate.weight"]))])
        return x + sum(gate[:, [k]] * every[expert[:, k], np.arange(len(x))] for k in range(self.top_k))

    def tower(self, prefix, x, causal):
        i = 0
        while f"{prefix}transformer.resblocks.{i}.ln_1.weight" in self.s:
            x = self.block(f"{prefix}transformer.resblocks.{i}.", x, causal)
            i += 1
        return x

    def image(self, pixels, mean=MEAN, std=STD):
        side = SIZE // PATCH
        values = ((pixels / 255 - mean) / std).reshape(side, PATCH, side, PATCH, 3)
        x = np.einsum("uivjc,dcij->uvd", values, self.s["visual.conv1.weight"]).reshape(side * side, -1)
        x = np.concatenate([self.s["visual.class_embedding"][None], x]) + self.s["visual.positional_embedding"]
        z = (
            self.norm("visual.ln_post", self.tower("visual.", self.norm("visual.ln_pre", x), False)[0])
            @ self.s["visual.proj"]
        )
        return z / np.linalg.norm(z)

    def text(self, tokens):
        positions = self.s["positional_embedding"]
        if "positional_embedding_res" in self.s:  # Long-CLIP: the first 20 of one table, the rest of the other
            positions = np.where(np.arange(len(positions))[:, None] < 20, positions, self.s["positional_embedding_res"])
        x = self.tower("", self.s["token_embedding.weight"][tokens] + positions[: len(tokens)], True)
        z = self.norm("ln_final", x)[-1] @ self.s["text_projection"]
        return z / np.linalg.norm(z)


# ---- V-MoE in Flax's tree


def vmoe_tree(
    seed: int, classifier: str = "token", qk_norm: bool = False, experts: int = 4, moe=(1,), blocks: int = 3
) -> dict:
    rng, width, heads, mlp = np.random.default_rng(seed), 32, 2, 24
    size = width // heads

    def leaf(name, *shape):
        return randomly(rng, name, shape)

    def dense(name, *shape):
        return {"kernel": leaf(name + ".kernel", *shape), "bias": leaf(name + ".bias", *shape[:-2], shape[-1])}

    def norm(bias=True):
        return {"scale": leaf("scale", width)} | ({"bias": leaf("bias", width)} if bias else {})

    def attention(normed):
        found = {
            part: {"kernel": leaf(part + ".kernel", width, heads, size), "bias": leaf("bias", heads, size)}
            for part in ("query", "key", "value")
        }
        found["out"] = {"kernel": leaf("kernel", heads, size, width) / heads**0.5, "bias": leaf("bias", width)}
        if normed:
            found |= {part: {"scale": leaf("scale", size)} for part in ("query_ln", "key_ln")}
        return found

    def block(i):
        found = {"LayerNorm_0": norm(), "LayerNorm_1": norm(), "SelfAttention": attention(qk_norm)}
        if i not in moe:
            return found | {"Mlp": {"Dense_0": dense("d", width, mlp), "Dense_1": dense("d", mlp, width)}}
        stacked = {"Dense_0": dense("d", experts, width, mlp), "Dense_1": dense("d", experts, mlp, width)}
        return found | {"Moe": {"Mlp": stacked, "Router": {"dense": {"kernel": leaf("Router.kernel", width, experts)}}}}

    rows = (SIZE // PATCH) ** 2 + (classifier == "token")
    tree = {
        "embedding": {"kernel": leaf("kernel", PATCH, PATCH, 3, width) * 0.25, "bias": leaf("bias", width)},
        "Encoder": {
            **{f"encoderblock_{i}": block(i) for i in range(blocks)},
            "encoder_norm": norm(),
            "posembed_input": {"pos_embedding": leaf("pos_embedding", 1, rows, width)},
        },
        "head": dense("head", width, 10),
    }
    if classifier == "token":
        tree["cls"] = leaf("cls", 1, 1, width)
    if classifier == "map":
        inside = {"Dense_0": dense("d", width, mlp), "Dense_1": dense("d", mlp, width)}
        tree["MapHead"] = {"probe": leaf("probe", 1, 1, width), "LayerNorm": norm(), "Mlp": inside}
        tree["MapHead"]["MultiHeadDotProductAttention"] = attention(False)
    return tree


class VMoE:
    def __init__(self, tree: dict, top_k: int = 2):
        self.p, self.top_k = tree, top_k

    def norm(self, p, x):
        return layernorm(x, p["scale"].astype(float), p.get("bias", np.zeros(1)).astype(float), 1e-6)

    def attention(self, p, q, kv):
        parts = [
            np.einsum("td,dhs->hts", x, p[name]["kernel"].astype(float)) + p[name]["bias"].astype(float)[:, None]
            for name, x in (("query", q), ("key", kv), ("value", kv))
        ]
        if "query_ln" in p:
            parts[:2] = [self.norm(p[name], x) for name, x in zip(("query_ln", "key_ln"), parts)]
        return np.einsum("hts,hsd->td", attend(*parts, False), p["out"]["kernel"].astype(float)) + p["out"]["bias"]

    def mlp(self, p, x, expert=slice(None)):
        first, second = p["Dense_0"], p["Dense_1"]
        hidden = ACTIVATIONS["gelu_tanh"](x @ first["kernel"][expert].astype(float) + first["bias"][expert])
        return hidden @ second["kernel"][expert].astype(float) + second["bias"][expert]

    def moe(self, p, x):
        """Gates are of the softmax over all experts, and are not made to add up to 1 again."""
        expert, gate, _ = choose(x @ p["Router"]["dense"]["kernel"].astype(float), self.top_k, False)
        every = np.stack([self.mlp(p["Mlp"], x, e) for e in range(p["Mlp"]["Dense_0"]["kernel"].shape[0])])
        return sum(gate[:, [k]] * every[expert[:, k], np.arange(len(x))] for k in range(self.top_k))

    def image(self, pixels):
        p, side = self.p, SIZE // PATCH
        values = ((pixels / 255 - 0.5) / 0.5).reshape(side, PATCH, side, PATCH, 3)
        x = np.einsum("uivjc,ijcd->uvd", values, p["embedding"]["kernel"].astype(float)).reshape(side * side, -1)
        x = x + p["embedding"]["bias"]
        if "cls" in p:
            x = np.concatenate([p["cls"][0], x])
        x = x + p["Encoder"]["posembed_input"]["pos_embedding"][0]
        for i in range(sum(name.startswith("encoderblock_") for name in p["Encoder"])):
            b = p["Encoder"][f"encoderblock_{i}"]
            h = self.norm(b["LayerNorm_0"], x)
            x = x + self.attention(b["SelfAttention"], h, h)
            h = self.norm(b["LayerNorm_1"], x)
            x = x + (self.moe(b["Moe"], h) if "Moe" in b else self.mlp(b["Mlp"], h))
        x = self.norm(p["Encoder"]["encoder_norm"], x)
        if "MapHead" in p:
            head = p["MapHead"]
            y = self.attention(head["MultiHeadDotProductAttention"], head["probe"][0].astype(float), x)
            z = (y + self.mlp(head["Mlp"], self.norm(head["LayerNorm"], y)))[0]
        else:
            z = x[0] if "cls" in p else x.mean(0)
        return z / np.linalg.norm(z)
