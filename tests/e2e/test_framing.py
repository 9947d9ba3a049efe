"""Framing: where one request ends and the next begins. What RFC 9110 and 9112 refuse is refused with one answer and the
connection's end, in one piece, byte by byte and behind a good request; what they allow is served."""

import json
import pathlib
import socket
import ssl
import subprocess
import threading
import time

import httpx
import pytest
from conftest import key_file, wait_until

from test_tls import pair, secure, unchecked  # noqa: F401 - fixtures

BODY = b'{"input":"a"}'
HOST = b"Host: x\r\n"
GET = b"GET /v1/models HTTP/1.1\r\n" + HOST
POST = b"POST /v1/embeddings HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


class Answer:
    def __init__(self, head, body):
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        self.body = body

    def json(self):
        return json.loads(self.body)


def answers_of(data):
    """All answers in what a connection said, which must be nothing else."""
    found = []
    while data:
        head, gap, rest = data.partition(b"\r\n\r\n")
        assert gap and head.startswith(b"HTTP/1.1 "), data[:200]
        answer = Answer(head, b"")
        length = int(answer.headers[b"content-length"]) if answer.status != 204 else 0
        answer.body, data = rest[:length], rest[length:]
        assert len(answer.body) == length
        found.append(answer)
    return found


def read_all(connection):
    """What is said until the other side closes; a reset behind it counts as that."""
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    return said


def in_one_piece(connection, data):
    connection.sendall(data)


def byte_by_byte(connection, data):
    try:
        for i in range(len(data)):
            connection.sendall(data[i : i + 1])
    except OSError:
        pass  # it was closed, which is what the answers are for


def exchange(server, data, send=in_one_piece):
    with server.connect() as connection:
        send(connection, data)
        return answers_of(read_all(connection))


def assert_refused(answer, status, words=None):
    assert answer.status == status, answer.body
    assert answer.headers[b"content-type"] == b"application/json"
    assert answer.headers[b"connection"] == b"close"
    assert answer.headers[b"x-request-id"]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    if words:
        assert words in error["message"]


def refused_everywhere(server, data, status, words=None, between=b""):
    """`data` is refused, alone and behind a good request, and what is behind it is never read."""
    for send in (in_one_piece, byte_by_byte):
        (only,) = exchange(server, data + between + SMUGGLED, send)
        assert_refused(only, status, words)
        first, second = exchange(server, GET + b"\r\n" + data + between + SMUGGLED, send)
        assert first.status == 200
        assert_refused(second, status, words)


def served(server, data, send=in_one_piece):
    """`data` asks for the connection's end."""
    (answer,) = exchange(server, data, send)
    assert answer.status == 200, answer.body
    return answer


# ---- bodies: one length


