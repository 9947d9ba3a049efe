"""Protects what is done with a language model's real server, llama.cpp's: its answers, streams, errors and end, which the stand-ins of
tests/e2e/llm.py can only be like. What its small model says is of no interest.
"""

import concurrent.futures
import json
import os
import pathlib
import signal

import httpx
import openai
import pytest
from conftest import ROOT, SERVE, Server, b64, data_uri, stop_cleanly, wait_until

CAT = (ROOT / "examples/cat.png").read_bytes()
QUESTION = "What animal is it?"
PICTURE = [
    {"role": "user", "content": [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": data_uri(CAT)}}]}
]
# Of llama.cpp's own: it writes on until it has written as much as it may, which takes minutes.
ENDLESS = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8000, "ignore_eos": True}
CHOICES = [["cat", "dog"], ["Ja, sicher", "Nein"], ['a "cat"', "back\\slash", "[a-z]"], ["犬", "猫"], ["two\nlines", "a\ttab"], ["only this"]]


@pytest.fixture(scope="module", params=["chat", "completions"])
def asked(request, model):
    """A server that asks the model at one of its paths."""
    server = Server(*model.options("--llm-endpoint", request.param, "--llm-choices", "grammar"))
    yield server
    stop_cleanly(server)


@pytest.fixture(scope="module")
def chatting(model):
    server = Server(*model.options())
    yield server
    stop_cleanly(server)


@pytest.fixture
def ai(chatting):
    with openai.OpenAI(base_url=chatting.url + "/v1", api_key="unused", max_retries=0) as client:
        yield client


def ask(server, **fields):
    with server.client() as client:
        answer = client.post("/v1/ask", json={"image": b64(CAT), "question": QUESTION, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(lines):
    """What the events of a stream say; None: it has its end."""
    said = [line.removeprefix("data: ") for line in lines if line]
    return [None if one == "[DONE]" else json.loads(one) for one in said]


def fault(response):
    return response.status_code, response.json()["error"]["code"], response.json()["error"]["message"]


# ---- questions


def test_a_question(asked, model):
    answer = ask(asked, max_tokens=5)
    assert answer["answer"] and answer["upstream"]["model"] == model.name
    assert answer["upstream"]["tokens"]["completion"] <= 5 and answer["upstream"]["tokens"]["prompt"] > 20
    assert answer["upstream"]["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize("choices", CHOICES, ids=repr)
def test_the_answer_is_one_of_the_choices(asked, choices):
    """By the grammar: the model would say anything."""
    answer = ask(asked, choices=choices)
    assert answer["answer"] in choices and answer["chosen"] == answer["answer"]


def test_a_streamed_answer(asked):
    body = {"image": b64(CAT), "question": QUESTION, "choices": ["a small cat", "a large dog"], "stream": True}
    with asked.client() as client, client.stream("POST", "/v1/ask", json=body) as answer:
        *deltas, last, end = events(answer.iter_lines())
    assert len(deltas) > 1 and {one["object"] for one in deltas} == {"answer.delta"} and end is None
    assert "".join(one["text"] for one in deltas) == last["answer"] == last["chosen"]
    assert last["upstream"]["tokens"]["completion"] > 1 and last["upstream"]["finish_reason"] == "stop"


def test_more_questions_than_it_answers_at_a_time(asked):
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: ask(asked, choices=["cat", "dog"])["chosen"], range(10)))
    assert set(answers) <= {"cat", "dog"}


# ---- chats, by the openai client


def test_a_chat(ai, model):
    answer = ai.chat.completions.create(model="pictograms", messages=PICTURE, max_tokens=8, temperature=0)
    assert answer.choices[0].message.content and answer.model == model.name
    assert answer.usage.prompt_tokens > 30 and 0 < answer.usage.completion_tokens <= 8


def test_a_streamed_chat(ai):
    options = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 8, "temperature": 0}
    *chunks, last = ai.chat.completions.create(model="pictograms", messages=PICTURE, **options)
    assert "".join(one.choices[0].delta.content or "" for one in chunks) and chunks[-1].choices[0].finish_reason in ("stop", "length")
    assert last.choices == [] and 0 < last.usage.completion_tokens <= 8


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_that_is_too_long_for_it(ai, stream):
    with pytest.raises(openai.BadRequestError, match="context") as refused:
        ai.chat.completions.create(model="pictograms", messages=[{"role": "user", "content": "a cat " * 9000}], stream=stream)
    assert refused.value.code == "upstream_refused"


@pytest.mark.parametrize("stream", [False, True])
def test_what_it_does_not_accept(ai, stream):
    with pytest.raises(openai.BadRequestError) as refused:
        ai.chat.completions.create(model="pictograms", messages=[{"role": "nobody"}], stream=stream)
    assert refused.value.code == "upstream_refused" and refused.value.status_code == 400


def test_who_leaves_ends_the_answer(chatting, model):
    begun, ended = model.count("launch_slot_"), model.count("stop processing")
    with chatting.client() as client, client.stream("POST", "/v1/chat/completions", json={**ENDLESS, "stream": True}) as answer:
        next(answer.iter_lines())
    with pytest.raises(httpx.ReadTimeout), chatting.client() as client:
        client.post("/v1/chat/completions", json=ENDLESS, timeout=3)
    wait_until(lambda: model.count("stop processing") == ended + model.count("launch_slot_") - begun > ended + 1)


# ---- its end


@pytest.mark.parametrize("path", ["/v1/ask", "/v1/chat/completions"])
def test_it_is_killed_in_mid_answer(start, mortal, path):
    server = start(*mortal.options())
    body = {"/v1/ask": {"image": b64(CAT), "question": "Tell a long story.", "max_tokens": 4000}, "/v1/chat/completions": ENDLESS}[path]
    with server.client() as client:
        with client.stream("POST", path, json={**body, "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            mortal.kill()
            *_, last = events(lines)
        assert last["error"]["code"] == "upstream_unreachable" and "breaks its answer off" in last["error"]["message"]
        status, code, message = fault(client.post(path, json=body))
        assert (status, code) == (502, "upstream_unreachable") and "cannot be reached" in message
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/embeddings", json={"input": "a cat"}).status_code == 200
    wait_until(lambda: server.metric("limoe_queue_bytes") == 0)


def test_it_is_killed_before_it_has_answered(start, mortal):
    server = start(*mortal.options())
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(1) as pool:
        asking = pool.submit(client.post, "/v1/chat/completions", json=ENDLESS)
        wait_until(lambda: mortal.count("launch_slot_") > 0)
        mortal.kill()
        assert fault(asking.result())[:2] == (502, "upstream_unreachable")
        assert client.get("/readyz").status_code == 200


# ---- scripts/serve --with-llm


def runs(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_it_lives_as_long_as_the_server(end):
    server = Server(command=[ROOT / "scripts/serve", "--with-llm"])
    try:
        (pid,) = server.children(str(SERVE))
        os.kill(pid, signal.SIGINT)  # as a terminal does, which the server may have answers to finish after
        assert ask(server, choices=["cat", "dog"])["chosen"] in ("cat", "dog")
        assert any("SmolLM2-135M-Instruct" in line for line in server.log)
        server.process.send_signal(end)
        assert server.wait() == (0 if end != signal.SIGKILL else -end)
        wait_until(lambda: not runs(pid))
    finally:
        server.kill()
