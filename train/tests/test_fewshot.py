"""Learning from a few pictures: what each way may change, how classes, shots, rates and strengths are chosen, and what a
file of format limoe-adapter-1 holds. Small networks and drawings made here; the commands run on the bundled model."""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import skip
from export import load
from fewshot import adapter, measure, suite, tables
from fewshot.crops import augment
from fewshot.icons import label_of
from fewshot.methods import Network, Options, interpolate, learn, of_classes, schedule, survivors
from fewshot.sets import BadPictures, Pictures, distinct, draw, read_folder
from model import Config, LIMoE

MODEL = Path(__file__).parents[2] / "models/pictograms"
BASE = "0123456789abcdef0123456789abcdef"
LABELS = ["red", "green", "blue"]


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


def coloured(count: int, seed: int) -> Pictures:
    """Squares of three colours on white, of any shade and place."""
    rng = np.random.default_rng(seed)
    pixels, target = np.full((3 * count, 80, 80, 3), 255, np.uint8), np.repeat(np.arange(3), count)
    for picture, colour in zip(pixels, target):
        x, y = rng.integers(5, 30, 2)
        picture[y : y + 45, x : x + 45] = rng.integers(0, 60, 3)
        picture[y : y + 45, x : x + 45, colour] = rng.integers(180, 240)
    return Pictures(LABELS, pixels, target, np.array(["a", "b", "c"])[rng.integers(0, 3, 3 * count)])


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


# ---- pictures


def picture(*values):
    out = np.full((80, 80, 3), 255, np.uint8)
    out[20:60, 20:60] = values
    return out


def test_distinct_pictures():
    a, b, c = picture(1, 2, 3), picture(4, 5, 6), picture(7, 8, 9)
    found = [("x", "1", a), ("x", "2", a), ("x", "2", b), ("y", "1", b), ("z", "1", c)]
    assert [(label, domain) for label, domain, _ in distinct(found)] == [("x", "1"), ("x", "2"), ("z", "1")]


def test_draw_takes_turns_between_domains():
    domain = np.array(["a"] * 20 + ["b"] * 3 + ["c"] * 3)
    pictures = Pictures(["x"], np.zeros((26, 80, 80, 3), np.uint8), np.zeros(26, np.int64), domain)
    taken, rest = draw(pictures, 6, np.random.default_rng(0))
    assert sorted(domain[taken]) == ["a", "a", "b", "b", "c", "c"]
    assert sorted([*taken, *rest]) == list(range(26))
    assert (taken != draw(pictures, 6, np.random.default_rng(1))[0]).any()


@pytest.mark.parametrize(
    "name, label",
    [("accessories-calculator", "calculator"), ("face-sad", "sad face"), ("edit-copy", "edit copy"),
     ("x-office-calendar", "calendar"), ("preferences-desktop-font", "font"), ("folder", "folder")],
)  # fmt: skip
def test_labels_of_icons(name, label):
    assert label_of(name) == label


@pytest.fixture
def folder(tmp_path):
    """Three classes of five pictures."""
    for i, label in enumerate(coloured(5, 7).target):
        path = tmp_path / "pictures" / LABELS[label]
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coloured(5, 7).pixels[i]).save(path / f"{i}.png")
    return tmp_path / "pictures"


def test_a_folder(folder):
    pictures = read_folder(folder)
    assert pictures.labels == sorted(LABELS) and len(pictures.target) == 15


def broken(folder):
    (folder / "red/x.png").write_bytes(b"not a picture")
    return r"red/x.png: not a picture that can be read"


def empty(folder):
    (folder / "black").mkdir()
    return r"black: no pictures; expected files ending in"


def twice(folder):
    (folder / "red/x.png").write_bytes(next((folder / "blue").iterdir()).read_bytes())
    return r"one picture is in 2 classes: blue, red"


def huge(folder):
    Image.new("1", (9000, 9000)).save(folder / "red/x.png")
    return r"red/x.png: 9000 x 9000 pixels; at most 64000000 are accepted"


