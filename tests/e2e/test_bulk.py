"""Bodies of lines: each line answered as if it had come alone, in order, whatever the client does meanwhile."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import threading
import time

import pytest
from conftest import SANITIZED, Memory, data_uri, key_file, picture, wait_until

TYPE = {"Content-Type": "application/x-ndjson"}
HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n"


def send(client, path, body, **headers):
    answer = client.post(path, content=body, headers={**TYPE, **headers})
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.content.endswith(b"\n") or not answer.content
    return [json.loads(line) for line in answer.content.splitlines()]


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def line(text):
    return json.dumps({"input": text}).encode() + b"\n"


def spools(server):
    """How many files of answers the front has open."""
    n = 0
    for file in pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just been closed
            n += os.path.basename(os.readlink(file)).startswith("answers-")
    return n


def done(server):
    return server.metric('limoe_requests_total{route="/v1/embeddings",code="200"}')


def idle(server):
    """Nothing is held any more: no request but the one that asks, no memory, no file."""
    in_flight, held = server.metric("limoe_requests_in_flight"), server.metric("limoe_queue_bytes")
    return in_flight == 1 and held == 0 and spools(server) == 0


def rest(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


def codes(answers):
    return [answer.get("error", {}).get("code") for answer in answers]


def test_lines_are_answered_as_they_would_be_alone(client):
    requests = [{"input": f"a picture of {i}"} for i in range(150)] + [{"input": ["cat", {"image": data_uri(picture(3))}]}]
    alone = [client.post("/v1/embeddings", json=request).content for request in requests]
    body = "\n".join(map(json.dumps, requests))
    answer = client.post("/v1/embeddings", content=body, headers=TYPE)
    assert answer.content.splitlines(keepends=True) == alone


def test_classify_with_pictures(client):
    requests = [{"image": data_uri(picture(i)), "labels": ["cat", "dog", f"thing {i}"]} for i in range(12)]
    alone = [client.post("/v1/classify", json=request).json() for request in requests]
    assert send(client, "/v1/classify", "\r\n".join(map(json.dumps, requests)) + "\r\n\r\n \t\r\n") == alone


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n\n \t \n\n", b"  "])
def test_no_lines(client, body):
    assert send(client, "/v1/embeddings", body) == []


def test_bad_lines_are_told_of_in_their_places(client):
    good = b'{"input":"cat"}'
    lines = [good, b"{", good, b'{"inptu":"cat"}', b"\xff\xfe", b"[]", b'{"input":"a","model":"no-such-model"}', b'{"input":"a\0b"}', good]
    answers = send(client, "/v1/embeddings", b"\n".join(lines))
    assert codes(answers)[0::8] == [None, None] and codes(answers)[2] is None
    expected = [client.post("/v1/embeddings", content=text, headers={"Content-Type": "application/json"}).json() for text in lines]
    assert answers == expected


def test_ten_thousand_lines_and_the_log(start):
    server = start("--max-body-bytes", "64KiB")  # a limit of each line, not of the body
    words = [f"word {i % 50}" for i in range(10000)]
    with server.client() as client:
        answers = send(client, "/v1/embeddings", b"".join(map(line, words)), **{"X-Request-Id": "ten-thousand"})
    assert len(answers) == 10000
    first = {}
    for word, answer in zip(words, answers, strict=True):
        vector = answer["data"][0]["embedding"]
        assert first.setdefault(word, vector) == vector
    assert server.metric('limoe_requests_total{route="/v1/embeddings",code="200"}') == 10000
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)
    logged = [text for text in server.log if "ten-thousand" in text]
    assert len(logged) == 1 and "10000" in logged[0], logged


def test_a_line_that_is_too_long(start):
    server = start("--max-body-bytes", "64KiB")
    long = b'{"input":"' + b"x" * 70000 + b'"}\n'
    with server.client() as client:
        assert codes(send(client, "/v1/embeddings", line("a") + long + line("b") + long[:-1])) == [None, "line_too_long", None, "line_too_long"]


def test_a_client_that_sends_slowly_and_in_pieces(server):
    body = b"".join(line(f"piece {i}") for i in range(40))
    dice = random.Random(5)
    with server.connect() as connection:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        while body:
            n = dice.randint(1, 60)
            connection.sendall(chunk(body[:n]))
            body = body[n:]
            time.sleep(0.002)
        connection.sendall(b"0\r\n\r\n")
        said = rest(connection)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b'"embedding":') == 40


def test_a_receive_timeout_is_for_a_line(start):
    server = start("--receive-timeout", 1)
    with server.connect() as connection:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        for i in range(12):
            connection.sendall(chunk(line(f"slow {i}")))
            time.sleep(0.25)  # three seconds in all
        connection.sendall(b"0\r\n\r\n")
        said = rest(connection)
    assert said.count(b'"embedding":') == 12


def test_memory_stays_where_it_was_while_nobody_reads(start):
    """Answers of 200 MB wait for a client that first sends everything, and then reads slowly."""
    server = start("--cache-bytes", "16MiB")
    many = line([f"text {i}" for i in range(100)])
    with server.client() as client:
        size = len(client.post("/v1/embeddings", content=many, headers=TYPE).content)  # its texts are known from here on
        client.post("/v1/embeddings", content=many * 100, headers=TYPE)
    before, n, got = server.resident_bytes(), 200_000_000 // size, 0
    with Memory(server) as memory, server.connect() as connection:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        for _ in range(n):
            connection.sendall(chunk(many))
        connection.sendall(b"0\r\n\r\n")
        while piece := connection.recv(1 << 20):
            got += len(piece)
            time.sleep(0.001)
    assert got > n * size
    if not SANITIZED:
        assert memory.most - before < 100_000_000
    wait_until(lambda: idle(server))


def test_a_client_that_leaves(start):
    server = start()
    texts = b"".join(line([f"text {i} {j}" for j in range(200)]) for i in range(200))
    for end in (b"", b"0\r\n\r\n"):
        with server.connect() as connection:
            connection.settimeout(2)
            try:
                connection.sendall(HEAD + b"\r\n" + chunk(texts) + end)
            except TimeoutError:
                pass  # it is held back
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wait_until(lambda: idle(server))
    with server.client() as client:
        assert send(client, "/v1/embeddings", line("still here"))[0]["data"]


def test_a_deadline_is_for_a_line(client):
    answers = send(client, "/v1/embeddings", line([f"late {i}" for i in range(2000)]) * 3, **{"X-Request-Timeout-Ms": "1"})
    assert len(answers) == 3 and set(codes(answers)) <= {"deadline_exceeded", None}
    body = b"".join(line(f"in time {i}") for i in range(200 if SANITIZED else 3000))
    assert set(codes(send(client, "/v1/embeddings", body, **{"X-Request-Timeout-Ms": "20000"}))) == {None}


def test_a_full_spool_ends_the_answer(start):
    server = start("--bulk-bytes", "1MiB")
    with server.client() as client:
        answers = send(client, "/v1/embeddings", b"".join(line([f"t {i}"] * 20) for i in range(1000)))
    assert codes(answers)[-1] == "spool_full" and set(codes(answers)[:-1]) == {None}
    assert 1 < len(answers) < 1000


def test_a_full_queue_is_waited_for(start):
    server = start("--queue-items", "20", "--cache-bytes", "0")
    with server.client() as client:
        answers = send(client, "/v1/embeddings", b"".join(line([f"t {i} {j}" for j in range(10)]) for i in range(60)))
    assert set(codes(answers)) == {None} and len(answers) == 60


def test_two_that_fill_the_queue_together(start):
    """Each waits for its own lines alone: none stands still, and what has no room is told so."""
    server = start("--queue-items", "20", "--cache-bytes", "0")
    bodies = [b"".join(line([f"{name} {i} {j}" for j in range(10)]) for i in range(40)) for name in "abc"]
    connections = [server.connect() for _ in bodies]
    for connection in connections:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
    wait_until(lambda: server.metric("limoe_requests_in_flight") == 4)  # all heads are in, while there is room
    for connection, body in zip(connections, bodies, strict=True):
        connection.sendall(chunk(body) + b"0\r\n\r\n")
    for connection in connections:
        said = rest(connection)
        assert said.count(b'"data":[') + said.count(b'"code":"queue_full"') == 40
        connection.close()
    wait_until(lambda: idle(server))


def test_what_is_thrown_away_has_its_time(start):
    """A client that is still sending when the spool is full gets what there is, however long it goes on."""
    server = start("--bulk-bytes", "1MiB", "--receive-timeout", 1)
    with server.connect() as connection:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n" + chunk(b"".join(line([f"t {i}"] * 20) for i in range(300))))
        for _ in range(10):
            time.sleep(0.25)
            connection.sendall(chunk(line("not read")))
        connection.sendall(b"0\r\n\r\n")
        said = rest(connection)
    assert said.startswith(b"HTTP/1.1 200 ") and b'"code":"spool_full"' in said


def test_a_client_that_stops_writing(start):
    server = start("--receive-timeout", 1)
    with server.connect() as connection:
        connection.sendall(HEAD + b"\r\n" + chunk(line("one") + line("two") + b'{"input"'))
        said = rest(connection)
    assert said.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in said
    assert done(server) == 2 and server.metric("limoe_slow_clients_total") == 1
    wait_until(lambda: idle(server))


def test_a_client_that_stops_reading(start):
    """Its answer is larger than the sockets' buffers, and on the disk."""
    server = start("--stall-timeout", 1)
    body = line([f"text {i}" for i in range(100)])
    with server.client() as client:
        client.post("/v1/embeddings", content=body, headers=TYPE)  # its texts are known from here on
    with server.connect() as connection:
        connection.sendall(HEAD + b"\r\n" + chunk(body * 60) + b"0\r\n\r\n")
        wait_until(lambda: spools(server) == 1)
        wait_until(lambda: server.metric("limoe_slow_clients_total") == 1)
        wait_until(lambda: idle(server))


