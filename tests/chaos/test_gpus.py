"""Ranks on GPUs are killed under load: nobody gets an error, every answer keeps its bits, and the ranks that were not killed
keep their processes, and so their weights.

The GPUs and NCCL are emulated (tests/emulator): what is protected is the protocol between front and ranks, and what each does with
NCCL's interface, not NCCL. An emulated GPU is slow, and so the model is small.
"""

import base64
import json
import os
import signal
import subprocess
import time

import httpx
import pytest
from conftest import BUILD, SECONDS, STRICT, Load, assert_all_answered, figures_of, wait_until

MODULES = BUILD / "tests" / "emulator"
SYNTHETIC = BUILD / "bench" / "synthetic"
RANKS = 3
ENV = {"LIMOE_MODULES": str(MODULES), "LIMOE_TEST_EMULATED_DEVICES": str(RANKS), "LIMOE_TEST_EMULATED_SM": "80"}
INPUT = [f"{text} {i}" for i, text in enumerate(["a picture of a cat", "dog", "a red circle", "猫", "one that is longer than the others"])]
pytestmark = pytest.mark.skipif(
    not (MODULES / "limoe-nccl.so").exists() or not SYNTHETIC.exists(), reason=f"needs {MODULES}/limoe-nccl.so and {SYNTHETIC}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    sizes = {"width": 32, "blocks": 2, "heads": 2, "mlp": 32, "embed": 32, "image-size": 32, "patch": 16, "experts": 4,
             "moe-layers": 1, "top-k": 2}
    subprocess.run([SYNTHETIC, "--preset", "small", "--out", folder, *[str(w) for n, v in sizes.items() for w in (f"--{n}", v)]],
                   check=True, capture_output=True, timeout=600)
    return folder


def serve(start, model, ranks, **env):
    return start("--device", "cuda", "--ranks", ranks, "--cache-bytes", 0, "--model", model, env={**ENV, **env})


def answers(server):
    got = httpx.post(f"{server.url}/v1/embeddings", json={"input": INPUT, "encoding_format": "base64"}, timeout=120)
    assert got.status_code == 200, got.text
    return [base64.b64decode(item["embedding"]) for item in got.json()["data"]]


def described(server):
    return httpx.get(f"{server.url}/v1/models", timeout=60).json()["data"][0]


def foretold(model, ranks):
    """What each rank takes of its GPU, told without one."""
    command = [BUILD / "limoe", "inspect", model, "--device", "cuda", "--ranks", ranks, "--json"]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["gpus"]["by_rank"]


def test_answers_have_the_same_bits_on_one_gpu_and_on_several(start, model):
    one = serve(start, model, 1)
    want, fingerprint = answers(one), described(one)["fingerprint"]
    assert one.terminate() == 0
    server = serve(start, model, RANKS)
    about = described(server)
    assert about["ranks"] == RANKS and about["backend"].startswith("cuda-") and about["fingerprint"] == fingerprint
    assert sum(rank["experts"] for rank in about["by_rank"]) == 4
    assert answers(server) == want
    assert len(server.children("engine")) == RANKS and not server.children("launch")
    for rank, card in enumerate(foretold(model, RANKS)):
        used = server.metric(f'limoe_gpu_memory_used_bytes{{rank="{rank}"}}')
        assert card["dense_bytes"] + card["expert_bytes"] + card["workspace_bytes"] < used <= card["bytes"] - card["set_aside_bytes"]
    assert server.terminate() == 0


@pytest.mark.skipif(not STRICT, reason="LIMOE_CHAOS_STRICT is not set, and a load on emulated devices takes minutes")
@pytest.mark.parametrize("loss", ["shows", "hangs"])
def test_no_request_fails_while_ranks_are_killed(start, model, report, loss):
    server = serve(start, model, RANKS, **({"LIMOE_TEST_EMULATED_NCCL_LOSS": "hang"} if loss == "hangs" else {}))
    want = answers(server)
    load = Load(server, closed=4, duration=max(2 * SECONDS, 12), mix="text=1", check=True)
    killed, stalls = 0, []
    time.sleep(1)
    while load.busy():
        before = server.children("engine")
        victim = before[killed % RANKS]
        restarts = server.metric("limoe_engine_restarts_total")
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        killed += 1
        assert answers(server) == want
        stalls.append(time.monotonic() - began)
        wait_until(lambda: len(server.children("engine")) == RANKS)
        after = server.children("engine")
        assert set(before) - {victim} == set(before) & set(after), "a rank that was not killed was replaced"
        assert server.metric("limoe_engine_restarts_total") == restarts + 1
        time.sleep(0.5)
    done = load.result()
    report(ranks=RANKS, killed=killed, answered_after_s=[round(s, 2) for s in stalls], **figures_of(server, done))
    assert killed > 1
    assert_all_answered(done)


def test_several_ranks_are_killed_at_once(start, model):
    server = serve(start, model, RANKS)
    want = answers(server)
    for victims in ([0, 1], [0, 1, 2]):
        before = server.children("engine")
        for victim in victims:
            os.kill(before[victim], signal.SIGKILL)
        assert answers(server) == want
        after = server.children("engine")
        assert {before[r] for r in range(RANKS) if r not in victims} == set(before) & set(after)
