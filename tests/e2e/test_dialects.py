"""Protects the dialects of other servers: the requests are bytes as real clients send them (huggingface_hub 2.4, LlamaIndex's TEI,
LiteLLM 1.110), the answers what these read. tests/clients has the clients themselves."""

import concurrent.futures
import json
import socket

import pytest
from conftest import b64, data_uri, key_file, picture

CAT_DOG = ["a red circle", "a blue square"]


def own(client, inputs):
    return [item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]]


def recorded(server, path, body, agent):
    """The request, byte for byte, on a connection of its own; status and the answer's value."""
    head = f"POST {path} HTTP/1.1\r\nHost: {server.url[7:]}\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: close\r\n"
    head += f"User-Agent: {agent}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    host, port = server.url[7:].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    return int(head.split()[1]), json.loads(body)


HUB = "unknown/None; hf_hub/2.4.0; python/3.11.7"


@pytest.mark.parametrize("path", ["/", "/hf", "/hf/", "/hf/pictograms"])
def test_huggingface_hub_vectors(server, client, path):
    vectors = own(client, ["cat", "dog"])
    assert recorded(server, path, b'{"inputs":"cat"}', HUB) == (200, vectors[:1])
    assert recorded(server, path, b'{"inputs":["cat","dog"],"normalize":true,"truncate":true}', HUB) == (200, vectors)


def test_huggingface_hub_zero_shot(server, client):
    image = picture(3)
    body = json.dumps({"inputs": b64(image), "parameters": {"candidate_labels": CAT_DOG, "hypothesis_template": "this is {}"}}).encode()
    ours = client.post("/v1/classify", json={"image": b64(image), "labels": CAT_DOG, "templates": ["this is {}"]}).json()
    expected = [{"score": one["score"], "label": one["label"]} for one in ours["data"][0]["predictions"]]
    assert recorded(server, "/hf", body, HUB) == (200, expected)
    uri = json.dumps({"inputs": {"image": data_uri(image)}, "parameters": {"candidate_labels": CAT_DOG, "hypothesis_template": "this is {}"}})
    assert recorded(server, "/", uri.encode(), HUB) == (200, expected)


def test_huggingface_hub_similarity(server, client):
    body = b'{"inputs":{"source_sentence":"cat","sentences":["dog","cat"]},"parameters":{}}'
    status, values = recorded(server, "/hf", body, HUB)
    assert status == 200
    cat, dog = own(client, ["cat", "dog"])
    assert values == pytest.approx([sum(a * b for a, b in zip(cat, dog)), 1], abs=1e-6)
    assert recorded(server, "/similarity", body, HUB) == (200, values)


def test_llama_index_tei(server, client):
    body = b'{"inputs":["cat","dog"],"truncate":true}'
    assert recorded(server, "/embed", body, "python-httpx/0.28.1") == (200, own(client, ["cat", "dog"]))


def test_pictures_have_the_same_vector_in_every_dialect(client):
    uri = data_uri(picture(5))
    assert client.post("/embed", json={"inputs": [uri]}).json() == own(client, [uri])


LITELLM = "litellm/1.110.2"
COHERE = b'{"model": "pictograms", "query": "cat", "top_n": 2, "documents": ["dog", "cat"], "return_documents": true}'
TEI = b'{"raw_scores": false, "truncation_direction": "Right", "query": "cat", "top_n": 2, "texts": ["dog", "cat"], "return_text": true}'


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_litellm_rerank(server, path):
    status, answer = recorded(server, path, COHERE, LITELLM)
    assert status == 200
    assert [one["index"] for one in answer["results"]] == [1, 0]
    assert [one["document"] for one in answer["results"]] == [{"text": "cat"}, {"text": "dog"}]
    assert answer["results"][0]["relevance_score"] == pytest.approx(1, abs=1e-6)
    assert answer["usage"]["total_tokens"] > 0


def test_litellm_rerank_for_tei(server):
    status, answer = recorded(server, "/rerank", TEI, LITELLM)
    assert status == 200
    assert [(one["index"], one["text"]) for one in answer] == [(1, "cat"), (0, "dog")]
    assert answer[0]["score"] > answer[1]["score"]


