"""The reference against the paper's rules: routing, capacity, packing."""

import dataclasses

import pytest
import torch

from golden import BASE, CASES, config_of, random_items, randomise
from model import ROW_MULTIPLE, LIMoE, Segments, buffer_slots, expert_capacity

GATES = torch.tensor([[0.4, 0.0, 0.2], [0.5, 0.1, 0.4], [0.3, 0.2, 0.6]])


def chosen(gates, k):
    return gates.sort(dim=-1, descending=True, stable=True).indices[:, :k]


def pairs(gates, priority):
    expert = chosen(gates, 2)
    slots = buffer_slots(gates, expert, priority)
    return [[(e, s) for e, s in zip(*row)] for row in zip(expert.tolist(), slots.tolist())]


def test_batch_priority_routing_check_vector():
    assert pairs(GATES, True) == [[(0, 1), (2, 2)], [(0, 0), (2, 1)], [(2, 0), (0, 2)]]


def test_order_of_arrival_check_vector():
    assert pairs(GATES, False) == [[(0, 0), (2, 1)], [(0, 1), (2, 2)], [(2, 0), (0, 2)]]


@pytest.mark.parametrize(
    "rows, k, factor, experts, slots",
    [(64, 2, 1.0, 4, 32), (10, 1, 1.0, 8, 4), (65, 1, 1.05, 8, 12), (4, 1, 0.1, 4, 4)],
)
def test_expert_capacity(rows, k, factor, experts, slots):
    assert expert_capacity(rows, k, factor, experts) == slots


def build(name, texts=None):
    case = CASES[name]
    config = config_of(name, case)
    g = torch.Generator().manual_seed(7)
    model = LIMoE(config).eval()
    randomise(model, g)
    return model, random_items(config, {**BASE, **case}["texts"] if texts is None else texts, g)


@pytest.mark.parametrize("name", [n for n in CASES if not n.startswith("capacity")])
@torch.inference_mode()
def test_an_item_does_not_depend_on_its_neighbours(name):
    model, (pixels, tokens, lengths) = build(name)
    images, texts, routings = model(pixels, tokens, lengths)
    for i in (0, len(pixels) - 1)[: len(pixels)]:
        alone, _, _ = model(pixels[i : i + 1], tokens[:0], lengths[:0])
        torch.testing.assert_close(alone[0], images[i], atol=2e-6, rtol=0)
    for t in (0, len(tokens) - 1)[: len(tokens)]:
        _, alone, _ = model(pixels[:0], tokens[t : t + 1], lengths[t : t + 1])
        torch.testing.assert_close(alone[0], texts[t], atol=2e-6, rtol=0)


@torch.inference_mode()
def test_moe_is_the_weighted_sum_of_the_chosen_experts():
    model, _ = build("top2-renormalize")
    layer = next(b.moe for b in model.blocks if b.sparse)
    x = torch.randn(9, model.config.width, generator=torch.Generator().manual_seed(1))
    y, routing = layer(x)
    gates = (x @ layer.router.weight.T).softmax(-1)
    for row in range(len(x)):
        best = gates[row].topk(2)
        expected = 0
        for g, e in zip(best.values / best.values.sum(), best.indices):
            hidden = layer.activation(layer.fc1.weight[e] @ x[row] + layer.fc1.bias[e])
            expected = expected + g * (layer.fc2.weight[e] @ hidden + layer.fc2.bias[e])
        torch.testing.assert_close(y[row], expected, atol=1e-5, rtol=0)
        assert routing.expert[row].tolist() == best.indices.tolist()


def test_ties_go_to_the_lower_expert():
    model, _ = build("top2")
    layer = next(b.moe for b in model.blocks if b.sparse)
    layer.router.weight.data.zero_()
    routing = layer.route(torch.randn(5, model.config.width))
    assert routing.expert.tolist() == [[0, 1]] * 5


@torch.inference_mode()
def test_dropped_assignments_add_nothing():
    model, _ = build("capacity-tight")
    layer = next(b.moe for b in model.blocks if b.sparse)
    x = torch.randn(64, model.config.width, generator=torch.Generator().manual_seed(2))
    y, routing = layer(x)
    dropped = (routing.weight == 0).all(-1)
    assert dropped.any() and not dropped.all()
    assert (y[dropped] == 0).all() and (y[~dropped] != 0).any(-1).all()


def test_rounded_up_rows_change_neither_answer_nor_gradient():
    """Training pads rows to ROW_MULTIPLE; what it computes must be what serving computes."""
    model, (pixels, tokens, lengths) = build("base")

    def answer(multiple):
        s = Segments.of(len(pixels), model.config.patches, lengths, multiple)
        images, texts, _ = model.encode(model.embed_rows(model.patches(pixels), None, tokens.long(), s), s)
        model.zero_grad()
        (images.sum() + texts.sum()).backward()
        return images, texts, model.blocks[1].moe.fc1.weight.grad.clone()

    plain = answer(1)
    for block in model.blocks:
        if block.sparse:  # rounded dispatch, but no router noise: the module's flag is set and its routing kept
            block.moe.training = True
            route = block.moe.route

            def quiet(x, moe=block.moe, route=route):
                moe.training = False
                routing = route(x)
                moe.training = True
                return routing

            block.moe.route = quiet
    for a, b in zip(plain, answer(ROW_MULTIPLE)):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_cases_cover_every_switch():
    configs = [config_of(name, case) for name, case in CASES.items()]
    assert {c.activation for c in configs} == {"gelu_tanh", "gelu", "quick_gelu"}
    assert {c.qk_norm for c in configs} == {True, False}
    assert {c.image["resize"] for c in configs} == {"pad", "squash", "crop"}
    assert {c.text["pad"] for c in configs} == {"ignore", "attend"}
    assert {c.moe["top_k"] for c in configs} >= {1, 2, 3}
    assert {c.moe["renormalize"] for c in configs} == {True, False}
    assert {c.moe.get("priority") for c in configs} == {None, True, False}
    assert dataclasses.asdict(configs[0])["format"] == "limoe-1"
