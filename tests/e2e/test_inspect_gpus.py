"""Protects `limoe inspect --device cuda`: what it says of cards in words and in JSON, for a model that is as large as its headers
say, and whose weights are a hole in a file."""

import json
import math
import struct
import subprocess

import pytest
from conftest import BUILD, MODEL

OK, INPUT, USAGE = 0, 1, 2
GIB = 1 << 30
EXPERTS, WIDTH, MLP = 64, 1536, 6144


def inspect(*words):
    command = [BUILD / "limoe", "inspect", *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """pictograms with other sizes: 10 GB of bfloat16 experts, in a file that takes a few pages."""
    folder = tmp_path_factory.mktemp("large")
    config = json.loads((MODEL / "config.json").read_text())
    config |= {"width": WIDTH, "mlp": MLP, "heads": 24}
    config["moe"]["experts"] = EXPERTS
    (folder / "config.json").write_text(json.dumps(config))
    with (MODEL / "model.safetensors").open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    at = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        if ".moe." in name:
            tensor["shape"][0] = EXPERTS
        if name not in ("image.proj.weight", "text.proj.weight"):
            tensor["shape"] = [{192: WIDTH, 576: 3 * WIDTH, 768: MLP}.get(n, n) for n in tensor["shape"]]
        else:
            tensor["shape"][-1] = WIDTH
        bytes_ = math.prod(tensor["shape"]) * {"BF16": 2, "F32": 4}[tensor["dtype"]]
        tensor["data_offsets"] = [at, at + bytes_]
        at += bytes_
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    return folder


def gpus(folder, *words):
    done = inspect(folder, "--device", "cuda", "--json", *words)
    assert done.returncode == OK, done.stderr
    return json.loads(done.stdout)["gpus"]


def test_the_fewest_ranks_that_fit(large):
    said = gpus(large, "--ranks", 1, "--card-memory", "8GiB")
    assert said["step_tokens"] == 32768 and not said["fits"]
    fewest = said["fewest_ranks"]
    assert 1 < fewest < EXPERTS
    for ranks in (fewest - 1, fewest):
        said = gpus(large, "--ranks", ranks, "--card-memory", "8GiB")
        assert (max(card["bytes"] for card in said["by_rank"]) <= 8 * GIB) == said["fits"] == (ranks == fewest)
        assert len(said["by_rank"]) == ranks and said["fewest_ranks"] == fewest
    assert gpus(large, "--ranks", 2, "--card-memory", "1GiB")["fewest_ranks"] is None
    assert gpus(large, "--ranks", 1, "--card-memory", "80GiB")["fewest_ranks"] == 1


def test_smaller_steps_take_less_where_rows_travel(large):
    whole, small = (gpus(large, "--ranks", 2, *words)["by_rank"][0] for words in ((), ("--step-tokens", 4096)))
    assert small["exchange_bytes"] < whole["exchange_bytes"] and small["workspace_bytes"] == whole["workspace_bytes"]
    assert "fits" not in gpus(large, "--ranks", 2)


def test_in_words(large):
    said = inspect(large, "--device", "cuda", "--ranks", 1, "--card-memory", "8GiB").stdout
    fewest = gpus(large, "--ranks", 1, "--card-memory", "8GiB")["fewest_ranks"]
    assert "memory of each GPU, with steps of at most 32,768 tokens:" in said
    assert "Cards of 8.00 GiB: does not fit; rank 0, the fullest, takes " in said
    assert f"The smallest number of ranks that fits is {fewest}." in said
    said = inspect(large, "--device", "cuda", "--ranks", 1, "--card-memory", "80GiB").stdout
    assert "Cards of 80.00 GiB: fits, with " in said
    assert "No number of ranks fits" in inspect(large, "--device", "cuda", "--ranks", 4, "--card-memory", "1GiB").stdout


def test_what_does_not_go_together():
    for words in (["--card-memory", "80GiB"], ["--ranks", 2, "--device", "cpu", "--card-memory", "80GiB"],
                  ["--device", "cuda", "--step-tokens", 64]):
        done = inspect(MODEL, *words)
        assert done.returncode == USAGE
        assert "--card-memory and --step-tokens go with --ranks and --device cuda" in done.stderr
    done = inspect(MODEL, "--ranks", 1, "--device", "cuda", "--card-memory", "much")
    assert done.returncode == USAGE and "card-memory" in done.stderr and "GiB" in done.stderr