@pytest.mark.parametrize("spoil", [broken, empty, twice, huge])
def test_a_folder_with_a_fault(folder, spoil):
    expected = spoil(folder)
    with pytest.raises(BadPictures, match=expected):
        read_folder(folder)


def test_a_folder_of_one_class(folder, tmp_path):
    (tmp_path / "one").mkdir()
    (folder / "red").rename(tmp_path / "one/red")
    with pytest.raises(BadPictures, match="1 classes; expected two folders or more"):
        read_folder(tmp_path / "one")
    with pytest.raises(BadPictures, match="none: no such folder"):
        read_folder(tmp_path / "none")


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


# ---- the command


def test_a_probe_of_a_folder(folder, tmp_path, capsys):
    out = tmp_path / "colours.safetensors"
    assert skip.main([str(folder), "--model", str(MODEL), "--kind", "probe", "--base", BASE, "--output", str(out)]) == 0
    said = json.loads(capsys.readouterr().out)
    about, found = adapter.load(out)
    assert about["kind"] == "probe" and about["labels"] == sorted(LABELS) and about["strength"] == said["strength"]
    assert found["probe.weight"].shape == (3, 192) and found["probe.bias"].shape == (3,)
    assert said["held_out"]["pictures"] == 3 and said["rate"] in suite.RATES["probe"]


def test_a_tail_of_a_folder(folder, tmp_path, capsys):
    """Its tensors are the base's own names and shapes, from the start block on; and full fine-tuning is a model."""
    common = [str(folder), "--model", str(MODEL), "--rate", "5e-4", "--epochs", "1"]
    out = tmp_path / "colours.safetensors"
    assert (
        skip.main(
            [
                *common,
                "--start-block",
                "6",
                "--strength",
                "0.5",
                "--dtype",
                "bfloat16",
                "--base",
                BASE,
                "--output",
                str(out),
            ]
        )
        == 0
    )
    about, found = adapter.load(out)
    assert {t.dtype for t in load_file(out).values()} == {torch.bfloat16}
    base = load_file(MODEL / "model.safetensors")
    assert about["kind"] == "tail" and about["start_block"] == 6 and about["strength"] == 0.5
    assert {name: t.shape for name, t in found.items()} == {
        name: t.shape
        for name, t in base.items()
        if name.startswith(("blocks.6.", "blocks.7.", "ln.", "image.proj.", "text.proj.")) and "router" not in name
    }
    assert skip.main([*common, "--kind", "full", "--strength", "1", "--output", str(tmp_path / "model")]) == 0
    whole = load(tmp_path / "model")
    assert not torch.equal(whole.image.pos, base["image.pos"].float())
    capsys.readouterr()


@pytest.mark.parametrize(
    "words, expected",
    [
        (["none", "--base", BASE], "none: no such folder"),
        (["PICTURES", "--output", "x", "--limoe", "/none"], "/none: No such file or directory; give --limoe PROGRAM"),
        (["PICTURES", "--output", "x", "--limoe", "/bin/true"], "tells no fingerprint; give --base"),
        (["PICTURES", "--start-block", "8"], "start block 8: this model has blocks 0 to 7"),
    ],
)
def test_errors_of_the_command(folder, capsys, words, expected):
    assert skip.main([str(folder) if w == "PICTURES" else w for w in words] + ["--model", str(MODEL)]) == 1
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], "give a folder of pictures, or --suite"),
        (["x", "--suite"], "give a folder of pictures, or --suite"),
        (["x", "--strength", "1.5"], "'1.5' is not a number from 0 to 1"),
        (["x", "--epochs", "0"], "'0' is not a whole number from 1 to 1000"),
        (["x", "--template", "a cat"], "a template needs {} once"),
        (["--suite", "--sets", "icons,cats"], "'cats' is not one of icons, fashion, letters"),
    ],
)
def test_words_that_are_refused(capsys, words, expected):
    with pytest.raises(SystemExit):
        skip.main(words)
    assert expected in capsys.readouterr().err


# ---- the suite