def test_pictures_are_ordered_for_a_text_and_for_a_picture(client):
    pictures = [picture(seed) for seed in (1, 2, 3)]
    body = {"query": {"image": b64(pictures[1])}, "documents": [{"image": b64(one)} for one in pictures], "top_n": 1}
    answer = client.post("/v1/rerank", json=body).json()
    assert [one["index"] for one in answer["results"]] == [1]
    vectors = own(client, ["cat"] + [{"image": b64(one)} for one in pictures])
    cosines = [sum(a * b for a, b in zip(vectors[0], vector)) for vector in vectors[1:]]
    answer = client.post("/v1/rerank", json={"query": "cat", "documents": body["documents"]}).json()
    assert [one["index"] for one in answer["results"]] == sorted(range(3), key=lambda i: -cosines[i])
    assert [one["relevance_score"] for one in answer["results"]] == pytest.approx(sorted(cosines, reverse=True), abs=1e-6)


def test_info_and_ping(client):
    info = client.get("/info").json()
    model = client.get("/v1/models").json()["data"][0]
    assert (info["model_id"], info["model_sha"], info["max_input_length"]) == (model["id"], model["fingerprint"], model["text"]["length"])
    assert client.get("/ping").json() == {"status": "ok"}


# ---- errors


def test_errors_are_in_the_form_of_the_dialect(client):
    wrong = client.post("/embed", json={"inputs": "cat", "normalize": False})
    assert wrong.status_code == 422
    assert wrong.json() == {"error": "normalize is false; accepted: true, because embeddings are unit vectors", "error_type": "validation"}
    assert client.post("/v1/rerank", json={"query": "a", "documents": []}).json()["error"]["param"] == "documents"
    peers = client.post("/v2/rerank", json={"query": "a", "documents": []})
    assert peers.status_code == 422 and peers.json()["message"] == peers.json()["error"]


def test_errors_before_the_route_are_too(start, tmp_path):
    keys = key_file(tmp_path / "keys", "user-key-0123456789")
    server = start("--api-keys-file", keys, "--max-body-bytes", 1000)
    with server.client(headers={"Authorization": "Bearer user-key-0123456789"}) as client:
        answers = {
            401: client.post("/hf", json={"inputs": "a"}, headers={"Authorization": "Bearer wrong-key-0123456789"}),
            404: client.post("/hf/nobody", json={"inputs": "a"}),
            405: client.put("/hf/a"),
            413: client.post("/embed", json={"inputs": "a" * 2000}),
            415: client.post("/embed", content=b"a", headers={"Content-Type": "text/csv"}),
        }
        for status, answer in answers.items():
            assert answer.status_code == status
            assert isinstance(answer.json()["error"], str) and answer.json()["error_type"] == "validation"
        assert client.get("/ping", headers={"Authorization": ""}).status_code == 200


def test_a_server_that_is_full_says_so_in_the_dialect(start):
    """Eight large requests at once, where one item may wait."""
    running = start("--queue-items", 1, "--threads", 1)
    body = {"inputs": [f"a text of some length, number {i}" for i in range(2048)]}

    def send(_):
        with running.client() as client:
            return client.post("/embed", json=body)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    full = [answer for answer in answers if answer.status_code != 200]
    assert full and len(full) < 8
    for answer in full:
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error_type"] == "overloaded" and "as much to do" in answer.json()["error"]


def test_dialects_that_are_off_are_not_there(start):
    with start("--dialects", "rerank").client() as client:
        assert client.post("/rerank", json={"query": "a", "texts": ["b"]}).status_code == 200
        for path in ("/hf", "/embed"):
            answer = client.post(path, json={"inputs": "a"})
            assert answer.status_code == 404 and answer.json()["error"]["code"] == "unknown_path"
        answer = client.post("/", json={"inputs": "a"})  # the page's path
        assert answer.status_code == 405 and answer.headers["Allow"] == "GET, HEAD"
    with start("--dialects", "none").client() as client:
        assert client.post("/rerank", json={"query": "a", "texts": ["b"]}).status_code == 404
        assert client.post("/v1/rerank", json={"query": "a", "documents": ["b"]}).status_code == 200


def test_routes_are_counted_by_template(server, client):
    client.post("/hf/pictograms", json={"inputs": "a"})
    client.post("/hf/something-else", json={"inputs": "a"})
    text = client.get("/metrics").text
    assert 'route="/hf/{model}"' in text and "something-else" not in text
