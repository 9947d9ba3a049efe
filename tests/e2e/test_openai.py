"""Protects compatibility: the real `openai` client, unmodified, gets embeddings, models and its own exceptions."""

import base64

import numpy as np
import openai
import pytest

from conftest import data_uri, picture


@pytest.fixture
def ai(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
def model(ai):
    return ai.models.list().data[0].id


def test_default_encoding_is_base64_and_equals_float(ai, model):
    """The client asks for base64 by itself and decodes it; asked for float, it gets numbers. The same vectors."""
    texts = ["a cat", "a dog", "日本"]
    decoded = ai.embeddings.create(model=model, input=texts)
    floats = ai.embeddings.create(model=model, input=texts, encoding_format="float")
    assert [item.index for item in decoded.data] == [0, 1, 2]
    assert decoded.model == model and decoded.object == "list"
    assert decoded.usage.prompt_tokens == decoded.usage.total_tokens > 0
    for one, other in zip(decoded.data, floats.data):
        assert isinstance(one.embedding, list) and len(one.embedding) == len(other.embedding) > 0
        assert np.array_equal(np.array(one.embedding, "<f4"), np.array(other.embedding, "<f4"))
        assert abs(np.linalg.norm(one.embedding) - 1) < 1e-3


def test_explicit_base64(ai, model):
    response = ai.embeddings.create(model=model, input="a cat", encoding_format="base64")
    raw = np.frombuffer(base64.b64decode(response.data[0].embedding), "<f4")
    assert np.array_equal(raw, np.array(ai.embeddings.create(model=model, input="a cat").data[0].embedding, "<f4"))


def test_a_string_or_a_list(ai, model):
    single = ai.embeddings.create(model=model, input="a cat").data
    listed = ai.embeddings.create(model=model, input=["a cat"]).data
    assert len(single) == 1 and single[0].embedding == listed[0].embedding


def test_pictures_as_data_uris(ai, model):
    image = data_uri(picture(4))
    response = ai.embeddings.create(model=model, input=[image, "a picture of a cat"])
    assert response.usage.model_extra["image_tokens"] > 0
    assert response.data[0].embedding != response.data[1].embedding


def test_models(ai, model):
    retrieved = ai.models.retrieve(model)
    assert retrieved.id == model and retrieved.object == "model" and retrieved.created > 1_600_000_000


def test_exceptions(ai, model):
    with pytest.raises(openai.NotFoundError):
        ai.embeddings.create(model="text-embedding-3-small", input="a")
    with pytest.raises(openai.NotFoundError):
        ai.models.retrieve("gpt")
    with pytest.raises(openai.BadRequestError) as caught:
        ai.embeddings.create(model=model, input="a", dimensions=3)
    assert caught.value.param == "dimensions" and caught.value.code
    with pytest.raises(openai.BadRequestError):
        ai.embeddings.create(model=model, input=[])
    with pytest.raises(openai.BadRequestError):
        ai.embeddings.create(model=model, input=[[1, 2, 3]])  # token ids of another tokenizer


def test_retries_after_a_refusal(start):
    """A 429 with Retry-After is the client's to wait out, and it does."""
    import threading

    server = start("--queue-items", 1, "--threads", 1)
    answers = []

    def ask():
        with openai.OpenAI(base_url=server.url + "/v1", api_key="unused", max_retries=20) as client:
            name = client.models.list().data[0].id
            answers.append(len(client.embeddings.create(model=name, input=["some text"] * 500).data))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [500] * 4
