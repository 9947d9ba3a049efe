"""Learning from a few pictures: what each way may change, that it learns, how strengths are chosen, and what a file of
format limoe-adapter-1 holds. Small networks, and drawings made here."""

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from drawings import LABELS, coloured
from fewshot import adapter, measure
from fewshot.crops import augment
from fewshot.methods import Network, Options, interpolate, learn, of_classes, schedule, survivors
from fewshot.sets import Pictures
from model import Config, LIMoE

BASE = "0123456789abcdef0123456789abcdef"


class Words:
    """A tokenizer of words, each a number by its letters; 1 ends a text."""

    def encode_padded(self, texts):
        ids, lengths = np.zeros((len(texts), 8), np.int32), np.zeros(len(texts), np.int32)
        for row, text in enumerate(texts):
            tokens = [2 + sum(map(ord, word)) % 28 for word in text.split()] + [1]
            ids[row, : len(tokens)], lengths[row] = tokens, len(tokens)
        return ids, lengths


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(start=2) -> Network:
    torch.manual_seed(3)
    config = Config(
        name="small", width=32, blocks=4, heads=2, mlp=48, embed=16,
        image={"size": 16, "patch": 8, "mean": [0.5] * 3, "std": [0.5] * 3, "resize": "pad", "background": [255] * 3},
        text={"vocab": 30, "length": 8, "eos_id": 1, "pad_id": 0, "pad": "ignore"},
        moe={"blocks": [1, 3], "experts": 4, "top_k": 1, "renormalize": False},
    )  # fmt: skip
    return Network(LIMoE(config), Words(), start)


def tensors(pictures):
    return torch.from_numpy(pictures.pixels), torch.from_numpy(pictures.target)


def state(net):
    return {name: p.detach().clone() for name, p in net.model.named_parameters()}


# ---- trunk and tail


@pytest.mark.parametrize("start", [0, 1, 3])
def test_trunk_and_tail_are_the_model(start):
    net = network(start)
    pixels = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    ids, lengths = net.prompts(["a", "a b c", "d e"], ["{}", "the {}"])
    with torch.no_grad():
        images, texts, _ = net.model(pixels, ids, lengths)
        ours = net.tail(net.image_trunk(pixels), net.text_trunk(ids, lengths), lengths)
    torch.testing.assert_close(ours[0], images, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours[1], texts, atol=1e-6, rtol=0)


def test_a_start_block_that_is_not_there():
    with pytest.raises(ValueError, match="start block 4: this model has blocks 0 to 3"):
        network(4)


def test_rows_of_some_classes():
    net = network()
    ids, lengths = net.prompts(["a", "a b c", "d e", "f"], ["{}", "the {}"])
    rows = net.text_trunk(ids, lengths)
    some = torch.tensor([1, 3])
    everything = net.prototypes(rows, lengths, 2)
    torch.testing.assert_close(
        net.prototypes(*of_classes(rows, lengths, some, 2), 2), everything[some], atol=1e-6, rtol=0
    )


# ---- what is learnt


@pytest.mark.parametrize("kind", ["lskip", "cskip", "full"])
def test_what_may_change(kind):
    net = network()
    before = state(net)
    tuned = learn(net, *tensors(coloured(4, 0)), LABELS, ["{}"], Options(kind, 2, 1e-2, epochs=2, batch=4))
    after = state(net)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    tail = {n for n in after if n.startswith(("blocks.2.", "blocks.3.", "ln.", "image.proj.", "text.proj."))}
    never = {"logit_scale", "blocks.1.moe.router.weight", "blocks.3.moe.router.weight"}
    assert set(tuned) == (set(after) - never if kind == "full" else tail - never)
    # Experts that no row reached keep their weights, but each tensor has one that was.
    assert changed <= set(tuned) and len(changed) > 0.9 * len(tuned)
    assert all(torch.equal(tuned[name], after[name]) for name in tuned)


def test_a_probe_changes_no_weight():
    net = network(0)
    before = state(net)
    tuned = learn(net, *tensors(coloured(4, 0)), LABELS, ["{}"], Options("probe", rate=0.1, steps=5))
    assert all(torch.equal(p, before[name]) for name, p in state(net).items())
    assert {name: tuple(t.shape) for name, t in tuned.items()} == {"probe.weight": (3, 16), "probe.bias": (3,)}


