"""Clients of the OpenAI kind beside docs/clients.md's recipes: LiteLLM's providers, and what each shows of a
request that is wrong."""

import chromadb.utils.embedding_functions as chroma
import litellm
import numpy as np
import openai
import pytest
from conftest import data_uri, picture
from haystack.components.embedders import OpenAITextEmbedder
from haystack.utils import Secret
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

TEXTS = ["a cat", "a dog"]
LONG = "a" * 70000
TOO_LONG = "has 70000 bytes of text; up to 65536 are accepted"


def own(client, inputs):
    return np.array([item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]], np.float32)


# LiteLLM's provider, where it is told the server is, and what it has built in besides.
PROVIDERS = {
    "openai": {"model": "openai/pictograms", "api_base": "/v1"},
    "infinity": {"model": "infinity/pictograms", "api_base": ""},
    "voyage": {"model": "voyage/pictograms", "api_base": "/v1/embeddings"},
    "nvidia_nim": {"model": "nvidia_nim/pictograms", "api_base": "/v1", "input_type": "query"},
}


def provided(server, provider):
    said = dict(PROVIDERS[provider])
    return {**said, "api_base": server.url + said["api_base"], "api_key": "none"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_litellm(server, client, provider):
    found = litellm.embedding(input=TEXTS, **provided(server, provider))
    assert np.array_equal(np.array([item["embedding"] for item in found.data], np.float32), own(client, TEXTS))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_litellm_shows_what_is_wrong(server, provider):
    with pytest.raises(Exception, match=TOO_LONG):
        litellm.embedding(input=[LONG], **provided(server, provider))


def test_openai_pictures(server, client):
    uri = data_uri(picture(4))
    found = openai.OpenAI(base_url=server.url + "/v1", api_key="none").embeddings.create(model="pictograms", input=[uri])
    assert np.array_equal(np.array([found.data[0].embedding], np.float32), own(client, [uri]))


WRONG = {
    "openai": lambda url: openai.OpenAI(base_url=url, api_key="none").embeddings.create(model="pictograms", input=[LONG]),
    "langchain": lambda url: OpenAIEmbeddings(
        model="pictograms", base_url=url, api_key="none", check_embedding_ctx_length=False
    ).embed_documents([LONG]),
    "llama-index": lambda url: OpenAILikeEmbedding(model_name="pictograms", api_base=url, api_key="none").get_text_embedding(LONG),
    "haystack": lambda url: OpenAITextEmbedder(model="pictograms", api_base_url=url, api_key=Secret.from_token("none")).run(LONG),
    "chroma": lambda url: chroma.OpenAIEmbeddingFunction(model_name="pictograms", api_base=url, api_key="none")([LONG]),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_client_shows_what_is_wrong(server, name):
    with pytest.raises(Exception, match=TOO_LONG):
        WRONG[name](server.url + "/v1")
