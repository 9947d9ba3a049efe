"""Pictures by their URLs: what is fetched is the picture, and nothing is reached that the operator has not allowed.

What must not be reached is a socket that counts who connects; the server's own count of opened sockets must agree.
"""

import gzip
import json
import os
import signal
import socket
import subprocess
import threading
import time

import httpx
import pytest
from conftest import BUILD, Server, b64, data_uri, picture, stop_cleanly, wait_until

PICTURE = picture(3)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"


class Host:
    """A web server on a loopback address whose answers are bytes, or functions that are given the connection."""

    def __init__(self, answers=None, address="127.0.0.1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.create_server((address, 0), family=family)
        self.port = self.socket.getsockname()[1]
        self.answers = answers or {}
        self.heads, self.closed = [], 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.heads.append(b"")
            threading.Thread(target=self.answer, args=(connection, len(self.heads) - 1), daemon=True).start()

    def answer(self, connection, index):
        with connection:
            try:
                while b"\r\n\r\n" not in self.heads[index]:
                    more = connection.recv(4096)
                    if not more:
                        return
                    self.heads[index] += more
                answer = self.answers.get(self.heads[index].split()[1].decode(), OK % len(PICTURE) + PICTURE)
                if callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)
            except OSError:
                pass
            finally:
                self.closed += 1

    def url(self, path="/a.png", host="127.0.0.1"):
        return f"http://{host}:{self.port}{path}"

    def close(self):
        self.socket.close()


@pytest.fixture
def host():
    running = Host()
    yield running
    running.close()


def hold(connection):
    """Answers nothing until the other side lets go."""
    connection.settimeout(60)
    connection.recv(1)