@pytest.mark.parametrize(
    "fields, status",
    [
        (b"Content-Length: 13\r\nContent-Length: 60\r\n", 400),
        (b"Content-Length: 13\r\nContent-Length: 13\r\n", 400),
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Transfer-Encoding: chunked, identity\r\n", 501),
    ],
)
def test_f5_a_body_has_one_length(server, fields, status):
    refused_everywhere(server, POST + fields + b"\r\n", status, between=b"d\r\n" + BODY + b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("send", [in_one_piece, byte_by_byte])
def test_f6_white_space_behind_a_value_is_no_part_of_it(server, send):
    end = b"Connection: close \t\r\n\r\n"
    plain = served(server, POST + b"Content-Length: 13\r\nConnection: close\r\n\r\n" + BODY).json()
    assert served(server, POST + b"Content-Length: 13 \r\n" + end + BODY, send).json() == plain
    assert served(server, POST + b"Content-Length:\t13\t \r\n" + end + BODY, send).json() == plain
    assert served(server, POST + b"Transfer-Encoding: chunked \r\n" + end + b"d\r\n" + BODY + b"\r\n0\r\n\r\n", send).json() == plain
    spaced = POST.replace(b"json\r\n", b"json  \r\n") + b"Content-Length: 13\r\nX-Request-Timeout-Ms: 60000 \r\nX-Request-Id: abc \r\n"
    answer = served(server, spaced + end + BODY, send)
    assert answer.json() == plain and answer.headers[b"x-request-id"] == b"abc"


def test_f6_white_space_behind_a_key(start, tmp_path):
    keys = key_file(tmp_path / "keys", "a-key-of-sixteen-and-more")
    server = start("--api-keys-file", keys)
    served(server, GET + b"Authorization: Bearer a-key-of-sixteen-and-more \r\nConnection: close\r\n\r\n")
    # What is not sound is said so to anybody: it is not known whose request it is.
    assert_refused(exchange(server, GET + HOST + b"\r\n")[0], 400, "Host")


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"identity", b"xchunked", b"chunked;q=1"])
def test_f7_an_unknown_coding_is_said_at_once(server, coding):
    refused_everywhere(server, POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n", 501, "chunked")


@pytest.mark.parametrize("length", [b"-1", b"+13", b"13, 13", b"13,13", b"", b" ", b"0x0d", b"1e1", b"1 3", b"thirteen"])
def test_f8_a_malformed_length_gets_one_answer(server, length):
    refused_everywhere(server, POST + b"Content-Length: " + length + b"\r\n\r\n", 400, "Content-Length", between=BODY)


@pytest.mark.parametrize("length", [b"18446744073709551615", b"18446744073709551616", b"9" * 40])
def test_f8_a_length_beyond_all_bodies(server, length):
    refused_everywhere(server, POST + b"Content-Length: " + length + b"\r\n\r\n", 413, "Content-Length", between=BODY)


@pytest.mark.parametrize(
    "body, status",
    [
        (b"zz\r\n", 400),
        (b"-d\r\n" + BODY, 400),
        (b"0xd\r\n" + BODY, 400),
        (b"d \r\n" + BODY, 400),
        (b"d\n" + BODY, 400),
        (b"\r\n", 400),
        (b"d\r\n" + BODY + b"x\r\n0\r\n\r\n", 400),
        (b"d\r\n" + BODY + b"\n0\r\n\r\n", 400),
        (b"d\r\n" + BODY + b"\r\n0\r\nT: u\r\n folded\r\n\r\n", 400),
        (b"d;" + b"x" * 2000 + b"\r\n" + BODY, 400),
        (b"10000000000000000\r\n", 413),
    ],
)
def test_f8_a_chunked_body_that_is_none_gets_one_answer(server, body, status):
    refused_everywhere(server, CHUNKED + body, status)


def test_chunks_with_extensions_and_trailers(server):
    plain = served(server, POST + b"Content-Length: 13\r\nConnection: close\r\n\r\n" + BODY).json()
    head = POST + b"Transfer-Encoding: Chunked\r\nConnection: close\r\n\r\n"
    body = b'005;a="b c"\r\n' + BODY[:5] + b"\r\n8 ; d\r\n" + BODY[5:] + b"\r\n00;e\r\nT: u\r\nContent-Length: 3\r\n\r\n"
    for send in (in_one_piece, byte_by_byte):
        assert served(server, head + body, send).json() == plain


# ---- targets


@pytest.mark.parametrize("send", [in_one_piece, byte_by_byte])
@pytest.mark.parametrize("target", [b"http://127.0.0.1:21210/health", b"HTTPS://some.where/health", b"http://[::1]/health?"])
def test_f9_an_absolute_target_is_served(server, target, send):
    answer = served(server, b"GET " + target + b" HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n", send)
    assert answer.json() == {"status": "ok"}


def test_f9_curl_by_a_proxy(server):
    command = ["curl", "-sS", "-x", f"http://127.0.0.1:{server.port}", "http://some.where.example/v1/models"]
    said = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert json.loads(said)["object"] == "list"


@pytest.mark.parametrize(
    "line, status",
    [
        (b"GET http://user:word@x/health HTTP/1.1", 400),
        (b"GET http:///health HTTP/1.1", 400),
        (b"GET ftp://x/health HTTP/1.1", 400),
        (b"GET health HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"CONNECT x:443 HTTP/1.1", 501),
    ],
)
def test_f9_targets_that_are_not_served(server, line, status):
    refused_everywhere(server, line + b"\r\n" + HOST + b"\r\n", status)


def test_options_for_the_server_as_a_whole(server):
    (answer,) = exchange(server, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert answer.status == 404 and answer.json()["error"]["code"] == "unknown_path"


# ---- heads


@pytest.mark.parametrize(
    "head",
    [
        GET + HOST + b"\r\n",
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x, y\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x/y\r\n\r\n",
        GET + b"X: a\rb\r\n\r\n",
        GET + b"X: a\0b\r\n\r\n",
        GET + b"X: a\x1bb\r\n\r\n",
        b"GET /v1/models\0 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /v1/models HTTP/1.1\n" + HOST + b"\r\n",
        GET + b"X: y\n\r\n",
        GET + b"X: y\r\n folded\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n\tX: y\r\n" + HOST + b"\r\n",
        POST + b"Content-Length : 13\r\n\r\n",
        POST + b"Content-Length\t: 13\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n",
        GET + b": y\r\n\r\n",
        GET + b"no colon\r\n\r\n",
        GET + b"X(: y\r\n\r\n",
        b"GET  /v1/models HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /v1/models?a b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /v1/models\r\n" + HOST + b"\r\n",
        b"GET /v1/models http/1.1\r\n" + HOST + b"\r\n",
        b"G\x80T /v1/models HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
)
def test_w8_what_is_no_request(server, head):
    refused_everywhere(server, head, 400)


def test_w8_versions(server):
    for line in (b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"PRI * HTTP/2.0"):
        refused_everywhere(server, line + b"\r\n" + HOST + b"\r\n", 505, "HTTP/1.1")
    served(server, b"GET /health HTTP/1.0\r\n\r\n")
    served(server, b"GET /health HTTP/1.2\r\n" + HOST + b"Connection: close\r\n\r\n")


def test_w8_an_expectation_that_is_not_met(server):
    refused_everywhere(server, POST + b"Expect: a miracle\r\nContent-Length: 13\r\n\r\n", 417, "100-continue")


@pytest.mark.parametrize(
    "target, where",
    [(b"/health%00x", "path"), (b"/v1/classifiers/a%00b", "path"), (b"/v1/classify?labels%00evil=a", "query"), (b"/?a=%00", "query")],
)
def test_w15_a_nul_cuts_nothing_short(server, target, where):
    refused_everywhere(server, b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n", 400, where + " has %00")


def test_answers_for_heads_that_are_too_large_are_the_servers_own(server):
    for head, status, code in [
        (b"GET /v1/models?q=" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET /v1/models?" + b"a&" * 2_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431, "head_too_large"),
        (GET + b"X: y\r\n" * 30_000 + b"\r\n", 431, "head_too_large"),
        (GET + b"X: y\r\n" * 1_000 + b"\r\n", 431, "head_too_large"),
        (GET + b"Cookie: a=b; c=d\r\n" * 1_000 + b"X: y\r\n" * 200 + b"\r\n", 431, "head_too_large"),
    ]:
        (answer,) = exchange(server, head)
        assert_refused(answer, status)
        assert answer.json()["error"]["code"] == code


def test_heads_as_large_as_may_be_are_served(server):
    end = b"Connection: close\r\n\r\n"
    for head in (b"X: " + b"a" * 56_000 + b"\r\n", b"X: y\r\n" * 800, b"Cookie: " + b"a=b; " * 10_000 + b"\r\n"):
        served(server, GET + head + end)
        first, second = exchange(server, GET + head + b"\r\n" + GET + head + end)
        assert first.status == second.status == 200
    served(server, b"GET /v1/models?" + b"a&" * 800 + b" HTTP/1.1\r\n" + HOST + end)


# ---- order


def test_a_refusal_stands_behind_the_answers_before_it(server):
    """Also behind those that others than the connection's thread work out."""
    good = POST + b"Content-Length: 13\r\n\r\n" + BODY
    bad = POST + b"Content-Length: -1\r\n\r\n"
    for send in (in_one_piece, byte_by_byte):
        answers = exchange(server, good * 3 + GET + b"\r\n" + good + bad + good + SMUGGLED, send)
        assert [answer.status for answer in answers] == [200] * 5 + [400]


def test_thousands_of_pipelined_requests(server):
    """More than the library could hold at a time, answered on its thread and by others, in turns."""
    good = (GET + b"\r\n" + POST + b"Content-Length: 13\r\n\r\n" + BODY) * 1000
    said = []
    with server.connect() as connection:
        reader = threading.Thread(target=lambda: said.append(read_all(connection)))
        reader.start()
        connection.sendall(good + GET + b"Connection: close\r\n\r\n")
        reader.join(120)
    answers = answers_of(said[0])
    assert len(answers) == 2001 and {answer.status for answer in answers} == {200}
    assert [b'"object":"list","data":[{"object":"embedding"' in answer.body for answer in answers[:4]] == [False, True, False, True]


def test_a_refused_request_is_logged_and_counted(start):
    server = start()
    (answer,) = exchange(server, GET + HOST + b"\r\n")
    request_id = answer.headers[b"x-request-id"].decode()
    wait_until(lambda: any(f"request_id={request_id}" in line and " 400 " in line for line in server.log))
    assert server.metric('limoe_requests_total{route="unknown",code="400"}') == 1


# ---- ends


def with_the_end(server, data):
    """Sends data whose last bytes bring the end of the stream with them, so that only one thing ever happens."""
    connection = server.connect()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    if data:
        connection.send(data, socket.MSG_MORE)
    connection.shutdown(socket.SHUT_WR)
    return connection


PARTS = [
    b"",
    b"GE",
    GET,
    POST + b"Content-Length: 13\r\n\r\n",
    POST + b"Content-Length: 13\r\n\r\n" + BODY[:5],
    POST + b"Expect: 100-continue\r\nContent-Length: 13\r\n\r\n",
    CHUNKED,
    CHUNKED + b"d",
    CHUNKED + b"d\r\n" + BODY[:5],
    CHUNKED + b"d\r\n" + BODY + b"\r\n0\r\nT: ",
    GET + b"\r\n" + GET,
    GET + b"\r\n" + POST + b"Content-Length: 13\r\n\r\n" + BODY[:5],
    b"GET /v1/nothing HTTP/1.1\r\n" + HOST + b"\r\n",
]


@pytest.mark.parametrize("part", PARTS)
def test_w3_who_closes_halfway_is_let_go_at_once(server, part):
    """Long before the idle timeout, which is a minute."""
    with with_the_end(server, part) as connection:
        connection.settimeout(20)
        read_all(connection)


def test_w3_a_whole_request_with_the_end_behind_it(server):
    with with_the_end(server, GET + b"\r\n") as connection:
        connection.settimeout(20)
        (answer,) = answers_of(read_all(connection))
        assert answer.status == 200 and answer.headers[b"connection"] == b"close"


def test_w3_thousands_who_leave_halfway_hold_nothing(start):
    """Fewer slots than connections, and an idle timeout that the test does not live to see."""
    server = start("--connections", 64, "--idle-timeout", 600, "--receive-timeout", 600)
    for i in range(1300):
        connection = with_the_end(server, PARTS[i % len(PARTS)])
        connection.close()
    assert httpx.get(server.url + "/health", timeout=30).status_code == 200
    wait_until(lambda: server.metric("limoe_connections") <= 1)
    wait_until(lambda: server.metric("limoe_requests_in_flight") == 1)
    assert server.metric("limoe_queue_bytes") == 0
    assert server.metric("limoe_slow_clients_total") == 0


def test_w3_idle_connections_that_close(start):
    server = start("--idle-timeout", 600)
    idle = [server.connect() for _ in range(50)]
    for connection in idle:
        connection.sendall(GET + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    wait_until(lambda: server.metric("limoe_connections") > 50)
    for connection in idle:
        connection.close()
    wait_until(lambda: server.metric("limoe_connections") <= 1)


# ---- the same under TLS


def exchange_secretly(server, data, send=in_one_piece):
    with server.connect() as plain, unchecked().wrap_socket(plain) as connection:
        send(connection, data)
        said = b""
        try:
            while piece := connection.recv(65536):
                said += piece
        except (ConnectionResetError, ssl.SSLError):
            pass
        return answers_of(said)


@pytest.mark.parametrize("send", [in_one_piece, byte_by_byte])
def test_f5_f7_f8_w8_under_tls(secure, send):  # noqa: F811
    for data, status in [
        (POST + b"Content-Length: 13\r\nContent-Length: 60\r\n\r\n" + BODY, 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (POST + b"Content-Length: -1\r\n\r\n", 400),
        (GET + b"X: a\rb\r\n\r\n", 400),
        (CHUNKED + b"d\r\n" + BODY + b"x\r\n", 400),
        (b"GET /health%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ]:
        first, second = exchange_secretly(secure, GET + b"\r\n" + data + SMUGGLED, send)
        assert first.status == 200
        assert_refused(second, status)


@pytest.mark.parametrize("send", [in_one_piece, byte_by_byte])
def test_f6_f9_under_tls(secure, send):  # noqa: F811
    end = b"Connection: close\r\n\r\n"
    first, second = exchange_secretly(
        secure, POST + b"Content-Length: 13 \r\n\r\n" + BODY + b"GET https://a/health HTTP/1.1\r\n" + HOST + end, send)
    assert first.status == 200 and second.json() == {"status": "ok"}


def cpu_seconds(server):
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def test_w3_a_handshake_that_waits_costs_nothing(secure):  # noqa: F811
    """A quarter of a TLS hello, and then nothing: the server waits, it does not spin."""
    with secure.connect() as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        wait_until(lambda: secure.metric("limoe_connections") > 1)
        before = cpu_seconds(secure)
        time.sleep(3)
        assert cpu_seconds(secure) - before < 0.45


def test_w3_under_tls(start, pair):  # noqa: F811
    server = start("--tls-certificate", pair[0], "--tls-key", pair[1], "--idle-timeout", 600)
    for part in PARTS:
        with server.connect() as plain:
            connection = unchecked().wrap_socket(plain)
            if part:
                connection.sendall(part)
            connection.close()  # without a word
    wait_until(lambda: server.metric("limoe_connections") <= 1)
