"""Protects the server from what nobody should send: each gets a clear error or a correct answer, and the next request
is answered as if nothing had been."""

import base64
import json
import os
import zlib

import pytest

from conftest import b64, data_uri, picture, png_file


@pytest.fixture(autouse=True)
def the_next_request_is_answered(client):
    yield
    response = client.post("/v1/embeddings", json={"input": ["still here", {"image": b64(picture(0))}]})
    assert response.status_code == 200 and len(response.json()["data"]) == 2


def refused(response, *statuses, contains=None):
    assert response.status_code in (statuses or (400,)), response.text
    error = response.json()["error"]
    assert error["message"] and error["type"]
    if contains:
        assert contains in error["message"], error
    return error


def post(client, path, body):
    return client.post(path, content=body, headers={"Content-Type": "application/json"})


def png(width, height, rows=b"", color=2):
    """A PNG with a header of the caller's and whatever pixel data, compressed."""
    return png_file((width, height), rows, color)


def zeros(size):
    """`size` zero bytes, compressed about a thousandfold."""
    packer, out = zlib.compressobj(9), []
    block = bytes(1 << 20)
    while size > 0:
        out.append(packer.compress(block[: min(size, len(block))]))
        size -= len(block)
    return b"".join(out) + packer.flush()


ROUTES = ["/v1/classify", "/v1/embeddings", "/v1/routing", "/v1/attention", "/v1/adapters/x", "/v1/describe", "/v1/captions"]
BODIES = {
    "empty": b"",
    "blank": b"  \n",
    "nul bytes": b"\0\0\0\0",
    "nul in the middle": b'{"input":"a\0b"}',
    "an escaped nul": b'{"input":"a\\u0000b"}',
    "not json": b"input=a",
    "cut short": b'{"input":["a","b"',
    "two values": b'{"input":"a"}{"input":"b"}',
    "a list": b'["a"]',
    "a number": b"1e999",
    "null": b"null",
    "invalid utf-8": b'{"input":"\xff\xfe"}',
    "an overlong utf-8": b'{"input":"\xc0\xaf"}',
    "a lone surrogate": b'{"input":"\\ud800"}',
    "deep lists": b'{"input":' + b"[" * 200000 + b"]" * 200000 + b"}",
    "deep objects": b'{"a":' * 100000 + b"1" + b"}" * 100000,
    "deep and open": b"[" * 1000000,
    "utf-16": '{"input":"a"}'.encode("utf-16"),
    "a huge number": b'{"input":' + b"9" * 100000 + b"}",
    "a huge key": b'{"' + b"k" * 1000000 + b'":1}',
    "many keys": b"{" + b",".join(b'"k%d":1' % i for i in range(50000)) + b"}",
    "random bytes": os.urandom(10000),
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_are_no_request(client, path, name):
    refused(post(client, path, BODIES[name]))


@pytest.mark.parametrize(
    "value",
    [None, 1, True, {}, [], [[]], [1, 2], [None], "", [""], [{"image": 1}], [{"text": []}], [{}], [{"image": "", "text": "a"}]],
)
def test_inputs_that_are_none(client, value):
    for path in ["/v1/embeddings", "/v1/routing"]:
        refused(client.post(path, json={"input": value}))


def test_too_many_items(client):
    refused(client.post("/v1/embeddings", json={"input": ["a"] * 2049}), contains="2048")


def test_dimensions_that_the_model_has_not(client):
    error = refused(client.post("/v1/embeddings", json={"input": "a", "dimensions": 7}))
    assert error["param"] == "dimensions"


def test_a_model_that_is_not_here(client):
    refused(client.post("/v1/embeddings", json={"input": "a", "model": "clip"}), 404, contains="clip")


# ---- pictures

GOOD = picture(1)
PICTURES = {
    "empty": b"",
    "one byte": b"\x89",
    "text": b"this is no picture at all",
    "cut png": GOOD[: len(GOOD) // 2],
    "cut jpeg": picture(2, kind="JPEG")[:30],
    "png without pixels": png(8, 8),
    "png of width 0": png(0, 8),
    "broken png": GOOD[:60] + bytes(40) + GOOD[100:],
    "random": os.urandom(5000),
}
TOO_LARGE = {
    "a 30,000 x 30,000 png header": png(30000, 30000, zlib.compress(b"\0" * 100)),
    "the largest png header": png(0x7FFFFFFF, 0x7FFFFFFF),
    "a zip bomb": png(60000, 60000, zeros(60000 * 3000), color=0),
}


def every_way(client, image):
    yield client.post("/v1/embeddings", json={"input": [{"image": b64(image)}]})
    yield client.post("/v1/classify", json={"image": data_uri(image), "labels": ["a", "b"]})
    yield client.post("/v1/classify", files={"image": ("x.png", image, "image/png")}, data={"labels": ["a", "b"]})
    yield client.post(
        "/v1/classify", content=image, headers={"Content-Type": "image/png"}, params=[("labels", "a"), ("labels", "b")]
    )


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_that_do_not_decode(client, name):
    for response in every_way(client, PICTURES[name]):
        refused(response)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_pictures_that_are_too_large_are_refused_from_their_header(server, client, name):
    for response in every_way(client, TOO_LARGE[name]):
        refused(response, 400, 413)
    assert server.resident_bytes() < 1 << 30


def test_a_bomb_within_the_limits_decodes(client):
    """12 million pixels in 12 kilobytes: allowed, so answered."""
    bomb = png(3500, 3500, zeros(3501 * 3500), color=0)
    response = client.post("/v1/embeddings", json={"input": [{"image": b64(bomb)}]}, timeout=300)
    assert response.status_code == 200, response.text


def test_a_picture_of_one_pixel(client):
    for mode in ["RGB", "L", "P", "RGBA"]:
        for response in every_way(client, picture(1, size=(1, 1), mode=mode)):
            assert response.status_code == 200, response.text
    for response in every_way(client, picture(1, size=(1, 3000))):
        assert response.status_code == 200, response.text


@pytest.mark.parametrize("text", ["abc", "abcd=", "ab!d", "====", "A", b64(GOOD)[:-7], b64(GOOD) + "=", "data:image/png;base64", "data:,x"])
def test_base64_that_is_none(client, text):
    refused(client.post("/v1/embeddings", json={"input": [{"image": text}]}))
    refused(client.post("/v1/classify", json={"image": text, "labels": ["a"]}))


def test_an_error_names_the_item(client):
    items = [{"image": b64(GOOD)}, "a text", {"image": b64(b"junk")}, {"image": b64(GOOD)}]
    assert "2" in refused(client.post("/v1/embeddings", json={"input": items}))["param"]


def test_a_remote_picture_is_not_fetched(client):
    refused(client.post("/v1/embeddings", json={"input": [{"image": "http://127.0.0.1:1/x.png"}]}))
    refused(client.post("/v1/classify", json={"image": "file:///etc/passwd", "labels": ["a"]}))


# ---- labels


def classify(client, **fields):
    return client.post("/v1/classify", json={"image": b64(GOOD), **fields})


@pytest.mark.parametrize("labels", [[], None, "", [""], ["a", ""], ["  "], [1], [None], {}, ["a" * 5000], "cat"])
def test_labels_that_are_none(client, labels):
    response = classify(client, labels=labels)
    if labels == "cat" and response.status_code == 200:  # a single label is a list of one
        assert response.json()["data"][0]["predictions"][0]["score"] == 1
        return
    refused(response)


def test_labels_are_missing(client):
    assert refused(classify(client))["param"] == "labels"


def test_duplicated_labels(client):
    response = classify(client, labels=["cat", "dog", "cat"])
    assert response.status_code == 200
    scores = [(p["label"], p["score"]) for p in response.json()["data"][0]["predictions"]]
    assert len(scores) == 3
    cats = [score for label, score in scores if label == "cat"]
    assert len(cats) == 2 and cats[0] == cats[1]


def test_ten_thousand_labels(client):
    response = classify(client, labels=[f"thing {i}" for i in range(10000)], top_k=5)
    assert response.status_code == 200
    assert len(response.json()["data"][0]["predictions"]) == 5
    refused(classify(client, labels=["a"] * 10001), contains="10000")


def test_labels_in_any_language(client):
    labels = ["ねこ", "🐱", "قطة", "e\u0301", "a\tb\nc", "'\"\\<>&", "\u202e"]
    response = classify(client, labels=labels)
    assert response.status_code == 200
    assert sorted(p["label"] for p in response.json()["data"][0]["predictions"]) == sorted(labels)


@pytest.mark.parametrize("templates", [["no place"], ["{} {}"], [""], [1], ["{}"] * 101, "x"])
def test_templates_that_are_none(client, templates):
    refused(classify(client, labels=["a"], templates=templates))


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "two", [], 10**30])
def test_top_k_that_is_none(client, top_k):
    assert refused(classify(client, labels=["a", "b"], top_k=top_k))["param"] == "top_k"


