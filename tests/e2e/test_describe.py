"""Protects POST /v1/describe and limoe describe: words are those of the embeddings' cosines, with the same bits alone, in company, from
the store and on the command line; prompts are made of them; what is the program's own is kept, and nobody else's to see."""

import concurrent.futures
import subprocess

import numpy as np
import pytest

from conftest import BUILD, MODEL, ROOT, b64, picture

EXAMPLES = ROOT / "examples"
CAT = EXAMPLES / "cat.png"
IMAGE = b64(CAT.read_bytes())
WORDS = ["cat", "dog", "house", "bicycle", "a tree", "犬", "red"]
CAPTIONS = ["a picture of a cat", "two dogs", "a red house", "nothing"]
REFERENCE = sorted((ROOT / "server/vocabulary/reference").glob("*.png"))
NONE = {"tags": {"k": 0}, "attributes": {"k": 0}}
ANY = {"vocabulary": "words", "threshold": -1}


@pytest.fixture
def words(client):
    assert client.put("/v1/classifiers/words", json={"labels": WORDS}).status_code == 200
    assert client.put("/v1/classifiers/bank", json={"labels": CAPTIONS}).status_code == 200
    return client


def ask(client, image=IMAGE, **fields):
    response = client.post("/v1/describe", json={"image": image, **fields})
    assert response.status_code == 200, response.text
    return response.json()


def vectors(client, inputs):
    return np.array([item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]])


def test_cosines_and_scores_are_those_of_the_embeddings(words):
    one = ask(words, tags=ANY, attributes={"k": 0})["data"][0]
    image, reference = vectors(words, [{"image": IMAGE}])[0], vectors(words, [{"image": b64(p.read_bytes())} for p in REFERENCE])
    terms = vectors(words, WORDS)
    usual = reference @ terms.T
    expected = usual.mean() + (usual.mean(0) - usual.mean()) / 4
    scores = dict(zip(WORDS, (terms @ image - expected) / usual.std()))
    by_cosine = sorted(zip(terms @ image, WORDS), reverse=True)[:5]
    assert [tag["term"] for tag in one["tags"]] == [word for _, word in by_cosine]
    for tag, (cosine, word) in zip(one["tags"], by_cosine, strict=True):
        assert abs(tag["cosine"] - cosine) < 1e-5 and abs(tag["score"] - scores[word]) < 1e-3
    assert one["attributes"] == one["captions"] == [] and "prompt" not in one
    unusual = ask(words, tags={"vocabulary": "words"}, attributes={"k": 0})["data"][0]["tags"]
    assert unusual == [tag for tag in one["tags"] if tag["score"] >= 2]
    high = ask(words, tags={**ANY, "threshold": one["tags"][1]["cosine"]}, attributes={"k": 0})["data"][0]["tags"]
    assert high == one["tags"][:2]


def test_the_same_bits_alone_and_in_company(server, words):
    pictures = [b64(picture(i, size=(30 + 7 * i, 64))) for i in range(8)]
    fields = {"tags": ANY, "attributes": {**ANY, "k": 2}, "captions": {"vocabulary": "bank", "n": 1}}
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        alone = [ask(client, image, **fields)["data"][0] for image in pictures]
        together = client.post("/v1/describe", json={"images": pictures, **fields}).json()["data"]
        beside = list(pool.map(lambda i: ask(client, pictures[i % 8], **fields)["data"][0], range(32)))
    assert [{**one, "index": 0} for one in together] == alone and [one["index"] for one in together] == list(range(8))
    assert all(one == alone[i % 8] for i, one in enumerate(beside))


def test_a_prompt_has_the_words(words):
    prompt = {"mode": "all", "question": "What is it?", "examples": [{"prompt": "A?", "answer": "b"}]}
    one = ask(words, tags={**ANY, "k": 2}, attributes={**ANY, "k": 1}, captions={"vocabulary": "bank", "n": 1}, prompt=prompt)["data"][0]
    first, second = (tag["term"] for tag in one["tags"])
    assert one["captions"][0]["source"] == "bank" and one["captions"][0]["text"] == CAPTIONS[0]
    assert one["prompt"] == (
        f"A? b\n\nTags:\n-{first}\n-{second}\nAttributes:\n-{one['attributes'][0]['term']}\nCaptions:\n-{CAPTIONS[0]}"
        "\nQuestion:What is it?\nShort Answer:"
    )


