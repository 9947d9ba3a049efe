"""Protects: folders of one tower alone are served with their own modality, and say what they lack; a ChineseCLIP is served
from Chinese labels to scores, which are those of transformers."""

import io
import json
import re
import shutil
import signal
import subprocess

import numpy as np
import pytest
from conftest import BUILD, ROOT, Server, b64, data_uri, stop_cleanly, wait_until
from PIL import Image
from reference import read_safetensors
from test_serve import tokenizer

GOLDEN = ROOT / "tests" / "golden"
VOCAB, LENGTH = 64, 12


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def items(name):
    return read_safetensors(GOLDEN / name / "items.safetensors")


def vectors(client, **body):
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    return np.array([row["embedding"] for row in answer.json()["data"]])


def expect_refused(answer, param, message):
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["code"] == "unsupported_modality", answer.text
    assert error["param"] == param and message in error["message"], answer.text


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """SigLIP's text tower, with a tokenizer."""
    folder = tmp_path_factory.mktemp("towers") / "words"
    shutil.copytree(GOLDEN / "siglip-text", folder)
    (folder / "spiece.model").write_bytes(tokenizer(VOCAB))
    return folder


@pytest.fixture(scope="module")
def towers(words):
    """A server of both: the pictures' is the default."""
    running = Server(
        "--dtype", "float32", command=[BUILD / "limoe", "serve", "--model", GOLDEN / "clip-vision", "--model", words]
    )
    yield running
    stop_cleanly(running)


def test_each_tower_embeds_its_own(towers, words, embed):
    golden = items("clip-vision")
    with towers.client() as client:
        have = vectors(client, input=[{"image": b64(png(pixels))} for pixels in golden["pixels"]])
        assert np.abs(have - golden["embedding"]).max() < 1e-5
        have = vectors(client, input=["ab", "cde"], model="words")
    # A space that is always there, letters, the end; then the padding, which is more ends.
    pieces = [[3, 4, 5], [3, 6, 7, 8]]
    tokens = np.array([[*row, *[2] * (LENGTH - len(row))] for row in pieces], np.int32)
    want = embed(words, np.zeros((0, 16, 16, 3), np.uint8), tokens, np.full(2, LENGTH, np.int32))
    assert np.abs(have - want).max() < 1e-6
    assert towers.metric('limoe_requests_total{route="/v1/embeddings",code="200"}') == 2


def test_the_other_modality_is_refused(towers):
    picture = b64(png(items("clip-vision")["pixels"][0]))
    no_text, no_image = '"clip-vision" has no text tower; pictures alone', '"words" has no image tower; texts alone'
    with towers.client() as client:
        for path in ("/v1/embeddings", "/v1/routing"):
            expect_refused(client.post(path, json={"input": [{"image": picture}, "a cat"]}), "input[1]", no_text)
            body = {"input": {"image": picture}, "model": "words"}
            expect_refused(client.post(path, json={**body, "input": [body["input"]]}), "input[0].image", no_image)
        asked = {"image": picture, "labels": ["a", "b"]}
        expect_refused(client.post("/v1/classify", json=asked), "model", no_text)
        expect_refused(client.post("/v1/classify", json={**asked, "model": "words"}), "model", no_image)
        form = client.post("/v1/classify", files={"image": png(np.zeros((8, 8, 3), np.uint8))}, data={"labels": "a,b"})
        expect_refused(form, "model", no_text)
        expect_refused(client.post("/v1/classify", json={"image": picture, "classifier": "none"}), "model", no_text)
        expect_refused(client.put("/v1/classifiers/c", json={"labels": ["a", "b"]}), "model", no_text)
        expect_refused(client.put("/v1/classifiers/c", json={"labels": ["a"], "model": "words"}), "model", no_image)
        assert client.get("/v1/classifiers").json()["data"] == []
        assert client.get("/health").status_code == 200


