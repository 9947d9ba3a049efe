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
