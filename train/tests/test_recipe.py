"""Recipes, the growth of a coarse model into a finer one, and training on pictures and scenes that survives a kill."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import compare
import losses
import train
from export import export, load
from golden import BASE, CASES, config_of, random_items, randomise
from grow import grow, resized_filters, resized_positions
from model import LIMoE
from pictures import SIZE
from scene_pairs import ScenePairs
from scenes import library as library_module
from scenes import parse
from scenes.draws import Draws
from scenes.lexicon import NOUNS
from tokenizer import Tokenizer
from tokenizer import train as train_tokenizer

TRAIN = Path(__file__).parents[1]
VOCAB = 450


def test_the_first_recipe_is_what_the_first_model_was_made_with():
    args = vars(train.arguments([]))
    made_with = {
        "name": "pictograms", "start": None, "pairs": None, "seed": 0, "width": 192, "blocks": 8, "head": 64,
        "embed": 192,
        "size": 60, "patch": 12, "length": 16, "experts": 8, "batch": 384, "scenes": 0.0, "lr": 1e-3, "warm_up": 0.04,
        "weight_decay": 0.05, "keep": 0.8, "content_first": False, "whole_from": 0.8, "augment": 1.0,
        "minutes": 78,
    }  # fmt: skip
    assert {k: args[k] for k in made_with} == made_with


def test_options_go_over_recipes_and_unknown_ones_are_named(tmp_path, monkeypatch):
    args = train.arguments(["--recipe", "pictograms-2", "--batch", "96"])
    assert (args.size, args.batch, args.name, args.minutes) == (96, 96, "pictograms-2", 90)
    with pytest.raises(SystemExit, match="no recipe 'none'; there are pictograms, pictograms-2"):
        train.arguments(["--recipe", "none"])
    (tmp_path / "odd.toml").write_text("size = 96\nsides = 3\n")
    monkeypatch.setattr(train, "RECIPES", tmp_path)
    with pytest.raises(SystemExit, match="odd.toml: sides: no such option"):
        train.arguments(["--recipe", "odd"])


def test_plain_patches_are_those_of_one_colour_whichever():
    patches = torch.zeros(1, 3, 4 * 4 * 3)
    patches[0, 0] = torch.tensor([0.9, -0.3, 0.5]).repeat(16)  # a tint
    patches[0, 1] = torch.tensor([0.9, -0.3, 0.5]).repeat(16)
    patches[0, 1, 7] += 0.2  # and one pixel that is not of it
    assert train.plain(patches).tolist() == [[True, False, True]]


# ---- growing


def models(**image):
    small = LIMoE(config_of("base", CASES["base"])).eval()
    randomise(small, torch.Generator().manual_seed(7))
    config = dataclasses.replace(small.config, image={**small.config.image, **image})
    return small, LIMoE(config).eval()


def test_a_model_grown_to_its_own_size_is_itself():
    small, same = models()
    grow(same, small)
    pixels, tokens, lengths = random_items(small.config, BASE["texts"], torch.Generator().manual_seed(1))
    for a, b in zip(small(pixels, tokens, lengths)[:2], same(pixels, tokens, lengths)[:2]):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_finer_grids_longer_texts_and_other_patches():
    pos = torch.arange(25.0)[:, None] // 5 + torch.zeros(1, 3)  # the row of each patch
    fine = resized_positions(pos, 64).view(8, 8, 3)
    assert (fine[1:] - fine[:-1]).min() > 0 and (fine[:, :1] == fine).all()
    filters = torch.randn(4, 12 * 12 * 3, generator=torch.Generator().manual_seed(0))
    even = lambda side: torch.tensor([0.2, -0.5, 0.9]).expand(side * side, 3).flatten()  # noqa: E731
    torch.testing.assert_close(resized_filters(filters, 12, 8) @ even(8), filters @ even(12), atol=1e-4, rtol=1e-4)
    small, big = models()
    config = dataclasses.replace(big.config, text={**big.config.text, "length": small.config.text["length"] + 3})
    longer = LIMoE(config)
    fresh = longer.text.pos.detach()[-3:].clone()
    grow(longer, small)
    assert torch.equal(longer.text.pos[:-3], small.text.pos) and torch.equal(longer.text.pos[-3:], fresh)


def test_other_widths_and_blocks_are_refused():
    small, big = models()
    with pytest.raises(ValueError, match=r"is \[.*\] in .* and \[.*\] in"):
        grow(LIMoE(dataclasses.replace(big.config, mlp=2 * big.config.mlp)), small)
    with pytest.raises(ValueError, match="has no blocks"):
        grow(LIMoE(dataclasses.replace(big.config, blocks=big.config.blocks + 1)), small)


def test_untrue_texts_count_against_pictures_alone():
    images, texts, wrong = (torch.nn.functional.normalize(torch.randn(n, 8), dim=-1) for n in (5, 5, 3))
    scale = torch.tensor(2.0)
    logits = scale.exp() * images @ torch.cat([texts, wrong]).T
    target = torch.arange(5)
    by_hand = (
        torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits[:, :5].T, target)
    ) / 2
    torch.testing.assert_close(losses.contrastive(images, texts, scale, wrong), by_hand)
    assert losses.contrastive(images, texts, scale) < by_hand


# ---- training on a small set, drawn here


def drawing(noun: str, style: str) -> np.ndarray:
    """A square with an edge, of its own size and colour for each noun and style."""
    draws = Draws("drawing", noun, style)
    side, edge = draws.between(40, 76), (20, 20, 20, 255)
    pixels = np.zeros((SIZE, SIZE, 4), np.uint8)
    low = (SIZE - side) // 2
    pixels[low : low + side, low : low + side] = edge
    pixels[low + 3 : low + side - 3, low + 3 : low + side - 3] = [*(draws.between(40, 220) for _ in range(3)), 255]
    return pixels


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """pictures.npy, captions.json, and a small model to start from with its tokenizer."""
    folder = tmp_path_factory.mktemp("data")
    nouns = [NOUNS[name] for name in sorted(NOUNS)[::3]]
    styles = ("noto", "twemoji")
    np.save(folder / "pictures.npy", np.stack([drawing(n.name, s) for n in nouns for s in styles]))
    table = {
        "concepts": [n.emoji for n in nouns],
        "emoji": [True] * len(nouns),
        "picture_concept": [i for i in range(len(nouns)) for _ in styles],
        "picture_style": list(styles) * len(nouns),
        "captions": [{"en": [n.name, [], list(n.english[1:])], "ja": [n.japanese[0], []]} for n in nouns],
    }
    (folder / "captions.json").write_text(json.dumps(table))
    words = [w for n in nouns for w in n.english + n.japanese] * 20
    train_tokenizer(words, folder / "tokenizer", VOCAB)
    args = train.arguments(
        "--size 24 --patch 12 --width 64 --head 32 --blocks 2 --embed 32 --experts 2 --name small".split()
    )
    export(LIMoE(train.config_of(args, VOCAB)), folder / "tokenizer.model", folder / "small")
    return folder


def test_scene_pairs_are_the_same_again_and_their_untrue_sentences_differ_in_facts(data):
    tokenizer = Tokenizer(data / "tokenizer.model", 48)
    pairs = ScenePairs(data, tokenizer, 3, 96)
    pixels, sentences, wrong = pairs.draw(10, 2, 40)
    again = ScenePairs(data, tokenizer, 3, 96).draw(12, 2, 1)
    assert (again[0][0] == pixels[1]).all() and again[1:] == ([sentences[1]], [wrong[1]])
    changed = [(a, b) for a, b in zip(sentences, wrong) if b]
    assert len(changed) > 30
    for a, b in changed:
        language = "en" if a.isascii() else "ja"
        assert parse(a, language).normal() != parse(b, language).normal()
    assert 0 < sum(s.isascii() for s in sentences) < 40


COMMAND = (
    "--recipe pictograms-2 --size 96 --patch 24 --width 64 --head 32 --blocks 2 --embed 32 --experts 2 --batch 20"
    " --scenes 0.4 --save-every 0 --develop-every 1e9 --pairs"
).split()


def command(data: Path, run: Path, pairs: int, *more: str) -> list[str]:
    places = ["--data", str(data), "--run", str(run), "--start", str(data / "small")]
    return [sys.executable, str(TRAIN / "train.py"), *COMMAND, str(pairs), *places, *more]


def members(group: int) -> list[str]:
    """The processes of a group that have not ended."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,pid="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [pid for pgid, state, pid in rows if int(pgid) == group and not state.startswith("Z")]


