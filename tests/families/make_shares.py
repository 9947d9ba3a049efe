"""Makes tests/golden/{clip,siglip}/shares.safetensors: what the patches of some golden pictures add to their embeddings, computed in
float64 with transformers' own modules, by the sums that docs/api.md states.

    python tests/families/make_shares.py tests/golden/clip tests/golden/siglip

shares [pictures, patches + 1, embed] float32: the last row is what no patch adds. Needs torch and transformers; the tests do not.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

PICTURES = 4


def pixel_values(folder, pixels):
    said = json.loads((folder / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(said[name], dtype=torch.float64) for name in ("image_mean", "image_std"))
    return ((torch.from_numpy(pixels).double() / 255 - mean) / std).permute(0, 3, 1, 2)


def weighted_values(weights, values, projection):
    """weights [heads, tokens] of one query, values [tokens, width] -> [tokens, width]: each token's, behind the output matrix."""
    heads = weights.shape[0]
    each = weights.T[:, :, None] * values.reshape(len(values), heads, -1)
    return each.reshape(len(values), -1) @ projection.T


def of_clip(model, inputs):
    tower, values = model.vision_model, []
    hooks = [layer.self_attn.v_proj.register_forward_hook(lambda _, __, out: values.append(out)) for layer in tower.encoder.layers]
    out = tower(inputs, output_attentions=True, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    norm = tower.post_layernorm
    for i in range(len(inputs)):
        parts = sum(
            weighted_values(out.attentions[n][i, :, 0], values[n][i], layer.self_attn.out_proj.weight)[1:]
            for n, layer in enumerate(tower.encoder.layers)
        )
        token = out.hidden_states[-1][i, 0]
        scale = torch.rsqrt(token.var(unbiased=False) + norm.eps)
        parts = (parts - parts.mean(-1, keepdim=True)) * scale * norm.weight
        yield parts @ model.visual_projection.weight.T, model.visual_projection(norm(token))


def of_siglip(model, inputs):
    tower = model.vision_model
    hidden = tower.post_layernorm(tower.encoder(inputs_embeds=tower.embeddings(inputs)).last_hidden_state)
    attention, width = tower.head.attention, hidden.shape[-1]
    w_q, w_k, w_v = attention.in_proj_weight.split(width)
    b_q, b_k, b_v = attention.in_proj_bias.split(width)
    for i in range(len(inputs)):
        query, key, value = tower.head.probe[0, 0] @ w_q.T + b_q, hidden[i] @ w_k.T + b_k, hidden[i] @ w_v.T + b_v
        heads = attention.num_heads
        score = torch.einsum("hc,thc->ht", query.reshape(heads, -1), key.reshape(len(key), heads, -1))
        weights = torch.softmax(score / (width // heads) ** 0.5, -1)
        yield weighted_values(weights, value, attention.out_proj.weight), tower.head(hidden[i : i + 1])[0]


def make(folder):
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64).eval()
    items = load_file(folder / "items.safetensors")
    inputs = pixel_values(folder, items["pixels"][:PICTURES])
    rows = []
    with torch.no_grad():
        for parts, z in (of_clip if model.config.model_type == "clip" else of_siglip)(model, inputs):
            parts, embedding = parts / z.norm(), z / z.norm()
            rows.append(torch.cat([parts, (embedding - parts.sum(0))[None]]))
            assert np.abs(embedding.numpy() - items["embedding"][len(rows) - 1]).max() < 1e-5
    save_file({"shares": torch.stack(rows).float().numpy()}, folder / "shares.safetensors")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folders", nargs="+", type=Path)
for folder in parser.parse_args().folders:
    make(folder)
