"""Protects everybody from the disk that classifiers are kept on: from its locks, its bounds and its files; and the server
from pages of other sites, and its log from what they send."""

import concurrent.futures
import contextlib
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
from conftest import BUILD, MODEL, Server, key_file, picture, stop_cleanly, wait_until
from test_classifiers import by_json, put
from test_http import assert_error

PROMPT = 5  # seconds in which what needs no disk is answered on a busy machine; the old wait was ten and more


def quick(call, *arguments, **fields):
    began = time.monotonic()
    response = call(*arguments, **fields)
    assert time.monotonic() - began < PROMPT, f"{arguments} took {time.monotonic() - began:.1f} s"
    return response


def embed(client, text="a cat"):
    return client.post("/v1/embeddings", json={"input": text})


@contextlib.contextmanager
def locked(state):
    """The file, held by this process."""
    with contextlib.closing(sqlite3.connect(state / "classifiers.db", timeout=30, isolation_level=None)) as held:
        held.execute("BEGIN EXCLUSIVE")
        yield
        held.execute("ROLLBACK")


@contextlib.contextmanager
def running(*options):
    """A server whose log may tell of the trouble that the test makes."""
    server = Server(*options)
    try:
        yield server
        assert server.terminate() == 0, server.log[-20:]
        server.log[:] = [line for line in server.log if " error classifiers: " not in line]
        server.assert_clean()
    finally:
        server.kill()


def is_busy(response):
    assert_error(response, 503, "store_busy")
    assert int(response.headers["retry-after"]) >= 1


# ---- a locked file


def test_w6_a_locked_store_holds_up_nobody(tmp_path):
    state = tmp_path / "state"
    with running("--state-dir", state, "--workers", 2) as server, server.client() as client:
        put(client, "kept")
        image = picture(3)
        named = by_json(client, image, classifier="kept").content
        stop = threading.Event()

        def ask_on():
            """More requests that need the disk than there are workers."""
            with server.client() as asking:
                while not stop.is_set():
                    for response in (
                        asking.delete("/v1/classifiers/unknown"),
                        by_json(asking, image, classifier="unknown"),
                    ):
                        assert response.status_code in (404, 503), response.text

        with concurrent.futures.ThreadPoolExecutor(8) as pool, locked(state):
            askers = [pool.submit(ask_on) for _ in range(8)]
            try:
                time.sleep(0.5)
                for i in range(30):
                    assert quick(embed, client, f"text {i}").status_code == 200
                    assert quick(by_json, client, image, labels=["cat", "dog"]).status_code == 200
                    assert quick(by_json, client, image, classifier="kept").content == named
            finally:
                stop.set()
            for asker in askers:
                asker.result(60)


def test_w6_what_needs_the_disk_is_told_so_within_a_second(tmp_path):
    state = tmp_path / "state"
    with running("--state-dir", state) as server, server.client() as client:
        put(client, "kept")
        assert client.get("/health").json() == {"status": "ok"}
        assert server.metric("limoe_classifier_store_ready") == 1
        with locked(state):
            is_busy(quick(client.put, "/v1/classifiers/new", json={"labels": ["x"]}))
            is_busy(quick(client.delete, "/v1/classifiers/kept"))
            is_busy(quick(client.get, "/v1/classifiers"))
            is_busy(quick(client.get, "/v1/classifiers/other"))
            is_busy(quick(by_json, client, picture(), classifier="other"))
            assert quick(client.get, "/v1/classifiers/kept").status_code == 200
            health = client.get("/health")
            assert health.status_code == 200 and health.json()["status"] == "degraded"
            assert "locked by another process" in health.json()["reason"]
            assert server.metric("limoe_classifier_store_ready") == 0
            assert server.metric("limoe_classifier_store_busy_total") == 5
            # A reload needs the store to make classifiers ready: it goes on without.
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: any("is in force" in line for line in server.log))
            assert embed(client).status_code == 200
        wait_until(lambda: client.get("/health").json() == {"status": "ok"})
        put(client, "new")
        assert client.delete("/v1/classifiers/kept").status_code == 200
        assert_error(client.get("/v1/classifiers/kept"), 404, "classifier_not_found")