def test_a_reload_amid_lines(start):
    """The lines behind it are the new model's, and the old one is let go while the body is still coming in."""
    server = start()
    with server.connect() as connection:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n" + chunk(line("cat")))
        wait_until(lambda: done(server) == 1)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.metric('limoe_model_reloads_total{result="ok"}') == 1)
        connection.sendall(chunk(line("cat")))
        wait_until(lambda: any("the old model's last request is answered" in text for text in server.log))
        connection.sendall(chunk(line("cat")) + b"0\r\n\r\n")
        said = rest(connection)
    assert done(server) == 3
    answers = [text for text in said.split(b"\n") if b'"embedding":' in text]
    assert len(answers) == 3 and len(set(answers)) == 1
    wait_until(lambda: idle(server))


def test_an_engine_that_is_lost_amid_lines(start):
    server = start("--cache-bytes", "0")
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(1) as pool:
        whole = pool.submit(send, client, "/v1/embeddings", b"".join(line([f"t {i}"] * 10) for i in range(300)))
        wait_until(lambda: done(server) > 0)
        (engine,) = server.children("engine")
        os.kill(engine, signal.SIGKILL)
        answers = whole.result(60)
        wait_until(lambda: server.metric("limoe_engine_restarts_total") == 1)
    assert codes(answers) == [None] * 300
    assert all(len(answer["data"]) == 10 for answer in answers)


