"""tritonclient over HTTP, JSON and binary, and LiteLLM's triton provider, as they are."""

import litellm
import numpy as np
import pytest
import tritonclient.http as triton
from conftest import b64, picture, wait_until
from tritonclient.utils import InferenceServerException

TEXTS = ["a cat", "a dog"]


def own(client, inputs):
    return np.array([item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]], np.float32)


def tensor(name, values, shape=None, binary=True):
    values = np.array([v.encode() if isinstance(v, str) else v for v in values], np.object_).reshape(shape or [len(values)])
    made = triton.InferInput(name, list(values.shape), "BYTES")
    made.set_data_from_numpy(values, binary_data=binary)
    return made


@pytest.fixture
def peer(server):
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def test_what_is_told(peer):
    assert peer.is_server_live() and peer.is_server_ready() and peer.is_model_ready("pictograms")
    assert not peer.is_model_ready("nobody")
    assert peer.get_server_metadata()["name"] == "limoe"
    outputs = {output["name"]: output for output in peer.get_model_metadata("pictograms", "1")["outputs"]}
    assert outputs["embedding"]["shape"] == [-1, 192]
    assert peer.get_model_config("pictograms")["max_batch_size"] == 0
    assert [model["name"] for model in peer.get_model_repository_index()] == ["pictograms"]


def test_statistics(peer):
    def counted(*asked):
        (found,) = peer.get_inference_statistics(*asked)["model_stats"]
        return found

    before = counted("pictograms")
    peer.infer("pictograms", [tensor("text", [f"a text for the statistics {i}" for i in range(3)])])
    with pytest.raises(InferenceServerException):
        peer.infer("pictograms", [tensor("image", [picture(1)[:60]])])  # read, and not decoded
    # A request is counted behind its answer.
    wait_until(lambda: counted("pictograms")["inference_stats"]["fail"]["count"] > before["inference_stats"]["fail"]["count"])
    after = counted("pictograms", "1")
    assert counted() == after and after["name"] == "pictograms" and after["version"] == "1"
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["execution_count"] > before["execution_count"] and after["last_inference"] > 1_700_000_000_000
    grown = {name: (value["count"] - before["inference_stats"][name]["count"], value["ns"] - before["inference_stats"][name]["ns"])
             for name, value in after["inference_stats"].items()}
    assert {name: count for name, (count, _) in grown.items()} == {
        "success": 1, "fail": 1, "queue": 1, "compute_input": 1, "compute_infer": 1, "compute_output": 0}
    assert grown["success"][1] >= grown["queue"][1] + grown["compute_input"][1] + grown["compute_infer"][1] > 0
    with pytest.raises(InferenceServerException, match='there is no model "nobody" here'):
        peer.get_inference_statistics("nobody")


@pytest.mark.parametrize("binary_out", [None, False, True])
@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("name", ["text", "input_text"])
def test_texts_have_our_bits(peer, client, name, binary_in, binary_out):
    outputs = None if binary_out is None else [triton.InferRequestedOutput("embedding", binary_data=binary_out)]
    found = peer.infer("pictograms", [tensor(name, TEXTS, binary=binary_in)], outputs=outputs, request_id="7")
    assert found.get_response()["id"] == "7"
    assert np.array_equal(found.as_numpy("embedding"), own(client, TEXTS))


@pytest.mark.parametrize("form", [lambda p: p, b64], ids=["file", "base64"])
def test_pictures(peer, client, form):
    pictures = [picture(1), picture(2)]
    found = peer.infer("pictograms", [tensor("image", [form(p) for p in pictures], [2, 1])]).as_numpy("embedding")
    assert np.array_equal(found, own(client, [{"image": b64(p)} for p in pictures]))


def test_scores_are_in_the_labels_order(peer, client):
    labels = ["a red circle", "a blue square", "a cat"]
    inputs = [tensor("image", [picture(3)]), tensor("labels", labels), tensor("templates", ["this is {}"])]
    found = peer.infer("pictograms", inputs).as_numpy("scores")
    ours = client.post("/v1/classify", json={"image": b64(picture(3)), "labels": labels, "templates": ["this is {}"]}).json()
    scores = {one["label"]: one["score"] for one in ours["data"][0]["predictions"]}
    assert np.array_equal(found, np.array([[scores[label] for label in labels]], np.float32))


def test_the_client_shows_what_is_wrong(peer):
    with pytest.raises(InferenceServerException, match='there is no input "pixels"; accepted: text, image'):
        peer.infer("pictograms", [tensor("pixels", TEXTS)])
    with pytest.raises(InferenceServerException, match='there is no model "nobody" here'):
        peer.infer("nobody", [tensor("text", TEXTS)])
    with pytest.raises(InferenceServerException, match='there is no version "2"'):
        peer.infer("pictograms", [tensor("text", TEXTS)], model_version="2")


def test_litellm(server, client):
    found = litellm.embedding(model="triton/pictograms", api_base=f"{server.url}/v2/models/pictograms/infer", input=TEXTS)
    assert np.array_equal(np.array([item["embedding"] for item in found.data], np.float32), own(client, TEXTS))


def test_litellm_shows_what_is_wrong(server):
    with pytest.raises(litellm.exceptions.NotFoundError, match="there is no model .*nobody"):
        litellm.embedding(model="triton/nobody", api_base=f"{server.url}/v2/models/nobody/infer", input=TEXTS)