def test_w6_a_server_starts_beside_a_locked_store(tmp_path):
    state = tmp_path / "state"
    with running("--state-dir", state) as server, server.client() as client:
        put(client, "kept")
    with locked(state), contextlib.ExitStack() as stack:
        server = stack.enter_context(running("--state-dir", state))
        client = stack.enter_context(server.client())
        assert embed(client).status_code == 200
        wait_until(lambda: client.get("/health").json()["status"] == "degraded")
        is_busy(client.get("/v1/classifiers/kept"))
        keep = stack.pop_all()
    with keep:
        wait_until(lambda: client.get("/health").json() == {"status": "ok"})
        assert client.get("/v1/classifiers/kept").status_code == 200


# ---- its files


def test_w12_files_cut_short_do_not_end_the_server(tmp_path):
    state = tmp_path / "state"
    with running("--state-dir", state) as server, server.client() as client:
        put(client, "kept")
        for path in state.glob("classifiers.*"):
            if path.name != "classifiers.db":
                os.truncate(path, 0)
        for name in ("kept", "other"):
            assert client.get(f"/v1/classifiers/{name}").status_code in (200, 404)
        put(client, "new")
        os.truncate(state / "classifiers.db", 0)
        assert_error(client.get("/v1/classifiers/other"), 500, "store_error")
        assert by_json(client, picture(), classifier="new").status_code == 200  # from memory
        assert embed(client).status_code == 200


def test_w12_the_log_of_an_earlier_version_is_taken_over(tmp_path):
    state = tmp_path / "state"
    with running("--state-dir", state) as server, server.client() as client:
        kept = put(client, "kept")
    with contextlib.closing(sqlite3.connect(state / "classifiers.db")) as file:
        assert file.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    with running("--state-dir", state) as server, server.client() as client:
        assert client.get("/v1/classifiers/kept").json() == kept
        assert sorted(path.name for path in state.glob("classifiers.*")) == ["classifiers.db", "classifiers.db-journal"]


# ---- its bounds


LABELS = [f"a label of some length, number {i}" for i in range(200)]


def put_until_full(client, most):
    for number in range(most):
        response = client.put(f"/v1/classifiers/c{number}", json={"labels": LABELS})
        if response.status_code != 200:
            return number, response
    raise AssertionError(f"{most} classifiers, and no end")


