"""open_clip's own modules, eager or compiled, float32 or bfloat16, with the weights of a folder of transformers."""

import json
import logging

import open_clip
import torch
from torch import nn

from suite import models, open_clip_weights, peer_torch
from suite.half import Widened


class OpenClipHalf(nn.Module):
    def __init__(self, model: nn.Module, modality: str):
        super().__init__()
        self.encode = model.encode_image if modality == "image" else model.encode_text
        self.model = model

    def forward(self, x):
        return self.encode(x)


class Engine(peer_torch.Engine):
    version = f"open_clip {open_clip.__version__}, {peer_torch.Engine.version}"

    def module(self, modality: str, dtype: torch.dtype) -> nn.Module:
        config = json.loads((self.args.folder / "config.json").read_text())
        logging.disable(logging.WARNING)  # that no pretrained weights were asked for
        model = open_clip.create_model(models.open_clip_name(self.args.folder))
        model.load_state_dict(open_clip_weights.state(self.args.folder, config["model_type"]))
        half = OpenClipHalf(model.to(dtype), modality)
        return half if dtype == torch.float32 else Widened(half, dtype)
