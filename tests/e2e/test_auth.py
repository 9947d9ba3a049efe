"""Keys, and what else headers decide: who may call what, traces, other origins."""

import http.client
import json
import re
import signal
import subprocess

import pytest
from conftest import BUILD, MODEL, data_uri, key_file, picture, wait_until
from test_framing import exchange

USER = "user-key-0123456789"
ADMIN = "admin-key-0123456789"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"

OPEN = [("GET", "/health"), ("HEAD", "/health"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.json")]
CLOSED = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/pictograms"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/classify"),
    ("POST", "/v1/routing"),
    ("POST", "/v1/attention"),
    ("POST", "/v1/describe"),
    ("POST", "/v1/captions"),
    ("POST", "/v1/ask"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/classifiers"),
    ("PUT", "/v1/classifiers/a"),
    ("DELETE", "/v1/classifiers/a"),
    ("GET", "/v1/vocabularies"),
    ("GET", "/v1/vocabularies/a"),
    ("PUT", "/v1/vocabularies/a"),
    ("DELETE", "/v1/vocabularies/a"),
    ("GET", "/v1/adapters"),
    ("GET", "/v1/adapters/a"),
    ("PUT", "/v1/adapters/a"),
    ("POST", "/v1/adapters/a"),
    ("DELETE", "/v1/adapters/a"),
    ("POST", "/v1/rerank"),
    ("GET", "/no/such/path"),
    ("GET", "/health/"),
    ("GET", "/livez/"),
]


@pytest.fixture
def key_files(tmp_path):
    return key_file(tmp_path / "users", "# for the dashboard", USER), key_file(tmp_path / "admins", ADMIN)


@pytest.fixture
def locked(start, key_files):
    users, admins = key_files
    return start("--api-keys-file", users, "--admin-keys-file", admins)


DIALECTS = [
    ("POST", "/"),
    ("POST", "/hf"),
    ("POST", "/hf/a"),
    ("POST", "/embed"),
    ("POST", "/similarity"),
    ("GET", "/info"),
    ("POST", "/rerank"),
    ("POST", "/v2/rerank"),
    ("POST", "/api/embed"),
    ("POST", "/api/embeddings"),
    ("GET", "/api/tags"),
    ("GET", "/api/version"),
    ("POST", "/v1/embed"),
    ("POST", "/v2/embed"),
    ("POST", "/v1/multimodalembeddings"),
    ("POST", "/vectorize"),
    ("GET", "/meta"),
    ("POST", "/clip/embed_text"),
    ("POST", "/clip/embed_image"),
    ("POST", "/clip/compare"),
    ("GET", "/v2"),
    ("GET", "/v2/models/a"),
    ("POST", "/v2/models/a/infer"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v1/models/a:predict"),
]


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_everything_but_health_and_metrics_needs_a_key(locked):
    with locked.client() as client:
        for method, path in OPEN:
            assert client.request(method, path).status_code == 200
        for method, path in CLOSED:
            for headers in [{}, bearer("not-one-of-the-keys"), bearer(USER[:-1]), {"Authorization": f"Basic {USER}"}]:
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401, (method, path, headers)
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert answer.json()["error"]["code"] == "invalid_api_key"
                assert answer.json()["error"]["type"] == "authentication_error"
                assert "not-one" not in answer.text and USER[:-1] not in answer.text
            for key in (USER, ADMIN):
                assert client.request(method, path, headers=bearer(key)).status_code not in (401, 403)
        for method, path in DIALECTS:
            answer = client.request(method, path, headers=bearer("not-one-of-the-keys"))
            said = [answer.json().get(name) for name in ("error", "message", "detail")]
            assert answer.status_code == 401 and any(isinstance(one, str) for one in said), (method, path)
            assert client.request(method, path, headers=bearer(USER)).status_code not in (401, 403)
    assert not [line for line in locked.log if USER in line or ADMIN in line]


def test_a_key_serves(locked):
    with locked.client() as client:
        answer = client.post("/v1/embeddings", headers=bearer(USER), json={"input": ["a cat", {"image": data_uri(picture())}]})
        assert answer.status_code == 200
        assert len(answer.json()["data"]) == 2


def test_without_a_key_nothing_of_the_body_is_kept(locked):
    """Were it kept, it would be counted: the body is announced and never sent."""
    with locked.connect() as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
        connection.sendall(b" " * 500000)
        wait_until(lambda: locked.metric("limoe_requests_in_flight") == 2)
        assert locked.metric("limoe_queue_depth") == 0
        assert locked.metric("limoe_queue_bytes") == 0
        connection.sendall(b" " * 500000)
        assert connection.recv(12) == b"HTTP/1.1 401"
    with locked.connect() as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(12) == b"HTTP/1.1 401"


def test_reloading_the_model_needs_an_admin_key(locked):
    with locked.client() as client:
        assert client.post("/v1/models/reload").status_code == 401
        answer = client.post("/v1/models/reload", headers=bearer(USER))
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "admin_key_required"


def test_without_admin_keys_nobody_administers(server, client):
    answer = client.post("/v1/models/reload", headers=bearer(ADMIN))
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "admin_disabled"
    assert "--admin-keys-file" in answer.json()["error"]["message"]


def test_keys_are_read_again_on_sighup(locked, key_files):
    users, _ = key_files
    new = "another-key-0123456789"
    with locked.client() as client:

        def status(key):
            return client.get("/v1/models", headers=bearer(key)).status_code

        users.write_text("too-short\n")
        locked.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any(f"{users}:1: the key has 9 bytes" in line for line in locked.log))
        assert status(USER) == 200
        users.write_text(new + "\n")
        locked.process.send_signal(signal.SIGHUP)
        wait_until(lambda: status(new) == 200)
        assert status(USER) == 401
        assert status(ADMIN) == 200


@pytest.mark.parametrize(
    "text, said", [("", "holds no key"), ("short\n", ":1: the key has 5 bytes"), (f"{USER}\n{USER}\n", ":2: the key is that of line 1")]
)
def test_a_key_file_that_does_not_serve(tmp_path, text, said):
    keys = tmp_path / "keys"
    keys.write_text(text)
    command = [BUILD / "limoe", "serve", "--port", "0", "--model", MODEL, "--api-keys-file", keys]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode not in (0, 2) and said in done.stderr and str(keys) in done.stderr
    assert USER not in done.stderr


# ---- traces


def logged(server, word):
    return [json.loads(line) for line in server.log if line.startswith("{") and word in line]


def test_a_trace_is_carried_through(start):
    server = start("--log-format", "json")
    with server.client() as client:
        answer = client.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        version, trace, span, flags = answer.headers["traceresponse"].split("-")
        assert (version, trace, flags) == ("00", TRACE, "01")
        assert re.fullmatch("[0-9a-f]{16}", span) and span not in (PARENT, "0" * 16)
        wait_until(lambda: logged(server, TRACE))
        line = logged(server, TRACE)[0]
        assert (line["trace_id"], line["span_id"], line["parent_id"]) == (TRACE, span, PARENT)
        assert line["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("header", [None, f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE.upper()}-{PARENT}-01", "nonsense"])