def test_w14_their_bytes_are_bounded(tmp_path):
    state = tmp_path / "state"
    with running("--state-dir", state, "--classifier-bytes", "1MiB") as server, server.client() as client:
        stored, response = put_until_full(client, 100)
        assert stored > 0
        error = assert_error(response, 507, "store_full")
        assert "--classifier-bytes" in error["message"]
        assert (state / "classifiers.db").stat().st_size <= 1 << 20
        assert server.metric("limoe_classifier_store_limit_bytes") == 1 << 20
        wait_until(lambda: (1 << 19) < server.metric("limoe_classifier_store_bytes") <= (1 << 20))
        assert client.get("/health").json() == {"status": "ok"}
        assert client.delete("/v1/classifiers/c0").status_code == 200
        put(client, "again", LABELS[:150], ["{}"])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"mounting a small file system is not allowed here: {mount.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_w14_a_full_disk_takes_a_delete(small_disk):
    state = small_disk / "state"
    with running("--state-dir", state) as server, server.client() as client:
        stored, response = put_until_full(client, 100)
        assert_error(response, 507, "store_full")
        with open(small_disk / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        for number in range(stored):
            assert client.delete(f"/v1/classifiers/c{number}").status_code == 200
        put(client, "after", LABELS[:50], ["{}"])
        assert [entry["name"] for entry in client.get("/v1/classifiers").json()["data"]] == ["after"]


# ---- pages of other sites


def ask(server, method, path, body=b"", **headers):
    """The status and the error's code, by a socket: no client changes the headers."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    lines += [f"Content-Length: {len(body)}", "Connection: close"]
    with server.connect() as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        with connection.makefile("rb") as stream:
            answer = stream.read()
    head, _, payload = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    return status, json.loads(payload).get("error", {}).get("code") if payload.startswith(b"{") else None


OWN_HOSTS = ["localhost", "LOCALHOST:8080", "localhost.", "app.localhost:1", "127.0.0.1", "127.9.8.7:80", "[::1]", "[::1]:80"]
OTHER_HOSTS = [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "notlocalhost",
    "128.0.0.1",
    "[::2]",
    "[::1",
    "127.0.0.1:80:80",
    "0x7f000001",
]


@pytest.fixture(scope="module")
def strict():
    """A server with the default of --allowed-hosts."""
    running = Server(env={"LIMOE_ALLOWED_HOSTS": None})
    yield running
    stop_cleanly(running)


def test_w9_a_name_that_is_not_ours_is_refused(strict):
    for host in OWN_HOSTS:
        assert ask(strict, "GET", "/v1/models", Host=host) == (200, None), host
    for host in OTHER_HOSTS:
        for method, path in [("GET", "/v1/models"), ("DELETE", "/v1/classifiers/x"), ("GET", "/metrics")]:
            assert ask(strict, method, path, Host=host) == (421, "host_not_allowed"), host
    # No Host at all by its form: refused before anybody's names are looked at.
    assert ask(strict, "GET", "/v1/models", Host="127.0.0.1@evil.example") == (400, "malformed_request")
    body = json.dumps({"labels": ["x"]}).encode()
    rebound = {"Host": "evil.example", "Origin": "http://evil.example", "Content_Type": "application/json"}
    assert ask(strict, "PUT", "/v1/classifiers/planted", body, **rebound) == (421, "host_not_allowed")
    assert ask(strict, "GET", "/v1/classifiers/planted", Host="localhost")[0] == 404


def test_w9_a_page_of_another_site_may_not_post(strict):
    boundary = "-----x"
    form = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="labels"\r\n\r\ncat\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n'
    ).encode() + picture() + f"\r\n--{boundary}--\r\n".encode()
    simple = {"Host": "localhost:8080", "Content_Type": f"multipart/form-data; boundary={boundary}"}
    post = ("POST", "/v1/classify", form)
    assert ask(strict, *post, **simple)[0] == 200
    for origin in ["http://evil.example", "null", "http://localhost:3000", "https://localhost.evil.example"]:
        assert ask(strict, *post, Origin=origin, **simple) == (403, "origin_not_allowed"), origin
    assert ask(strict, *post, Origin="http://localhost:8080", **simple)[0] == 200
    # A proxy that puts another Host in: the browser itself says that the page is of this site.
    proxied = {"Origin": "https://app.example", "Sec_Fetch_Site": "same-origin"}
    assert ask(strict, *post, **proxied, **simple)[0] == 200
    assert ask(strict, *post, **{**proxied, "Sec_Fetch_Site": "cross-site"}, **simple)[0] == 403


def test_w9_names_can_be_allowed(start):
    listed = start("--allowed-hosts", "api.example,*.apps.example", "--cors-origin", "https://page.example")
    for host in ["api.example", "API.example.:443", "x.apps.example", "localhost", "10.1.2.3:8080"]:
        assert ask(listed, "GET", "/v1/models", Host=host)[0] == 200, host
    for host in ["apps.example", "other.example", "xapi.example"]:
        assert ask(listed, "GET", "/v1/models", Host=host) == (421, "host_not_allowed"), host
    body = json.dumps({"input": "x"}).encode()
    for origin, status in [("https://page.example", 200), ("https://api.example", 200), ("https://other.example", 403)]:
        fields = {"Host": "api.example:80", "Content_Type": "application/json", "Origin": origin}
        assert ask(listed, "POST", "/v1/embeddings", body, **fields)[0] == status, origin


@pytest.mark.parametrize("how", ["any", "keys", "address"])
def test_w9_the_check_is_off_where_it_protects_nothing(start, tmp_path, how):
    keys = key_file(tmp_path / "keys", "a-key-of-sixteen-bytes-or-more")
    options = {"any": ["--allowed-hosts", "*"], "keys": ["--api-keys-file", keys], "address": ["--host", "0.0.0.0"]}
    open_to_all = start(*options[how], env={"LIMOE_ALLOWED_HOSTS": None})
    fields = {"Host": "evil.example", "Authorization": "Bearer a-key-of-sixteen-bytes-or-more"}
    assert ask(open_to_all, "GET", "/v1/models", **fields)[0] == 200
    assert ask(open_to_all, "GET", "/health", Host="10.0.0.7:8080")[0] == 200


def test_w9_a_list_that_is_none_stops_the_start():
    for given in ["http://api.example", "api.example:80", "a b;c", "*x", ""]:
        command = [BUILD / "limoe", "serve", "--port", "0", "--model", MODEL, "--allowed-hosts", given]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode != 0 and "allowed-hosts" in ended.stderr, (given, ended)


# ---- the log

EVIL = [
    ("GE\x1b[2JT", "/v1/x"),
    ("G\x9bT", "/v1/x"),
    ("GET", "/a%20200%20items=1%20request_id=forged"),
    ("GET", "/%1b%5b31m%0a2026-01-01T00:00:00.000Z%20fatal%20forged"),
    ("GET", "/%c2%9b2J%e2%80%ae%e2%80%8b%ef%bb%bf%f3%a0%80%a1"),
    ("GET", "/%ff%22%5c%22"),
    ("GET", "/=%3d%22%5c"),
]
FIELDS = "items received sent queue_ms inference_ms total_ms client request_id trace_id span_id".split()


def send_evil(server):
    for i, (method, path) in enumerate(EVIL):
        with server.connect() as connection:
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: evil-{i}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode("latin-1"))
            while connection.recv(65536):
                pass


def evil_lines(server):
    return [line for line in server.log if "evil-" in line]


HIDDEN = re.compile("[\x00-\x1f\x7f-\xa0\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffd\U000e0000-\U000e0fff]")


def test_w10_a_line_of_text_cannot_be_forged(start):
    server = start("--log-level", "debug")
    send_evil(server)
    wait_until(lambda: any("evil-6" in line for line in server.log))
    lines = [line for line in evil_lines(server) if "request_id=evil" in line and "items=" in line]
    assert len(lines) >= 5
    for line in server.log:
        assert not HIDDEN.search(line), ascii(line)
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (error|warning|info|debug) ", line), ascii(line)
        assert not line.startswith("2026-01-01T00:00:00.000Z fatal"), ascii(line)
    for line in lines:
        lexer = shlex.shlex(line, posix=True)
        lexer.whitespace_split, lexer.commenters, lexer.escapedquotes = True, "", '"'
        words = list(lexer)
        assert len(words) == 5 + len(FIELDS), words
        assert [word.split("=")[0] for word in words[5:]] == FIELDS
        assert re.fullmatch(r"\d{3}", words[4]) and words[5] == "items=0"


def test_w10_nor_one_of_json(start):
    server = start("--log-format", "json", "--log-level", "debug")
    send_evil(server)
    wait_until(lambda: any("evil-6" in line for line in server.log))
    for line in server.log:
        assert not HIDDEN.search(line.replace("\ufffd", "")), ascii(line)
        json.loads(line)
    paths = [json.loads(line)["path"] for line in evil_lines(server)]
    assert "/a 200 items=1 request_id=forged" in paths and "/\x9b2J\u202e\u200b\ufeff\U000e0021" in paths
