"""Protects the CUDA backend end to end, without a GPU: the module that is loaded is built of the same sources, and its
kernels run on the CPU, thread by thread (tests/emulator). A picture takes a second that way, so there are few."""

import base64
import json
import os
import signal
import subprocess

import numpy
import pytest
from conftest import BUILD, MODEL, ROOT, b64, picture, wait_until

MODULES = BUILD / "tests" / "emulator"
pytestmark = pytest.mark.skipif(not (MODULES / "limoe-cuda.so").exists(), reason=f"needs {MODULES}/limoe-cuda.so")
ENV = {"LIMOE_MODULES": str(MODULES)}
TEXTS = ["a cat", "a dog", "自転車"]


def embeddings(client, items, **more):
    response = client.post("/v1/embeddings", json={"input": items, "encoding_format": "base64", **more})
    assert response.status_code == 200, response.text
    return [numpy.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in response.json()["data"]]


@pytest.fixture(scope="module")
def on_the_cpu():
    """The same answers in float32 from the CPU, by the command line."""
    command = [BUILD / "limoe", "embed", "--model", MODEL, "--device", "cpu", "--dtype", "float32", "--json"]
    for text in TEXTS:
        command += ["--text", text]
    command += ["--image", ROOT / "examples" / "cat.png"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return [numpy.array(row["embedding"], "f4") for row in json.loads(done.stdout)["data"]]


@pytest.mark.parametrize("sm", ["80", "90"])
def test_answers_are_the_cpus_and_have_the_same_bits_in_any_company(start, on_the_cpu, sm):
    server = start("--device", "cuda", "--cache-bytes", 0, env={**ENV, "LIMOE_TEST_EMULATED_SM": sm})
    cat = {"image": b64((ROOT / "examples" / "cat.png").read_bytes())}
    with server.client() as client:
        together = embeddings(client, [{"text": text} for text in TEXTS] + [cat])
        for have, want in zip(together, on_the_cpu, strict=True):
            assert have @ want >= 0.999
        again = embeddings(client, [cat, {"image": b64(picture(3))}, {"text": TEXTS[2]}, {"text": TEXTS[0]}])
        assert again[0].tobytes() == together[3].tobytes()
        assert again[2].tobytes() == together[2].tobytes() and again[3].tobytes() == together[0].tobytes()
        # A step's shape is recorded when it comes for the second time, and queued from the record from the third on.
        for _ in range(4):
            (alone,) = embeddings(client, [{"text": TEXTS[1]}])
            assert alone.tobytes() == together[1].tobytes()

        (model,) = client.get("/v1/models").json()["data"]
        assert model["backend"] == f"cuda-sm{sm}" and model["dtype"] == "bfloat16"
        routing = client.post("/v1/routing", json={"input": [{"text": TEXTS[0]}]}).json()
        assert routing["data"], routing
        assert client.get("/health").status_code == 200
    assert sum(server.metric(f'limoe_tokens_total{{modality="{m}"}}') for m in ("image", "text")) > 0


def test_memory_of_the_gpu_is_on_the_page_and_as_foretold(start):
    server = start("--device", "cuda", "--cache-bytes", 0, env=ENV)
    with server.client() as client:
        embeddings(client, TEXTS[:1])
    command = [BUILD / "limoe", "inspect", MODEL, "--device", "cuda", "--ranks", "1", "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    (card,) = json.loads(done.stdout)["gpus"]["by_rank"]
    used = server.metric('limoe_gpu_memory_used_bytes{rank="0"}')
    assert card["dense_bytes"] + card["expert_bytes"] + card["workspace_bytes"] < used <= card["bytes"] - card["set_aside_bytes"]
    assert server.metric('limoe_gpu_memory_bytes{rank="0"}') == 4 << 30  # the emulator's


def test_an_engine_on_a_gpu_is_replaced(start):
    server = start("--device", "cuda", "--cache-bytes", 0, env=ENV)
    with server.client() as client:
        before = embeddings(client, TEXTS)
        (engine,) = server.children("engine")
        os.kill(engine, signal.SIGKILL)
        after = embeddings(client, TEXTS)
        assert [z.tobytes() for z in after] == [z.tobytes() for z in before]
        wait_until(lambda: server.children("engine") not in ([], [engine]))


def test_no_gpu_is_said_plainly():
    done = subprocess.run([BUILD / "limoe", "embed", "--model", MODEL, "--device", "cuda", "--text", "a cat"],
                          capture_output=True, text=True, env={**os.environ, **ENV, "LIMOE_TEST_EMULATED_DEVICES": "0"})
    assert done.returncode == 1
    assert done.stderr.startswith("limoe: no GPU was found: "), done.stderr


def test_a_gpu_that_is_too_old_is_refused():
    done = subprocess.run([BUILD / "limoe", "embed", "--model", MODEL, "--device", "cuda", "--text", "a cat"],
                          capture_output=True, text=True, env={**os.environ, **ENV, "LIMOE_TEST_EMULATED_SM": "75"})
    assert done.returncode == 1
    assert "has compute capability 7.5; 8.0 or more is accepted" in done.stderr
