"""Clients that trickle, that do not read, that leave, that are too many: what they hold is let go."""

import concurrent.futures
import json
import os
import signal
import socket
import threading
import time

import httpx
from conftest import data_uri, picture, wait_until

HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"


def trickle(connection, data, seconds=60):
    """Sends a byte at a time, faster than any silence timeout, until the server ends the connection. What it said."""
    said, deadline = b"", time.monotonic() + seconds
    connection.settimeout(0.1)
    for i in range(len(data)):
        assert time.monotonic() < deadline, "the server goes on listening"
        try:
            connection.sendall(data[i : i + 1])
            piece = connection.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            return said
        if not piece:
            return said
        said += piece
    raise AssertionError("the server listened to the end")


def test_a_head_that_trickles_is_cut_off(start):
    server = start("--idle-timeout", 1)
    with server.connect() as connection:
        trickle(connection, HEAD % 10 + b"X-Padding: " + b"a" * 5000)
    assert server.metric("limoe_slow_clients_total") == 1
    with server.connect() as connection:  # the same after an answer
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        trickle(connection, HEAD % 10 + b"X-Padding: " + b"a" * 5000)
    assert server.metric("limoe_slow_clients_total") == 2


def test_a_body_that_trickles_is_told_so(start):
    server = start("--receive-timeout", 1)
    with server.connect() as connection:
        connection.sendall(HEAD % 5000 + b"\r\n")
        said = trickle(connection, b" " * 5000)
    assert said.startswith(b"HTTP/1.1 408 ")
    head, body = said.split(b"\r\n\r\n")
    assert json.loads(body)["error"]["code"] == "request_timeout"
    assert b"Content-Length: %d\r\n" % len(body) in head
    wait_until(lambda: server.metric("limoe_requests_in_flight") == 1)
    assert server.metric("limoe_slow_clients_total") == 1
    assert server.metric("limoe_queue_bytes") == 0


def test_a_chunked_body_that_trickles(start):
    server = start("--receive-timeout", 1)
    with server.connect() as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert trickle(connection, b"1\r\n \r\n" * 1000).startswith(b"HTTP/1.1 408 ")


def test_a_body_as_slow_as_it_may_be_is_answered(start):
    server = start("--receive-timeout", 60, "--idle-timeout", 2)
    body = json.dumps({"input": "a cat"}).encode()
    with server.connect() as connection:
        connection.sendall(HEAD % len(body) + b"\r\n")
        for i in range(len(body)):  # longer in all than the time for a head, which it has no part in
            connection.sendall(body[i : i + 1])
            time.sleep(0.2)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    assert server.metric("limoe_slow_clients_total") == 0


def test_who_does_not_read_is_let_go(start):
    """The answer is larger than the sockets' buffers, and its reader reads nothing."""
    server = start("--idle-timeout", 1)
    body = json.dumps({"input": ["a cat"] * 2048}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(HEAD % len(body) + b"\r\n" + body)
    wait_until(lambda: server.metric("limoe_requests_in_flight") == 2)
    wait_until(lambda: server.metric("limoe_requests_in_flight") == 1, 60)
    assert server.metric("limoe_queue_bytes") == 0
    assert server.metric("limoe_slow_clients_total") == 1
    connection.close()


def test_a_client_that_waits_for_us_is_not_slow(start):
    """The limits are on the client's part of a request, however long ours takes."""
    server = start("--idle-timeout", 1, "--receive-timeout", 1)
    with server.client() as client:
        for number in (100, 400, 650):  # until it takes us longer than it may take a client
            body = {"input": [{"image": data_uri(picture(3, (900, 900)))}] * number}
            began = time.monotonic()
            assert client.post("/v1/embeddings", json=body).status_code == 200
            if time.monotonic() - began > 3:
                break
    assert server.metric("limoe_slow_clients_total") == 0


def test_an_address_has_so_many_connections(start):
    server = start("--connections-per-address", 4)
    held = [server.connect() for _ in range(4)]
    for connection in held:  # each is accepted, not only in the backlog
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    with server.connect() as fifth:
        try:
            fifth.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert fifth.recv(4096) == b""
        except ConnectionResetError:
            pass
    held.pop().close()

    def admitted():
        try:
            return httpx.get(server.url + "/health").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(admitted)
    for connection in held:
        connection.close()


def test_heads_that_are_too_large(server):
    for head, status in [
        (b"GET /v1/models?q=" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 30_000 + b"\r\n", b"431"),
    ]:
        with server.connect() as connection:
            connection.sendall(head)
            assert connection.recv(12)[9:] == status


def test_idle_connections_hold_next_to_nothing(start):
    number = 1000
    server = start("--idle-timeout", 600)
    with server.client() as client:
        assert client.post("/v1/embeddings", json={"input": "a cat"}).status_code == 200
        before = server.resident_bytes()
        idle = [server.connect() for _ in range(number)]
        for connection in idle:
            connection.sendall(b"GET /hea")
        wait_until(lambda: server.metric("limoe_connections") > number)
        grown = server.resident_bytes() - before
        assert client.post("/v1/embeddings", json={"input": "a cat"}).status_code == 200
    assert grown < number * 16 * 1024, f"{grown / number:.0f} bytes a connection"
    for connection in idle:
        connection.close()
    wait_until(lambda: server.metric("limoe_connections") <= 2)


def test_waiting_work_of_those_who_leave_is_dropped(start):
    """The engine stands still; those behind the one that it has hang up, and are not computed."""
    server = start("--step-timeout", 600, "--step-tokens", 64)
    engine = server.children("engine")[0]
    os.kill(engine, signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(httpx.post, server.url + "/v1/embeddings", json={"input": "a cat"}, timeout=120)
            wait_until(lambda: server.metric("limoe_requests_in_flight") > 1)  # who asks is one of them
            leaving = [server.connect() for _ in range(20)]
            body = json.dumps({"input": [f"text number {i}" for i in range(1000)]}).encode()
            for connection in leaving:
                connection.sendall(HEAD % len(body) + b"\r\n" + body)
            wait_until(lambda: server.metric("limoe_requests_in_flight") > 1 + len(leaving))
            for connection in leaving:
                connection.close()
            # All but those of which the engine has a part already.
            wait_until(lambda: server.metric("limoe_requests_in_flight") < len(leaving) / 2)
            os.kill(engine, signal.SIGCONT)
            assert first.result().status_code == 200
    finally:
        os.kill(engine, signal.SIGCONT)
    wait_until(lambda: server.metric("limoe_requests_in_flight") == 1)
    assert server.metric("limoe_requests_cancelled_total") == len(leaving)
    assert server.metric("limoe_step_items_sum") < 1000  # of 20,001
    assert server.metric("limoe_queue_depth") == 0
    assert server.metric("limoe_queue_bytes") == 0
