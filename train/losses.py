"""The losses: contrastive, and the auxiliary ones that keep experts in use. All in float32, per MoE layer."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(images: Tensor, texts: Tensor, logit_scale: Tensor, wrong: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE. images, texts [B, embed], unit length; pair i is (images[i], texts[i]).

    wrong [N, embed] are texts that are true of no picture: each picture must tell its own text from them too."""
    logits = logit_scale.exp() * images @ texts.T
    target = torch.arange(len(images))
    rows = logits if wrong is None else torch.cat([logits, logit_scale.exp() * images @ wrong.T], 1)
    return (F.cross_entropy(rows, target) + F.cross_entropy(logits.T, target)) / 2


def squared_variation(x: Tensor) -> Tensor:
    """(std / mean)^2, population std."""
    return x.var(unbiased=False) / x.mean().square()


def importance(gates: Tensor) -> Tensor:
    """gates [R, E], of the clean logits: how unevenly gate mass falls on experts."""
    return squared_variation(gates.sum(0))


def load(logits: Tensor, noisy: Tensor, top_k: int, sigma: float) -> Tensor:
    """How unevenly tokens fall on experts, smoothly: the chance that fresh noise puts an expert in the top k."""
    threshold = noisy.topk(top_k, dim=-1).values[:, -1:]
    chance = 0.5 * torch.erfc((threshold - logits) / (sigma * math.sqrt(2)))
    return squared_variation(chance.mean(0))


def z_loss(logits: Tensor) -> Tensor:
    return logits.logsumexp(-1).square().mean()


def entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp_min(1e-20).log()).sum(-1)


def local_entropy(gates: Tensor) -> Tensor:
    """Mean entropy of one modality's tokens: low when each token is sure of its expert."""
    return entropy(gates).mean()


def global_entropy(gates: Tensor, threshold: float) -> Tensor:
    """max(0, threshold - H(mean gate)) of one modality: asks for at least exp(threshold) experts."""
    return (threshold - entropy(gates.mean(0))).clamp_min(0)
