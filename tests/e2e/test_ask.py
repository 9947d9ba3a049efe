"""Protects POST /v1/ask: a language model is asked by what is seen of a picture, and whatever its server does, or does not do, the
client gets an answer or an error that says so, no worker waits, nothing leaks, and nobody else notices.

The language model is a stand-in (llm.py).
"""

import concurrent.futures
import gzip
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import httpx
import llm
import pytest
from conftest import BUILD, MODEL, ROOT, Server, b64, key_file, stop_cleanly, wait_until
from llm import Llm

IMAGE = b64((ROOT / "examples/cat.png").read_bytes())
WORDS = ["cat", "dog", "house", "red"]
SEEN = {"tags": {"vocabulary": "words", "threshold": -1, "k": 2}, "attributes": {"k": 0}}
QUESTION = "What animal is it?"


def ask(client, question=QUESTION, headers=None, **fields):
    return client.post("/v1/ask", json={"image": IMAGE, "question": question, **SEEN, **fields}, headers=headers)


def refused(response, status, code, text=""):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code and text in error["message"], error


def outcome(server, name):
    return server.metric(f'limoe_upstream_requests_total{{outcome="{name}"}}')


def put_words(server):
    with server.client() as client:
        assert client.put("/v1/classifiers/words", json={"labels": WORDS}).status_code == 200


@pytest.fixture(scope="module")
def pair():
    model = Llm()
    proxy = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
    server = Server(*model.options(), env={"http_proxy": url, "HTTP_PROXY": url, "ALL_PROXY": url})
    put_words(server)
    yield server, model
    stop_cleanly(server)
    model.close()
    proxy.settimeout(0.01)
    with pytest.raises(TimeoutError):
        proxy.accept()
    proxy.close()


@pytest.fixture
def asked(pair):
    """A server, and the model that it asks, which answers as usual."""
    server, model = pair
    model.begin_anew()
    return server, model


@pytest.fixture
def client(pair):
    with pair[0].client() as client:
        yield client


# ---- what is asked and answered


def test_without_a_language_model(server):
    with server.client() as client:
        refused(client.post("/v1/ask", json={}), 501, "no_language_model", "--llm-url")
    assert server.children("relay") == []


@pytest.mark.parametrize("style", llm.STYLES)
def test_a_question_is_answered(asked, client, style):
    _, model = asked
    model.style = style
    prompt = {"question": QUESTION}
    described = client.post("/v1/describe", json={"image": IMAGE, **SEEN, "prompt": prompt}).json()
    answer = ask(client).json()
    took = answer["upstream"].pop("ms")
    assert answer == {
        "object": "answer",
        "model": "pictograms",
        "answer": "A cat.",
        "prompt": described["data"][0]["prompt"],
        "upstream": {"model": "smol", "tokens": {"prompt": 31, "completion": 2}, "finish_reason": "stop"},
        "usage": described["usage"],
    }
    assert 0 < took < 60000
    ((path, sent),) = model.requests
    message = {"role": "user", "content": answer["prompt"]}
    assert (path, sent) == ("/v1/chat/completions", {"model": "smol", "messages": [message], "max_tokens": 256, "temperature": 0})
    (head,) = model.heads
    assert set(head) == {"host", "user-agent", "accept", "content-type", "content-length"}


def test_choices(asked, client):
    _, model = asked
    model.content = "\n It's a DOG, surely\n"
    answer = ask(client, choices=["cat", "dog"], max_tokens=5, mode="all").json()
    assert answer["answer"] == "It's a DOG, surely" and answer["chosen"] == "dog"
    assert answer["prompt"].endswith(f"\nQuestion:{QUESTION} Answer with one of: cat, dog.\nShort Answer:")
    ((_, sent),) = model.requests
    assert sent["max_tokens"] == 5 and "grammar" not in sent
    model.content = "A bird."
    assert ask(client, choices=["cat", "dog"]).json()["chosen"] is None


def test_an_answer_may_say_nothing_of_itself(asked, client):
    _, model = asked
    model.answers = [llm.whole({"choices": [{"message": {"content": None}}]})]
    answer = ask(client).json()
    assert answer["answer"] == "" and {**answer["upstream"], "ms": 0} == {"model": None, "ms": 0, "tokens": None, "finish_reason": None}


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"question": None}, "missing_field", "question"),
        ({"image": None}, "missing_image", "image"),
        ({"choices": []}, "empty_labels", "choices"),
        ({"choices": ["a", " "]}, "empty_labels", "choices[1]"),
        ({"choices": ["a"] * 101}, "too_many_items", "choices"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"mode": "hm"}, "invalid_value", "mode"),
        ({"tags": {"k": 51}}, "invalid_value", "tags.k"),
        ({"mode": "vqa", "ocr": "a"}, "conflicting_fields", "ocr"),
        ({"llm_url": "http://127.0.0.1/"}, "unknown_field", "llm_url"),
        ({"url": "http://127.0.0.1/"}, "unknown_field", "url"),
    ],
)
def test_refusals(asked, client, fields, code, param):
    response = ask(client, **fields)
    refused(response, 400, code)
    assert response.json()["error"]["param"] == param and asked[1].requests == []