def test_too_much_to_score(client):
    images = [b64(picture(1, size=(2, 2)))] * 2048
    body = {"images": images, "labels": [f"l{i}" for i in range(10000)], "top_k": 1}
    refused(client.post("/v1/classify", json=body))


# ---- multipart and query


def multipart(client, body, kind="multipart/form-data; boundary=xyz"):
    return client.post("/v1/classify", content=body, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--xyz--\r\n",
        b"--xyz\r\n",
        b"no boundary at all",
        b"--xyz\r\nContent-Disposition: form-data; name=image\r\n\r\n",
        b"--xyz\r\n\r\nunnamed\r\n--xyz--\r\n",
        b"--xyz\r\nContent-Disposition: form-data; name=labels\r\n\r\n\xff\xfe\r\n--xyz--\r\n",
        b"--xyz\r\n" * 100000,
        os.urandom(5000),
    ],
)
def test_multipart_that_is_none(client, body):
    refused(multipart(client, body))
    refused(multipart(client, body, "multipart/form-data"))


def test_multipart_without_labels_or_image(client):
    refused(client.post("/v1/classify", files={"image": ("x", GOOD)}), contains="labels")
    refused(client.post("/v1/classify", files={"labels": (None, b"cat")}), contains="image")


def test_query_that_is_none(client):
    def raw(query, body=GOOD):
        return client.post("/v1/classify?" + query, content=body, headers={"Content-Type": "image/png"})

    assert raw("labels=cat&labels=dog").status_code == 200
    for query in ["", "labels=", "labels=%ff", "labels=a%00b", "labels=cat&top_k=x", "label=cat", "labels=cat&templates=x"]:
        refused(raw(query))
    refused(raw("labels=cat", b""))
