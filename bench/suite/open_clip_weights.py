"""CLIP and SigLIP as transformers saves them, under open_clip's names: the same numbers in open_clip's own modules.

transformers keeps queries, keys and values apart, open_clip together; SigLIP's vision tower is timm's there.
"""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file

BLOCK = {  # of open_clip's own transformers, then of timm's
    "layer_norm1": ("ln_1", "norm1"),
    "layer_norm2": ("ln_2", "norm2"),
    "mlp.fc1": ("mlp.c_fc", "mlp.fc1"),
    "mlp.fc2": ("mlp.c_proj", "mlp.fc2"),
    "self_attn.out_proj": ("attn.out_proj", "attn.proj"),
}
CLIP = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.final_layer_norm": "ln_final",
}
SIGLIP = {
    "vision_model.embeddings.patch_embedding": "visual.trunk.patch_embed.proj",
    "vision_model.post_layernorm": "visual.trunk.norm",
    "vision_model.head.attention.out_proj": "visual.trunk.attn_pool.proj",
    "vision_model.head.layernorm": "visual.trunk.attn_pool.norm",
    "vision_model.head.mlp": "visual.trunk.attn_pool.mlp",
    "vision_model.head.probe": "visual.trunk.attn_pool.latent",
    "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
    "text_model.embeddings.token_embedding": "text.token_embedding",
    "text_model.final_layer_norm": "text.ln_final",
    "text_model.head": "text.text_projection",
}


def _blocks(tensors: dict, side: str, to: str, timm: bool) -> dict:
    found = {}
    pattern = re.compile(rf"{side}_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
    for key, tensor in tensors.items():
        if not (match := pattern.fullmatch(key)):
            continue
        block, part, kind = match.groups()
        if part == "self_attn.q_proj":
            qkv = torch.cat([tensors[key.replace("q_proj", f"{which}_proj")] for which in "qkv"])
            found[f"{to}.{block}.attn.{f'qkv.{kind}' if timm else f'in_proj_{kind}'}"] = qkv
        elif part in BLOCK:
            found[f"{to}.{block}.{BLOCK[part][timm]}.{kind}"] = tensor
    return found


def _rest(tensors: dict, names: dict) -> dict:
    return {there + key[len(here) :]: t for here, there in names.items() for key, t in tensors.items() if key == here or key.startswith(here + ".")}


def _pooling(tensors: dict) -> dict:
    """timm has the query of attention pooling by itself, the key and value together."""
    found = {}
    for kind in ("weight", "bias"):
        q, kv = tensors[f"vision_model.head.attention.in_proj_{kind}"].tensor_split([tensors["vision_model.post_layernorm.bias"].numel()])
        found |= {f"visual.trunk.attn_pool.q.{kind}": q, f"visual.trunk.attn_pool.kv.{kind}": kv}
    return found


def state(folder: Path, model_type: str) -> dict[str, torch.Tensor]:
    """Every tensor of a folder as open_clip's model of the same shape takes it."""
    tensors = load_file(folder / "model.safetensors")
    scale = {name: tensors[name].reshape(()) for name in ("logit_scale", "logit_bias") if name in tensors}
    if model_type == "siglip":
        positions = {"visual.trunk.pos_embed": tensors["vision_model.embeddings.position_embedding.weight"][None]}
        blocks = _blocks(tensors, "vision", "visual.trunk.blocks", True) | _blocks(tensors, "text", "text.transformer.resblocks", False)
        return scale | positions | blocks | _pooling(tensors) | _rest(tensors, SIGLIP)
    projections = {"visual.proj": tensors["visual_projection.weight"].T, "text_projection": tensors["text_projection.weight"].T}
    blocks = _blocks(tensors, "vision", "visual.transformer.resblocks", False) | _blocks(tensors, "text", "transformer.resblocks", False)
    return scale | projections | blocks | _rest(tensors, CLIP)
