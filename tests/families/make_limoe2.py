"""Makes the golden vectors of tests/golden/limoe2-*: small random models of format limoe-2, and what reference.py answers.

    python tests/families/make_limoe2.py --out tests/golden [NAME...]

The files are those of tests/golden/README.md. Needs numpy.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from reference import Model, read_safetensors

PICTURES = TEXTS = 10
CLOSEST = 1e-4  # no routing decision hangs on gates that are closer

IMAGE = dict(size=16, patch=4, mean=[0.5] * 3, std=[0.5] * 3)
TEXT = dict(vocab=48, length=9, eos_id=2, pad_id=0)
CLIP_TEXT = dict(causal=True, pool="last", activation="quick_gelu", ln_eps=1e-5)

# name -> what differs from IMAGE and TEXT, the towers, the experts; "dtype" of the checkpoint, else float32.
CASES = {
    # V-MoE's: every other block, the gates as softmax left them
    "limoe2-v-moe": dict(
        embed=32,
        image=dict(class_token=True, projection=False, tower=dict(width=32, blocks=4, heads=2, mlp=24, pool="first")),
        text=dict(tower=dict(width=24, blocks=1, heads=2, mlp=20)),
        moe=dict(image=[1, 3], experts=4, top_k=2),
    ),
    # CLIP-MoE's: every block of both towers
    "limoe2-clip-moe": dict(
        embed=20,
        image=dict(
            class_token=True,
            patch_bias=False,
            tower=dict(
                width=32, blocks=2, heads=2, mlp=24, pre_norm=True, pool="first", activation="quick_gelu", ln_eps=1e-5
            ),
        ),
        text=dict(tower=dict(width=24, blocks=2, heads=3, mlp=20, **CLIP_TEXT)),
        moe=dict(image=[0, 1], text=[0, 1], experts=4, top_k=2, renormalize=True),
    ),
    # Experts for texts alone, beside a head as SigLIP's
    "limoe2-text-experts": dict(
        embed=28,
        scores="sigmoid",
        image=dict(projection=False, tower=dict(width=28, blocks=2, heads=2, mlp=32, pool="attention")),
        text=dict(
            pad="attend",
            projection_bias=True,
            tower=dict(width=24, blocks=3, heads=2, mlp=20, pool="last", activation="gelu"),
        ),
        moe=dict(text=[1], experts=5, top_k=1),
    ),
    "limoe2-qk-norm": dict(
        embed=24,
        image=dict(
            class_token=True,
            tower=dict(
                width=36, blocks=2, heads=3, mlp=28, qk_norm=True, pool="rest", late_norm=True, activation="gelu"
            ),
        ),
        text=dict(tower=dict(width=20, blocks=2, heads=2, mlp=24, qk_norm=True, causal=True, pool="mean")),
        moe=dict(image=[1], text=[0], experts=3, top_k=1),
    ),
    "limoe2-late-norm": dict(
        embed=20,
        image=dict(tower=dict(width=24, blocks=1, heads=2, mlp=28, pre_norm=True, late_norm=True)),
        text=dict(tower=dict(width=32, blocks=2, heads=2, mlp=24, late_norm=True, causal=True, pool="last")),
        moe=dict(image=[0], experts=6, top_k=3, renormalize=True),
    ),
    "limoe2-text-first": dict(
        embed=20,
        image=dict(tower=dict(width=24, blocks=1, heads=2, mlp=28)),
        text=dict(tower=dict(width=24, blocks=2, heads=3, mlp=20, pre_norm=True, pool="first", activation="gelu")),
        moe=dict(text=[1], experts=3, top_k=2, renormalize=True),
    ),
    "limoe2-dense": dict(
        embed=24,
        image=dict(class_token=True, tower=dict(width=32, blocks=2, heads=4, mlp=24, pool="rest")),
        text=dict(projection=False, tower=dict(width=24, blocks=2, heads=3, mlp=28, ln_eps=1e-3)),
    ),
    "limoe2-bfloat16": dict(
        embed=20,
        dtype="BF16",
        image=dict(class_token=True, tower=dict(width=32, blocks=2, heads=2, mlp=24, pre_norm=True, pool="first")),
        text=dict(tower=dict(width=24, blocks=2, heads=3, mlp=20, **CLIP_TEXT)),
        moe=dict(image=[1], text=[1], experts=4, top_k=2, renormalize=True),
    ),
}


def config_of(name: str, case: dict) -> dict:
    config = dict(format="limoe-2", name=name, embed=case["embed"])
    config |= {k: case[k] for k in ("scores",) if k in case}
    config |= dict(image={**IMAGE, **case["image"]}, text={**TEXT, **case["text"]})
    return config | ({"moe": case["moe"]} if "moe" in case else {})


def shapes(config: dict) -> dict[str, tuple]:
    """Every tensor of docs/format.md."""
    found, moe, embed = {}, config.get("moe"), config["embed"]

    def pair(name, *shape, bias=True):
        found[name + ".weight"] = shape
        if bias:
            found[name + ".bias"] = shape[:-1] if len(shape) > 1 else shape

    for half in ("image", "text"):
        c = config[half]
        tower = c["tower"]
        d, m, heads = tower["width"], tower["mlp"], tower["heads"]
        if half == "image":
            pair("image.patch", d, 3 * c["patch"] ** 2, bias=c.get("patch_bias", True))
            rows = (c["size"] // c["patch"]) ** 2
            if c.get("class_token"):
                found["image.class"], rows = (d,), rows + 1
            found["image.pos"] = (rows, d)
            if tower.get("pool") == "attention":
                found["image.pool.probe"] = (d,)
                pair("image.pool.qkv", 3 * d, d)
                pair("image.pool.out", d, d)
                pair("image.pool.ln", d)
                pair("image.pool.fc1", m, d)
                pair("image.pool.fc2", d, m)
        else:
            found["text.token"], found["text.pos"] = (c["vocab"], d), (c["length"], d)
        if tower.get("pre_norm"):
            pair(half + ".pre_ln", d)
        if c.get("projection", True):
            pair(half + ".proj", embed, d, bias=c.get("projection_bias", False))
        pair(half + ".ln", d)
        for i in range(tower["blocks"]):
            b = f"{half}.blocks.{i}."
            for name in ("ln1", "ln2"):
                pair(b + name, d)
            pair(b + "attn.qkv", 3 * d, d)
            pair(b + "attn.out", d, d)
            if tower.get("qk_norm"):
                pair(b + "attn.q_norm", d // heads)
                pair(b + "attn.k_norm", d // heads)
            if moe and i in moe.get(half, []):
                pair(b + "moe.router", moe["experts"], d, bias=False)
                pair(b + "moe.fc1", moe["experts"], m, d)
                pair(b + "moe.fc2", moe["experts"], d, m)
            else:
                pair(b + "mlp.fc1", m, d)
                pair(b + "mlp.fc2", d, m)
    found["logit_scale"] = ()
    if config.get("scores") == "sigmoid":
        found["logit_bias"] = ()
    return found


def draw(rng, name: str, shape: tuple) -> np.ndarray:
    """Values that tell mistakes apart: norms near 1, biases that matter, routers sharp enough to choose."""
    noise = rng.standard_normal(shape).astype(np.float32)
    if name == "logit_scale":
        return np.float32(2.5)
    if name == "logit_bias":
        return np.float32(-1.5)
    if name.endswith("bias"):
        return 0.1 * noise
    if name.endswith(("token", "pos", "class", "probe")):
        return 0.5 * noise
    if len(shape) == 1:
        return 1 + 0.2 * noise
    return noise * shape[-1] ** -0.5 * (1.5 if "router" in name else 1)


def save(path: Path, tensors: dict[str, np.ndarray], dtype: str = "F32") -> None:
    header, parts, at = {}, [], 0
    for name, values in tensors.items():
        values = np.asarray(values, order="C")
        kind = {"uint8": "U8", "int32": "I32"}.get(values.dtype.name, dtype)
        if kind == "BF16":  # rounded to the nearest, halves to the even
            bits = values.astype(np.float32).view(np.uint32)
            values = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
        parts.append(values.tobytes())
        header[name] = dict(dtype=kind, shape=list(values.shape), data_offsets=[at, at + len(parts[-1])])
        at += len(parts[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def random_items(rng, config: dict):
    c, size = config["text"], config["image"]["size"]
    pixels = rng.integers(0, 256, (PICTURES, size, size, 3), dtype=np.uint8)
    # Every other picture is smooth: flat areas make rows that differ little.
    pixels[::2] = (
        rng.integers(0, 256, (PICTURES // 2, 2, 2, 3), dtype=np.uint8).repeat(size // 2, 1).repeat(size // 2, 2)
    )
    tokens = np.full((TEXTS, c["length"]), c["pad_id"], np.int32)
    lengths = rng.integers(2, c["length"] + 1, TEXTS).astype(np.int32)
    lengths[:2] = 1, c["length"]  # an empty text is its end alone; a long one was cut
    for row, n in zip(tokens, lengths):
        row[:n] = [*rng.integers(3, c["vocab"], n - 1), c["eos_id"]]
    return pixels, tokens, np.full_like(lengths, c["length"]) if c.get("pad") == "attend" else lengths


def answers(model: Model, pixels, tokens, lengths):
    done = [model.image(p) for p in pixels] + [model.text(t[:n]) for t, n in zip(tokens, lengths)]
    rows = [model.image_tokens()] * len(pixels) + [int(n) for n in lengths]
    top_k = model.moe["top_k"] if model.moe else 1
    expert = np.full((model.layers, sum(rows), top_k), -1, np.int32)
    gate = np.zeros(expert.shape, np.float32)
    for i, (_, routing) in enumerate(done):
        at = slice(sum(rows[:i]), sum(rows[: i + 1]))
        for layer, experts, gates in routing.layers:
            expert[layer, at], gate[layer, at] = experts, gates
    embedding = np.stack([z for z, _ in done]).astype(np.float32)
    return embedding, expert, gate, min(routing.nearest for _, routing in done)


def make(name: str, case: dict, out: Path) -> float:
    config = config_of(name, case)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    for seed in range(1000):
        rng = np.random.default_rng([seed, *name.encode()])
        tensors = {tensor: draw(rng, tensor, shape) for tensor, shape in shapes(config).items()}
        save(out / "model.safetensors", tensors, case.get("dtype", "F32"))
        items = random_items(rng, config)
        model = Model(config, read_safetensors(out / "model.safetensors"))  # what the file holds, rounded
        embedding, expert, gate, nearest = answers(model, *items)
        if nearest >= CLOSEST:
            break
    else:
        raise RuntimeError(f"{name}: no seed keeps every decision clear")
    pixels, tokens, lengths = items
    save(
        out / "items.safetensors",
        dict(pixels=pixels, tokens=tokens, lengths=lengths, embedding=embedding, expert=expert, gate=gate),
    )
    return nearest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="tests/golden")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the cases; default all")
    arguments = parser.parse_args()
    for name in arguments.names or CASES:
        nearest = make(name, CASES[name], arguments.out / name)
        size = sum(f.stat().st_size for f in (arguments.out / name).iterdir())
        print(f"{name:24s} {size // 1000} kB, closest gates {nearest:.1e}")


if __name__ == "__main__":
    main()
