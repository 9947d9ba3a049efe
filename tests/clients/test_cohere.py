"""Cohere's own clients, of both versions of its API, as they are. What they rank is in test_rerank.py."""

import cohere
import numpy as np
import pytest
from conftest import data_uri, picture


def own(client, inputs, **more):
    return [item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs, **more}).json()["data"]]


def same(found, expected):
    return np.array_equal(np.array(found, np.float32), np.array(expected, np.float32))


@pytest.fixture
def v2(server):
    return cohere.ClientV2("a-key-of-no-meaning", base_url=server.url)


@pytest.fixture
def v1(server):
    return cohere.Client("a-key-of-no-meaning", base_url=server.url)


def test_texts(v2, client):
    found = v2.embed(model="pictograms", texts=["cat", "dog"], input_type="search_query", embedding_types=["float"], truncate="END")
    assert same(found.embeddings.float_, own(client, ["cat", "dog"]))
    assert found.texts == ["cat", "dog"] and found.meta.billed_units.input_tokens > 0


def test_types(v2, client):
    found = v2.embed(model="pictograms", texts=["cat"], input_type="clustering", embedding_types=["float", "int8", "ubinary", "binary"]).embeddings
    assert same(found.float_, own(client, ["cat"]))
    for name in ("int8", "ubinary", "binary"):
        assert getattr(found, name) == own(client, ["cat"], encoding_format=name)


def test_pictures(v2, client):
    uris = [data_uri(picture(3)), data_uri(picture(4))]
    found = v2.embed(model="pictograms", images=uris, input_type="image", embedding_types=["float"])
    assert same(found.embeddings.float_, own(client, uris))
    assert found.meta.billed_units.images == 2


def test_inputs(v2, client):
    uri = data_uri(picture(3))
    inputs = [{"content": [{"type": "text", "text": "cat"}]}, {"content": [{"type": "image_url", "image_url": {"url": uri}}]}]
    assert same(v2.embed(model="pictograms", inputs=inputs, input_type="search_document").embeddings.float_, own(client, ["cat", uri]))


def test_the_old_client(v1, client):
    texts = [f"a text, number {i}" for i in range(100)]  # of which it sends 96, then 4
    found = v1.embed(texts=texts, model="pictograms", input_type="search_document", truncate="END")
    assert found.response_type == "embeddings_floats" and found.texts == texts
    assert same(found.embeddings, own(client, texts))
    by_type = v1.embed(texts=["cat"], model="pictograms", input_type="search_document", embedding_types=["float"])
    assert same(by_type.embeddings.float_, own(client, ["cat"]))
    uri = data_uri(picture(3))
    assert same(v1.embed(images=[uri], model="pictograms", input_type="image").embeddings, own(client, [uri]))


def test_the_clients_show_what_is_wrong(v1, v2):
    with pytest.raises(cohere.BadRequestError, match='embedding_types has "uint8"; accepted: "float"'):
        v2.embed(model="pictograms", texts=["cat"], input_type="search_query", embedding_types=["uint8"])
    with pytest.raises(cohere.NotFoundError, match='there is no model "embed-v4.0" here'):
        v2.embed(model="embed-v4.0", texts=["cat"], input_type="search_query", embedding_types=["float"])
    with pytest.raises(cohere.BadRequestError, match="truncate is"):
        v1.embed(texts=["cat"], model="pictograms", input_type="search_query", truncate="START")
    two = [{"content": [{"type": "text", "text": "cat"}, {"type": "text", "text": "dog"}]}]
    with pytest.raises(cohere.BadRequestError, match="has 2 parts; exactly one is accepted"):
        v2.embed(model="pictograms", inputs=two, input_type="search_query")