def test_each_says_what_it_is(towers, words):
    with towers.client() as client:
        vision, text = client.get("/v1/models").json()["data"]
    assert (vision["id"], vision["architecture"], text["id"], text["architecture"]) == (
        "clip-vision", "clip", "words", "siglip",
    )  # fmt: skip
    assert vision["capabilities"] == text["capabilities"] == ["embeddings"]
    assert vision["text"] is text["image"] is vision["scores"] is text["scores"] is text["logit_scale"] is None
    assert vision["image"]["tokens"] == 17 and text["text"]["length"] == LENGTH
    shown = subprocess.run([BUILD / "limoe", "inspect", words], capture_output=True, text=True, timeout=60)
    assert re.search(r"image tower +none\n", shown.stdout) and re.search(r"image +refused\n", shown.stdout), shown
    asked = subprocess.run([BUILD / "limoe", "inspect", words, "--json"], capture_output=True, text=True, timeout=60)
    assert json.loads(asked.stdout)["image"] is None


def test_reload(towers):
    """The generation that replaces one has no classifiers to make ready, and is in force all the same."""
    with towers.client() as client:
        before = vectors(client, input="ab", model="words")
        towers.process.send_signal(signal.SIGHUP)
        for name in ("clip-vision", "words"):
            wait_until(lambda name=name: towers.metric(f'limoe_model_reloads_total{{model="{name}",result="ok"}}') == 1)
        assert (vectors(client, input="ab", model="words") == before).all()


@pytest.mark.parametrize("command", [["classify", "--labels", "a,b"], ["embed", "--text", "a", "--image"]])
def test_commands(tmp_path, command):
    (tmp_path / "picture.png").write_bytes(png(items("clip-vision")["pixels"][0]))
    done = subprocess.run(
        [BUILD / "limoe", *command, tmp_path / "picture.png", "--model", GOLDEN / "clip-vision"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and '"clip-vision" has no text tower; pictures alone are accepted' in done.stderr
    assert ("embedding (20 numbers)" in done.stdout) == (command[0] == "embed"), done  # the picture is answered


@pytest.fixture(scope="module")
def chinese(tmp_path_factory):
    """A ChineseCLIP with a vocabulary of one character a piece, so that a text can be written for any ids."""
    folder = tmp_path_factory.mktemp("chinese") / "chinese"
    shutil.copytree(GOLDEN / "chinese_clip", folder)
    named = {0: "[PAD]", 1: "[UNK]", 2: "[MASK]", VOCAB - 2: "[CLS]", VOCAB - 1: "[SEP]"}
    (folder / "vocab.txt").write_text("".join(named.get(i, chr(0x4E00 + i)) + "\n" for i in range(VOCAB)))
    running = Server("--dtype", "float32", command=[BUILD / "limoe", "serve", "--model", folder])
    yield running
    stop_cleanly(running)


def test_scores_of_chinese_labels(chinese):
    golden = items("chinese_clip")
    labels = [
        "".join(chr(0x4E00 + i) for i in row[1 : length - 1])
        for row, length in zip(golden["tokens"], golden["lengths"], strict=True)
    ]
    kept = [i for i, label in enumerate(labels) if label]  # the shortest text has no characters
    logits = np.log(golden["scores"].astype(np.float64))[:, kept]
    want = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    with chinese.client() as client:
        embedded = vectors(client, input=[labels[i] for i in kept])
        answer = client.post(
            "/v1/classify",
            json={
                "images": [data_uri(png(pixels)) for pixels in golden["pixels"]],
                "labels": [labels[i] for i in kept],
            },
        )
    assert np.abs(embedded - golden["embedding"][len(golden["pixels"]) :][kept]).max() < 1e-5
    assert answer.status_code == 200, answer.text
    by_label = {labels[i]: n for n, i in enumerate(kept)}
    for row, picture in enumerate(answer.json()["data"]):
        scores = {by_label[p["label"]]: p["score"] for p in picture["predictions"]}
        assert np.abs(np.array([scores[n] for n in range(len(kept))]) - want[row]).max() < 1e-4
