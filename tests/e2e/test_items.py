"""Protects what other servers' clients send to /v1/embeddings: their items, a chat's messages, and numbers of fewer bits,
all of which follow from the bits of the plain request."""

import base64

import numpy as np
import openai
import pytest

from conftest import b64, data_uri, picture

IMAGE = picture(7)
URI = data_uri(IMAGE)


def ask(client, **fields):
    response = client.post("/v1/embeddings", json=fields)
    assert response.status_code == 200, response.text
    return response.json()["data"]


def refused(client, code, contains, **fields):
    response = client.post("/v1/embeddings", json=fields)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["code"] == code and contains in error["message"], error
    return error


def floats(client, items):
    rows = [base64.b64decode(item["embedding"]) for item in ask(client, input=items, encoding_format="base64")]
    return np.array([np.frombuffer(row, "<f4") for row in rows])


ITEMS = [
    {"image": b64(IMAGE)}, {"url": URI}, {"bytes": b64(IMAGE)}, {"image_base64": URI}, {"image_url": URI},
    {"image_url": {"url": URI}}, {"type": "image_url", "image_url": {"url": URI, "detail": "auto"}}, {"type": "image", "image": URI},
]


def test_every_item_has_the_pictures_bits(client):
    plain = ask(client, input=[{"image": b64(IMAGE)}])[0]["embedding"]
    assert [item["embedding"] for item in ask(client, input=ITEMS)] == [plain] * len(ITEMS)
    text = ask(client, input="a cat")[0]["embedding"]
    rows = [item["embedding"] for item in ask(client, input=[{"type": "text", "text": "a cat"}, {"text": "a cat", "image": None}])]
    assert rows == [text, text]


def test_routing_takes_the_same_items(client):
    answers = [client.post("/v1/routing", json={"input": [item]}).json() for item in ITEMS]
    assert "data" in answers[0] and answers == [answers[0]] * len(ITEMS)


@pytest.mark.parametrize("item", [{"url": "https://example.com/cat.png"}, {"image_url": {"url": "http://127.0.0.1:1/cat.png"}},
                                  {"type": "image_url", "image_url": {"url": "HTTPS://[::1]/"}}, {"image": "http://example.com"}])
def test_a_remote_picture_is_refused_with_what_is_accepted(client, item):
    error = refused(client, "invalid_image", "not fetched from the network", input=["a cat", item])
    assert "as a data URI or base64" in error["message"] and error["param"].startswith("input[1].")


def test_a_chat_is_one_embedding(client):
    """The body that vLLM's own example sends."""
    part = {"type": "image_url", "image_url": {"url": URI}}
    chat = {"model": "pictograms", "messages": [{"role": "user", "content": [part]}], "encoding_format": "float"}
    assert ask(client, **chat)[0]["embedding"] == ask(client, input=[URI])[0]["embedding"]
    words = {"messages": [{"role": "user", "content": "a cat"}]}
    assert ask(client, **words)[0]["embedding"] == ask(client, input="a cat")[0]["embedding"]
    two = [{"role": "user", "content": [part, {"type": "text", "text": "Represent the given image."}]}]
    refused(client, "too_many_items", "exactly one is accepted", messages=two)


def test_int8_is_within_half_a_step(client):
    items = ["a cat", "a dog", URI]
    exact = floats(client, items)
    for row, item in zip(exact, ask(client, input=items, encoding_format="int8")):
        scale = np.float32(item["scale"])
        assert scale == np.abs(row).max() / np.float32(127)
        assert np.array_equal(np.array(item["embedding"]), np.rint(row / scale).astype(np.int64))
        again = np.array(item["embedding"], "f4") * scale
        assert np.abs(again - row).max() <= 0.501 * scale
        assert again @ row / np.linalg.norm(again) > 0.999


def test_binary_is_the_signs(client):
    items = ["a cat", "a dog", URI]
    bits = np.packbits(floats(client, items) > 0, axis=1)
    unsigned = np.array([item["embedding"] for item in ask(client, input=items, encoding_format="ubinary")])
    signed = np.array([item["embedding"] for item in ask(client, input=items, encoding_format="binary")])
    assert np.array_equal(unsigned, bits) and np.array_equal(signed, bits.astype(int) - 128)
    assert len({row.tobytes() for row in bits}) == 3


@pytest.mark.parametrize("name", ["int8", "ubinary", "binary"])
def test_the_same_numbers_by_every_name_and_in_base64(client, name):
    plain = ask(client, input=["a cat", URI], encoding_format=name)
    for fields in [{"embedding_type": name}, {"embedding_type": [name], "encoding_format": "float"}, {"embedding_types": [name]},
                   {"output_dtype": name}]:
        assert ask(client, input=["a cat", URI], **fields) == plain
    kind = "u1" if name == "ubinary" else "i1"
    for one, packed in zip(plain, ask(client, input=["a cat", URI], output_dtype=name, encoding_format="base64")):
        assert np.frombuffer(base64.b64decode(packed["embedding"]), kind).tolist() == one["embedding"]


def test_fewer_bits_do_not_depend_on_neighbours(client):
    alone = [ask(client, input=[text], encoding_format="int8")[0] for text in ("a cat", "a dog")]
    together = ask(client, input=["a dog", "a sun", "a cat"], encoding_format="int8")
    assert [(together[i]["embedding"], together[i]["scale"]) for i in (2, 0)] == [(one["embedding"], one["scale"]) for one in alone]


def test_dimensions_of_none_are_the_models_own(client):
    assert ask(client, input="a", dimensions=0) == ask(client, input="a")
    refused(client, "unsupported_dimensions", "0 for the model's own", input="a", dimensions=1)


def test_the_openai_client_asks_for_int8_without_reading_it_as_floats(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="unused", max_retries=0) as ai:
        got = ai.embeddings.create(model="", input="a cat", encoding_format="float", extra_body={"embedding_type": "int8"})
        assert max(map(abs, got.data[0].embedding)) == 127 and got.data[0].model_extra["scale"] > 0
        with pytest.raises(openai.BadRequestError, match='send encoding_format "float"'):
            ai.embeddings.create(model="", input="a cat", extra_body={"embedding_type": "int8"})
