"""Protects POST /v1/chat/completions: the openai client, unmodified, talks to a language model that sees what is seen of its pictures, and
all else of its request arrives as it was sent.

The language model is a stand-in (llm.py); what its server may do wrong, test_ask.py tries.
"""

import contextlib
import json
import os
import signal
import threading
import time

import httpx
import llm
import openai
import pytest
from conftest import ROOT, Server, data_uri, picture, stop_cleanly, wait_until
from llm import Llm

CAT = data_uri((ROOT / "examples/cat.png").read_bytes())
OTHER = data_uri(picture(5))


@pytest.fixture(scope="module")
def pair():
    model = Llm()
    server = Server(*model.options("--llm-bytes", "64MiB"))
    yield server, model
    stop_cleanly(server)
    model.close()


@pytest.fixture
def asked(pair):
    server, model = pair
    model.begin_anew()
    return server, model


@pytest.fixture
def ai(asked):
    with openai.OpenAI(base_url=asked[0].url + "/v1", api_key="unused", max_retries=0) as client:
        yield client


def image(url):
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def text(words):
    return {"type": "text", "text": words}


def seen(server, url):
    """What stands in the place of a picture."""
    with server.client() as client:
        answer = client.post("/v1/describe", json={"image": url, "prompt": {"question": "?"}}).json()
    return answer["data"][0]["prompt"].removesuffix(" Question: ? \n Short Answer:")


@pytest.mark.parametrize("style", llm.STYLES)
def test_pictures_give_way_to_what_is_seen(asked, ai, style):
    server, model = asked
    model.style = style
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [text("What is it?"), image(CAT)]},
        {"role": "assistant", "content": "A dog?"},
        {"role": "user", "content": [image(OTHER), image(CAT), text("Look again: 犬?")]},
    ]
    answer = ai.chat.completions.create(model="pictograms", messages=messages, temperature=0.5, max_tokens=9, seed=2**60 + 1, stop=["\n"])
    assert answer.choices[0].message.content == "A cat." and answer.model == "smol" and answer.usage.total_tokens == 33
    cat, other = seen(server, CAT), seen(server, OTHER)
    assert cat.startswith("Tags: ") and cat.endswith(" Captions: .") and cat != other
    ((path, sent),) = model.requests
    assert path == "/v1/chat/completions" and sent == {
        "model": "smol",
        "messages": [
            messages[0],
            {"role": "user", "content": f"What is it?\n{cat}"},
            messages[2],
            {"role": "user", "content": f"{other}\n{cat}\nLook again: 犬?"},
        ],
        "temperature": 0.5, "max_tokens": 9, "seed": 2**60 + 1, "stop": ["\n"],
    }  # fmt: skip


def test_the_answer_is_passed_on_byte_for_byte(asked):
    server, model = asked
    body = b'{"choices" : [{"message":{"content":null,"tool_calls":[{"id":"\\u00e9"}]}}],\n"x":1.50}'
    model.answers = [llm.whole(body)]
    with server.client() as client:
        answer = client.post("/chat/completions", json={"messages": [{"role": "user", "content": "hi"}], "tools": [{"a": {}}]})
    assert answer.content == body and answer.headers["content-type"] == "application/json"
    assert model.requests[0][1] == {"model": "smol", "messages": [{"role": "user", "content": "hi"}], "tools": [{"a": {}}]}


def test_the_language_model_goes_by_its_name(asked, ai):
    messages = [{"role": "user", "content": [image(CAT)]}]
    assert ai.chat.completions.create(model="smol", messages=messages).choices[0].message.content == "A cat."
    with pytest.raises(openai.NotFoundError, match="pictograms"):
        ai.chat.completions.create(model="gpt", messages=messages)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (image("http://127.0.0.1:1/a.png"), "invalid_image"),
        (image("data:image/png;base64,"), "invalid_image"),
        (image(data_uri(b"no picture")), "bad_image"),
        ({"type": "video_url", "video_url": {"url": "http://127.0.0.1:1/"}}, "unsupported_value"),
        ({"type": "input_audio", "input_audio": {}}, "unsupported_value"),
        ({"type": "file", "file": {"file_id": "a"}}, "unsupported_value"),
    ],
)
def test_what_the_language_model_does_not_get(asked, ai, part, code):
    with pytest.raises(openai.BadRequestError) as refused:
        ai.chat.completions.create(model="smol", messages=[{"role": "user", "content": [text("a"), part]}])
    assert refused.value.code == code and asked[1].requests == []


def test_its_server_fails(asked, ai):
    messages = [{"role": "user", "content": "hi"}]
    for answer, error, code in (
        (llm.whole({"error": {"message": "too long"}}, 400), openai.BadRequestError, "upstream_refused"),
        (llm.whole({}, 429), openai.RateLimitError, "upstream_busy"),
        (llm.whole({}, 500), openai.InternalServerError, "upstream_error"),
        (llm.whole({"choices": 5}), openai.InternalServerError, "upstream_invalid"),
        (llm.hang_up, openai.InternalServerError, "upstream_unreachable"),
    ):
        asked[1].answers = [answer]
        with pytest.raises(error) as failed:
            ai.chat.completions.create(model="smol", messages=messages)
        assert failed.value.code == code
    wait_until(lambda: asked[0].metric("limoe_queue_bytes") == 0)