def test_a_probe_begins_as_zero_shot():
    net = network(0)
    seen = coloured(4, 0)
    tuned = learn(net, *tensors(seen), LABELS, ["{}", "a {}"], Options("probe", rate=0.1, steps=0))
    e = measure.exam(net, seen, ["{}", "a {}"])
    x = net.embed(e.images)
    zero_shot = net.model.logit_scale.exp() * x @ net.prototypes(e.texts, e.lengths, 2).T
    torch.testing.assert_close(x @ tuned["probe.weight"].T + tuned["probe.bias"], zero_shot, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "kind, start, rate", [("probe", 0, 0.3), ("lskip", 2, 3e-3), ("cskip", 2, 3e-3), ("full", 0, 3e-3)]
)
def test_each_kind_learns_colours(kind, start, rate):
    net = network(start)
    before = state(net)
    seen, unseen = coloured(8, 0), coloured(10, 1)
    options = Options(kind, start, rate, epochs=8, batch=12, colours=False)
    tuned = learn(net, *tensors(seen), LABELS, ["{}"], options)
    found = measure.scores(net, kind, {"taught": unseen}, before, tuned, LABELS, ["{}"])["taught"]
    assert found[0] < 60 and found[-1] > 90, found


def test_the_same_seed_gives_the_same_bits():
    def once(seed):
        return learn(
            network(), *tensors(coloured(4, 0)), LABELS, ["{}"], Options("cskip", 2, 1e-3, epochs=2, batch=4, seed=seed)
        )

    first, again, other = once(0), once(0), once(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_schedule():
    rates = [schedule(step, 40) for step in range(40)]
    assert rates[0] > 0 and rates[5] == 1 == max(rates) and rates[-1] < 0.01
    assert rates[:6] == sorted(rates[:6]) and rates[5:] == sorted(rates[5:], reverse=True)


# ---- CSkip


def test_survivors():
    g = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    similarity, target = torch.rand((4, 40), generator=g), torch.tensor([7, 7, 31, 31])
    nearest = similarity.max(0).values
    nearest[target] = 9
    order = nearest.argsort(descending=True).tolist()
    times = np.zeros(40)
    for _ in range(300):
        kept = survivors(similarity, target, 0.5, rng).tolist()
        assert kept == sorted(set(kept)) and {7, 31} <= set(kept)
        times[kept] += 1
    # K = 20 of the order stay; the next always, the last never, between them fewer and fewer.
    assert (times[order[:21]] == 300).all() and times[order[-1]] == 0
    assert times[order[22:28]].mean() > times[order[28:34]].mean() > times[order[34:]].mean() > 0


def test_survivors_are_fifty_at_first():
    kept = survivors(
        torch.rand((2, 400), generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1]), 0.5, FewDraws()
    )
    assert len(kept) == 50


class FewDraws:
    """A generator by which nothing survives that may be left out."""

    def random(self, count):
        return np.ones(count)


# ---- strength, and the choice of it


def test_strength():
    net = network()
    base = state(net)
    tuned = {"ln.weight": base["ln.weight"] + 0.3, "ln.bias": base["ln.bias"] - 0.1}
    of_base = {name: base[name] for name in tuned}
    for strength in (0.3, 1.0, 0.0):
        interpolate(net.model, of_base, tuned, strength)
        now = state(net)
        for name, p in now.items():
            expected = base[name] + strength * (tuned[name] - base[name]) if name in tuned else base[name]
            if strength in (0.0, 1.0):
                assert torch.equal(p, (tuned if strength else base).get(name, base[name]))
            torch.testing.assert_close(p, expected)


