"""skip.py: pictures read from folders, what it writes, its errors; and its suite: what is held out from what, how rates
and strengths are chosen, that it goes on where it stopped. The commands run on the bundled model."""

import argparse
import gzip
import json
import mmap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import skip
from drawings import LABELS, coloured, picture
from export import load
from fewshot import adapter, fashion, icons, measure, suite, tables
from fewshot.icons import label_of
from fewshot.sets import BadPictures, Pictures, distinct, draw, read_folder

MODEL = Path(__file__).parents[2] / "models/pictograms"
BASE = "0123456789abcdef0123456789abcdef"


# ---- pictures


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


@pytest.fixture
def themes(monkeypatch):
    """Eighty classes of three pictures in each of eight themes; EmojiOne is one picture."""
    names, domains = [f"class {i}" for i in range(80)], list(icons.THEMES)
    rows = [(c, d) for c in range(80) for d in domains for _ in range(3)]
    pixels = np.arange(len(rows), dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    made = Pictures(names, pixels, np.array([c for c, _ in rows]), np.array([d for _, d in rows]))
    monkeypatch.setattr(suite, "pictures_of", lambda name, data: made)
    monkeypatch.setattr(suite, "emojione", lambda data: made.of(np.arange(1)))


def test_themes_of_the_test_are_not_taught(themes):
    test, valid = set(icons.TEST), set(icons.VALID)
    for shots in suite.SHOTS:
        search, judged = (suite.task("icons", shots, 0, None, searching) for searching in (True, False))
        assert set(search.train.domain) <= set(icons.THEMES) - test - valid
        assert all(set(exam.domain) == valid for exam in search.exams.values())
        assert set(judged.train.domain) <= set(icons.THEMES) - test
        assert all(set(judged.exams[exam].domain) == test for exam in ("taught", "other"))
        assert np.bincount(judged.train.target).tolist() == [min(shots, 18)] * 20
        # The same classes are taught with any number of shots; no class is in two places.
        assert search.train.labels == judged.train.labels == suite.task("icons", 16, 0, None, False).train.labels
        assert search.exams["taught"].labels == judged.exams["taught"].labels == judged.train.labels
        three = judged.train.labels, judged.exams["other"].labels, search.exams["other"].labels
        assert len({label for labels in three for label in labels}) == 60
    assert suite.task("icons", 16, 1, None, False).train.labels != judged.train.labels


def test_which_files_are_icons(tmp_path):
    top = tmp_path / "usr/share/icons"
    for theme in ("Adwaita", "breeze", "elementary-xfce", "gnome", "mate", "oxygen", "Papirus"):
        for name in (
            "48/edit-copy.png",
            "48@2x/edit-copy.png",
            "symbolic/edit-copy.svg",
            "48/text-css.png",
            "48/note.txt",
        ):
            (top / theme / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(0, 0, 0)).save(top / theme / name, "png")
        (top / theme / "48/lost.png").symlink_to("/none")
    for theme in ("Adwaita", "breeze", "gnome", "oxygen", "Papirus"):
        (top / theme / "48/rare.png").write_bytes((top / theme / "48/edit-copy.png").read_bytes())
    found = icons.files(tmp_path)
    assert list(found) == ["edit-copy"] and len(found["edit-copy"]) == 7
    assert (icons.render(found["edit-copy"][0][1]) == picture(0, 0, 0)).all()
    assert icons.render(top / "mate/48/note.txt") is not None and icons.render(top / "none.png") is None


def test_idx_files(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    header = b"\0\0\x08\x03" + np.array([2, 3, 4], ">u4").tobytes()
    (tmp_path / "x.gz").write_bytes(gzip.compress(header + values.tobytes()))
    assert (fashion.idx(tmp_path / "x.gz") == values).all()
    (tmp_path / "y.gz").write_bytes(gzip.compress(b"PK" + values.tobytes()))
    with pytest.raises(ValueError, match="not an idx file of bytes"):
        fashion.idx(tmp_path / "y.gz")


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
    def peak(size):
        begun = suite.Use.now(peak_from_here=True)
        with mmap.mmap(-1, size) as block:  # not what an allocator may have kept
            block.write(b"x" * size)
        return suite.Use.now().since(begun).peak

    assert peak(64_000_000) > 60e6 > 20e6 > peak(4096)