def test_without_a_good_parent_a_trace_begins(start, header):
    server = start("--log-format", "json")
    with server.client() as client:
        answer = client.get("/v1/models", headers={"traceparent": header} if header else {})
        _, trace, span, flags = answer.headers["traceresponse"].split("-")
        assert re.fullmatch("[0-9a-f]{32}", trace) and trace not in (TRACE, "0" * 32) and flags == "00"
        wait_until(lambda: logged(server, trace))
        assert logged(server, trace)[0]["span_id"] == span
        assert "parent_id" not in logged(server, trace)[0]


def test_the_text_log_has_traces(start):
    server = start()
    with server.client() as client:
        client.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    wait_until(lambda: any(f" trace_id={TRACE} " in line and f" parent_id={PARENT}" in line for line in server.log))


# ---- other origins

ORIGIN = "https://app.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def test_no_other_origin_by_default(client):
    answer = client.get("/v1/models", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.options("/v1/embeddings", headers={"Origin": ORIGIN, **PREFLIGHT}).status_code == 405


def test_one_origin_may_read(start, key_files):
    server = start("--cors-origin", ORIGIN, "--api-keys-file", key_files[0])
    with server.client() as client:
        for headers, status in [(bearer(USER), 200), ({}, 401)]:
            answer = client.get("/v1/models", headers={"Origin": ORIGIN, **headers})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"
        other = client.get("/v1/models", headers={"Origin": "https://other.example.com", **bearer(USER)})
        assert other.status_code == 200 and other.headers["vary"] == "Origin"
        assert "access-control-allow-origin" not in other.headers

        asked = client.options("/v1/embeddings", headers={"Origin": ORIGIN, **PREFLIGHT})
        assert asked.status_code == 204 and not asked.content
        assert asked.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert asked.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
        assert int(asked.headers["access-control-max-age"]) > 0
        refused = client.options("/v1/embeddings", headers={"Origin": "https://other.example.com", **PREFLIGHT})
        assert refused.status_code == 204
        assert "access-control-allow-origin" not in refused.headers
        # An OPTIONS that is no preflight is a request like any other.
        assert client.options("/v1/embeddings", headers={"Origin": ORIGIN}).status_code == 401


def test_a_preflight_leaves_its_connection_open(start):
    server = start("--cors-origin", ORIGIN)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": server.url[7:], "Origin": ORIGIN, **PREFLIGHT}.items())
    connection = http.client.HTTPConnection(server.url[7:], timeout=60)
    connection.connect()
    socket = connection.sock
    for _ in range(2):
        connection.request("OPTIONS", "/v1/embeddings", headers={"Origin": ORIGIN, **PREFLIGHT})
        answer = connection.getresponse()
        assert answer.status == 204 and answer.read() == b"" and not answer.will_close
        connection.request("POST", "/v1/embeddings", json.dumps({"input": "a"}), {"Content-Type": "application/json", "Origin": ORIGIN})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read() and connection.sock is socket
    connection.close()
    # Several at once, and one with a body, behind which nothing is read.
    one = f"OPTIONS /v1/embeddings HTTP/1.1\r\n{head}\r\n".encode()
    asked = f"GET /livez HTTP/1.1\r\nHost: {server.url[7:]}\r\nConnection: close\r\n\r\n".encode()
    assert [answer.status for answer in exchange(server, one + one + asked)] == [204, 204, 200]
    with_body = f"OPTIONS /v1/embeddings HTTP/1.1\r\n{head}Content-Length: 2\r\n\r\nab".encode()
    assert [answer.status for answer in exchange(server, with_body + asked)] == [204]


def test_any_origin_may_read(start):
    server = start("--cors-origin", "*")
    with server.client() as client:
        answer = client.get("/v1/models", headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert client.options("/v1/embeddings", headers={"Origin": ORIGIN, **PREFLIGHT}).status_code == 204