def trickle(connection):
    connection.sendall(OK % len(PICTURE))
    for byte in PICTURE:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def endless_body(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1000\r\n" + b"a" * 0x1000 + b"\r\n")


def endless_head(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"A: " + b"a" * 1000 + b"\r\n")


def fetching(start, *hosts, options=("--image-networks", "127.0.0.0/8")):
    return start("--image-hosts", ",".join(hosts), *options)


def embed(client, *pictures, **options):
    return client.post("/v1/embeddings", json={"input": [{"image": one} for one in pictures]}, **options)


def refused(response, status, code, text):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code and text in error["message"], error
    return error


def outcome(server, name):
    return server.metric(f'limoe_fetch_pictures_total{{outcome="{name}"}}')


# ---- what is fetched


def test_a_fetched_picture_is_the_picture(start, host):
    server = fetching(start, f"http://127.0.0.1:{host.port}")
    with server.client() as client:
        expected = embed(client, data_uri(PICTURE)).json()["data"][0]["embedding"]
        items = [{"image": host.url()}, {"url": f" {host.url()}\n"}, {"type": "image_url", "image_url": {"url": host.url("?a=b#c")}}]
        answer = client.post("/v1/embeddings", json={"input": ["a text", *items, {"image": data_uri(PICTURE)}]}).json()
        assert [item["embedding"] for item in answer["data"][1:]] == [expected] * 4
        bodies = [{"image": image, "labels": ["cat", "dog"]} for image in (data_uri(PICTURE), host.url())]
        named, fetched = (client.post("/v1/classify", json=body).content for body in bodies)
        assert named == fetched
        bodies = [{"image": image, "texts": ["a cat"], "format": "png"} for image in (data_uri(PICTURE), host.url())]
        drawn, fetched = (client.post("/v1/attention", json=body) for body in bodies)
        assert drawn.content == fetched.content and drawn.status_code == 200
    assert len(host.heads) == server.metric("limoe_fetch_sockets_total") == outcome(server, "done") == 5
    assert server.metric("limoe_fetch_bytes_total") == 5 * len(PICTURE)
    assert sorted(head.split()[1] for head in host.heads) == [b"/?a=b", *[b"/a.png"] * 4]
    for head in host.heads:
        names = {line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line}
        assert names == {b"host", b"user-agent", b"accept"}


def test_dialects_take_urls(start, host):
    """Roboflow's client sends a URL as an object, vLLM's rerank gives the document back as it came."""
    server = fetching(start, f"http://127.0.0.1:{host.port}")
    with server.client() as client:
        bodies = [{"image": image} for image in ({"type": "base64", "value": b64(PICTURE)}, {"type": "url", "value": host.url()})]
        sent, fetched = (client.post("/clip/embed_image", json=body).json()["embeddings"] for body in bodies)
        assert sent == fetched and len(host.heads) == 1
        body = {"query": "cat", "documents": ["dog", {"image": host.url()}], "return_documents": True}
        results = client.post("/v1/rerank", json=body).json()["results"]
        assert [one["document"] for one in results if one["index"] == 1] == [{"image": host.url()}]
        body = {"inputs": host.url(), "parameters": {"candidate_labels": ["cat", "dog"]}}
        answer = client.post("/hf", json=body)
        assert answer.status_code == 200, answer.text
    assert len(host.heads) == outcome(server, "done") == 3


def test_lines_take_urls(start, host):
    """Each line is a request by itself: what one names and does not get is its own error."""
    host.answers = {"/404": b"HTTP/1.1 404 A\r\nContent-Length: 0\r\n\r\n"}
    server = fetching(start, f"http://127.0.0.1:{host.port}")
    pictures = [data_uri(PICTURE), host.url(), host.url("/404"), "http://127.0.0.1:1/", host.url("/b.png")] * 8
    body = "\n".join(json.dumps({"input": [{"image": one}]}) for one in pictures)
    with server.client() as client:
        answer = client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/x-ndjson"})
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert [line.get("error", {}).get("code") for line in lines] == [None, None, "image_url_failed", "image_url_refused", None] * 8
    assert all(line["data"] == lines[0]["data"] for line in lines if "data" in line)
    assert len(host.heads) == 24 and outcome(server, "done") == 16
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


def test_a_text_that_is_a_url_stays_a_text(start, host):
    server = fetching(start, f"http://127.0.0.1:{host.port}")
    with server.client() as client:
        assert client.post("/v1/embeddings", json={"input": host.url()}).status_code == 200
    assert host.heads == []


def test_nothing_is_fetched_by_default(server, host):
    with server.client() as client:
        refused(embed(client, host.url()), 400, "invalid_image", "pictures are not fetched from the network")
        body = {"image": {"type": "url", "value": host.url()}}
        assert "pictures are not fetched from the network" in client.post("/clip/embed_image", json=body).json()["message"]
    assert host.heads == [] and server.children("fetcher") == []


def test_the_lists_are_checked_at_the_start():
    for options, text in ((["--image-networks", "127.0.0.0/8"], "image-hosts is not"),
                          (["--image-hosts", "a b"], 'image-hosts has "a b"'),
                          (["--image-hosts", "a", "--image-networks", "127.0.0.1/8"], "image-networks has")):
        done = subprocess.run([BUILD / "limoe", "serve", *options], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and text in done.stderr


# ---- what is not


def has_six():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_addresses_that_are_not_public_are_not_reached(start, host):
    """Each host is one that the operator names: it is the address that is refused."""
    hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
             "0.0.0.0", "[::]", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "168.63.129.16",
             "[fe80::1]", "[fd00:ec2::254]", "224.0.0.1", "255.255.255.255"]
    hosts = [name for name in hosts if has_six() or "[" not in name]
    server = fetching(start, *(f"http://{name}:{host.port}" for name in hosts), options=())
    with server.client() as client:
        for name in hosts:
            error = refused(embed(client, host.url(host=name)), 400, "image_url_refused", "accepted: addresses of the public Internet")
            assert error["param"] == "input[0].image"
    assert host.heads == [] and server.metric("limoe_fetch_sockets_total") == 0
    assert outcome(server, "refused") == len(hosts)


def test_a_network_allows_itself_alone(start):
    """localhost is ::1 and 127.0.0.1, or either: only what the network has is connected to."""
    if not has_six():
        pytest.skip("there is no IPv6 here")
    six = Host(address="::1")
    server = fetching(start, f"http://[::1]:{six.port}", f"http://localhost:{six.port}")
    with server.client() as client:
        refused(embed(client, six.url(host="[::1]")), 400, "image_url_refused", "a loopback address")
        assert embed(client, six.url(host="localhost")).status_code == 400
    assert six.heads == []
    six.close()


@pytest.mark.parametrize("url", [
    "http://2130706433:{port}/a.png", "http://0x7f000001:{port}/a.png", "http://0177.0.0.1:{port}/a.png", "http://127.1:{port}/a.png",
    "http://a@127.0.0.1:{port}/a.png", "http://127.0.0.1:{port}@b/", "http://b\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port} /", "http:/127.0.0.1:{port}/", "http:127.0.0.1", "http://", "http://127.0.0.1:0{port}/",
    "http://%31%32%37.0.0.1:{port}/", "http://①②⑦.0.0.1:{port}/", "https://127.0.0.1:{port}/", "http://127.0.0.2:{port}/", "http://127.0.0.1/",
])
def test_urls_that_are_not_the_hosts(fetcher_of_one, url):
    server, host = fetcher_of_one
    before = len(host.heads)
    sockets = server.metric("limoe_fetch_sockets_total")
    with server.client() as client:
        refused(embed(client, url.format(port=host.port)), 400, "image_url_refused", "")
    assert len(host.heads) == before and server.metric("limoe_fetch_sockets_total") == sockets


@pytest.fixture(scope="module")
def fetcher_of_one():
    host = Host()
    server = Server("--image-hosts", f"http://127.0.0.1:{host.port}", "--image-networks", "127.0.0.0/8")
    yield server, host
    stop_cleanly(server)
    host.close()


def test_the_host_itself_may_be_written_in_more_than_one_way(fetcher_of_one):
    """So that the URLs above are known to be refused for what they are."""
    server, host = fetcher_of_one
    before = len(host.heads)
    with server.client() as client:
        for url in ("http://127.0.0.1:{}/a.png", "HTTP://127.0.0.1.:{}", "http://127.0.0.1:{}?a@b", "http://127.0.0.1:{}/%2e#@c"):
            assert embed(client, url.format(host.port)).status_code == 200
    assert len(host.heads) == before + 4


def test_other_schemes_are_no_urls(fetcher_of_one):
    server, host = fetcher_of_one
    before = len(host.heads)
    with server.client() as client:
        for scheme in ("file:///etc/passwd", "ftp://127.0.0.1:{}/", "gopher://127.0.0.1:{}/", "dict://127.0.0.1:{}/", "//127.0.0.1:{}/"):
            refused(embed(client, scheme.format(host.port)), 400, "invalid_image", "")
    assert len(host.heads) == before


def test_no_redirect_is_followed(start, host):
    other = Host()
    host.answers = {f"/{code}": b"HTTP/1.1 %d A\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (code, other.url().encode())
                    for code in (301, 302, 303, 307, 308)}
    server = fetching(start, f"http://127.0.0.1:{host.port}", f"http://127.0.0.1:{other.port}")
    with server.client() as client:
        for path in host.answers:
            refused(embed(client, host.url(path)), 400, "image_url_failed", "no redirect is followed")
    assert len(host.heads) == server.metric("limoe_fetch_sockets_total") == 5
    assert other.heads == []
    other.close()


def test_answers_are_bounded(start, host):
    small = gzip.compress(b"\0" * (1 << 20))
    host.answers = {
        "/huge": OK % (1 << 40), "/endless": endless_body, "/head": endless_head, "/slow": trickle, "/silent": hold,
        "/404": b"HTTP/1.1 404 A\r\nContent-Length: 0\r\n\r\n", "/empty": OK % 0, "/short": OK % 10,
        "/gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(small), small),
    }
    server = fetching(start, f"http://127.0.0.1:{host.port}",
                      options=("--image-networks", "127.0.0.0/8", "--image-bytes", "64KiB", "--image-timeout", "1"))
    held = server.metric("limoe_queue_bytes")
    with server.client() as client:
        began = time.monotonic()
        refused(embed(client, host.url("/huge")), 413, "too_large", "more than 65536 bytes")
        refused(embed(client, host.url("/endless")), 413, "too_large", "more than 65536 bytes")
        refused(embed(client, host.url("/head")), 400, "image_url_failed", "head")
        refused(embed(client, host.url("/404")), 400, "image_url_failed", "answers 404")
        refused(embed(client, host.url("/empty")), 400, "image_url_failed", "nothing")
        refused(embed(client, host.url("/short")), 400, "image_url_failed", "cannot be fetched")
        assert embed(client, host.url("/gzip")).json()["error"]["code"] in ("bad_image", "unsupported")  # and not unpacked
        refused(embed(client, host.url("/slow")), 400, "image_url_failed", "in time")
        refused(embed(client, host.url("/silent")), 400, "image_url_failed", "in time")
        assert time.monotonic() - began > 2  # the last two waited
        assert embed(client, host.url()).status_code == 200
        refused(embed(client, *[host.url()] * 17), 400, "too_many_urls", "17 pictures")
    assert server.metric("limoe_fetch_restarts_total") == 0
    wait_until(lambda: server.metric("limoe_queue_bytes") <= held)


# ---- who waits


def later(event):
    """The picture, once the event has happened."""

    def answer(connection):
        event.wait(60)
        connection.sendall(OK % len(PICTURE) + PICTURE)

    return answer


def test_nobody_else_waits(start, host):
    """More requests wait for a slow host than there are threads, and others are answered meanwhile."""
    let_go = threading.Event()
    host.answers = {"/late": later(let_go)}
    server = fetching(start, f"http://127.0.0.1:{host.port}",
                      options=("--image-networks", "127.0.0.0/8", "--workers", "1", "--image-timeout", "60", "--image-fetches", "4"))
    answers = []

    def ask():
        with server.client() as client:
            answers.append(embed(client, host.url("/late")))

    waiting = [threading.Thread(target=ask) for _ in range(6)]
    for thread in waiting:
        thread.start()
    wait_until(lambda: len(host.heads) == 4)
    with server.client() as client:
        assert client.post("/v1/embeddings", json={"input": "a text"}).status_code == 200
        assert embed(client, data_uri(PICTURE)).status_code == 200
    assert answers == [] and len(host.heads) == 4
    let_go.set()
    for thread in waiting:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 6 and len(host.heads) == 6


def test_a_deadline_ends_the_fetch(start, host):
    host.answers = {"/silent": hold}
    server = fetching(start, f"http://127.0.0.1:{host.port}", options=("--image-networks", "127.0.0.0/8", "--image-timeout", "60"))
    with server.client() as client:
        refused(embed(client, host.url("/silent"), headers={"X-Request-Timeout-Ms": "500"}), 504, "deadline_exceeded", "")
    assert outcome(server, "given_up") == 1
    wait_until(lambda: host.closed == len(host.heads))


def test_a_client_that_leaves_ends_the_fetch(start, host):
    host.answers = {"/silent": hold}
    server = fetching(start, f"http://127.0.0.1:{host.port}", options=("--image-networks", "127.0.0.0/8", "--image-timeout", "60"))
    with pytest.raises(httpx.ReadTimeout), server.client() as client:
        wait = threading.Thread(target=lambda: wait_until(lambda: len(host.heads) == 1))
        wait.start()
        embed(client, host.url("/silent"), timeout=1)
    wait.join()
    wait_until(lambda: host.closed == 1, 10)
    wait_until(lambda: outcome(server, "given_up") == 1, 10)


def test_a_fetcher_that_is_lost_takes_no_picture_along(start, host):
    let_go = threading.Event()
    host.answers = {"/late": later(let_go)}
    server = fetching(start, f"http://127.0.0.1:{host.port}", options=("--image-networks", "127.0.0.0/8", "--image-timeout", "60"))
    answers = []
    with server.client() as client:
        asking = threading.Thread(target=lambda: answers.append(embed(client, host.url("/late"))))
        asking.start()
        wait_until(lambda: len(host.heads) == 1)
        (fetcher,) = server.children("fetcher")
        os.kill(fetcher, signal.SIGKILL)
        wait_until(lambda: len(host.heads) == 2)
        let_go.set()
        asking.join()
    assert answers[0].status_code == 200
    assert server.metric("limoe_fetch_restarts_total") == 1
    assert [line for line in server.log if "the fetcher was lost (killed by SIGKILL)" in line]


def test_a_picture_that_loses_two_fetchers_is_given_up(start, host):
    host.answers = {"/silent": hold}
    server = fetching(start, f"http://127.0.0.1:{host.port}", options=("--image-networks", "127.0.0.0/8", "--image-timeout", "60"))
    answers = []
    with server.client() as client:
        asking = threading.Thread(target=lambda: answers.append(embed(client, host.url("/silent"))))
        asking.start()
        for n in (1, 2):
            wait_until(lambda n=n: len(host.heads) == n)
            (fetcher,) = server.children("fetcher")
            os.kill(fetcher, signal.SIGKILL)
        asking.join()
        refused(answers[0], 500, "internal", "lost twice")
        assert embed(client, host.url()).status_code == 200
    assert outcome(server, "lost") == 1