@pytest.fixture
def cells(monkeypatch):
    """The cells that were run; what a cell gives depends on its rate and its method alone."""
    ran = []

    def apart(cell, model, data, out):
        ran.append(cell)
        gain = {2e-4: 10, 5e-4: 30, 1e-3: 20}.get(cell.rate, 5) + cell.seed
        exams = ("taught", "other") if cell.search else ("taught", "other", "emoji")
        scores = {e: [20, 20, 20, 20, 20 + gain if e == "taught" else 19] for e in exams}
        result = {
            **vars(cell),
            "scores": scores,
            "strengths": list(measure.STRENGTHS),
            "cpu_seconds": 1.0,
            "peak_mb": 7.0,
        }
        cell.path(out).write_text(json.dumps(result))
        return result

    monkeypatch.setattr(suite, "apart", apart)
    monkeypatch.setattr(suite, "pictures_of", lambda *_: None)
    monkeypatch.setattr(suite, "emojione", lambda *_: None)
    return ran


def options(out, **other):
    return argparse.Namespace(
        **{"out": out, "model": MODEL, "data": None, "sets": ["icons"], "shots": [16], "seeds": [0, 1], "read_only": False,
           "methods": ["lskip4", "cskip4"], **other}
    )  # fmt: skip


def test_the_suite_chooses_without_the_test_and_goes_on(cells, tmp_path):
    results = suite.run(options(tmp_path), lambda _: None)
    searches = [c for c in cells if c.search]
    assert [(c.method, c.rate, c.seed) for c in searches] == [("lskip4", r, 0) for r in suite.RATES["lskip"]]
    assert [(c.method, c.rate, c.seed) for c in cells if not c.search] == [
        ("lskip4", 5e-4, 0), ("lskip4", 5e-4, 1), ("cskip4", 5e-4, 0), ("cskip4", 5e-4, 1),
    ]  # fmt: skip
    before = len(cells)
    searches[0].path(tmp_path).unlink()
    assert suite.run(options(tmp_path), lambda _: None) == results
    assert cells[before:] == [searches[0]], "what has ended is not run again"
    searches[0].path(tmp_path).unlink()
    assert suite.run(options(tmp_path, read_only=True), None) == [] and len(cells) == before + 1


def test_the_table(cells, tmp_path):
    args = options(tmp_path)
    table = skip.keep(args, suite.run(args, lambda _: None))
    assert [(r["method"], r["strength"]) for r in table] == [
        ("zero-shot", "0"), ("lskip4", "1"), ("lskip4", "chosen: 1"), ("lskip4", "gentle: 1"),
        ("cskip4", "1"), ("cskip4", "chosen: 1"), ("cskip4", "gentle: 1"),
    ]  # fmt: skip
    assert (table[0]["base"], table[0]["new"], table[0]["h"]) == (20, 20, 20)
    assert (table[1]["base"], table[1]["base_sd"], table[1]["new"]) == (50.5, 0.7, 19)
    assert len((tmp_path / "suite.csv").read_text().splitlines()) == 8
    assert len(json.loads((tmp_path / "suite.json").read_text())["cells"]) == 4
    assert tables.markdown(table).count("\n") == 4  # its choices are all of it


def test_the_order_of_the_suite():
    order = [(name, shots) for name, shots, _ in suite.plan(["icons", "fashion", "letters"], [16, 4, 1], ["probe"])]
    assert order[:2] == [("icons", 16), ("fashion", 16)] and [o[0] for o in order[-3:]] == ["letters"] * 3


def test_a_cell_that_fails_is_not_kept(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(suite, "run_cell", lambda *_: 1 / 0)
    cell = suite.Cell("icons", 16, 0, "probe", 0.1)
    with pytest.raises(RuntimeError, match="failed"):
        suite.apart(cell, MODEL, tmp_path, tmp_path)
    assert "ZeroDivisionError" in capfd.readouterr().err and not list(tmp_path.iterdir())


def test_the_peak_is_counted_anew():
    def peak(bytes_):
        begun = suite.Use.now(peak_from_here=True)
        block = np.ones(bytes_ // 8)
        del block
        return suite.Use.now().since(begun).peak

    assert peak(64_000_000) > 60e6 > 20e6 > peak(8)
