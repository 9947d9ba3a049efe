"""The losses against values worked out by hand."""

import math

import pytest
import torch

import losses


def test_importance_check_value():
    gates = torch.tensor([[0.5, 0.4, 0.1], [0.3, 0.3, 0.4], [0.1, 0.2, 0.7], [0.8, 0.2, 0.0]])
    assert losses.importance(gates).item() == pytest.approx(0.03875, abs=1e-6)


def test_load_is_zero_when_experts_share_and_large_when_one_takes_all():
    # Each expert is once a clear winner: its chance is 1/2 at its own threshold and 0 elsewhere.
    shared = 100 * torch.eye(4)
    assert losses.load(shared, shared, 1, 0.25).item() == pytest.approx(0, abs=1e-6)
    hogged = torch.zeros(4, 4)
    hogged[:, 0] = 100
    # mean chance (1/2, 0, 0, 0): (std / mean)^2 = 3
    assert losses.load(hogged, hogged, 1, 0.25).item() == pytest.approx(3, rel=1e-5)


def test_load_follows_the_normal_distribution():
    logits = torch.tensor([[1.0, 0.5]])
    noisy = torch.tensor([[1.0, 0.7]])  # top-1 threshold 1.0
    chance = [0.5, 0.5 * math.erfc((1.0 - 0.5) / (0.5 * math.sqrt(2)))]
    mean = sum(chance) / 2
    expected = sum((c - mean) ** 2 for c in chance) / 2 / mean**2
    assert losses.load(logits, noisy, 1, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_z_loss():
    assert losses.z_loss(torch.zeros(5, 8)).item() == pytest.approx(math.log(8) ** 2, rel=1e-6)


def test_entropies():
    sure, unsure = torch.eye(4), torch.full((4, 4), 0.25)
    assert losses.local_entropy(sure).item() == pytest.approx(0, abs=1e-6)
    assert losses.local_entropy(unsure).item() == pytest.approx(math.log(4), rel=1e-6)
    # Sure tokens that spread over four experts satisfy any threshold up to log 4.
    assert losses.global_entropy(sure, math.log(3)).item() == 0
    collapsed = torch.zeros(4, 4)
    collapsed[:, 2] = 1
    assert losses.global_entropy(collapsed, math.log(3)).item() == pytest.approx(math.log(3), rel=1e-5)


def test_global_entropy_pulls_a_collapsed_modality_apart():
    logits = torch.zeros(6, 4)
    logits[:, 1] = 3
    logits.requires_grad_()
    losses.global_entropy(logits.softmax(-1), math.log(4)).backward()
    assert (logits.grad[:, 1] > 0).all() and (logits.grad[:, [0, 2, 3]] < 0).all()


def test_contrastive():
    scale = torch.tensor(math.log(10.0))
    aligned = torch.eye(4)
    expected = -10 + math.log(math.exp(10) + 3)
    assert losses.contrastive(aligned, aligned, scale).item() == pytest.approx(expected, abs=1e-5)
    assert losses.contrastive(aligned, aligned.roll(1, 0), scale).item() > 9
