"""The decoder's reference: causal, tied, exact by a text's prefix; training learns, and goes on to the same weights; folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import caption
from decoder import Decoder, DecoderConfig, Writer, load, philox, picture_rows
from golden import config_of
from model import LIMoE

TOKENIZER = Path(__file__).parents[2] / "tests/golden/tokenizer/tokenizer.model"
SENTENCES = ["two red cats", "a blue dog", "three green frogs"]


class Squares:
    """Pictures of one grey each, and what they are called."""

    def draw(self, first: int, step: int, count: int):
        which = [(first + i * step) % 3 for i in range(count)]
        pixels = np.stack([np.full((16, 16, 3), 20 + 100 * i, np.uint8) for i in which])
        return pixels, [SENTENCES[i] for i in which], None


@pytest.fixture
def base(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "base").mkdir()
    (tmp_path / "base/tokenizer.model").write_bytes(TOKENIZER.read_bytes())
    return LIMoE(config_of("base", dict(vocab=1600, width=16, embed=12)))


def trainer(base, folder: Path, *more: str) -> caption.Trainer:
    argv = ["--model", folder / "base", "--run", folder / "run", "--width", 24, "--blocks", 2, "--length", 12, "--batch", 6,
            "--steps", 30, "--every", 10, "--lr", 0.01, *more]  # fmt: skip
    return caption.Trainer(caption.arguments(list(map(str, argv))), base, Squares())


def decoder() -> Decoder:
    torch.manual_seed(1)
    return Decoder(DecoderConfig(width=24, blocks=2, heads=2, mlp=40, length=8, begin_id=0, end_id=2), 50, 16)


def test_philox_gives_the_published_answers():
    assert philox((0, 0, 0, 0), 0) == 0x6627E8D5
    assert philox((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), 0x299F31D0A4093822) == 0xD16CFE09


@torch.inference_mode()
def test_a_token_depends_on_those_before_it_and_on_the_picture():
    d, rows = decoder(), torch.randn(2, 4, 16)
    read = torch.tensor([[0, 5, 6, 7], [0, 5, 6, 8]])
    logits = d(rows[:1].expand(2, 4, 16), read)
    assert torch.allclose(logits[0, :3], logits[1, :3], atol=1e-6) and not torch.allclose(logits[0, 3], logits[1, 3])
    assert torch.allclose(logits[:1, :2], d(rows[:1], read[:1, :2]), atol=1e-6)
    assert not torch.allclose(d(rows, read)[1, 0], logits[1, 0])


@torch.inference_mode()
def test_beams_find_what_is_at_least_as_probable_and_keep_the_limits():
    writer = Writer(decoder(), torch.randn(4, 16))
    greedy, beams = writer.search(least=2, most=4)[0], writer.search(n=3, beams=4, least=2, most=4)
    means = [text.mean for text in beams]
    assert means[0] >= greedy.mean - 1e-9 and means == sorted(means, reverse=True)
    for text in [greedy, *beams, *writer.sample(n=5, top_k=10, seed=3, least=2, most=4)]:
        assert 2 <= len(text.tokens) <= 4 and text.ended == (len(text.tokens) < 4 or text.ended)
        assert not {0, 2} & set(text.tokens)
    assert writer.sample(n=5, top_k=10, seed=3) == writer.sample(n=7, top_k=10, seed=3)[:5]


def test_training_learns_and_the_tower_stays(base, tmp_path):
    before = {name: p.clone() for name, p in base.named_parameters()}
    t = trainer(base, tmp_path)
    caption.run(t)
    assert all(torch.equal(p, before[name]) for name, p in base.named_parameters())
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.5 * losses[0]
    model, writer = load(tmp_path / "run/model")
    rows = picture_rows(model, torch.from_numpy(Squares().draw(0, 1, 3)[0]))
    texts = [t.tokenizer.pieces.decode(Writer(writer, picture).search()[0].tokens) for picture in rows]
    assert texts == SENTENCES


def test_a_run_goes_on_to_the_same_weights(base, tmp_path):
    whole = trainer(base, tmp_path, "--run", tmp_path / "whole")
    caption.run(whole)
    part = trainer(base, tmp_path)
    part.args.run.mkdir()
    for _ in range(13):
        part.advance()
    part.save()
    again = trainer(base, tmp_path, "--resume")
    caption.run(again)
    for (name, p), q in zip(whole.decoder.named_parameters(), again.decoder.parameters()):
        assert torch.equal(p, q), name
    with pytest.raises(ValueError, match="--lr is 0.5"):
        caption.run(trainer(base, tmp_path, "--resume", "--lr", 0.5))


def test_a_folder_says_what_it_is(base, tmp_path):
    caption.run(trainer(base, tmp_path, "--steps", 1))
    config = json.loads((tmp_path / "run/model/config.json").read_text())
    assert config["format"] == "limoe-2" and config["tower"]["width"] == 16 and "width" not in config
    assert config["decoder"]["length"] == 12 and config["moe"]["blocks"] == [1]
