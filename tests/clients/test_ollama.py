"""ollama's own client, and LangChain's embeddings over it, as they are."""

import numpy as np
import ollama
import pytest
from conftest import data_uri, picture
from langchain_ollama import OllamaEmbeddings


def own(client, inputs):
    return np.array([item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]], np.float32)


@pytest.mark.parametrize("model", ["pictograms", "pictograms:latest"])
def test_embed(server, client, model):
    inputs = ["cat", data_uri(picture(3))]
    found = ollama.Client(host=server.url).embed(model=model, input=inputs, truncate=True, keep_alive="5m", options={"num_ctx": 64})
    assert np.array_equal(np.array(found.embeddings, np.float32), own(client, inputs))
    assert found.model == "pictograms" and found.total_duration > 0 and found.prompt_eval_count > 0
    one = ollama.Client(host=server.url).embed(model=model, input="cat")
    assert np.array_equal(np.array(one.embeddings, np.float32), own(client, ["cat"]))


def test_embeddings(server, client):
    found = ollama.Client(host=server.url).embeddings(model="pictograms:latest", prompt="cat")
    assert np.array_equal(np.array(found.embedding, np.float32), own(client, ["cat"])[0])


def test_list(server, client):
    model = client.get("/v1/models").json()["data"][0]
    (listed,) = ollama.Client(host=server.url).list().models
    assert (listed.model, listed.digest) == ("pictograms:latest", model["fingerprint"])
    assert int(listed.modified_at.timestamp()) == model["created"] and listed.details.quantization_level == model["dtype"]


def test_langchain(server, client):
    embeddings = OllamaEmbeddings(model="pictograms", base_url=server.url, validate_model_on_init=True)
    assert np.array_equal(np.array(embeddings.embed_documents(["cat", "dog"]), np.float32), own(client, ["cat", "dog"]))
    assert np.array_equal(np.array(embeddings.embed_query("dog"), np.float32), own(client, ["dog"])[0])


def test_the_client_shows_what_is_wrong(server):
    client = ollama.Client(host=server.url)
    with pytest.raises(ollama.ResponseError, match="truncate is false; accepted: true"):
        client.embed(model="pictograms", input="cat", truncate=False)
    with pytest.raises(ollama.ResponseError, match='there is no model "nomic-embed-text" here') as raised:
        client.embed(model="nomic-embed-text", input="cat")
    assert raised.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="there is nothing at /api/generate"):
        client.generate(model="pictograms", prompt="cat")
    with pytest.raises(ollama.ResponseError, match="dimensions must be"):
        OllamaEmbeddings(model="pictograms", base_url=server.url, dimensions=3).embed_query("cat")
