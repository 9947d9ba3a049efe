"""One modality of a model directory as a PyTorch module: what is timed in PyTorch, and what the others get as ONNX."""

import json
from pathlib import Path

import torch
from torch import nn


class TransformersHalf(nn.Module):
    def __init__(self, folder: Path, modality: str, attention: str):
        super().__init__()
        import transformers

        self.model = transformers.AutoModel.from_pretrained(folder, attn_implementation=attention).eval()
        self.image = modality == "image"
        unused = "text_model" if self.image else "vision_model"
        setattr(self.model, unused, None)

    def forward(self, x):
        z = self.model.get_image_features(pixel_values=x) if self.image else self.model.get_text_features(input_ids=x)
        return z if isinstance(z, torch.Tensor) else z.pooler_output


def half(folder: Path, modality: str, way: str = "grouped", dtype: torch.dtype = torch.float32, attention: str = "sdpa") -> nn.Module:
    """`way`: of experts, as train/peer.py has them."""
    if "format" not in json.loads((folder / "config.json").read_text()):
        module = TransformersHalf(folder, modality, attention).to(dtype)
        return module if dtype == torch.float32 else Widened(module, dtype)
    from export import load
    from peer import Encoder

    return Encoder(load(folder), dtype, way, modality).eval()


class Widened(nn.Module):
    """Pixels in and embeddings out as float32, whatever is between."""

    def __init__(self, module: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x):
        return self.module(x.to(self.dtype) if x.is_floating_point() else x).float()
