"""Protects the one promise of all dialects: a text and a picture have in each the float32 bits that they have in /v1/embeddings."""

import numpy as np
import pytest
from conftest import b64, data_uri, picture

TEXT, IMAGE = "a red circle", picture(7)
URI, BASE64 = data_uri(IMAGE), b64(IMAGE)
PARTS = [{"content": [{"type": "text", "text": TEXT}]}, {"content": [{"type": "image_url", "image_url": URI}]}]

# Dialect, path, body, and where in the answer the vectors of the text and of the picture are; a row for each way to ask.
WAYS = {
    "hf": ("/hf", {"inputs": [TEXT, URI]}, lambda answer: answer),
    "tei": ("/embed", {"inputs": [TEXT, URI]}, lambda answer: answer),
    "ollama": ("/api/embed", {"model": "pictograms:latest", "input": [TEXT, URI]}, lambda answer: answer["embeddings"]),
    "cohere-v2": ("/v2/embed", {"inputs": PARTS, "embedding_types": ["float"]}, lambda answer: answer["embeddings"]["float"]),
    "cohere-v1": ("/v1/embed", {"texts": [TEXT, {"image": URI}]}, lambda answer: answer["embeddings"]),
    "voyage": ("/v1/multimodalembeddings", {"inputs": PARTS}, lambda answer: [one["embedding"] for one in answer["data"]]),
    "weaviate": ("/vectorize", {"texts": [TEXT], "images": [BASE64]}, lambda answer: answer["textVectors"] + answer["imageVectors"]),
}
# Ways that take one of the two alone: for a text, and for a picture.
APART = {
    "ollama-prompt": [("/api/embeddings", {"prompt": one}, lambda answer: [answer["embedding"]]) for one in (TEXT, URI)],
    "roboflow": [
        ("/clip/embed_text", {"text": TEXT}, lambda answer: answer["embeddings"]),
        ("/clip/embed_image", {"image": {"type": "base64", "value": BASE64}}, lambda answer: answer["embeddings"]),
    ],
}


def bits(vectors):
    return np.array(vectors, np.float32).view(np.uint32).tolist()


def ask(client, way):
    path, body, find = way
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return find(answer.json())


@pytest.fixture(scope="module")
def expected(server):
    with server.client() as client:
        return bits([one["embedding"] for one in client.post("/v1/embeddings", json={"input": [TEXT, URI]}).json()["data"]])


@pytest.mark.parametrize("name", WAYS)
def test_both_have_the_same_bits(client, expected, name):
    assert bits(ask(client, WAYS[name])) == expected


@pytest.mark.parametrize("name", APART)
def test_each_has_the_same_bits(client, expected, name):
    assert bits([vector for way in APART[name] for vector in ask(client, way)]) == expected