@pytest.mark.parametrize(
    "taught, other, chosen, gentle",
    [
        ([20, 40, 50, 55, 60], None, 1.0, 1.0),
        ([20, 40, 59.2, 59, 60], None, 0.5, 1.0),  # within a point of the best: other classes suffer less
        ([20, 60, 60, 60, 60], None, 0.25, 1.0),
        ([20, 40, 50, 55, 60], [30, 30, 29, 20, 10], 0.5, 0.5),
        ([20, 40, 50, 55, 60], [30, 20, 22, 24, 10], 0.75, 0.0),  # each costs other classes more than 3 points
        ([20, 40, 50, 55, 60], [30, 31, 32, 33, 34], 1.0, 1.0),
    ],
)
def test_choice_of_strength(taught, other, chosen, gentle):
    assert measure.STRENGTHS[measure.choose(taught, other)] == chosen
    assert measure.STRENGTHS[measure.gentle(taught, other)] == gentle


def test_a_probe_leaves_other_classes_to_the_base():
    net = network(0)
    before = state(net)
    tuned = {"probe.weight": torch.zeros(3, 16), "probe.bias": torch.tensor([0.0, 0.0, 9.0])}
    p = coloured(5, 1)
    exams = {"taught": coloured(5, 0), "other": Pictures(["x", "y", "z"], p.pixels, p.target, p.domain)}
    found = measure.scores(net, "probe", exams, before, tuned, LABELS, ["{}"])
    assert found["taught"][-1] == pytest.approx(33.33, abs=0.01)  # it always says the third
    assert len(set(found["other"])) == 1


# ---- augmentation


def test_augmentation():
    half = torch.full((64, 80, 80, 3), 255, dtype=torch.uint8)
    half[:, :, :40] = 0  # dark on the left

    def sides(flip):
        x = augment(half, 60, flip, torch.Generator().manual_seed(0)).float()
        assert x.shape == (64, 60, 60, 3)
        return x[:, :, :5].mean((1, 2, 3)) - x[:, :, -5:].mean((1, 2, 3))

    assert (sides(False) <= 0).all() and (sides(True) > 0).any() and (sides(True) < 0).any()
    white = augment(torch.full((8, 80, 80, 3), 255, dtype=torch.uint8), 60, True, torch.Generator().manual_seed(0))
    assert (white == 255).all()
    red = torch.tensor([200, 30, 30], dtype=torch.uint8).expand(64, 80, 80, 3)
    varied = augment(red, 60, False, torch.Generator().manual_seed(0)).float()
    assert (varied.std((1, 2)) < 1).all(), "a crop of one colour has one colour"
    grey = (varied.amax(-1) - varied.amin(-1)).mean((1, 2)) < 1
    assert 5 < grey.sum() < 35
    plain = augment(red, 60, False, torch.Generator().manual_seed(0), colours=False)
    assert (plain == red[:, :60, :60]).all()


# ---- adapter files


def test_an_adapter_file(tmp_path):
    path = tmp_path / "a.safetensors"
    weights = {"ln.weight": torch.randn(4), "ln.bias": torch.randn(4)}
    adapter.save(path, "tail", BASE, weights, ["ねこ", "dog"], ["a {}"], 0.5, {"rate": 1e-3}, start_block=2)
    about, found = adapter.load(path)
    assert about == {
        "format": "limoe-adapter-1", "kind": "tail", "base": BASE, "start_block": 2, "labels": ["ねこ", "dog"],
        "templates": ["a {}"], "strength": 0.5, "training": {"rate": 1e-3},
    }  # fmt: skip
    assert found.keys() == weights.keys() and all(torch.equal(found[n], weights[n]) for n in weights)
    header = path.read_bytes()
    metadata = json.loads(header[8 : 8 + struct.unpack("<Q", header[:8])[0]])["__metadata__"]
    assert set(metadata) == {"limoe-adapter"}, "nothing else, which readers would have to pass over"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_adapter(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", {"format": "pt"})
    with pytest.raises(adapter.BadAdapter, match="not an adapter of format limoe-adapter-1"):
        adapter.load(tmp_path / "x.safetensors")
    for base in ("", "xyz", BASE[:-1], BASE.upper()):
        with pytest.raises(adapter.BadAdapter, match="32 hexadecimal digits"):
            adapter.save(tmp_path / "y.safetensors", "probe", base, {"x": torch.zeros(1)}, [], [], 1.0, {})
    assert not (tmp_path / "y.safetensors").exists()