def test_what_is_the_programs_own_is_kept(start, tmp_path):
    """Embedded once: after a restart nothing but the picture is computed. No client sees where it is kept."""
    fields = {"tags": {"k": 0}, "attributes": {"threshold": -1, "k": 50}}
    state, seen = tmp_path / "state", []
    for _ in range(2):
        server = start("--state-dir", state, "--cache-bytes", "0")
        with server.client() as client:
            seen.append([ask(client, **fields) for _ in range(2)])
            computed = server.metric("limoe_items_total{model=\"pictograms\",modality=\"text\"}")
            assert client.get("/v1/classifiers").json()["data"] == []
            assert client.get("/v1/classifiers/:attributes").json()["error"]["code"] == "invalid_name"
            assert client.get("/v1/classifiers/attributez").json()["error"]["code"] == "classifier_not_found"
        server.terminate()
    assert computed == 0
    assert seen[0][0] == seen[0][1] == seen[1][0] == seen[1][1]
    assert seen[0][0]["usage"] == {"prompt_tokens": 0, "image_tokens": 25, "total_tokens": 25}


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"tags": {"vocabulary": "wordz"}}, 404, "classifier_not_found", "tags.vocabulary"),
        ({**NONE, "captions": {"vocabulary": "none"}}, 404, "classifier_not_found", "captions.vocabulary"),
        ({"captions": {"n": 2}}, 400, "no_decoder", "captions.vocabulary"),
        ({"captions": {"vocabulary": "bank", "temperature": 1}}, 400, "conflicting_fields", "captions.temperature"),
        ({"captions": {"temperature": 1}}, 400, "no_decoder", "captions.vocabulary"),
        ({"prompt": {"mode": "vqa"}}, 400, "missing_field", "prompt.question"),
        ({"image": None}, 400, "missing_image", "image"),
        ({"image": None, "images": [IMAGE] * 250}, 400, "too_many_items", "images"),
        ({**NONE, "image": b64(b"no picture")}, 400, "bad_image", "image"),
    ],
)
def test_refusals(words, fields, status, code, param):
    response = words.post("/v1/describe", json={"image": IMAGE, **fields})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param), error


def describe(*arguments):
    return subprocess.run([BUILD / "limoe", "describe", "--model", MODEL, *arguments], capture_output=True, timeout=120)


def test_the_command_answers_what_the_route_does(words, tmp_path):
    (tmp_path / "words").write_text("\n".join(WORDS))
    (tmp_path / "bank").write_text("\r\n".join([*CAPTIONS, ""]))
    files = ["--tags", tmp_path / "words", "--attributes", tmp_path / "words", "--captions", tmp_path / "bank", "--threshold", "-1"]
    fields = {"tags": ANY, "attributes": ANY, "captions": {"vocabulary": "bank"}, "ocr": "SALE", "prompt": {"question": "?"}}
    done = describe("--json", *files, "--ocr", "SALE", "--question", "?", CAT)
    assert done.returncode == 0 and done.stdout == words.post("/v1/describe", json={"image": IMAGE, **fields}).content, done.stderr
    printed = describe(*files, "--question", "?", CAT, tmp_path / "none.png")
    assert printed.returncode == 1 and b"none.png: No such file" in printed.stderr
    lines = printed.stdout.decode().splitlines()
    assert lines[0] == str(CAT) and lines[1].split()[:2] == ["tags", "cat"] and lines[-1] == " Short Answer:"


def test_files_of_terms_that_are_none(tmp_path):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"a\nb\xff\n")
    for name, message in (("empty", "no terms; accepted: one a line"), ("bytes", "line 2 is not UTF-8")):
        done = describe("--tags", tmp_path / name, CAT)
        assert done.returncode == 1 and message in done.stderr.decode() and str(tmp_path / name) in done.stderr.decode()
