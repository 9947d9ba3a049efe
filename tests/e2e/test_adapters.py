"""Protects: limoe adapters and limoe inspect --digest, on the bundled model: what is shown, what is merged, what is refused."""

import json
import os
import struct
import subprocess

import numpy as np
import pytest

from conftest import BUILD, MODEL


def limoe(*arguments):
    return subprocess.run([BUILD / "limoe", *map(str, arguments)], capture_output=True, text=True, timeout=120)


def answer(*arguments):
    done = limoe(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(path):
    """A safetensors file's header, and its tensors' bytes by name."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return header, {name: data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]] for name, t in header.items()}


def adapter_bytes(about, tensors):
    header, data = {"__metadata__": {"limoe-adapter": json.dumps(about)}} if about else {}, b""
    for name, values in tensors.items():
        raw = np.ascontiguousarray(values, "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(np.shape(values)), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def write(path, about, tensors):
    path.write_bytes(adapter_bytes(about, tensors))
    return path


@pytest.fixture(scope="module")
def base():
    return answer("inspect", MODEL, "--digest").strip()


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, base):
    about = {"format": "limoe-adapter-1", "kind": "tail", "base": base, "start_block": 7, "labels": ["cat", "猫"],
             "templates": ["a {}"], "strength": 0.5, "training": {"seed": 1}}
    tensors = {"ln.bias": np.linspace(-1, 1, 192), "blocks.7.ln1.weight": np.full(192, 1.5)}
    return write(tmp_path_factory.mktemp("adapters") / "pets.safetensors", about, tensors)


def test_what_a_file_says_is_shown(adapter, base):
    shown = json.loads(answer("adapters", "show", adapter, "--json"))
    assert shown == {"object": "adapter", "kind": "tail", "base": base, "start_block": 7, "strength": 0.5, "parameters": 384,
                     "bytes": 1536, "tensors": 2, "labels": ["cat", "猫"], "templates": ["a {}"], "training": {"seed": 1}}
    assert "tail from block 7 on" in answer("adapters", "show", adapter)


def test_a_terminal_gets_no_control_characters_of_a_file(tmp_path, base):
    about = {"format": "limoe-adapter-1", "kind": "tail", "base": base, "start_block": 7, "labels": ["c\x1b[31mat", "d\x07og"],
             "templates": ["a\x7f {}"], "training": {"by": "\x1b]0;x\x07\x7f"}}
    odd = write(tmp_path / "odd.safetensors", about, {"ln.bias": np.linspace(-1, 1, 192)})
    shown = answer("adapters", "show", odd)
    assert all(c == "\n" or c.isprintable() for c in shown), shown
    assert "c?[31mat, d?og" in shown and "a? {}" in shown
    assert json.loads(answer("adapters", "show", odd, "--json"))["labels"] == about["labels"]


def test_a_merged_model_is_the_base_but_for_what_was_changed(adapter, tmp_path):
    answer("adapters", "merge", MODEL, adapter, tmp_path / "full", "--strength", "1")
    answer("adapters", "merge", MODEL, adapter, tmp_path / "none", "--strength", "0")
    old, was = read(MODEL / "model.safetensors")
    new, full = read(tmp_path / "full/model.safetensors")
    assert read(tmp_path / "none/model.safetensors")[1] == was
    assert set(new) == set(old)
    assert {name for name in was if was[name] != full[name]} == {"ln.bias", "blocks.7.ln1.weight"}
    assert np.array_equal(np.frombuffer(full["ln.bias"], "<f4"), np.linspace(-1, 1, 192).astype("f4"))
    assert (tmp_path / "full/tokenizer.model").read_bytes() == (MODEL / "tokenizer.model").read_bytes()
    said = ["embed", "--text", "a cat", "--json", "--dtype", "float32"]
    same, moved = (json.loads(answer(*said, "--model", tmp_path / name)) for name in ("none", "full"))
    assert same["data"] == json.loads(answer(*said, "--model", MODEL))["data"] != moved["data"]


def test_another_models_adapter_is_refused_and_nothing_is_written(adapter, tmp_path):
    answer("adapters", "merge", MODEL, adapter, tmp_path / "once")
    again = limoe("adapters", "merge", tmp_path / "once", adapter, tmp_path / "twice")
    assert again.returncode == 1 and "another model's" in again.stderr
    assert not (tmp_path / "twice").exists() and len(os.listdir(tmp_path)) == 1
    over = limoe("adapters", "merge", MODEL, adapter, tmp_path / "once")
    assert over.returncode == 1 and "is there already" in over.stderr


def test_a_file_that_is_none_is_named(tmp_path):
    done = limoe("adapters", "show", MODEL / "model.safetensors")
    assert done.returncode == 1 and 'model.safetensors: no "limoe-adapter" in its metadata' in done.stderr
    done = limoe("adapters", "show", tmp_path / "none")
    assert done.returncode == 1 and "cannot open" in done.stderr


def test_a_folder_of_adapters_is_listed(adapter, base, tmp_path):
    digest = "0" * 64
    tail = {"format": "limoe-adapter-1", "kind": "tail", "base": base, "start_block": 7, "labels": ["cat"]}
    (tmp_path / f"pets@{digest}.safetensors").write_bytes(adapter.read_bytes())
    write(tmp_path / "wide.safetensors", tail, {"ln.bias": np.zeros(191)})
    write(tmp_path / "else.safetensors", {**tail, "base": "0" * 32}, {"ln.bias": np.zeros(192)})
    write(tmp_path / "flat.safetensors", {"format": "limoe-adapter-1", "kind": "probe", "base": base, "labels": ["a", "b"]},
          {"probe.weight": np.zeros((2, 192)), "probe.bias": np.zeros(2)})
    peft(tmp_path / "lora")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    shown = answer("adapters", "list", tmp_path)
    assert [line.split()[:3] for line in shown.splitlines()] == [
        ["name", "kind", "labels"], ["else", "tail", "1"], ["flat", "probe", "2"], ["lora", "lora", "0"], ["pets", "tail", "2"],
        ["wide", "tail", "1"]]
    assert "any that fits" in shown and base in shown
    listed = json.loads(answer("adapters", "list", tmp_path, "--model", MODEL, "--json"))
    assert listed["object"] == "list"
    assert {entry["name"]: entry["fits"] for entry in listed["data"]} == {
        "else": False, "flat": True, "lora": True, "pets": True, "wide": False}
    assert json.loads(answer("adapters", "list", tmp_path / "notes", "--json")) == {"object": "list", "data": []}
    (tmp_path / "odd\x1b.safetensors").write_bytes(b"no adapter")
    done = limoe("adapters", "list", tmp_path)
    assert done.returncode == 1 and done.stdout == shown and "odd?.safetensors: " in done.stderr and "\x1b" not in done.stderr
    assert limoe("adapters", "list", tmp_path / "none").returncode == 1


def peft(folder):
    """A LoRA of the bundled model, as PEFT saves it."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 3, "use_rslora": True}))
    rng = np.random.default_rng(3)
    name = "base_model.model.image.proj.lora_"
    (folder / "adapter_model.safetensors").write_bytes(adapter_bytes(None, {
        name + "A.weight": rng.normal(0, 0.3, (2, 192)), name + "B.weight": rng.normal(0, 0.3, (192, 2))}))
    return folder


def test_a_lora_goes_from_one_format_to_the_other_and_back(adapter, base, tmp_path):
    peft(tmp_path / "peft")
    answer("adapters", "export", tmp_path / "peft", tmp_path / "lora.safetensors", "--model", MODEL)
    about = json.loads(answer("adapters", "show", tmp_path / "lora.safetensors", "--json"))
    assert (about["kind"], about["base"], about["alpha"], about["rank"], about["rslora"]) == ("lora", base, 3, 2, True)
    answer("adapters", "export", tmp_path / "lora.safetensors", tmp_path / "back")
    assert read(tmp_path / "back/adapter_model.safetensors") == read(tmp_path / "peft/adapter_model.safetensors")
    config = json.loads((tmp_path / "back/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["use_rslora"], config["target_modules"]) == (2, 3, True, ["image.proj"])
    answer("adapters", "merge", MODEL, tmp_path / "peft", tmp_path / "one")
    answer("adapters", "merge", MODEL, tmp_path / "lora.safetensors", tmp_path / "two")
    assert read(tmp_path / "one/model.safetensors") == read(tmp_path / "two/model.safetensors") != read(MODEL / "model.safetensors")

    for arguments, status, word in [
        ((tmp_path / "peft", tmp_path / "x"), 2, "takes --model"),
        ((tmp_path / "lora.safetensors", tmp_path / "x", "--model", MODEL), 2, "folders of PEFT's"),
        ((tmp_path / "lora.safetensors", tmp_path / "back"), 1, "is there already"),
        ((adapter, tmp_path / "x"), 1, "is a tail"),
        ((tmp_path / "none", tmp_path / "x"), 1, "cannot open"),
    ]:
        done = limoe("adapters", "export", *arguments)
        assert done.returncode == status and word in done.stderr, done.stderr
    assert not (tmp_path / "x").exists()
