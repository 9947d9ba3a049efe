"""Protects the HTTP front: routes, methods, media types, limits, headers, connections. Every status of the contract
that the front itself gives is produced here and its error object checked."""

import json
import re
import socket
import threading
import time

import pytest

from conftest import SANITIZED, b64, data_uri, picture, wait_until

ROUTES = ["/v1/classify", "/v1/embeddings", "/v1/routing", "/v1/ask", "/v1/chat/completions", "/v1/classifiers", "/v1/classifiers/{name}", "/v1/models"]
ROUTES += ["/v1/vocabularies", "/v1/vocabularies/{name}"]
ROUTES += ["/v1/models/{id}", "/v1/models/reload", "/v1/rerank", "/v1/loadtests", "/v1/loadtests/{id}", "/health", "/livez", "/readyz"]
ROUTES += ["/metrics", "/openapi.json"]


def assert_error(response, status, code=None, param=None, contains=None):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    if code:
        assert error["code"] == code
    if param:
        assert error["param"] == param
    if contains:
        assert contains in error["message"]
    return error


def embeddings(client, inputs, **more):
    response = client.post("/v1/embeddings", json={"input": inputs, **more})
    assert response.status_code == 200, response.text
    return [item["embedding"] for item in response.json()["data"]]


# ---- routes and methods


def test_an_unknown_path_names_the_nearest_there_is(client):
    for path in ["/v", "/v1", "/v1/embeddings/x", "/healthz", "/v1/model/"]:
        error = assert_error(client.get(path), 404, "unknown_path")
        assert sum(route in error["message"] for route in ROUTES) >= 1 and "the nearest is" in error["message"]


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/embeddings", "/v1/routing"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_post_routes_take_only_post(client, path, method):
    response = client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    if method != "HEAD":
        assert_error(response, 405, "method_not_allowed", contains="POST")


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_get_routes_take_get_and_head(client, path, method):
    response = client.request(method, path, content=b"x" * 1000)
    assert_error(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/pictograms", "/health", "/metrics"])
def test_head_is_get_without_the_body(client, path):
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":  # its length changes with its numbers
        assert head.headers["content-length"] == str(len(got.content))


def test_models(client):
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list" and len(listed["data"]) == 1
    model = listed["data"][0]
    assert model == client.get("/v1/models/" + model["id"]).json()
    assert model["object"] == "model"
    assert model["parameters"]["active"] < model["parameters"]["total"]
    assert model["dtype"] in ("float32", "bfloat16") and model["threads"] >= 1 and model["ranks"] == 1
    assert_error(client.get("/v1/models/other"), 404, "model_not_found", contains=model["id"])


def test_health(client):
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


# ---- media types and bodies


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/embeddings", "/v1/routing"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
def test_a_media_type_that_no_one_reads(client, path, kind):
    response = client.post(path, content=b'{"input":"x"}', headers={"Content-Type": kind})
    assert_error(response, 415, contains="application/json")


def test_json_routes_do_not_take_pictures(client):
    for path in ["/v1/embeddings", "/v1/routing"]:
        assert_error(client.post(path, content=picture(), headers={"Content-Type": "image/png"}), 415)


def test_a_compressed_body_is_refused(client):
    response = client.post(
        "/v1/embeddings", content=b"\x1f\x8b", headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert_error(response, 415, "unsupported_content_encoding", contains="gzip")


def test_the_same_body_as_content_length_or_chunked(client):
    body = json.dumps({"input": ["chunked", "body"]}).encode()
    whole = client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})

    def pieces():
        for i in range(0, len(body), 3):
            yield body[i : i + 3]

    chunked = client.post("/v1/embeddings", content=pieces(), headers={"Content-Type": "application/json"})
    assert whole.status_code == chunked.status_code == 200
    assert whole.json() == chunked.json()


