"""Roboflow's inference_sdk, as it is."""

import io

import numpy as np
import pytest
from conftest import b64, picture
from inference_sdk import InferenceConfiguration, InferenceHTTPClient
from inference_sdk.http.errors import HTTPCallErrorError
from PIL import Image

KEY = "a-key-of-no-meaning"


def own(client, inputs):
    return np.array([item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]], np.float32)


@pytest.fixture(params=["legacy", "header"])
def roboflow(server, request):
    made = InferenceHTTPClient(api_url=server.url, api_key=KEY)
    return made.configure(InferenceConfiguration(api_key_transport=request.param))


def test_texts(roboflow, client):
    found = roboflow.get_clip_text_embeddings("cat")
    assert np.array_equal(np.array(found["embeddings"], np.float32), own(client, ["cat"])) and found["time"] > 0
    found = roboflow.get_clip_text_embeddings(["cat", "dog"])
    assert np.array_equal(np.array(found["embeddings"], np.float32), own(client, ["cat", "dog"]))


def test_pictures(roboflow, client, tmp_path):
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for i, file in enumerate(files):
        file.write_bytes(picture(i))
    found = roboflow.get_clip_image_embeddings([str(file) for file in files])
    vectors = [vector for one in found for vector in one["embeddings"]]
    assert np.array(vectors).shape == (2, own(client, ["cat"]).shape[1])
    # It writes a JPEG of its own; of a base64 string it sends the bytes as they are.
    found = roboflow.get_clip_image_embeddings(b64(picture(3, kind="JPEG")))
    assert len(found["embeddings"]) == 1 and found["frame_id"] is None


def test_comparison(roboflow):
    image = Image.open(io.BytesIO(picture(3)))
    found = roboflow.clip_compare(np.asarray(image.convert("RGB")), ["a red circle", "a cat"])
    assert len(found["similarity"]) == 2
    assert roboflow.clip_compare("cat", ["dog", "cat"], subject_type="text")["similarity"][1] == pytest.approx(1, abs=1e-6)


def test_the_client_shows_what_is_wrong(roboflow):
    with pytest.raises(HTTPCallErrorError, match='there is no model "ViT-B-32" here'):
        roboflow.get_clip_text_embeddings("cat", clip_version="ViT-B-32")
    with pytest.raises(HTTPCallErrorError, match=r"text is empty"):
        roboflow.get_clip_text_embeddings("")
