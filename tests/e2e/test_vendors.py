"""Protects the dialects of Ollama, Cohere, Voyage, Weaviate and Roboflow: bodies as their clients send them, errors as these read them.
tests/clients has the clients themselves; Weaviate's is the server, whose bytes are recorded here."""

import json
import socket

from conftest import b64, key_file, picture


def recorded(server, request):
    """The request, byte for byte, on a connection of its own; status, head and body of the answer."""
    host, port = server.url[7:].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request.replace(b"HOST", server.url[7:].encode()))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


def weaviate(server, path, body=None):
    """As Go's client writes it: no Content-Type."""
    head = b"User-Agent: Go-http-client/1.1\r\nConnection: close\r\n"
    if body is None:
        return recorded(server, b"GET " + path + b" HTTP/1.1\r\nHost: HOST\r\n" + head + b"Accept-Encoding: gzip\r\n\r\n")
    head += b"Content-Length: %d\r\nAccept-Encoding: gzip\r\n\r\n" % len(body)
    return recorded(server, b"POST " + path + b" HTTP/1.1\r\nHost: HOST\r\n" + head + body)


def own(client, inputs):
    return [item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]]


def test_weaviate_vectorizes(server, client):
    image = b64(picture(3))
    status, _, body = weaviate(server, b"/vectorize", json.dumps({"texts": ["cat", "dog"], "images": [image]}).encode())
    assert status == 200
    assert json.loads(body) == {"textVectors": own(client, ["cat", "dog"]), "imageVectors": own(client, [{"image": image}])}
    status, _, body = weaviate(server, b"/vectorize", b'{"texts":["cat"],"images":null}')
    assert status == 200 and json.loads(body) == {"textVectors": own(client, ["cat"]), "imageVectors": []}
    status, _, body = weaviate(server, b"/vectorize", b'{"texts":null,"images":["bm90IGEgcGljdHVyZQ=="]}')
    assert status == 400 and isinstance(json.loads(body)["error"], str)


def test_weaviate_waits_for_the_model(server):
    for path in (b"/.well-known/ready", b"/.well-known/live"):
        status, _, body = weaviate(server, path)
        assert (status, body) == (204, b"")
    status, _, body = weaviate(server, b"/meta")
    assert status == 200 and json.loads(body)["model"] == "pictograms"


def test_a_model_by_the_name_of_a_vendors(start):
    aliases = "nomic-embed-text,embed-v4.0,voyage-multimodal-3,ViT-B-32"
    with start("--model-alias", aliases).client() as client:
        vector = own(client, ["cat"])[0]
        parts = [{"content": [{"type": "text", "text": "cat"}]}]
        assert client.post("/api/embed", json={"model": "nomic-embed-text:latest", "input": "cat"}).json()["embeddings"] == [vector]
        assert client.post("/v2/embed", json={"model": "embed-v4.0", "texts": ["cat"]}).json()["embeddings"] == {"float": [vector]}
        answer = client.post("/v1/multimodalembeddings", json={"model": "voyage-multimodal-3", "inputs": parts}).json()
        assert answer["data"][0]["embedding"] == vector
        for body in ({"clip_version_id": "ViT-B-32"}, {"model_id": "clip/ViT-B-32"}, {"clip_version_id": "ViT-B-32", "model_id": None}, {}):
            assert client.post("/clip/embed_text", json={"text": "cat", **body}).json()["embeddings"] == [vector]
        assert client.post("/clip/embed_text", json={"text": "cat", "clip_version_id": "RN50"}).status_code == 404


def test_roboflow_compares(client):
    image = {"type": "base64", "value": b64(picture(3))}
    answer = client.post("/clip/compare", json={"subject": image, "prompt": ["cat", "dog", "cat"], "api_key": None}).json()
    assert len(answer["similarity"]) == 3 and answer["similarity"][0] == answer["similarity"][2] and answer["frame_id"] is None
    body = {"subject": "cat", "subject_type": "text", "prompt": image, "prompt_type": "image"}
    assert client.post("/clip/compare", json=body).json()["similarity"] == answer["similarity"][:1]


def test_a_key_in_the_query_opens_nothing_and_is_not_logged(start, tmp_path):
    key = "user-key-0123456789"
    keys = key_file(tmp_path / "keys", key)
    server = start("--api-keys-file", keys)
    with server.client() as client:
        asked = {"json": {"text": "cat", "api_key": key}, "params": {"api_key": key}}
        refused = client.post("/clip/embed_text", **asked)
        assert refused.status_code == 401 and "Authorization: Bearer KEY" in refused.json()["message"]
        assert client.post("/clip/embed_text", headers={"Authorization": f"Bearer {key}"}, **asked).status_code == 200
    assert not [line for line in server.log if key in line]


def test_errors_are_in_the_form_of_the_vendor(client):
    forms = {"/api/embed": "error", "/v1/embed": "message", "/v2/embed": "message", "/v1/multimodalembeddings": "detail"}
    forms |= {"/vectorize": "error", "/clip/embed_text": "message", "/clip/embed_image": "message", "/clip/compare": "message"}
    for path, name in forms.items():
        answer = client.post(path, json={"no-such-field": 1})
        assert answer.status_code == 400 and 'no field "no-such-field"' in answer.json()[name]
    assert "there is nothing at /api/chat" in client.post("/api/chat", json={}).json()["error"]
    assert "there is nothing at /clip/embed" in client.post("/clip/embed", json={}).json()["message"]
