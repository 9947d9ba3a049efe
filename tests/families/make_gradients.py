"""Makes the golden vectors of tests/golden/gradients/tower-*: the tail of an image or a text tower of tests/golden/clip
and siglip, forward and backward, as transformers and PyTorch have it in float64.

    python tests/families/make_gradients.py --out tests/golden/gradients

The files are those of tests/golden/README.md. Needs torch, transformers; the tests do not.
"""

import argparse
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
ITEMS = 3
SAMPLES = 24
# name -> model, first block, whether texts
TOWERS = {
    "clip-image": ("clip", 1, False),
    "clip-text": ("clip", 0, True),
    "siglip-image": ("siglip", 1, False),
    "siglip-text": ("siglip", 0, True),
}


def parameters(model: torch.nn.Module, first: int) -> dict[str, torch.Tensor]:
    """Gradients by the names of layout.h: q, k and v as one, by the first's name."""
    found = {}
    for name, p in model.named_parameters():
        parts = name.split(".")
        if "layers" in parts and int(parts[parts.index("layers") + 1]) < first:
            continue
        if p.grad is None or any(part in name for part in ("embeddings", "pre_layrnorm", ".k_proj.", ".v_proj.")):
            continue
        fused = [name.replace("q_proj", f"{of}_proj") for of in "qkv"] if ".q_proj." in name else [name]
        found[name] = torch.cat([model.get_parameter(n).grad for n in fused])
    return found


def answer(model, name: str, items: dict[str, torch.Tensor], texts: bool) -> torch.Tensor:
    if texts:
        tokens = items["tokens"][:ITEMS].long()
        out = model.text_model(input_ids=tokens).pooler_output
        return model.text_projection(out) if name == "clip" else out
    pixels = ((items["pixels"][:ITEMS].double() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    out = model.vision_model(pixel_values=pixels).pooler_output
    return model.visual_projection(out) if name == "clip" else out


def make(name: str, first: int, texts: bool) -> dict[str, torch.Tensor]:
    folder = ROOT / "tests/golden" / name
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").double().eval()
    items = load_file(folder / "items.safetensors")
    tower = model.text_model if texts else model.vision_model
    rows = []
    tower.encoder.layers[first].register_forward_pre_hook(
        lambda _, given, named: rows.append(given[0] if given else named["hidden_states"]), with_kwargs=True
    )
    z = torch.nn.functional.normalize(answer(model, name, items, texts), dim=-1)
    dz = torch.randn(z.shape, generator=torch.Generator().manual_seed(27)).double()
    z.backward(dz)
    lengths = items["lengths"][:ITEMS].tolist() if texts else [rows[0].shape[1]] * ITEMS
    given = {
        "first_block": torch.tensor([first]), "start": torch.tensor([sum(lengths[:i]) for i in range(ITEMS + 1)]),
        "rows": torch.cat([row[:length] for row, length in zip(rows[0], lengths)]), "z": z, "dz": dz,
    }  # fmt: skip
    for parameter, gradient in parameters(model, first).items():
        flat = gradient.flatten()
        n = min(SAMPLES, len(flat))
        given |= {parameter: flat[torch.arange(n) * len(flat) // n], f"{parameter}|norm": flat.norm()[None]}
    return given


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="tests/golden/gradients")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, case in TOWERS.items():
        path = args.out / f"tower-{name}.safetensors"
        tensors = {k: v.detach().float() if v.is_floating_point() else v.int() for k, v in make(*case).items()}
        save_file({k: v.contiguous() for k, v in tensors.items()}, path)
        path.chmod(0o644)
        print(f"{name:16s} {path.stat().st_size} bytes, {len(tensors)} tensors")
