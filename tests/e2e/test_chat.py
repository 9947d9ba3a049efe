"""Protects POST /v1/chat/completions: the openai client, unmodified, talks to a language model that sees what is seen of its pictures, and
all else of its request arrives as it was sent.

The language model is a stand-in (llm.py); what its server may do wrong, test_ask.py tries.
"""

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
    server = Server(*model.options())
    yield server, model
    stop_cleanly(server)
    model.close()


@pytest.fixture
def asked(pair):
    server, model = pair
    model.style, model.content, model.answers = "vllm", "A cat.", []
    model.requests.clear()
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


def test_streams_are_refused(asked, ai):
    with pytest.raises(openai.BadRequestError, match="not streamed"):
        ai.chat.completions.create(model="smol", messages=[{"role": "user", "content": "hi"}], stream=True)
