"""Protects the one promise of all dialects: a text and a picture have in each the float32 bits that they have in /v1/embeddings."""

import json

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
    "vertex": ("/vertex/predict", {"instances": [TEXT, {"b64": BASE64}]}, lambda answer: answer["predictions"]),
    "kserve-v1": ("/v1/models/pictograms:predict", {"instances": [TEXT, {"image": {"b64": BASE64}}]}, lambda answer: answer["predictions"]),
    "sagemaker": ("/invocations", {"input": [TEXT, URI]}, lambda answer: [one["embedding"] for one in answer["data"]]),
}


def tensor(name, value):
    return {"inputs": [{"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [value]}]}


# Ways that take one of the two alone: for a text, and for a picture.
APART = {
    "ollama-prompt": [("/api/embeddings", {"prompt": one}, lambda answer: [answer["embedding"]]) for one in (TEXT, URI)],
    "titan": [("/model/pictograms/invoke", body, lambda answer: [answer["embedding"]]) for body in ({"inputText": TEXT}, {"inputImage": BASE64})],
    "oip": [
        ("/v2/models/pictograms/infer", tensor(name, value), lambda answer: [answer["outputs"][0]["data"]])
        for name, value in (("text", TEXT), ("image", BASE64))
    ],
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


def test_immich_has_the_same_bits(client, expected):
    """By a form, and within a string."""

    def clip(side, part):
        entries = json.dumps({"clip": {side: {"modelName": "pictograms"}}})
        answer = client.post("/predict", data={"entries": entries}, files=[part])
        return json.loads(answer.raise_for_status().json()["clip"])

    assert bits([clip("textual", ("text", (None, TEXT))), clip("visual", ("image", IMAGE))]) == expected


def test_binary_tensors_have_the_same_bits(client, expected):
    head = json.dumps({
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 4 + len(TEXT)}}],
        "parameters": {"binary_data_output": True},
    }).encode()  # fmt: skip
    body = head + len(TEXT).to_bytes(4, "little") + TEXT.encode()
    answer = client.post("/v2/models/pictograms/infer", content=body, headers={"Inference-Header-Content-Length": str(len(head))})
    length = int(answer.raise_for_status().headers["Inference-Header-Content-Length"])
    assert np.frombuffer(answer.content[length:], "<u4").tolist() == expected[0]