def test_training_on_scenes_goes_on_after_a_kill(data, tmp_path):
    """Its first process killed at any moment, all end, even where interrupts are ignored as in a shell's background; it
    goes on from the last whole checkpoint, and ends with a model that can be served."""
    ignored = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    process = subprocess.Popen(
        ignored + command(data, tmp_path, 10**9), stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "checkpoint.pt").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        process.kill()
        process.wait()
        while members(process.pid):
            assert time.monotonic() < deadline, "its workers train on"
            time.sleep(0.1)
    finally:
        if members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    before = torch.load(tmp_path / "checkpoint.pt", weights_only=False)
    assert before["pairs_seen"] == 20 * before["step"] > 0
    subprocess.run(
        command(data, tmp_path, before["pairs_seen"] + 40, "--resume"),
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=300,
    )
    after = torch.load(tmp_path / "checkpoint.pt", weights_only=False)
    assert after["step"] == before["step"] + 2
    model = load(tmp_path / "model")
    assert (model.config.name, model.config.image["size"], model.config.text["length"]) == ("pictograms-2", 96, 48)
    assert not torch.equal(model.image.pos, load(data / "small").image.pos)
    assert library_module.TRAIN_STYLES[:2] == ("noto", "twemoji")  # what the set above is drawn in


# ---- beside another model


def test_a_model_is_ahead_only_in_every_row_and_with_its_experts_in_use():
    one = {
        "all English names, top1": 55.0,
        "everyday words, English": 100,
        "largest share": 39.0,
        "smallest share": 2.5,
    }
    two = {
        "all English names, top1": 42.3,
        "everyday words, English": 100,
        "largest share": 21.5,
        "smallest share": 7.2,
    }
    lines, ahead = compare.table(one, two, ("pictograms-2", "pictograms"))
    assert ahead and "ahead in 4 of 4 rows" in lines[-1] and len(lines) == 6
    for row, value in (("all English names, top1", 42.3), ("largest share", 40.1), ("smallest share", 1.9)):
        lines, ahead = compare.table(one | {row: value}, two, ("pictograms-2", "pictograms"))
        assert not ahead and "3 of 4" in lines[-1] and [x for x in lines if x.endswith("behind")][0].startswith(row)


def test_a_model_is_measured_on_examples_and_scenes(data):
    model, tokenizer = load(data / "small"), Tokenizer(data / "tokenizer.model", 16)
    rows = compare.everyday(model, tokenizer)
    assert len(rows) == 3 and all(-100 <= v <= 100 for v in rows.values())
    told = compare.on_scenes(model, tokenizer, data, "combinations", 30)
    assert len(told) == 3 and all(0 <= v <= 100 for v in told.values())
