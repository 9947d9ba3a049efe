"""Protects: a mixture of experts made of a dense model answers as that did, until it is tuned: with one expert a token bit for
bit, with more within rounding. Each by the engine, on every kind of folder that it serves."""

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT
from make_limoe2 import save
from reference import Model, read_safetensors

GOLDEN = ROOT / "tests/golden"
DENSE = [
    "clip", "clip-gelu", "clip-wide-heads", "clip-bfloat16-shards", "siglip", "siglip-heads-of-72", "open_clip",
    "open_clip-no-pre-norm", "open_clip-average-late-norm", "open_clip-heads-of-104", "open_clip-tanh", "open_clip-custom",
    "open_clip-custom-bidirectional", "limoe2-dense",
]  # fmt: skip


def arrays(name):
    loaded = read_safetensors(GOLDEN / name / "items.safetensors")
    return [loaded[key] for key in ("pixels", "tokens", "lengths")]


def upcycled(command, tmp_path, model, *words):
    status, said = command("upcycle.py", model, "--out", tmp_path / "out", *words)
    assert status == 0, said
    return tmp_path / "out"


@pytest.mark.parametrize("name", DENSE)
def test_one_expert_a_token_gives_the_same_bits(tmp_path, command, embed, name):
    out = upcycled(command, tmp_path, GOLDEN / name, "--experts", 3)
    config = json.loads((out / "config.json").read_text())
    assert config["format"] == "limoe-2" and config["name"] == "out"
    last = [config[half]["tower"]["blocks"] - 1 for half in ("image", "text")]
    assert [config["moe"][half][-1] for half in ("image", "text")] == last
    assert (embed(out, *arrays(name)) == embed(GOLDEN / name, *arrays(name))).all()


@pytest.mark.parametrize("name", ["clip", "siglip", "open_clip", "limoe2-dense"])
def test_two_experts_a_token_agree_within_rounding(tmp_path, command, embed, name):
    out = upcycled(command, tmp_path, GOLDEN / name, "--experts", 4, "--top-k", 2, "--blocks", "0,1")
    assert np.abs(embed(out, *arrays(name)) - embed(GOLDEN / name, *arrays(name))).max() < 2e-6


@pytest.mark.parametrize("towers", ["image", "text"])
def test_one_tower(tmp_path, command, embed, towers):
    out = upcycled(command, tmp_path, GOLDEN / "clip", "--experts", 2, "--towers", towers, "--blocks", "1")
    assert json.loads((out / "config.json").read_text())["moe"] == {
        towers: [1],
        "experts": 2,
        "top_k": 1,
        "renormalize": True,
    }
    assert (embed(out, *arrays("clip")) == embed(GOLDEN / "clip", *arrays("clip"))).all()


def test_pictures_alone(tmp_path, command, embed):
    """A limoe-2 without texts answers as the whole one does of pictures, and so does what is made of it."""
    golden, alone = GOLDEN / "limoe2-dense", tmp_path / "alone"
    alone.mkdir()
    config = json.loads((golden / "config.json").read_text())
    kept = {key: value for key, value in config.items() if key not in ("text", "scores")}
    (alone / "config.json").write_text(json.dumps(kept))
    tensors = read_safetensors(golden / "model.safetensors")
    save(
        alone / "model.safetensors",
        {n: t.astype(np.float32) for n, t in tensors.items() if not n.startswith(("text.", "logit_"))},
    )
    pixels, tokens, lengths = arrays("limoe2-dense")
    whole = embed(golden, pixels, tokens, lengths)[: len(pixels)]
    assert (embed(alone, pixels, tokens[:0], lengths[:0]) == whole).all()
    out = upcycled(command, tmp_path, alone, "--experts", 2)
    assert set(json.loads((out / "config.json").read_text())["moe"]) == {"image", "experts", "top_k", "renormalize"}
    assert (embed(out, pixels, tokens[:0], lengths[:0]) == whole).all()
    status, said = command("upcycle.py", alone, "--out", tmp_path / "other", "--experts", 2, "--towers", "text")
    assert status == 1 and "has no tower of --towers text" in said