def test_keys_are_charged_for_each_line(start, tmp_path):
    keys = key_file(tmp_path / "keys", "alice-key-0123456789 name=alice requests-per-minute=5")
    server = start("--api-keys-file", keys)
    with server.client(headers={"Authorization": "Bearer alice-key-0123456789"}) as client:
        answers = send(client, "/v1/embeddings", b"".join(line(f"t {i}") for i in range(8)))
        assert codes(answers) == [None] * 5 + ["quota_exceeded"] * 3  # the first line is charged with the head
    with server.client() as client:
        assert client.post("/v1/embeddings", content=line("a"), headers=TYPE).status_code == 401


def test_a_server_that_stops_finishes_what_it_has(start):
    server = start("--drain-timeout", 10)
    with server.connect() as connection:
        connection.sendall(HEAD + b"\r\n" + chunk(line("before")))
        wait_until(lambda: server.metric('limoe_requests_total{route="/v1/embeddings",code="200"}') == 1)
        server.process.terminate()
        wait_until(lambda: any("stopping" in text for text in server.log))
        connection.sendall(chunk(line("after")) + b"0\r\n\r\n")
        said = rest(connection)
    assert said.count(b'"embedding":') == 1 and b'"code":"draining"' in said
    assert server.wait() == 0


def send_on(connection, some, more):
    """Sends, and goes on with `more` until the server will have none."""
    try:
        connection.sendall(some)
        while more:
            connection.sendall(more)
    except OSError:
        pass


def test_a_server_that_stops_waits_for_nobody(start):
    """Clients that stop in a line, that read nothing, whose lines wait for room, that go on and on."""
    server = start("--drain-timeout", 1, "--queue-items", 20, "--cache-bytes", "0")
    large, more = chunk(b"".join(line([f"t {i}"] * 10) for i in range(200))), chunk(line("more")) * 50
    bodies = [(chunk(line("a") + b'{"input"'), b""), (large + b"0\r\n\r\n", b""), (large, b""), (b"", more)]
    connections = [server.connect() for _ in bodies]
    for connection in connections:
        connection.sendall(HEAD + b"\r\n")
    wait_until(lambda: server.metric("limoe_requests_in_flight") == 5)
    threads = [threading.Thread(target=send_on, args=(connection, *body)) for connection, body in zip(connections, bodies, strict=True)]
    for thread in threads:
        thread.start()
    wait_until(lambda: done(server) > 10)
    assert server.terminate() == 0
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    for connection in connections:
        connection.close()


def test_only_where_lines_are_read(client):
    refused = client.post("/v1/routing", content=line("a"), headers=TYPE)
    assert refused.status_code == 415
    refused = client.post("/v1/embeddings", content=b"x", headers={"Content-Type": "text/plain"})
    assert refused.status_code == 415 and "application/x-ndjson" in refused.json()["error"]["message"]


def test_the_document_has_them(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path in "/v1/classify", "/v1/embeddings":
        told = paths[path]["post"]
        assert "application/x-ndjson" in told["requestBody"]["content"]
        said = told["responses"]["200"]["content"]["application/x-ndjson"]["schema"]["description"]
        assert "line_too_long: " in said and "spool_full: " in said
    assert "application/x-ndjson" not in paths["/v1/routing"]["post"]["requestBody"]["content"]


def test_a_connection_goes_on(server):
    """Requests behind lines on the same connection are answered, also those that came in before the answer."""
    body = b"".join(line(f"t {i}") for i in range(200))
    request = HEAD + b"\r\n" + chunk(body) + b"0\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(request + request + b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = rest(connection)
    assert said.count(b"HTTP/1.1 200 ") == 3 and said.count(b'"embedding":') == 400


def test_a_body_that_is_not_sound(server):
    with server.connect() as connection:
        connection.sendall(HEAD + b"\r\n" + chunk(line("a")) + b"no chunk\r\n")
        said = rest(connection)
    assert said.startswith(b"HTTP/1.1 400 ") and b"malformed_request" in said
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)