def test_body_limit(start):
    limit = 10000
    running = start("--max-body-bytes", limit)
    headers = {"Content-Type": "application/json"}

    def padded(size):
        body = b'{"input":"x"}'
        return body + b" " * (size - len(body))

    def pieces(size):
        body = padded(size)
        for i in range(0, size, 1000):
            yield body[i : i + 1000]

    with running.client() as client:
        assert client.post("/v1/embeddings", content=padded(limit), headers=headers).status_code == 200
        assert client.post("/v1/embeddings", content=pieces(limit), headers=headers).status_code == 200
        for body in [padded(limit + 1), pieces(limit + 1), pieces(2 * limit)]:
            response = client.post("/v1/embeddings", content=body, headers=headers)
            assert_error(response, 413, "body_too_large", contains=str(limit))
        assert client.post("/v1/embeddings", content=padded(100), headers=headers).status_code == 200

    # Announced: refused before a byte of it is sent.
    with running.connect() as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000000000000\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")

    # Endless and unannounced: read for a while, then cut off.
    with running.connect() as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(10000):
                connection.sendall(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
    assert running.metric("limoe_queue_bytes") == 0


def test_expect_100_continue(server):
    body = json.dumps({"input": "hello"}).encode()
    request = (
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n"
    )
    with server.connect() as connection:
        connection.sendall(request % (b"application/json", len(body)))
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    with server.connect() as connection:  # a refusal comes instead of the 100
        connection.sendall(request % (b"text/plain", len(body)))
        assert connection.recv(4096).startswith(b"HTTP/1.1 415 ")


# ---- headers


def test_request_id(client):
    assert client.get("/health", headers={"X-Request-Id": "abc-123_x.y:z"}).headers["x-request-id"] == "abc-123_x.y:z"
    made = [client.get("/health").headers["x-request-id"] for _ in range(3)]
    assert len(set(made)) == 3 and all(re.fullmatch("[0-9a-f]{32}", one) for one in made)
    for bad in ["a b", 'x"y', "<script>", "a" * 129, "\u00e9".encode(), b"a\tb"]:
        assert re.fullmatch("[0-9a-f]{32}", client.get("/health", headers={"X-Request-Id": bad}).headers["x-request-id"])


def test_timing_headers(client):
    text = "one that no other test sends: a cached answer takes no inference"
    response = client.post("/v1/embeddings", json={"input": text}, headers={"X-Request-Id": "timed"})
    assert response.headers["x-request-id"] == "timed"
    queue, inference, total = (float(response.headers[f"x-{name}-ms"]) for name in ("queue", "inference", "total"))
    assert queue >= 0 and inference > 0
    assert queue + inference <= total
    refused = client.post("/v1/embeddings", json={})
    assert refused.status_code == 400 and refused.headers["x-inference-ms"] == "0.000"


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "soon", "", "99999999999999999999", "1e3"])
def test_a_deadline_that_is_none(client, value):
    response = client.post("/v1/embeddings", json={"input": "x"}, headers={"X-Request-Timeout-Ms": value})
    assert_error(response, 400, "invalid_header", "X-Request-Timeout-Ms")


def test_a_deadline_that_is_kept(client):
    response = client.post("/v1/embeddings", json={"input": "x"}, headers={"X-Request-Timeout-Ms": "60000"})
    assert response.status_code == 200


def test_a_deadline_that_passes_before_computing(server):
    """The headers come, the deadline passes, then the body."""
    body = json.dumps({"input": "x"}).encode()
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"X-Request-Timeout-Ms: 20\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        time.sleep(0.1)
        connection.sendall(body)
        answer = connection.recv(8192)
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["code"] == "deadline_exceeded"


def test_a_deadline_that_passes_in_the_queue(start):
    """Behind a request that keeps the engine busy for much longer than the deadline."""
    running = start("--step-tokens", 1048576, "--threads", 1)
    long = {"input": [{"image": b64(picture(i))} for i in range(40 if SANITIZED else 1000)], "encoding_format": "base64"}

    def round_of_statuses() -> list[int]:
        outcome, statuses = {}, []

        def send_long():
            with running.client() as client:
                outcome["long"] = client.post("/v1/embeddings", json=long)

        thread = threading.Thread(target=send_long)
        thread.start()
        wait_until(lambda: running.metric("limoe_queue_depth_tokens") > 0)
        with running.client() as client:
            while thread.is_alive():
                response = client.post("/v1/embeddings", json={"input": "x"}, headers={"X-Request-Timeout-Ms": "5"})
                statuses.append(response.status_code)
                if response.status_code == 504:
                    assert_error(response, 504, "deadline_exceeded")
                    assert response.headers["x-inference-ms"] == "0.000"
        thread.join()
        assert outcome["long"].status_code == 200
        assert set(statuses) <= {200, 504}
        return statuses

    # A short request that arrives just before the long one's step may share it, and is then answered in time.
    assert any(504 in round_of_statuses() for _ in range(20))


# ---- admission


