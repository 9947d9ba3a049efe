"""voyageai's own client, as it is: texts by /v1/embeddings, texts and pictures by /v1/multimodalembeddings."""

import io

import numpy as np
import pytest
import voyageai
from conftest import data_uri, picture
from PIL import Image


def own(client, inputs):
    return np.array([item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]], np.float32)


@pytest.fixture
def voyage(server):
    return voyageai.Client(api_key="a-key-of-no-meaning", base_url=server.url + "/v1")


def test_texts(voyage, client):
    found = voyage.embed(["cat", "dog"], model="pictograms", input_type="query")
    assert np.array_equal(np.array(found.embeddings, np.float32), own(client, ["cat", "dog"]))


def test_texts_and_pictures(voyage, client):
    image = Image.open(io.BytesIO(picture(3)))
    found = voyage.multimodal_embed([["cat"], [image]], model="pictograms", input_type="document")
    webp = io.BytesIO()  # as the client sends it
    image.convert("RGB").save(webp, format="WEBP", lossless=True)
    assert np.array_equal(np.array(found.embeddings, np.float32), own(client, ["cat", data_uri(webp.getvalue(), "webp")]))
    side = client.get("/v1/models").json()["data"][0]["image"]["size"]
    assert (found.image_pixels, found.video_pixels) == (side * side, 0) and found.total_tokens > found.text_tokens > 0


def test_inputs_with_urls(voyage, client):
    uri = data_uri(picture(3))
    found = voyage.multimodal_embed([{"content": [{"type": "image_url", "image_url": uri}]}], model="pictograms")
    assert np.array_equal(np.array(found.embeddings, np.float32), own(client, [uri]))


def test_fewer_bits(voyage, client):
    found = voyage.multimodal_embed([["cat"]], model="pictograms", output_dtype="ubinary")
    ours = client.post("/v1/embeddings", json={"input": "cat", "encoding_format": "ubinary"}).json()
    assert found.embeddings[0] == ours["data"][0]["embedding"]


def test_the_client_shows_what_is_wrong(voyage):
    with pytest.raises(voyageai.error.InvalidRequestError, match="has 2 parts; exactly one is accepted"):
        voyage.multimodal_embed([["cat", "dog"]], model="pictograms")
    with pytest.raises(voyageai.error.InvalidRequestError, match="output_dimension is 3; accepted: "):
        voyage.multimodal_embed([["cat"]], model="pictograms", output_dimension=3)
    with pytest.raises(voyageai.error.APIError, match='there is no model "voyage-multimodal-3" here'):
        voyage.multimodal_embed([["cat"]], model="voyage-multimodal-3")
    with pytest.raises(voyageai.error.InvalidRequestError, match=r"accepted: text, image"):
        voyage.multimodal_embed([{"content": [{"type": "video_url", "video_url": "https://example.org/a.mp4"}]}], model="pictograms")
