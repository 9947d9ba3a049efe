"""LoRAs in PEFT and here, on the same weights: what PEFT saves is read by limoe, and what `limoe adapters export` writes by PEFT.

    python tests/families/lora.py [--build build]

The models are golden ones, CLIP and SigLIP of transformers and limoe-1 of train/; every matrix that a LoRA may change has one, of
random numbers. Embeddings of the model's pictures and texts, in float32, by PEFT and by build/tests/families/embed_bits of the merged model, may
differ by 1e-5. Takes seconds; needs torch, transformers, peft and train/requirements.txt. Not part of scripts/test.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import peft
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "train"))
import export  # noqa: E402

NEAR, FAR = 1e-5, 1e-2
CLIP_MODULES = "[qkv]_proj out_proj fc1 fc2 visual_projection text_projection"
SIGLIP_MODULES = "[qkv]_proj encoder.layers.[0-9]+.self_attn.out_proj encoder.layers.[0-9]+.mlp.fc[12]"
LIMOE_MODULES = "attn.qkv attn.out mlp.fc1 mlp.fc2 image.proj text.proj"


def load(folder):
    classes = {"clip": transformers.CLIPModel, "siglip": transformers.SiglipModel}
    return classes[folder.name].from_pretrained(folder) if folder.name in classes else export.load(folder)


@torch.no_grad()
def embed(model, items, limoe):
    """Pictures first, as embed_bits writes them."""
    model.eval()
    pixels, tokens = items["pixels"], items["tokens"].long()
    if limoe:
        return torch.cat(model(pixels, tokens, items["lengths"].long())[:2])
    towers = model.get_image_features(pixel_values=((pixels / 255.0 - 0.5) / 0.5).permute(0, 3, 1, 2)), model.get_text_features(input_ids=tokens)
    vectors = [z if isinstance(z, torch.Tensor) else z.pooler_output for z in towers]
    return torch.cat([torch.nn.functional.normalize(z, dim=-1) for z in vectors])


def run(arguments, *words):
    subprocess.run([arguments.build / "limoe", "adapters", *words], check=True, stdout=subprocess.DEVNULL)


def embed_merged(arguments, folder, adapter, out):
    """By the engine, of the model with the adapter in it."""
    run(arguments, "merge", folder, adapter, out)
    answer = out / "answer.f32"
    subprocess.run([arguments.build / "tests/families/embed_bits", out, folder / "items.safetensors", answer], check=True)
    return torch.from_numpy(np.fromfile(answer, dtype=np.float32))


def halve(path):
    """The file's own strength."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["limoe-adapter"]) | {"strength": 0.5}
    save_file(load_file(path), path, {"limoe-adapter": json.dumps(about)})


def check(arguments, name, modules, rslora, folder, work):
    items, limoe = load_file(folder / "items.safetensors"), name == "base"
    torch.manual_seed(3)
    config = peft.LoraConfig(r=3, lora_alpha=5, use_rslora=rslora, init_lora_weights=False,
                             target_modules="|".join(rf"(.*\.)?{module}" for module in modules.split()))
    model = peft.get_peft_model(load(folder), config)
    model.save_pretrained(work / "saved")
    run(arguments, "export", work / "saved", work / "file", "--model", folder)
    halve(work / "file")
    run(arguments, "export", work / "file", work / "exported")
    base = embed(load(folder), items, limoe)
    good = True
    for what, adapter, its in (
        ("saved by PEFT, read here", "saved", model),
        ("exported at half strength, read by PEFT", "file", peft.PeftModel.from_pretrained(load(folder), work / "exported")),
    ):
        want = embed(its.base_model.model, items, limoe)
        have = embed_merged(arguments, folder, work / adapter, work / f"merged-{adapter}").reshape(want.shape)
        differs, moved = (have - want).abs().max().item(), (want - base).abs().max().item()
        print(f"{name}, {what}: largest difference {differs:.1e}; from the base {moved:.2f}")
        good &= differs <= NEAR and moved >= FAR
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    arguments = parser.parse_args()
    good = True
    for name, modules, rslora in (("clip", CLIP_MODULES, False), ("siglip", SIGLIP_MODULES, True), ("base", LIMOE_MODULES, False)):
        with tempfile.TemporaryDirectory() as work:
            good &= check(arguments, name, modules, rslora, ROOT / "tests/golden" / name, Path(work))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
