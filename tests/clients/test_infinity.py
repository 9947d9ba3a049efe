"""Infinity's own client, as it is, in an environment of its own: it wants an older httpx than the others."""

import json
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json, sys
from infinity_client import Client
from infinity_client.api.default import embeddings
from infinity_client.models import OpenAIEmbeddingInputText

url, texts = sys.argv[1], json.loads(sys.argv[2])
with Client(base_url=url, raise_on_unexpected_status=True) as client:
    answer = embeddings.sync(client=client, body=OpenAIEmbeddingInputText(input_=texts, model="pictograms"))
print(json.dumps([item.embedding for item in answer.data]))
"""


@pytest.fixture(scope="session")
def infinity(tmp_path_factory):
    """Texts → what the client prints, as a process that has ended."""
    venv = tmp_path_factory.mktemp("infinity") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin/pip", "install", "-q", "infinity_client==0.0.78"], check=True)
    return lambda url, texts: subprocess.run([venv / "bin/python", "-c", SCRIPT, url, json.dumps(texts)], capture_output=True, text=True, check=False)


def test_texts_have_our_bits(infinity, server, client):
    found = infinity(server.url + "/v1", ["a cat", "a dog"])
    assert found.returncode == 0, found.stderr
    ours = [item["embedding"] for item in client.post("/v1/embeddings", json={"input": ["a cat", "a dog"]}).json()["data"]]
    assert np.array_equal(np.array(json.loads(found.stdout), np.float32), np.array(ours, np.float32))


def test_the_client_shows_what_is_wrong(infinity, server):
    found = infinity(server.url + "/v1", [""])
    assert found.returncode != 0 and "input[0] is empty" in found.stderr
