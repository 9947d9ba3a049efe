"""The dense models that limoe serves, as limoe-1 or limoe-2 has them: what upcycle.py begins with.

What a key means where it is missing is what the library that wrote the file takes then.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from checkpoints import Refused, folders, open_clip
from checkpoints.limoe2 import flat_patches, transposed
from checkpoints.tensors import Tensor, join

OPEN_CLIP_CONFIG = "open_clip_config.json"


def files_beside(folder: Path) -> list[Path]:
    """What pictures and texts are prepared by; it comes along. OpenCLIP's config does where it is the model's own."""
    found = folders.tokenizer_files(folder)
    found += [folder / name for name in folders.PROCESSORS if (folder / name).is_file()]
    return found + ([folder / OPEN_CLIP_CONFIG] if is_open_clip(folder) else [])


def is_open_clip(folder: Path) -> bool:
    own = any((folder / ("model.safetensors" + end)).is_file() for end in ("", ".index.json"))
    return (folder / OPEN_CLIP_CONFIG).is_file() and not (own and (folder / "config.json").is_file())


def read(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    if is_open_clip(folder):
        config = folders.read_json(folder / OPEN_CLIP_CONFIG)
        return from_open_clip(str(folder / OPEN_CLIP_CONFIG), config, folders.read_weights(folder))
    path = folder / "config.json"
    config = folders.read_json(path)
    if config.get("format") in ("limoe-1", "limoe-2"):
        return config, folders.read_weights(folder)
    if config.get("model_type") in ("clip", "siglip"):
        return from_hugging_face(str(path), config, folders.read_weights(folder))
    raise Refused(
        f'{path}: "format" is {config.get("format")!r} and "model_type" {config.get("model_type")!r}; limoe-1, limoe-2, clip '
        "and siglip are accepted"
    )


class _Names:
    """Tensors under a library's names, moved one by one to limoe's; what is left over at the end is refused."""

    def __init__(self, where: str, tensors: Mapping[str, Tensor]):
        self.where, self.left, self.made = where, open_clip.weights(where, tensors), {}

    def take(self, name: str) -> Tensor:
        if name not in self.left:
            raise Refused(f'{self.where}: tensor "{name}" is missing')
        return self.left.pop(name)

    def move(self, old: str, new: str, change=None) -> None:
        t = self.take(old)
        self.made[new] = change(t) if change else t

    def pair(self, old: str, new: str) -> None:
        for part in (".weight", ".bias"):
            self.move(old + part, new + part)

    def join(self, old: list[str], new: str) -> None:
        """Parts by rows: q, k and v."""
        for part in (".weight", ".bias"):
            self.made[new + part] = join([self.take(name + part) for name in old], np.concatenate)

    def scalar(self, name: str) -> None:
        self.move(name, name, lambda t: t.map(lambda v: v.reshape(())))

    def end(self) -> dict[str, Tensor]:
        if self.left:
            raise Refused(f'{self.where}: tensor "{min(self.left)[:100]}" is not one that is known')
        return self.made


def _get(where: str, of: Mapping, key: str, missing):
    value = of.get(key)
    value = missing if value is None else value
    kinds = (int, float) if isinstance(missing, float) else type(missing)
    if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(missing, bool)):
        raise Refused(f'{where}: "{key}" is {str(value)[:60]!r}; something like {missing!r} is accepted')
    return value


# ---- Hugging Face

ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}


def _hf_tower(where: str, of: Mapping, clip: bool, text: bool) -> dict:
    width = 512 if clip and text else 768
    absent = dict(hidden_size=width, num_hidden_layers=12, num_attention_heads=8 if clip and text else 12)
    absent["intermediate_size"] = 2048 if clip and text else 3072
    act = _get(where, of, "hidden_act", "quick_gelu" if clip else "gelu_pytorch_tanh")
    if act not in ACTIVATIONS:
        raise Refused(f'{where}: "hidden_act" is {act[:60]!r}; {", ".join(ACTIVATIONS)} are accepted')
    sizes = {key: _get(where, of, key, value) for key, value in absent.items()}
    return dict(
        width=sizes["hidden_size"],
        blocks=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        mlp=sizes["intermediate_size"],
        activation=ACTIVATIONS[act],
        ln_eps=_get(where, of, "layer_norm_eps", 1e-5 if clip else 1e-6),
    )


def _hf_blocks(names: _Names, half: str, to: str, count: int) -> None:
    for i in range(count):
        old, new = f"{half}_model.encoder.layers.{i}.", f"{to}.blocks.{i}."
        names.pair(old + "layer_norm1", new + "ln1")
        names.pair(old + "layer_norm2", new + "ln2")
        names.join([f"{old}self_attn.{part}_proj" for part in "qkv"], new + "attn.qkv")
        names.pair(old + "self_attn.out_proj", new + "attn.out")
        names.pair(old + "mlp.fc1", new + "mlp.fc1")
        names.pair(old + "mlp.fc2", new + "mlp.fc2")


def _head(names: _Names, old: str, parts: Mapping[str, str]) -> None:
    """SigLIP's pooling by attention."""
    for name, new in parts.items():
        names.pair(old + name, "image.pool." + new)