# ---- the server of the language model fails

PACKED = gzip.compress(b"{}")
FAILURES = {
    "500": (llm.whole({"error": {"message": "out of\nmemory"}}, 500), 502, "upstream_error", "answers 500: out of?memory"),
    "500 of Ollama": (llm.whole({"error": "no such model"}, 500), 502, "upstream_error", "answers 500: no such model"),
    "500 of a proxy": (llm.whole(b"<html>secret</html>", 500), 502, "upstream_error", "answers 500"),
    "401": (llm.whole({"error": {"message": "wrong key sk-12"}}, 401), 502, "upstream_error", "answers 401"),
    "404": (llm.whole({"message": "a"}, 404), 502, "upstream_error", "answers 404: a"),
    "400": (llm.whole({"error": {"message": "the context is 10 tokens"}}, 400), 400, "upstream_refused", "the context is 10 tokens"),
    "429": (llm.whole({}, 429), 429, "upstream_busy", "answers 429"),
    "204": (llm.head(204), 502, "upstream_error", "answers 204"),
    "redirect": (llm.whole(b"", 307, ["Location: http://127.0.0.1:1/"]), 502, "upstream_error", "no redirect is followed"),
    "compressed": (llm.whole(PACKED, 200, ["Content-Encoding: gzip"]), 502, "upstream_invalid", "Content-Encoding"),
    "nothing": (llm.whole(b""), 502, "upstream_invalid", "with nothing"),
    "garbage": (llm.whole(b"\xff\x00garbage"), 502, "upstream_invalid", "no JSON"),
    "another form": (llm.whole({"answer": "a"}), 502, "upstream_invalid", "no choices"),
    "no choice": (llm.whole({"choices": []}), 502, "upstream_invalid", "no choices"),
    "a number": (llm.whole({"choices": [{"message": {"content": 5}}]}), 502, "upstream_invalid", "no text"),
    "deep": (llm.whole(b"[" * 100000), 502, "upstream_invalid", "no JSON"),
    "not HTTP": (b"220 mail.example ESMTP\r\n\r\n", 502, "upstream_invalid", "HTTP/1.1"),
    "hung up": (llm.hang_up, 502, "upstream_unreachable", "cannot be reached"),
    "cut off": (llm.cut_off, 502, "upstream_unreachable", "breaks its answer off"),
    "endless": (llm.endless_body, 502, "upstream_invalid", "more than 1048576 bytes"),
    "endless head": (llm.endless_head, 502, "upstream_invalid", "head"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(asked, client, name):
    server, model = asked
    answer, status, code, text = FAILURES[name]
    model.answers = [answer]
    response = ask(client)
    refused(response, status, code, text)
    assert "sk-12" not in response.text and "secret" not in response.text
    assert ("retry-after" in response.headers) == (status == 429)
    model.answers = []
    assert ask(client).status_code == 200
    assert server.metric("limoe_upstream_restarts_total") == 0


def test_nothing_is_left_over(asked, client):
    """After all of these."""
    server, model = asked
    counts = [outcome(server, name) for name in ("done", "error", "invalid", "late", "unreachable", "lost", "given_up")]
    assert sum(counts) == server.metric("limoe_upstream_duration_seconds_count") and counts[0] > 0
    wait_until(lambda: server.metric("limoe_queue_bytes") == server.metric("limoe_queue_depth") == 0)
    wait_until(lambda: model.open <= 4)  # connections that are kept


# ---- it is slow, or not there


def test_a_slow_model_holds_nobody_up(start):
    """As many wait as may, with one worker: one more is told so, and all else goes on meanwhile."""
    model, let_go = Llm(), threading.Event()

    def late(connection):
        let_go.wait(60)
        connection.sendall(llm.whole(llm.chat("vllm", "smol", "late")))

    server = start(*model.options("--llm-timeout", "3", "--llm-requests", "2", "--workers", "1", "--llm-bytes", "1024"))
    put_words(server)
    with concurrent.futures.ThreadPoolExecutor(11) as pool, server.client() as client:
        assert ask(client).status_code == 200  # what descriptions are held against is there now
        model.requests.clear()
        model.answers = [late]
        asking = [pool.submit(ask, client) for _ in range(11)]
        wait_until(lambda: any(one.done() for one in asking))
        assert client.post("/v1/embeddings", json={"input": "a text"}).status_code == 200
        assert client.get("/readyz").status_code == 200
        assert len(model.requests) == 2
        let_go.set()
        answers = sorted((one.result() for one in asking), key=lambda one: one.status_code)
        assert [one.json()["answer"] for one in answers[:10]] == ["late"] * 10
        refused(answers[10], 429, "upstream_busy", "again in 1 s")
        model.answers = [llm.hold, llm.trickle]
        for one in [pool.submit(ask, client) for _ in range(2)]:
            refused(one.result(), 504, "upstream_timeout", "--llm-timeout")
        assert outcome(server, "late") == 2
        model.answers = [llm.whole(b" " * 1025)]
        refused(ask(client), 502, "upstream_invalid", "more than 1024 bytes")
        model.close()
        wait_until(lambda: model.open == 0)
        refused(ask(client), 502, "upstream_unreachable")
        assert client.get("/readyz").status_code == 200
        wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


def test_who_does_not_wait_ends_the_request(asked, client):
    server, model = asked
    model.answers = [llm.hold]
    before = outcome(server, "given_up")
    refused(ask(client, headers={"X-Request-Timeout-Ms": "300"}), 504, "deadline_exceeded")
    with pytest.raises(httpx.ReadTimeout), server.client() as leaving:
        leaving.timeout = 0.3
        ask(leaving)
    wait_until(lambda: outcome(server, "given_up") == before + 2)
    wait_until(lambda: model.open <= 4)


def test_a_relay_that_is_lost_takes_no_question_along(asked):
    server, model = asked
    let_go = threading.Event()

    def late(connection):
        let_go.wait(60)
        connection.sendall(llm.whole(llm.chat("vllm", "smol", "late")))

    model.answers = [llm.hold, late]
    before = server.metric("limoe_upstream_restarts_total")
    with concurrent.futures.ThreadPoolExecutor(1) as pool, server.client() as client:
        asking = pool.submit(ask, client)
        wait_until(lambda: len(model.requests) == 1)
        os.kill(server.children("relay")[0], signal.SIGKILL)
        wait_until(lambda: len(model.requests) == 2)
        let_go.set()
        assert asking.result().json()["answer"] == "late"
        model.answers = [llm.hold]
        asking = pool.submit(ask, client)
        for n in (3, 4):
            wait_until(lambda n=n: len(model.requests) == n)
            os.kill(server.children("relay")[0], signal.SIGKILL)
        refused(asking.result(), 502, "upstream_lost", "lost twice")
    assert server.metric("limoe_upstream_restarts_total") == before + 3
    assert server.metric('limoe_process_resident_memory_bytes{process="relay"}') >= 0
    wait_until(lambda: server.children("relay"))


# ---- the answer comes as it is written


def streamed(client, **fields):
    """What is sent: events' data, JSON but for the last of a stream that has its end."""
    with client.stream("POST", "/v1/ask", json={"image": IMAGE, "question": QUESTION, **SEEN, "stream": True, **fields}) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"] == "text/event-stream", answer.read()
        data = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    return [json.loads(one) if one != "[DONE]" else one for one in data]


def delta(text):
    return {"object": "answer.delta", "text": text}


@pytest.mark.parametrize("style", llm.STYLES)
def test_a_streamed_answer(asked, client, style):
    _, model = asked
    model.answers = [llm.stream(llm.events(style, "smol", [" A", " 犬", " or a Dog.\n"], usage=True))]
    *deltas, answer, done = streamed(client, choices=["cat", "dog"])
    ((_, sent),) = model.requests
    assert sent.pop("stream") is True and sent.pop("stream_options") == {"include_usage": True}
    assert deltas == [delta(" A"), delta(" 犬"), delta(" or a Dog.\n")] and done == "[DONE]"
    model.answers = [llm.whole(llm.chat(style, "smol", " A 犬 or a Dog.\n"))]
    whole = ask(client, choices=["cat", "dog"], stream=False).json()
    assert whole["chosen"] == "dog" and sent == model.requests[1][1]
    for one in (answer, whole):
        assert one["upstream"].pop("ms") > 0
    assert answer == whole


def test_a_streamed_answer_of_much_that_is_no_text(asked, client):
    """More than what may be on its way at a time: what is not passed on counts as taken."""
    server, model = asked
    event = b'data: {"choices":[{"delta":{"content":"a"}}],"x":"%s"}\n\n' % (b"x" * 8000)
    nothing = b'data: {"choices":[],"x":"%s"}\n\n' % (b"x" * 8000)
    model.answers = [llm.stream([event, nothing] * 50)]
    *deltas, answer, done = streamed(client)
    assert deltas == [delta("a")] * 50 and answer["answer"] == "a" * 50 and done == "[DONE]"
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b'{"object":"other"}', "upstream_invalid", "no choices"),
        (b'{"choices":[{"delta":{"content":5}}]}', "upstream_invalid", "no text"),
        (b'{"error":{"message":"out of memory"}}', "upstream_error", "out of memory"),
    ],
)
def test_a_streamed_answer_that_goes_wrong(asked, client, data, code, text):
    """After its first words it has an event that says why it ends; before them the status does."""
    server, model = asked
    odd = llm.chunk(b"data: " + data + b"\n\n")

    def begun(connection):
        connection.sendall(llm.stream_head() + llm.chunk(b'data: {"choices":[{"delta":{"content":"A"}}]}\n\n'))
        time.sleep(0.1)
        connection.sendall(odd)
        llm.hold(connection)

    def not_begun(connection):
        connection.sendall(llm.stream_head() + odd)
        llm.hold(connection)

    model.answers = [begun]
    first, last = streamed(client)
    assert first == delta("A") and last["error"]["code"] == code and text in last["error"]["message"]
    model.answers = [not_begun]
    refused(ask(client, stream=True), 502, code, text)
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)
    wait_until(lambda: model.open <= 4)


