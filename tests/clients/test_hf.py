"""huggingface_hub's InferenceClient and LlamaIndex's TEI embeddings, as they are."""

import numpy as np
import pytest
from conftest import b64, picture
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference


def own(client, inputs):
    return np.array([item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]], np.float32)


@pytest.fixture(params=["", "/hf", "/hf/pictograms"])
def hub(server, request):
    return InferenceClient(model=server.url + request.param)


def test_vectors(hub, client):
    assert np.array_equal(hub.feature_extraction("cat"), own(client, ["cat"]))
    assert np.array_equal(hub.feature_extraction(["cat", "dog"], normalize=True, truncate=True), own(client, ["cat", "dog"]))


def test_zero_shot_image_classification(hub, client):
    labels, image = ["a red circle", "a blue square"], picture(3)
    found = hub.zero_shot_image_classification(image, candidate_labels=labels, hypothesis_template="this is {}")
    body = {"image": b64(image), "labels": labels, "templates": ["this is {}"]}
    ours = client.post("/v1/classify", json=body).json()["data"][0]["predictions"]
    assert [(one.label, one.score) for one in found] == [(one["label"], one["score"]) for one in ours]


def test_similarity(hub):
    similar = hub.sentence_similarity("cat", other_sentences=["dog", "cat"])
    assert similar[1] == pytest.approx(1, abs=1e-6) and similar[0] < similar[1]


def test_the_client_shows_what_is_wrong(hub):
    with pytest.raises(HfHubHTTPError, match="normalize is false; accepted: true, because embeddings are unit vectors"):
        hub.feature_extraction("cat", normalize=False)


def test_a_model_that_is_not_here(server):
    with pytest.raises(HfHubHTTPError, match='there is no model "nobody" here'):
        InferenceClient(model=server.url + "/hf/nobody").feature_extraction("cat")


def test_llama_index(server, client):
    model = TextEmbeddingsInference(model_name="pictograms", base_url=server.url)
    assert np.array_equal(np.array(model.get_text_embedding("cat"), np.float32), own(client, ["cat"])[0])
    assert np.array_equal(np.array(model.get_text_embedding_batch(["cat", "dog"]), np.float32), own(client, ["cat", "dog"]))
    assert np.array_equal(np.array(model.get_query_embedding("dog"), np.float32), own(client, ["dog"])[0])


def test_llama_index_shows_what_is_wrong(server):
    """It does not look at statuses: what came in place of a list is in its error."""
    model = TextEmbeddingsInference(model_name="pictograms", base_url=server.url)
    with pytest.raises(ValueError, match=r"inputs\[0\] has .*validation"):
        model.get_text_embedding_batch(["a" * 70000])