def test_a_full_queue_refuses_with_retry_after(start):
    running = start("--queue-items", 1, "--threads", 1)
    big = {"input": ["a text of some length, number %d" % i for i in range(2048)], "encoding_format": "base64"}
    statuses, retry = [], []

    def send():
        with running.client() as client:
            response = client.post("/v1/embeddings", json=big)
            statuses.append(response.status_code)
            if response.status_code == 429:
                assert_error(response, 429, "queue_full")
                retry.append(int(response.headers["retry-after"]))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 429}
    assert all(1 <= seconds <= 3600 for seconds in retry)
    with running.client() as client:
        assert client.get("/health").status_code == 200
        assert embeddings(client, ["after"])
    assert running.metric("limoe_queue_depth") == 0


def test_bodies_are_bounded_together(start):
    """Uploads that would fill the memory are refused while they come in, and give back what they held."""
    running = start("--queue-bytes", 100000, "--max-body-bytes", 1000000)
    connections = []
    for _ in range(5):
        connection = running.connect()
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 90000\r\n\r\n" + b" " * 60000
        )
        connections.append(connection)
    wait_until(lambda: running.metric("limoe_queue_bytes") >= 50000)  # from half on, there is room for small ones alone
    for connection in connections:
        connection.sendall(b" " * 30000)
    answers = [connection.recv(65536) for connection in connections]
    assert any(answer.startswith(b"HTTP/1.1 429 ") for answer in answers)
    assert all(answer.startswith((b"HTTP/1.1 429 ", b"HTTP/1.1 400 ")) for answer in answers)
    for connection in connections:
        connection.close()
    wait_until(lambda: running.metric("limoe_queue_bytes") == 0)
    with running.client() as client:
        assert embeddings(client, ["after"])


# ---- connections


def test_keep_alive(server):
    """Many requests, refused ones too, on one connection."""
    with server.client() as client:
        client.get("/health")
        before = server.metric("limoe_connections")
        for i in range(20):
            assert client.post("/v1/embeddings", json={"input": f"text {i}"}).status_code == 200
            assert client.post("/v1/embeddings", json={}).status_code == 400
            assert client.post("/v1/embeddings", content=b"x" * 5000).status_code == 415
            assert client.post("/nothing", content=b"x" * 5000).status_code == 404
        assert server.metric("limoe_connections") == before


def test_pipelined_requests_are_answered_in_order(server):
    request = b"GET /v1/models/%d HTTP/1.1\r\nHost: x\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(b"".join(request % i for i in range(10)))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert re.findall(rb'no model \\"(\d+)\\"', answer) == [b"%d" % i for i in range(10)]
    assert answer.endswith(b'{"status":"ok"}\n')


def send_and_leave(server, request, linger):
    connection = server.connect()
    connection.sendall(request)
    if linger:  # a reset instead of an orderly end
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def test_clients_that_leave_take_nothing_with_them(start):
    server = start("--idle-timeout", 2)
    body = json.dumps({"input": [{"image": data_uri(picture(3))}, "text"] * 40}).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    whole = head % len(body) + body
    gone = server.metric("limoe_client_disconnects_total")
    for i in range(60):
        cut = [len(whole), len(whole) // 2, 60, 10, 0][i % 5]
        send_and_leave(server, whole[:cut], i % 2)
    wait_until(lambda: server.metric("limoe_requests_in_flight") == 1)  # the scrape itself
    wait_until(lambda: server.metric("limoe_connections") <= 2)
    assert server.metric("limoe_queue_depth") == 0
    assert server.metric("limoe_queue_depth_tokens") == 0
    assert server.metric("limoe_queue_bytes") == 0
    assert server.metric("limoe_client_disconnects_total") >= gone + 6  # those cut in the body without a reset


def test_broken_requests_do_not_disturb(server):
    for junk in [
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x00\x01\x02\x03" * 100 + b"\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 50000 + b"\r\n",
    ]:
        with server.connect() as connection:
            connection.settimeout(5)
            try:
                connection.sendall(junk)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:  # reset, or silent until the timeout
                pass
        with server.client() as client:
            assert client.get("/health").status_code == 200


def test_idle_connections_are_closed(start):
    running = start("--idle-timeout", 1)
    with running.connect() as connection:
        connection.settimeout(10)
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n")
        while connection.recv(4096):
            pass


def test_more_connections_than_allowed_wait(start):
    running = start("--connections", 4, "--idle-timeout", 2)
    idle = [running.connect() for _ in range(4)]
    with running.client() as client:
        assert client.get("/health").status_code == 200  # once the idle ones have been closed
    for connection in idle:
        connection.close()