def from_hugging_face(where: str, config: Mapping, tensors: Mapping[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    clip, names = config["model_type"] == "clip", _Names(where, tensors)
    halves = [config.get(f"{half}_config") or config.get(f"{half}_config_dict") or {} for half in ("vision", "text")]
    vision, text = (half if isinstance(half, dict) else {} for half in halves)
    towers = [_hf_tower(where, vision, clip, False), _hf_tower(where, text, clip, True)]
    v, t = "vision_model.", "text_model."
    names.move(v + "embeddings.patch_embedding.weight", "image.patch.weight", flat_patches)
    names.move(v + "embeddings.position_embedding.weight", "image.pos")
    names.move(t + "embeddings.token_embedding.weight", "text.token")
    names.move(t + "embeddings.position_embedding.weight", "text.pos")
    names.pair(v + "post_layernorm", "image.ln")
    names.pair(t + "final_layer_norm", "text.ln")
    names.scalar("logit_scale")
    if clip:
        names.move(v + "embeddings.class_embedding", "image.class")
        names.pair(v + "pre_layrnorm", "image.pre_ln")
        names.move("visual_projection.weight", "image.proj.weight")
        names.move("text_projection.weight", "text.proj.weight")
    else:
        names.move(v + "embeddings.patch_embedding.bias", "image.patch.bias")
        names.pair(t + "head", "text.proj")
        names.scalar("logit_bias")
        names.move(v + "head.probe", "image.pool.probe", lambda p: p.map(np.ravel))
        names.move(v + "head.attention.in_proj_weight", "image.pool.qkv.weight")
        names.move(v + "head.attention.in_proj_bias", "image.pool.qkv.bias")
        _head(names, v + "head.", {"attention.out_proj": "out", "layernorm": "ln", "mlp.fc1": "fc1", "mlp.fc2": "fc2"})
    for half, to, tower in (("vision", "image", towers[0]), ("text", "text", towers[1])):
        _hf_blocks(names, half, to, tower["blocks"])
    towers[0] |= dict(pool="first", pre_norm=True) if clip else dict(pool="attention")
    towers[1] |= dict(pool="last", causal=clip)
    vocab, length = len(names.made["text.token"].values), len(names.made["text.pos"].values)
    embed = names.made["text.proj.weight"].shape[0]
    words = dict(vocab=vocab, length=length, eos_id=vocab - 1 if clip else 1, pad_id=0 if clip else 1)
    words |= dict(pad="ignore" if clip else "attend", projection_bias=not clip)
    return _limoe2(where, vision, (32 if clip else 16), clip, clip, not clip, embed, towers, words), names.end()


def _limoe2(where, vision, patch, class_token, projection, sigmoid, embed, towers, words) -> dict:
    """mean and std are of no account: the library's own file says how pictures are prepared."""
    image = dict(
        size=_get(where, vision, "image_size", 224), patch=_get(where, vision, "patch_size", patch), mean=[0.5] * 3,
        std=[0.5] * 3, class_token=class_token, patch_bias=not class_token, projection=projection, tower=towers[0],
    )  # fmt: skip
    if image["patch"] < 1 or image["size"] % image["patch"]:
        raise Refused(
            f"{where}: pictures of {image['size']} pixels in patches of {image['patch']}; a limoe-2 cuts nothing off"
        )
    scores = dict(scores="sigmoid") if sigmoid else {}
    return dict(format="limoe-2", name="", embed=embed, **scores, image=image, text=words | dict(tower=towers[1]))


# ---- OpenCLIP

TIMM = re.compile(r"vit_(base|large|so400m|giantopt)_patch(\d{1,2})_siglip_(\d{1,4})")
TIMM_HEADS = {"base": 12, "large": 16, "so400m": 16, "giantopt": 16}
TIMM_TANH = re.compile(r"vit_(base_patch32|giantopt_patch16|so400m_patch16)|vit_large_patch16_siglip_512$")
MUST_BE_FALSE = (
    "ls_init_value", "attentional_pool", "block_type", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner",
    "scale_attn", "scale_fc", "embed_cls", "hf_model_name",
)  # fmt: skip


def _activation(of: Mapping, quick: bool) -> str:
    tanh = (of.get("act_kwargs") or {}).get("approximate") == "tanh"
    return "quick_gelu" if quick else "gelu_tanh" if tanh else "gelu"


def _oc_tower(where: str, of: Mapping, quick: bool, text: bool) -> dict:
    for key in MUST_BE_FALSE:
        if of.get(key):
            raise Refused(f'{where}: "{key}" is {str(of[key])[:60]!r}, which is not supported')
    width = _get(where, of, "width", 512 if text else 768)
    heads = _get(where, of, "heads", 8) if text else width // max(1, _get(where, of, "head_width", 64))
    return dict(
        width=width,
        blocks=_get(where, of, "layers", 12),
        heads=heads,
        mlp=int(width * _get(where, of, "mlp_ratio", 4.0)),
        activation=_activation(of, quick),
        ln_eps=_get(where, of.get("norm_kwargs") or {}, "eps", 1e-5),
    )


def _oc_blocks(names: _Names, old: str, to: str, count: int, parts: Mapping[str, str]) -> None:
    for i in range(count):
        for name, new in parts.items():
            names.move(f"{old}{i}.{name}", f"{to}.blocks.{i}.{new}")


_PAIRS = {"ln_1": "ln1", "ln_2": "ln2", "attn.out_proj": "attn.out", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
OPEN_CLIP_BLOCK = {f"{a}.{p}": f"{b}.{p}" for a, b in _PAIRS.items() for p in ("weight", "bias")}
OPEN_CLIP_BLOCK |= {"attn.in_proj_weight": "attn.qkv.weight", "attn.in_proj_bias": "attn.qkv.bias"}
_PAIRS = {
    "norm1": "ln1",
    "norm2": "ln2",
    "attn.qkv": "attn.qkv",
    "attn.proj": "attn.out",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
TIMM_BLOCK = {f"{a}.{p}": f"{b}.{p}" for a, b in _PAIRS.items() for p in ("weight", "bias")}


def _timm(where: str, names: _Names, vision: Mapping) -> tuple[dict, dict]:
    """SigLIP's image tower, whose sizes are in the tensors: what the config's image part says, and the tower."""
    known = TIMM.fullmatch(str(vision["timm_model_name"]))
    if not known:
        raise Refused(
            f'{where}: "timm_model_name" is {str(vision["timm_model_name"])[:60]!r}; vit_SIZE_patchP_siglip_S is accepted'
        )
    old = "visual.trunk."
    names.move(old + "patch_embed.proj.weight", "image.patch.weight", flat_patches)
    names.move(old + "patch_embed.proj.bias", "image.patch.bias")
    names.move(old + "pos_embed", "image.pos", lambda p: p.map(lambda v: v[0]))
    names.pair(old + "norm", "image.ln")
    names.move(old + "attn_pool.latent", "image.pool.probe", lambda p: p.map(np.ravel))
    names.join([old + "attn_pool.q", old + "attn_pool.kv"], "image.pool.qkv")
    _head(names, old + "attn_pool.", {"proj": "out", "norm": "ln", "mlp.fc1": "fc1", "mlp.fc2": "fc2"})
    blocks = open_clip.count_blocks(where, names.left, old + "blocks.")
    _oc_blocks(names, old + "blocks.", "image", blocks, TIMM_BLOCK)
    mlp, width = names.made["image.blocks.0.mlp.fc1.weight"].shape
    act = "gelu_tanh" if TIMM_TANH.match(known[0]) else "gelu"
    tower = dict(
        width=width, blocks=blocks, heads=TIMM_HEADS[known[1]], mlp=mlp, activation=act, ln_eps=1e-6, pool="attention"
    )
    size = vision.get("image_size", 224)
    return dict(image_size=size[0] if isinstance(size, list) and size else size, patch_size=int(known[2])), tower


def _vit(where: str, names: _Names, vision: Mapping, quick: bool) -> tuple[Mapping, dict]:
    tower = _oc_tower(where, vision, quick, False)
    names.move("visual.conv1.weight", "image.patch.weight", flat_patches)
    names.move("visual.class_embedding", "image.class")
    names.move("visual.positional_embedding", "image.pos")
    names.pair("visual.ln_post", "image.ln")
    names.move("visual.proj", "image.proj.weight", transposed)
    tower["pre_norm"] = not _get(where, vision, "no_ln_pre", False)
    if tower["pre_norm"]:
        names.pair("visual.ln_pre", "image.pre_ln")
    tower["late_norm"] = _get(where, vision, "final_ln_after_pool", False)
    tower["pool"] = "rest" if vision.get("pool_type") == "avg" else "first"
    _oc_blocks(names, "visual.transformer.resblocks.", "image", tower["blocks"], OPEN_CLIP_BLOCK)
    size = vision.get("image_size", 224)
    return dict(vision) | dict(image_size=size[0] if isinstance(size, list) and size else size), tower


def from_open_clip(where: str, config: Mapping, tensors: Mapping[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    model, names = config.get("model_cfg"), _Names(where, tensors)
    if not isinstance(model, dict) or not isinstance(model.get("vision_cfg"), dict):
        raise Refused(f'{where}: no "model_cfg" with a "vision_cfg"')
    vision, words, quick = model["vision_cfg"], model.get("text_cfg") or {}, bool(model.get("quick_gelu"))
    timm, prefix = "timm_model_name" in vision, "text." if model.get("custom_text") else ""
    said, image = _timm(where, names, vision) if timm else _vit(where, names, vision, quick)
    tower = _oc_tower(where, words, quick, True)
    names.move(prefix + "token_embedding.weight", "text.token")
    names.move(prefix + "positional_embedding", "text.pos")
    names.pair(prefix + "ln_final", "text.ln")
    biased = _get(where, words, "proj_bias", False)
    if biased:
        names.pair(prefix + "text_projection", "text.proj")
    else:
        names.move(prefix + "text_projection", "text.proj.weight", transposed)
    _oc_blocks(names, prefix + "transformer.resblocks.", "text", tower["blocks"], OPEN_CLIP_BLOCK)
    names.scalar("logit_scale")
    sigmoid = model.get("init_logit_bias") is not None
    if sigmoid:
        names.scalar("logit_bias")
    causal, pool = not _get(where, words, "no_causal_mask", False), words.get("pool_type", "argmax")
    tower |= dict(pool="last", causal=causal)
    vocab, length = len(names.made["text.token"].values), len(names.made["text.pos"].values)
    text = dict(
        vocab=vocab, length=length, eos_id=vocab - 1, pad_id=_get(where, words, "pad_id", 0), projection_bias=biased
    )
    text["pad"] = "ignore" if causal and pool != "last" else "attend"
    made = names.end()
    embed = made["text.proj.weight"].shape[0]
    return _limoe2(where, said, 16, not timm, not timm, sigmoid, embed, [image, tower], text), made
