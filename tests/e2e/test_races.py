"""Everything a server does at once, in a small number of requests: what ThreadSanitizer, in whose build scripts/test runs
this, would find. Here and there every answer must have the bytes that it has alone.

Bounded by counts: so many clients, so many rounds, whatever the scheduler makes of them.
"""

import concurrent.futures
import os
import signal
import socket
import threading

import httpx
from conftest import b64, data_uri, picture, wait_until

CLIENTS, ROUNDS, RELOADS, PAGES = 6, 4, 3, 12
PETS = {"labels": ["cat", "dog"], "templates": ["a {}"]}


def asks(client):
    """One of each kind of request whose answer depends on itself alone."""
    png = picture(3)
    image = {"Content-Type": "image/png"}
    form = {"image": ("x.png", png, "image/png")}
    yield client.post("/v1/embeddings", json={"input": ["a cat", "猫", {"image": b64(png)}]})
    yield client.post("/v1/classify", json={"image": data_uri(png), "labels": ["cat", "dog"]})
    yield client.post("/v1/classify", files=form, data={"labels": ["cat", "dog"], "templates": ["a {}"]})
    yield client.post("/v1/classify?classifier=pets", content=png, headers=image)
    yield client.post("/v1/routing", json={"input": [{"text": "x"}]})
    lines = "".join(f'{{"input":["line {i}","a cat"]}}\n' for i in range(20))
    yield client.post("/v1/embeddings", content=lines, headers={"Content-Type": "application/x-ndjson"})
    yield client.post("/v1/embeddings", json={"input": []})  # 400
    yield client.post("/v1/classify?labels=cat", content=png[:200], headers=image)  # 400: cut short
    yield client.get("/v1/none")  # 404


def answers(server):
    with server.client() as client:
        return [(response.status_code, response.content) for response in asks(client)]


def keep_classifiers(server, name):
    """The life of a classifier of its own."""
    with server.client() as client:
        path = f"/v1/classifiers/{name}"
        for call in range(ROUNDS):
            assert client.put(path, json={**PETS, "labels": [name, str(call)]}).status_code == 200
            assert client.get("/v1/classifiers").status_code == 200
            assert client.get(path).json()["labels"] == [name, str(call)]
            assert client.delete(path).status_code == 200


def leave(server):
    """Clients that go away: in a head, in a body, before the answer."""
    body = b'{"input": ["' + b"never read " * 50 + b'"]}'
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    request = head % len(body) + body
    for part in [20, len(request) - 100, len(request)] * ROUNDS:
        with server.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset at once
            connection.sendall(request[:part])


def hurry(server):
    """Deadlines that pass at one place or another of the way."""
    with server.client() as client:
        for milliseconds in [1, 20, 150, 300] * 2:
            content = {"input": [{"image": b64(picture(seed))} for seed in range(10)]}
            response = client.post("/v1/embeddings", json=content, headers={"X-Request-Timeout-Ms": str(milliseconds)})
            assert response.status_code in (200, 504), response.text


def scrape(server):
    with server.client() as client:
        for path in ["/metrics", "/health", "/v1/models", "/v1/models/pictograms/load"] * PAGES:
            assert client.get(path).status_code == 200


def reload(server):
    for n in range(1, RELOADS + 1):
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.metric('limoe_model_reloads_total{result="ok"}') == n, 120)


def lose_children(server):
    """An engine and a decoder, killed under load."""
    for kind in ("decoder", "engine"):
        os.kill(server.children(kind)[0], signal.SIGKILL)
        wait_until(lambda: server.metric(f"limoe_{kind}_restarts_total") == 1, 60)


def test_everything_at_once(start):
    server = start("--workers", 3, "--http-threads", 2, "--threads", 2)
    with server.client() as client:
        assert client.put("/v1/classifiers/pets", json=PETS).status_code == 200
    alone = answers(server)
    assert [status for status, _ in alone] == [200] * 6 + [400, 400, 404]

    def compare():
        for _ in range(ROUNDS):
            assert answers(server) == alone

    with concurrent.futures.ThreadPoolExecutor(CLIENTS + 6) as pool:
        jobs = [pool.submit(compare) for _ in range(CLIENTS)]
        jobs += [pool.submit(keep_classifiers, server, name) for name in ("one", "two")]
        jobs += [pool.submit(job, server) for job in (leave, hurry, scrape, lose_children)]
        for job in jobs:
            job.result(300)
        # Reloads beside the same load, once more: a lost engine and one that is being replaced are not told apart.
        jobs = [pool.submit(compare) for _ in range(CLIENTS)] + [pool.submit(scrape, server), pool.submit(reload, server)]
        for job in jobs:
            job.result(300)


def test_a_stop_amid_requests(start):
    """Each is answered or its connection is refused or closed; the server ends well."""
    server = start("--workers", 2, "--threads", 2)
    expected = answers(server)[0]
    begun = threading.Barrier(CLIENTS + 1)

    def ask():
        with server.client() as client:
            begun.wait(60)
            for _ in range(ROUNDS * 5):
                try:
                    response = client.post("/v1/embeddings", json={"input": ["a cat", "猫", {"image": b64(picture(3))}]})
                except httpx.TransportError:
                    return  # it has stopped
                assert (response.status_code, response.content) == expected or response.status_code == 503

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        jobs = [pool.submit(ask) for _ in range(CLIENTS)]
        begun.wait(60)
        assert server.terminate(120) == 0
        for job in jobs:
            job.result(120)