def test_without_a_language_model(server):
    with server.client() as client:
        answer = client.post("/v1/chat/completions", json={"messages": []})
    assert answer.status_code == 501 and answer.json()["error"]["code"] == "no_language_model"


# ---- streams

HI = [{"role": "user", "content": "hi"}]
WORDS = ["A", " cat", " 犬", "."]


def post(client, **options):
    """A stream that is read by hand."""
    return client.stream("POST", "/v1/chat/completions", json={"messages": HI, "stream": True}, **options)


def payloads(lines):
    """What events hold, JSON but for the last of a stream that has its end."""
    data = [line.removeprefix("data: ") for line in lines if line]
    return [json.loads(one) if one != "[DONE]" else one for one in data]


@pytest.mark.parametrize("style", llm.STYLES)
def test_a_stream(asked, ai, style):
    server, model = asked
    model.answers = [llm.stream(llm.events(style, "smol", WORDS))]
    messages = [{"role": "user", "content": [text("What?"), image(CAT)]}]
    streamed = ai.chat.completions.create(model="smol", messages=messages, stream=True, stream_options={"include_usage": True})
    chunks = list(streamed)
    assert "".join(one.choices[0].delta.content or "" for one in chunks) == "".join(WORDS)
    assert chunks[-1].choices[0].finish_reason == "stop" and {one.model for one in chunks} == {"smol"}
    ((_, sent),) = model.requests
    assert sent["stream"] is True and sent["stream_options"] == {"include_usage": True}
    assert sent["messages"][0]["content"] == f"What?\n{seen(server, CAT)}"


def test_what_a_stream_is_made_of(asked):
    """Events and nothing else, however the bytes are cut."""
    server, model = asked
    sent = llm.events("vllm", "smol", WORDS)
    whole = b"\xef\xbb\xbfretry: 5\r\rid: 1\ndata\ndata:{\"a\":\ndata: 1.50}\n\n" + b"".join(sent) + b"data: after the end\n\n"
    model.answers = [llm.stream([whole]), llm.stream([bytes([one]) for one in whole])]
    with server.client() as client:
        for _ in range(2):
            with post(client) as answer:
                assert answer.status_code == 200 and answer.headers["content-type"] == "text/event-stream"
                assert answer.headers["cache-control"] == "no-cache"
                assert answer.read() == b'data: {"a": 1.50}\n\n' + b"".join(sent)
        assert client.post("/v1/chat/completions", json={"messages": HI, "stream": False}).status_code == 502  # it streams


def test_words_come_as_they_are_said(asked, ai):
    server, model = asked
    sent, heard = llm.events("ollama", "smol", WORDS), threading.Semaphore(0)

    def say(connection):
        connection.sendall(llm.stream_head())
        for event in sent:
            connection.sendall(llm.chunk(event))
            if event != sent[-1]:
                assert heard.acquire(timeout=30)
        connection.sendall(llm.chunk(b""))

    model.answers = [say]
    got = []
    for one in ai.chat.completions.create(model="smol", messages=HI, stream=True):
        got.append(one.choices[0].delta.content)
        heard.release()
    assert got == [*WORDS, None]
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


class Endless:
    """A stream without an end, which counts what has been taken of it."""

    def __init__(self):
        self.sent = 0

    def __call__(self, connection):
        data = llm.chunk(b'data: {"choices":[], "x":"%s"}\n\n' % (b"x" * 8000))
        connection.sendall(llm.stream_head())
        while True:
            connection.sendall(data)
            self.sent += len(data)