@pytest.mark.parametrize("name, file", [("clip", "preprocessor_config.json"), ("open_clip", "open_clip_config.json")])
def test_pictures_are_prepared_as_before(tmp_path, command, embed, name, file):
    """By the library's own file, which comes along: here with a mean that no default has."""
    dense = tmp_path / "dense"
    shutil.copytree(GOLDEN / name, dense)
    config = json.loads((dense / file).read_text())
    (config if name == "clip" else config["preprocess_cfg"]).update(
        {"image_mean" if name == "clip" else "mean": [0.1, 0.2, 0.3]}
    )
    (dense / file).write_text(json.dumps(config))
    out = upcycled(command, tmp_path, dense, "--experts", 2)
    found = embed(out, *arrays(name))
    assert (found == embed(dense, *arrays(name))).all()
    assert np.abs(found - embed(GOLDEN / name, *arrays(name))).max() > 1e-2


def test_limoe_1(tmp_path, command, embed):
    """A dense limoe-1 stays one."""
    dense = tmp_path / "dense"
    dense.mkdir()
    config = json.loads((GOLDEN / "base/config.json").read_text())
    state, blocks = read_safetensors(GOLDEN / "base/model.safetensors"), config.pop("moe")["blocks"]
    for block in blocks:  # an MLP of its first expert
        for part in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
            state[f"blocks.{block}.mlp.{part}"] = state.pop(f"blocks.{block}.moe.{part}")[0]
        del state[f"blocks.{block}.moe.router.weight"]
    (dense / "config.json").write_text(json.dumps(config))
    save(dense / "model.safetensors", {n: v.astype(np.float32) for n, v in state.items()})
    out = upcycled(command, tmp_path, dense, "--experts", 4, "--name", "mixture")
    made = json.loads((out / "config.json").read_text())
    assert made["format"] == "limoe-1" and made["name"] == "mixture" and made["moe"]["blocks"] == [1]
    assert (embed(out, *arrays("base")) == embed(dense, *arrays("base"))).all()


def test_routers_choose_and_are_seeded(tmp_path, command):
    """New routers send tokens to different experts, each of which is the MLP that was there."""
    out = upcycled(command, tmp_path, GOLDEN / "limoe2-dense", "--experts", 4, "--blocks", "0")
    model, dense = Model.load(out), Model.load(GOLDEN / "limoe2-dense")
    chosen = np.concatenate([model.image(p)[1].layers[0][1].ravel() for p in arrays("limoe2-dense")[0]])
    assert len(set(chosen)) > 1
    fc1 = model.tensors["image.blocks.0.moe.fc1.weight"]
    assert all((fc1[e] == dense.tensors["image.blocks.0.mlp.fc1.weight"]).all() for e in range(4))
    router = "image.blocks.0.moe.router.weight"
    for seed, same in ((0, True), (1, False)):
        upcycled(command, tmp_path, GOLDEN / "limoe2-dense", "--experts", 4, "--blocks", "0", "--force", "--seed", seed)
        assert (Model.load(out).tensors[router] == model.tensors[router]).all() == same


@pytest.mark.parametrize(
    "model, words, said",
    [
        ("limoe2-clip-moe", ["--experts", 2], 'has experts already ("moe")'),
        ("clip", ["--experts", 2, "--blocks", "0,2"], "--blocks names 2; the image tower has blocks 0 to 1"),
        ("clip", ["--experts", 2, "--blocks", "-1"], "--blocks"),
        ("clip", ["--experts", 2, "--blocks", "a"], "--blocks is 'a'"),
        ("tokenizer", ["--experts", 2], "config.json: No such file"),
        ("clip-remainder", ["--experts", 2], "pictures of 30 pixels in patches of 14"),
    ],
)
def test_refused(tmp_path, command, model, words, said):
    status, message = command("upcycle.py", GOLDEN / model, "--out", tmp_path / "out", *words)
    assert status and said in message, message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", [["--experts", 0], ["--experts", 1025], ["--experts", 2, "--top-k", 3], ["--experts", 2, "--towers", "x"]]
)
def test_bad_words(tmp_path, command, words):
    status, message = command("upcycle.py", GOLDEN / "clip", "--out", tmp_path / "out", *words)
    assert status == 2 and "accepted" in message, message
