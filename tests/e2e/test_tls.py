"""HTTPS: what is spoken, certificates that are swapped while it is, and suspended connections under it."""

import concurrent.futures
import json
import signal
import socket
import ssl
import subprocess
import threading

import numpy as np
import pytest
from conftest import BUILD, MODEL, data_uri, picture, wait_until


def make_certificate(folder, name, days=30):
    """A self-signed certificate for 127.0.0.1: its own authority."""
    certificate, key, request = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.csr"
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    ask = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ask += ["-keyout", key, "-out", request, "-subj", f"/CN={name}"]
    sign = ["openssl", "x509", "-req", "-in", request, "-signkey", key, "-out", certificate, "-days", str(days)]
    sign += ["-extfile", extensions]
    for command in (ask, sign):
        subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
    return certificate, key


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """The files that the server is started with; what they hold is to be trusted."""
    certificate, key = make_certificate(tmp_path, "first")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate, key


@pytest.fixture
def secure(start, pair):
    return start("--tls-certificate", pair[0], "--tls-key", pair[1])


def subject(server):
    """Whose certificate a new connection is shown."""
    with server.connect() as plain, unchecked().wrap_socket(plain) as connection:
        shown = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))
    text = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=shown, capture_output=True, text=True, check=True)
    return text.stdout.rsplit("=", 1)[1].strip()


def unchecked():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_answers_are_those_of_plain_http(server, secure):
    assert secure.url.startswith("https://127.0.0.1:")
    request = {"input": ["a cat", {"image": data_uri(picture(5))}], "encoding_format": "base64"}
    with server.client() as plain, secure.client() as encrypted:
        assert encrypted.post("/v1/embeddings", json=request).json() == plain.post("/v1/embeddings", json=request).json()
        assert encrypted.get("/health").status_code == 200
    assert any("tls: certificate of CN=first, valid until 20" in line for line in secure.log)


def test_many_at_once_and_large_ones(secure):
    """Suspended and resumed, with bodies and answers of many TLS records."""
    texts = [f"a picture of number {i}" for i in range(300)]
    with secure.client() as client:
        alone = client.post("/v1/embeddings", json={"input": texts}).json()["data"]
        expected = np.array([row["embedding"] for row in alone], np.float32)

        def ask(i):
            with secure.client() as own:
                part = slice(0, 300) if i % 4 == 0 else slice(i, i + 1)
                for _ in range(3):
                    answer = own.post("/v1/embeddings", json={"input": texts[part]})
                    assert answer.status_code == 200
                    rows = np.array([row["embedding"] for row in answer.json()["data"]], np.float32)
                    assert np.array_equal(rows, expected[part])

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            list(pool.map(ask, range(64)))


def test_a_large_body_comes_in_whole(secure):
    with secure.client() as client:
        answer = client.post("/v1/embeddings", content=b" " * 20_000_000 + json.dumps({"input": "a cat"}).encode(),
                             headers={"Content-Type": "application/json"})
        assert answer.status_code == 200


def test_lines(server, secure):
    """More than are computed at a time, and an answer of many windows: suspended while they come in, and while they go out."""
    body = "".join(json.dumps({"input": f"line {i}"}) + "\n" for i in range(400))
    kind = {"Content-Type": "application/x-ndjson"}
    with server.client() as plain, secure.client() as encrypted:
        answer = encrypted.post("/v1/embeddings", content=body, headers=kind)
        assert answer.content == plain.post("/v1/embeddings", content=body, headers=kind).content
    assert answer.content.count(b'"embedding":') == 400


def test_pipelined_requests(secure):
    with secure.connect() as plain, unchecked().wrap_socket(plain) as connection:
        connection.sendall(b"GET /v1/models/1 HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.count(b"HTTP/1.1 404") == 20
    assert answer.endswith(b'{"status":"ok"}\n')


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_spoken(secure, version):
    context = unchecked()
    context.minimum_version = context.maximum_version = version
    with secure.connect() as plain, context.wrap_socket(plain) as connection:
        assert connection.version() == version.name.replace("_", ".")
        name, _, bits = connection.cipher()
        assert bits >= 128 and ("GCM" in name or "CHACHA20" in name or "CCM" in name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_are_not_spoken(secure):
    context = unchecked()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with secure.connect() as plain, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(plain)


def test_plain_http_is_not_answered(secure):
    with secure.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        try:
            assert b"HTTP/" not in connection.recv(4096)
        except ConnectionResetError:
            pass
    with secure.client() as client:
        assert client.get("/health").status_code == 200


def test_the_certificate_is_swapped_under_load(secure, pair, tmp_path):
    outcomes, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            with secure.client(verify=False) as client:  # a new connection each
                outcomes.append(client.post("/v1/embeddings", json={"input": "a cat"}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    with secure.client(verify=False) as kept:
        assert kept.get("/v1/models").status_code == 200
        for thread in threads:
            thread.start()
        for i in range(5):
            seen = len(outcomes)
            for source, target in zip(make_certificate(tmp_path, f"next-{i}"), pair):
                source.replace(target)
            secure.process.send_signal(signal.SIGHUP)
            wait_until(lambda: subject(secure) == f"next-{i}")
            wait_until(lambda: len(outcomes) > seen + 8)
        assert kept.get("/v1/models").status_code == 200  # a connection of the first certificate
        stop.set()
        for thread in threads:
            thread.join()
    assert set(outcomes) == {200}


def test_a_pair_that_does_not_match_changes_nothing(secure, pair, tmp_path):
    certificate, key = make_certificate(tmp_path, "second")
    certificate.replace(pair[0])
    secure.process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("is not that of the certificate" in line for line in secure.log))
    assert subject(secure) == "first"
    key.replace(pair[1])
    secure.process.send_signal(signal.SIGHUP)
    wait_until(lambda: subject(secure) == "second")


def test_an_expired_certificate_is_warned_of(start, tmp_path, monkeypatch):
    certificate, key = make_certificate(tmp_path, "late", days=-1)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = start("--tls-certificate", certificate, "--tls-key", key)
    assert any(" warning " in line and "expired on" in line for line in server.log)


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda c, k: c.write_text("no certificate"), "first.pem is not a chain of PEM certificates"),
        (lambda c, k: k.write_text("no key"), "first.key is not a PEM private key"),
        (lambda c, k: k.unlink(), "cannot read"),
    ],
)
def test_files_that_do_not_serve(pair, damage, said):
    damage(*pair)
    command = [BUILD / "limoe", "serve", "--port", "0", "--model", MODEL]
    command += ["--tls-certificate", pair[0], "--tls-key", pair[1]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode not in (0, 2) and said in done.stderr


def test_a_handshake_that_never_ends(start, pair):
    server = start("--tls-certificate", pair[0], "--tls-key", pair[1], "--idle-timeout", 1)
    with server.connect() as connection:
        connection.settimeout(30)
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 600
        ended = False
        for byte in hello:  # each long before the silence timeout
            try:
                connection.sendall(bytes([byte]))
                connection.settimeout(0.2)
                ended = connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                break
        assert ended


def test_who_leaves_in_the_middle_takes_nothing_along(secure):
    body = json.dumps({"input": ["text"] * 200}).encode()
    request = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    for i in range(24):
        plain = secure.connect()
        if i % 6 == 0:
            plain.close()
            continue
        connection = unchecked().wrap_socket(plain)
        connection.sendall(request[: len(request) * (i % 6) // 5])
        if i % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    wait_until(lambda: secure.metric("limoe_requests_in_flight") == 1)
    assert secure.metric("limoe_queue_depth") == 0
    assert secure.metric("limoe_queue_bytes") == 0
