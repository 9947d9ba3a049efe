"""Protects int8: what is served with --dtype int8, what limoe quantize writes of it, and what rounding costs."""

import json
import os
import subprocess

import numpy as np
import pytest

from conftest import BUILD, MODEL, b64, picture

INPUTS = ["a cat", "自動車", {"image": b64(picture())}, {"image": b64(picture(3))}]


def limoe(*arguments, **environment):
    command = [BUILD / "limoe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)


def answer(*arguments, **environment):
    done = limoe(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def vectors(client):
    response = client.post("/v1/embeddings", json={"input": INPUTS})
    assert response.status_code == 200, response.text
    return [item["embedding"] for item in response.json()["data"]]


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    out = tmp_path_factory.mktemp("int8") / "small"
    printed = answer("quantize", MODEL, out)
    assert "MB of weights" in printed
    return out


def test_served_as_int8_and_from_a_quantised_directory_the_bits_are_the_same(start, quantised):
    answers = []
    for options in (["--model", MODEL, "--dtype", "int8"], ["--model", quantised]):
        with start(*options).client() as client:
            model = client.get("/v1/models").json()["data"][0]
            assert model["dtype"] == "int8"
            assert 'dtype="int8"' in client.get("/metrics").text
            answers.append((model["fingerprint"], vectors(client)))
    assert answers[0][1] == answers[1][1]
    assert answers[0][0] != answers[1][0]  # other tensors: another checkpoint
    with start("--model", MODEL, "--dtype", "float32").client() as client:
        cosines = (np.array(vectors(client)) * np.array(answers[0][1])).sum(1)
    assert 0.995 <= cosines.min() < 1


def test_a_quantised_directory_is_smaller_and_says_so(quantised):
    before, after = (json.loads(answer("inspect", directory, "--json")) for directory in (MODEL, quantised))
    assert "int8" in after["checkpoint_dtypes"] and "int8" not in before["checkpoint_dtypes"]
    assert after["parameters"] == before["parameters"]
    in_memory = [
        json.loads(answer("inspect", directory, "--json", "--ranks", 1, "--device", "cpu", *more))["ranks"][0]
        for directory, more in ((MODEL, ["--dtype", "int8"]), (quantised, []))]
    assert in_memory[0] == in_memory[1]
    assert in_memory[0]["dense_bytes"] + in_memory[0]["expert_bytes"] <= 0.3 * 4 * before["parameters"]["total"]


def test_products_of_int8_do_not_depend_on_the_instruction_set():
    """What follows them does, in the last bits: vectors are as alike as float32's of two instruction sets."""
    items = ["--dtype", "int8", "--text", "a cat", "--text", "a red car", "--json"]
    present = [name for name in ("generic", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx")
               if limoe("embed", "--text", "x", LIMOE_ISA=name).returncode == 0]
    assert "generic" in present
    rows = [np.array([row["embedding"] for row in json.loads(answer("embed", *items, LIMOE_ISA=name))["data"]])
            for name in present]
    for other in rows[1:]:
        assert (rows[0] * other).sum(1).min() > 0.9999


def test_compare_measures_what_rounding_costs():
    found = json.loads(answer("inspect", MODEL, "--dtype", "int8", "--compare", "float32", "--json"))["cosines"]
    assert (found["dtype"], found["beside"]) == ("int8", "float32")
    for modality in ("pictures", "texts"):
        assert found[modality]["items"] == 32
        assert 0.995 <= found[modality]["least"] < found[modality]["mean"] < 1
    same = json.loads(answer("inspect", MODEL, "--dtype", "int8", "--compare", "int8", "--json"))["cosines"]
    assert abs(same["texts"]["least"] - 1) < 1e-6
    assert "int8 beside float32" in answer("inspect", MODEL, "--dtype", "int8", "--compare", "float32")


def test_quantize_overwrites_nothing_and_leaves_nothing(quantised, tmp_path):
    done = limoe("quantize", MODEL, quantised)
    assert done.returncode == 1 and "is there already" in done.stderr
    done = limoe("quantize", quantised, tmp_path / "again")
    assert done.returncode == 1 and "is int8 already" in done.stderr
    done = limoe("quantize", tmp_path, tmp_path / "none")
    assert done.returncode == 1 and "config.json" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_refuses_int8():
    done = limoe("embed", "--device", "cuda", "--dtype", "int8", "--text", "x")
    assert done.returncode == 1
    assert "GPU" in done.stderr  # none is there, or it says what it takes