# ---- how it is told


@pytest.fixture
def certificate(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    paths = tmp_path / "chain.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=llm", "-addext", "subjectAltName=IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    return paths


def test_keys_tls_completions_and_grammars(start, tmp_path, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    model = Llm("llama.cpp", "cat", context)
    key = key_file(tmp_path / "key", "sk-0123456789")
    options = ["--llm-certificate", certificate[0], "--llm-key-file", key, "--llm-endpoint", "completions", "--llm-choices", "grammar"]
    server = start(*model.options(*options))
    put_words(server)
    with server.client() as client:
        answer = ask(client, choices=["cat", 'a "dog"']).json()
    assert answer["answer"] == answer["chosen"] == "cat"
    ((path, sent),) = model.requests
    assert path == "/v1/completions" and sent["prompt"] == answer["prompt"] and "messages" not in sent
    assert sent["grammar"] == 'root ::= "cat" | "a \\"dog\\""'
    assert model.heads[0]["authorization"] == "bearer sk-0123456789"
    model.answers = [llm.stream(llm.completion_events("smol", ["c", "at"]))]
    with server.client() as client:
        *deltas, streamed_answer, done = streamed(client, choices=["cat", 'a "dog"'])
    assert deltas == [delta("c"), delta("at")] and done == "[DONE]"
    for one in (answer, streamed_answer):
        assert one["upstream"].pop("ms") > 0
    assert streamed_answer == answer
    relay = pathlib.Path(f"/proc/{server.children('relay')[0]}")
    assert b"sk-01" not in (relay / "cmdline").read_bytes() + (relay / "environ").read_bytes()
    assert not [line for line in server.log if "sk-01" in line]
    strange = start(*model.options())
    put_words(strange)
    with strange.client() as client:
        refused(ask(client), 502, "upstream_unreachable", "certificate")
    model.close()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--llm-url", "http://a/v1"], "llm-model is not"),
        (["--llm-model", "a"], "llm-model is set and llm-url is not"),
        (["--llm-key-file", "a"], "llm-key-file is set and llm-url is not"),
        (["--llm-url", "ftp://a/v1", "--llm-model", "a"], 'llm-url: the URL begins with "ftp:"'),
        (["--llm-url", "http://a:b@c/v1", "--llm-model", "a"], "user name"),
        (["--llm-url", "http://a/v1?b", "--llm-model", "a"], "query"),
        (["--llm-url", "http://a/v1", "--llm-model", "a", "--llm-choices", "b"], "llm-choices"),
    ],
)
def test_options_that_do_not_fit(options, text):
    done = subprocess.run([BUILD / "limoe", "serve", *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and text in done.stderr


@pytest.mark.parametrize("content", [None, "", "a b\n", "a" * 5000])
def test_a_key_file_that_has_no_key(tmp_path, content):
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    options = ["--port", "0", "--llm-url", "http://a/v1", "--llm-model", "a", "--llm-key-file", path]
    command = [BUILD / "limoe", "serve", "--model", MODEL, *options, "--state-dir", tmp_path / "state"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "llm-key-file" in done.stderr and "aaaa" not in done.stderr
