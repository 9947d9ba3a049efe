"""A peer that does nothing holds nothing: neither memory nor places that others need. And what a request makes the front
take is charged to it.

Time limits are short, by options. They are set by environment variables where a test is to say something of a program that
does not know the option.
"""

import contextlib
import json
import socket
import threading
import time

import httpx
import pytest
from conftest import SANITIZED, Memory, picture, wait_until
from test_tls import make_certificate, unchecked

KIB, MIB = 2**10, 2**20
BOUNDARY = "x"
PART = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
# 2,000 embeddings: an answer of some 3 MiB, of which a client with a small buffer lets the sockets take little.
LARGE = json.dumps({"input": [f"text {i % 50}" for i in range(2000)]}).encode()


def head(length, path="/v1/embeddings", kind="application/json"):
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def half_sent(server, size, announced):
    """A connection whose body is announced, and comes in part."""
    connection = server.connect()
    connection.sendall(head(announced) + b" " * size)
    return connection


def unread(server, body=LARGE, buffer=4096):
    """A connection with a request whose answer nobody reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(head(len(body)) + body)
    return connection


def ended(connection, seconds=30):
    """What came before the server ended the connection."""
    said, connection_ends = b"", time.monotonic() + seconds
    connection.settimeout(0.5)
    while time.monotonic() < connection_ends:
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return said
        if not piece:
            return said
        said += piece
    raise AssertionError(f"the connection stays open; it said {said[:200]}")


def statuses(server, number=20):
    with server.client() as client:
        return {client.post("/v1/embeddings", json={"input": f"a small one {i}"}).status_code for i in range(number)}


@contextlib.contextmanager
def closing(connections):
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


# ---- bodies


def test_w4_half_sent_bodies_leave_room_for_small_requests(start):
    server = start("--queue-bytes", "8MiB", "--max-body-bytes", "2MiB")
    with closing([half_sent(server, MIB + 64 * KIB, 2 * MIB) for _ in range(12)]):
        wait_until(lambda: server.metric("limoe_queue_bytes") > 3 * MIB)
        assert statuses(server) == {200}
        assert server.metric("limoe_queue_bytes") < 7 * MIB


def test_w4_a_body_is_held_as_it_comes(start):
    """Not as it is announced, nor twice what has come."""
    server = start()
    with closing([half_sent(server, 9 * MIB, 30 * MIB)]):
        wait_until(lambda: server.metric("limoe_queue_bytes") >= 9 * MIB)
        assert server.metric("limoe_queue_bytes") <= 10 * MIB + 64 * KIB


def test_w4_a_body_that_stops_coming_is_cut_off(start):
    """However much of it has come before."""
    server = start(env={"LIMOE_STALL_TIMEOUT": "1"})
    with closing([half_sent(server, 4 * MIB, 8 * MIB)]) as connections:
        said = ended(connections[0])
    assert said.startswith(b"HTTP/1.1 408 ")
    assert "too slowly" in json.loads(said.split(b"\r\n\r\n")[1])["error"]["message"]
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)
    assert server.metric("limoe_slow_clients_total") == 1


def test_w4_a_body_that_stops_coming_is_cut_off_over_tls(start, tmp_path, monkeypatch):
    certificate, key = make_certificate(tmp_path, "one")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = start("--tls-certificate", certificate, "--tls-key", key, env={"LIMOE_STALL_TIMEOUT": "1"})
    with server.connect() as plain, unchecked().wrap_socket(plain) as connection:
        connection.sendall(head(MIB) + b" " * 100 * KIB)
        assert ended(connection) == b""
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


def test_w4_a_body_of_many_small_pieces_is_not_for_ever(start):
    """A byte now and then is not the least rate, which is meant for the whole and not for a moment."""
    server = start(env={"LIMOE_STALL_TIMEOUT": "2"})
    with closing([half_sent(server, 1000, MIB)]) as connections:
        connections[0].settimeout(0.1)
        deadline = time.monotonic() + 30
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                connections[0].sendall(b" " * 100)
                with contextlib.suppress(TimeoutError):
                    if connections[0].recv(4096):
                        break
        assert time.monotonic() < deadline, "the server goes on listening"


def test_a_slow_phone_is_served(start):
    """20 KiB/s with pauses, for longer than a pause may be."""
    server = start(env={"LIMOE_STALL_TIMEOUT": "4"})
    body = json.dumps({"input": "a cat" + " " * 60_000}).encode()
    with server.connect() as connection:
        connection.sendall(head(len(body)))
        for at in range(0, len(body), 10_000):
            connection.sendall(body[at : at + 10_000])
            time.sleep(1.5 if at == 30_000 else 0.5)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert server.metric("limoe_slow_clients_total") == 0


def test_w4_pauses_are_shorter_while_memory_is_short(start):
    server = start("--queue-bytes", "8MiB", env={"LIMOE_STALL_TIMEOUT": "20"})
    with closing([half_sent(server, MIB, 2 * MIB) for _ in range(6)]):
        wait_until(lambda: server.metric("limoe_queue_bytes") >= 4 * MIB)
        began = time.monotonic()
        wait_until(lambda: server.metric("limoe_queue_bytes") < 4 * MIB, 18)
        assert time.monotonic() - began >= 3  # a quarter, and not at once
    with closing([half_sent(server, MIB, 2 * MIB)]):
        wait_until(lambda: server.metric("limoe_queue_bytes") >= MIB)
        time.sleep(8)  # with memory to spare: longer than that
        assert server.metric("limoe_queue_bytes") >= MIB


def test_a_refused_body_is_let_go_at_once(start):
    """Not when its client has sent the rest, or has gone."""
    server = start("--queue-bytes", "4MiB", "--max-body-bytes", "3MiB")
    with closing([half_sent(server, 2 * MIB + 256 * KIB, 3 * MIB)]):
        wait_until(lambda: server.metric("limoe_queue_bytes") >= 2 * MIB)
        with closing([half_sent(server, 2 * MIB, 3 * MIB)]):
            wait_until(lambda: server.metric('limoe_requests_in_flight') == 3)
            time.sleep(0.5)
            assert server.metric("limoe_queue_bytes") <= 3 * MIB + 256 * KIB


# ---- forms, and what parsing takes


def form(*parts, after=b""):
    return b"".join(PART % part for part in parts) + b"--x--\r\n" + after


@pytest.mark.skipif(SANITIZED, reason="measures memory")
def test_w5_delimiters_behind_the_end_of_a_form_cost_nothing(start):
    server = start("--queue-bytes", "32MiB", "--max-body-bytes", "9MiB")
    body = form((b"image", picture(1)), (b"labels", b"cat"), after=b"--x\r\n" * (8 * MIB // 5))
    with server.client() as client, Memory(server) as memory:
        before = server.resident_bytes()
        for _ in range(4):
            answer = client.post("/v1/classify", content=body, headers={"Content-Type": FORM_TYPE})
            assert answer.status_code == 200
            assert answer.json()["data"][0]["predictions"][0]["label"] == "cat"
    assert memory.most - before < 3 * 8 * MIB


def test_w5_parts_without_number_are_refused(server):
    body = form(*[(b"labels", b"")] * 16385)
    answer = httpx.post(server.url + "/v1/classify", content=body, headers={"Content-Type": FORM_TYPE})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "too_many_parts")


@pytest.mark.parametrize(
    "path, kind, body",
    [
        ("/v1/embeddings", "application/json", b'{"input":[' + b"0," * 65000 + b"0]}"),
        ("/v1/routing", "application/json", b'{"input":[' + b"0," * 65000 + b"0]}"),
        ("/v1/classify", "application/json", b'{"image":"","labels":[' + b"0," * 65000 + b"0]}"),
        ("/v1/classify", FORM_TYPE, form((b"image", b"x"), *[(b"labels", b"a")] * 9000, (b"templates", b"{}" + b"t" * 1000))),
    ],
)
def test_w5_what_parsing_takes_is_charged(start, path, kind, body):
    """A body that is let in may be one that grows when it is read: it is refused as a large one is."""
    server = start("--queue-bytes", "8MiB")
    alone = httpx.post(server.url + path, content=body, headers={"Content-Type": kind})
    assert alone.status_code == 400, alone.text[:200]  # read whole: it is for what it says that it is refused
    with closing([half_sent(server, 5 * MIB, 30 * MIB)]):
        wait_until(lambda: server.metric("limoe_queue_bytes") >= 5 * MIB)
        beside = httpx.post(server.url + path, content=body, headers={"Content-Type": kind})
        assert beside.status_code == 429
        assert int(beside.headers["Retry-After"]) >= 1
        assert statuses(server, 3) == {200}
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


# ---- answers


def test_w7_unread_answers_leave_room_for_small_requests(start):
    server = start("--queue-bytes", "32MiB")
    with closing([unread(server) for _ in range(20)]):
        wait_until(lambda: server.metric("limoe_queue_depth") == 0 and server.metric("limoe_queue_bytes") > 4 * MIB)
        assert statuses(server) == {200}
        assert server.metric("limoe_queue_bytes") < 30 * MIB


def test_w7_an_answer_that_waits_holds_itself_alone(start):
    """Not the request that it answers, which has had its day."""
    server = start()
    padded = LARGE + b" " * 20 * MIB
    with closing([unread(server, padded)]):
        wait_until(lambda: server.metric("limoe_step_items_count") > 0, 60)
        wait_until(lambda: 0 < server.metric("limoe_queue_bytes") < 20 * MIB, 15)
        assert server.metric("limoe_requests_in_flight") == 2  # it waits still
        assert 2 * MIB < server.metric("limoe_queue_bytes") < 5 * MIB


@pytest.mark.parametrize("encrypted", [False, True])
def test_w7_who_reads_nothing_is_let_go_in_seconds(start, tmp_path, monkeypatch, encrypted):
    options = []
    if encrypted:
        certificate, key = make_certificate(tmp_path, "one")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        options = ["--tls-certificate", certificate, "--tls-key", key]
    server = start(*options, env={"LIMOE_STALL_TIMEOUT": "1"})
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", server.port))
    with closing([unchecked().wrap_socket(plain) if encrypted else plain]) as connections:
        connections[0].sendall(head(len(LARGE)) + LARGE)
        wait_until(lambda: server.metric("limoe_step_items_count") > 0, 60)
        wait_until(lambda: server.metric("limoe_requests_in_flight") == 1, 30)
    assert server.metric("limoe_slow_clients_total") == 1
    assert server.metric("limoe_queue_bytes") == 0


def test_a_slow_reader_gets_all_of_its_answer(start):
    """For longer than it may stand still."""
    server = start(env={"LIMOE_STALL_TIMEOUT": "2"})
    connection, got = unread(server, buffer=32 * KIB), b""
    began = time.monotonic()
    while b"\r\n\r\n" not in got or len(got) < length:
        piece = connection.recv(64 * KIB)
        assert piece, f"cut off after {len(got)} bytes"
        got += piece
        if b"\r\n\r\n" in got:
            length = got.index(b"\r\n\r\n") + 4 + int(got.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        time.sleep(0.15 if time.monotonic() - began < 8 else 0)
    assert len(json.loads(got.split(b"\r\n\r\n", 1)[1])["data"]) == 2000
    connection.close()
    assert time.monotonic() - began > 4
    assert server.metric("limoe_slow_clients_total") == 0


# ---- connections


def test_w7_one_address_has_half_of_the_connections(start):
    server = start("--connections", 200)

    def is_served(connection):
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        return False

    with closing([server.connect() for _ in range(120)]) as connections:
        assert sum(map(is_served, connections)) == 100
        with socket.create_connection(("127.0.0.1", server.port), 30, ("127.0.0.2", 0)) as other:
            assert is_served(other)


# ---- the bound on memory


@pytest.mark.skipif(SANITIZED, reason="measures memory")
def test_the_front_stays_within_its_bound(start):
    """Attacks of all these kinds at once: the others are answered, and the front has what docs/operations.md says."""
    queue_bytes, body_bytes, cache_bytes = 32 * MIB, 8 * MIB, 4 * MIB
    server = start("--queue-bytes", queue_bytes, "--max-body-bytes", body_bytes, "--cache-bytes", cache_bytes, "--workers", 2)
    assert statuses(server, 3) == {200}
    stopped = threading.Event()
    delimiters = form((b"image", picture(1)), (b"labels", b"cat"), after=b"--x\r\n" * (6 * MIB // 5))
    values = b'{"input":[' + b"0," * 65000 + b"0]}"

    def repeat(act):
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                act()

    def hold(connection):
        with connection:
            stopped.wait(1.5)

    def send(body, path, kind):
        with server.connect() as connection:
            connection.sendall(head(len(body), path, kind) + body)
            connection.recv(4096)

    acts = [lambda: hold(half_sent(server, 5 * MIB, body_bytes))] * 5 + [lambda: hold(unread(server))] * 6
    acts += [lambda: send(delimiters, "/v1/classify", FORM_TYPE), lambda: send(values, "/v1/embeddings", "application/json")]
    threads = [threading.Thread(target=repeat, args=[act]) for act in acts]
    with Memory(server) as memory:
        for thread in threads:
            thread.start()
        until, answers = time.monotonic() + 6, set()
        while time.monotonic() < until:
            answers |= statuses(server, 5)
        stopped.set()
        for thread in threads:
            thread.join()
    assert answers == {200}
    one_request = 3 * body_bytes + 5.5 * MIB
    assert memory.most <= 64 * MIB + cache_bytes + 1.25 * queue_bytes + one_request + len(acts) * 64 * KIB
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


# ---- labels of forms


def test_f18_labels_are_divided_as_on_the_command_line(server):
    """An answer depends on the labels, whichever way they came."""
    image = picture(3)
    with server.client() as client:
        truth = client.post("/v1/classify", files=[("image", image), ("labels", (None, "cat")), ("labels", (None, "dog"))])
        divided = client.post("/v1/classify", files=[("image", image), ("labels", (None, "cat, dog"))])
        headers = {"Content-Type": "image/png"}
        query = client.post("/v1/classify?labels=cat,dog", content=image, headers=headers)
        array = client.post('/v1/classify?labels=["cat,dog"]', content=image, headers=headers)
        file = client.post("/v1/classify", files=[("file", image), ("labels", (None, "cat"))])
    assert truth.status_code == 200
    assert divided.content == query.content == truth.content
    assert [one["label"] for one in array.json()["data"][0]["predictions"]] == ["cat,dog"]
    assert file.status_code == 400 and 'it is called "image"' in file.json()["error"]["message"]