def test_a_slow_reader_slows_the_model_down(asked):
    server, model = asked
    model.answers = [endless := Endless()]
    body = json.dumps({"messages": HI, "stream": True}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    connection = server.connect()
    connection.sendall(head % len(body) + body)
    assert connection.recv(16) == b"HTTP/1.1 200 OK\r"

    def rests():
        before = endless.sent
        time.sleep(0.3)
        return before == endless.sent

    wait_until(rests)
    assert 0 < endless.sent < 30 << 20  # what sockets hold on the way, of 64 MiB that it may send
    before = endless.sent
    while endless.sent == before:
        assert connection.recv(1 << 16)
    given_up = server.metric('limoe_upstream_requests_total{outcome="given_up"}')
    connection.close()
    wait_until(lambda: server.metric('limoe_upstream_requests_total{outcome="given_up"}') == given_up + 1)
    wait_until(lambda: model.open <= 4)
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


def test_a_client_that_leaves_ends_the_stream(asked):
    server, model = asked

    def begin(connection):
        connection.sendall(llm.stream_head() + llm.chunk(llm.events("vllm", "smol", WORDS)[0]))
        llm.hold(connection)

    model.answers = [begin]
    before = server.metric('limoe_upstream_requests_total{outcome="given_up"}')
    with server.client() as client, post(client) as answer:
        next(answer.iter_lines())
    wait_until(lambda: server.metric('limoe_upstream_requests_total{outcome="given_up"}') == before + 1)
    wait_until(lambda: model.open <= 4)


FIRST = llm.events("vllm", "smol", WORDS)[0]


def held(pieces):
    """A stream that does not go on after these, nor ends."""

    def answer(connection):
        connection.sendall(llm.stream_head() + b"".join(map(llm.chunk, pieces)))
        llm.hold(connection)

    return answer


def begun(rest):
    """A stream that goes on with these bytes, or, where there are none, not at all."""

    def answer(connection):
        connection.sendall(llm.stream_head() + llm.chunk(FIRST) + rest)
        if not rest:
            llm.hold(connection)

    return answer


@pytest.mark.parametrize(
    ("rest", "code", "words"),
    [
        (b"zz", "upstream_unreachable", "breaks its answer off"),
        (llm.chunk(b"data: {")[:4], "upstream_unreachable", "breaks its answer off"),
        (llm.chunk(b"data: {") + llm.chunk(b""), "upstream_invalid", "without an end"),
        (llm.chunk(b"data: garbage\n\n"), "upstream_invalid", "no JSON object"),
        (llm.chunk(b"data: [1]\n\n"), "upstream_invalid", "no JSON object"),
        (llm.chunk(b"data: " + b"x" * 300000), "upstream_invalid", "too long"),
    ],
)
def test_a_stream_that_goes_wrong(asked, rest, code, words):
    """What came before is there, and then why no more does: the status has been sent."""
    server, model = asked
    model.answers = [begun(rest)]
    with server.client() as client, post(client) as answer:
        first, last = payloads(answer.iter_lines())
    assert first == json.loads(FIRST.removeprefix(b"data: ")) and last["error"]["code"] == code and words in last["error"]["message"]
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


def test_a_stream_that_goes_wrong_where_it_was_stopped(asked):
    """The relay receives by turns, and may find what is odd in either."""
    server, model = asked
    event = b'data: {"choices":[], "x":"%s"}\n\n' % (b"x" * 8000)
    with server.client() as client:
        for n in range(4, 20):
            model.answers = [held([event] * n + [b"data: garbage\n\n"])]
            with post(client, headers={"X-Request-Timeout-Ms": "5000"}) as answer:
                *events, last = payloads(answer.iter_lines())
            assert len(events) == n and last["error"]["code"] == "upstream_invalid", last


def test_a_stream_without_an_end(start):
    model = Llm()
    model.answers = [Endless()]
    server = start(*model.options("--llm-bytes", "64KiB"))
    with server.client() as client, post(client) as answer:
        *events, last = payloads(answer.iter_lines())
    assert 120 < len(events) < 131 and "more than 1048576 bytes" in last["error"]["message"]
    model.close()


def test_a_stream_past_its_deadline(asked, ai):
    asked[1].answers = [begun(b"")]
    with pytest.raises(openai.APIError, match="deadline"):
        list(ai.chat.completions.create(model="smol", messages=HI, stream=True, extra_headers={"X-Request-Timeout-Ms": "300"}))


def test_a_stream_whose_relay_is_lost(asked):
    server, model = asked
    model.answers = [begun(b"")]
    with server.client() as client, post(client) as answer:
        lines = answer.iter_lines()
        next(lines)
        os.kill(server.children("relay")[0], signal.SIGKILL)
        (last,) = payloads(lines)
    assert last["error"]["code"] == "upstream_lost" and len(model.requests) == 1


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (llm.whole({"error": {"message": "a"}}, 400), 400, "upstream_refused"),
        (llm.whole({}, 500), 502, "upstream_error"),
        (llm.whole(llm.chat("vllm", "smol", "a")), 502, "upstream_invalid"),
        (llm.stream([b": nothing\n\n"]), 502, "upstream_invalid"),
        (llm.stream([b"data: [DONE]\n\n"]), 502, "upstream_invalid"),
        (llm.stream_head("Content-Encoding: gzip") + llm.chunk(b"\x1f\x8b") + llm.chunk(b""), 502, "upstream_invalid"),
        (llm.hang_up, 502, "upstream_unreachable"),
    ],
)
def test_a_stream_that_does_not_begin(asked, answer, status, code):
    server, model = asked
    model.answers = [answer]
    with server.client() as client, post(client) as refused:
        refused.read()
        assert refused.status_code == status and refused.json()["error"]["code"] == code


def test_a_server_that_stops_ends_streams(start):
    model = Llm()
    model.answers = [begun(b"")]
    server = start(*model.options("--drain-timeout", "1"))
    with server.client() as client, post(client) as answer:
        lines = answer.iter_lines()
        next(lines)
        server.process.terminate()
        with contextlib.suppress(httpx.RemoteProtocolError):
            for line in lines:
                assert not line or "draining" in line
        assert server.wait() == 0
    model.close()
