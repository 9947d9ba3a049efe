"""The losses: contrastive, and the auxiliary ones that keep experts in use. All in float32, per MoE layer."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class Memory:
    """Pairs of the last batches: negatives beyond the batch, without gradient."""

    images: Tensor  # [M, embed]
    texts: Tensor  # [M, embed]
    same: Tensor  # [B, M], True where the remembered pair shows the same concept, so is no negative


def contrastive(images: Tensor, texts: Tensor, logit_scale: Tensor, memory: Memory | None = None) -> Tensor:
    """Symmetric InfoNCE. images, texts [B, embed], unit length; pair i is (images[i], texts[i])."""

    def one_way(anchors: Tensor, others: Tensor, remembered: Tensor | None) -> Tensor:
        logits = anchors @ others.T
        if remembered is not None:
            logits = torch.cat([logits, (anchors @ remembered.T).masked_fill(memory.same, -10.0)], 1)
        return F.cross_entropy(logit_scale.exp() * logits, torch.arange(len(anchors)))

    return (
        one_way(images, texts, memory.texts if memory else None) + one_way(texts, images, memory.images if memory else None)
    ) / 2


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
