"""Protects POST /v1/attention: the shares sum to the cosine, have the same bits alone and in company, show where a picture's
meaning is, and whatever cannot be split is refused by name."""

import concurrent.futures
import io
import random
import subprocess

import numpy as np
import pytest
from PIL import Image

from conftest import BUILD, MODEL, ROOT, b64, data_uri, picture

EXAMPLES = ROOT / "examples"
CAT = (EXAMPLES / "cat.png").read_bytes()


def ask(client, image, texts, **more):
    response = client.post("/v1/attention", json={"image": b64(image), "texts": texts, **more})
    assert response.status_code == 200, response.text
    return response.json()


def vectors(client, inputs):
    return [np.array(item["embedding"]) for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]]


def test_a_thousand_pairs_sum_to_their_cosines(client):
    for seed in range(10):
        image, texts = picture(seed), [f"{word} {seed} {i}" for i in range(50) for word in ("a cat", "red")]
        answer = ask(client, image, texts)
        assert (answer["object"], answer["kind"], answer["method"]) == ("attention", "contribution", "mean")
        assert [item["index"] for item in answer["data"]] == list(range(100))
        image_vector, *text_vectors = vectors(client, [{"image": b64(image)}, *texts])
        for item, text in zip(answer["data"], text_vectors, strict=True):
            grid = np.array(item["grid"])
            assert grid.shape == (answer["rows"], answer["columns"])
            assert abs(grid.sum() - item["cosine"]) <= 1e-5 and abs(item["cosine"] - image_vector @ text) <= 1e-5
            assert abs(item["rest"]) < 0.02  # with a mean what the dtype rounds is all that is no patch's


def test_usage_counts_picture_and_texts(client):
    usage = ask(client, CAT, ["a cat", "red"])["usage"]
    assert usage["image_tokens"] > 0 and usage["total_tokens"] == usage["image_tokens"] + usage["prompt_tokens"]
    assert usage == ask(client, CAT, ["a cat", "red"])["usage"]  # from the cache, too


def test_the_same_bits_alone_and_in_company(server):
    """64 requests at once, mixed with embeddings of the same pictures, answer what each answers alone."""
    texts = ["a cat", "a dog", "snow"]
    bodies = [{"image": b64(picture(i, size=(20 + 5 * i, 90))), "texts": random.sample(texts, 1 + i % 3)} for i in range(16)]
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(16) as pool:
        alone = [client.post("/v1/attention", json=body).text for body in bodies]
        asked = [(i, pool.submit(client.post, "/v1/attention", json=bodies[i])) for i in random.sample(range(64), 64) for i in [i % 16]]
        others = [pool.submit(client.post, "/v1/embeddings", json={"input": [{"image": body["image"]}]}) for body in bodies]
        assert all(call.result().text == alone[i] for i, call in asked)
        assert all(call.result().status_code == 200 for call in others)


def on_the_left(grid):
    return np.array(grid)[:, :2].sum() - np.array(grid)[:, -2:].sum()


def test_shares_lie_where_the_thing_is(client):
    """A lemon on the left half and nothing on the right, and the other way round."""
    lemon = Image.open(EXAMPLES / "lemon.webp").convert("RGB").resize((128, 128))
    sides = []
    for x in (0, 128):
        whole, out = Image.new("RGB", (256, 256), "white"), io.BytesIO()
        whole.paste(lemon, (x, 64))
        whole.save(out, "PNG")
        sides.append(on_the_left(ask(client, out.getvalue(), ["a picture of a lemon"])["data"][0]["grid"]))
    assert sides[0] > sides[1]


def test_a_map(client):
    response = client.post("/v1/attention", json={"image": data_uri(CAT), "texts": ["a cat"], "format": "png"})
    assert response.status_code == 200 and response.headers["Content-Type"] == "image/png"
    size = client.get("/v1/models").json()["data"][0]["image"]["size"]
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.format == "PNG" and image.mode == "RGB" and image.width == image.height >= 384 and image.width % size == 0
        pixels = np.asarray(image).astype(int)
    grid = np.array(ask(client, CAT, ["a cat"])["data"][0]["grid"])
    warm = pixels[:, :, 0] - pixels[:, :, 2]  # red where a share is larger than an equal one, blue where it is smaller
    for pick, sign in ((grid.argmax(), 1), (grid.argmin(), -1)):
        row, column = np.unravel_index(pick, grid.shape)
        at = [int((place + 0.5) * len(pixels) / len(grid)) for place in (row, column)]
        assert sign * warm[at[0], at[1]] > 20
    again = client.post("/v1/attention", json={"image": data_uri(CAT), "texts": ["a cat"], "format": "png"})
    assert again.content == response.content


IMAGE = b64(CAT)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_input", "texts"),
        ({"image": IMAGE}, "missing_input", "texts"),
        ({"texts": ["a"]}, "missing_image", "image"),
        ({"image": IMAGE, "texts": []}, "empty_input", "texts"),
        ({"image": IMAGE, "texts": ["a", ""]}, "empty_input", "texts[1]"),
        ({"image": IMAGE, "texts": "a"}, "invalid_type", "texts"),
        ({"image": IMAGE, "texts": ["a", 1]}, "invalid_type", "texts[1]"),
        ({"image": IMAGE, "texts": ["a"] * 1001}, "too_many_items", "texts"),
        ({"image": IMAGE, "texts": ["a" * 65537]}, "too_long", "texts[0]"),
        ({"image": [IMAGE], "texts": ["a"]}, "invalid_type", "image"),
        ({"image": "", "texts": ["a"]}, "invalid_image", "image"),
        ({"image": b64(CAT[: len(CAT) // 2]), "texts": ["a"]}, "bad_image", "image"),
        ({"image": IMAGE, "texts": ["a"], "kind": "cross"}, "unsupported_kind", "kind"),
        ({"image": IMAGE, "texts": ["a"], "kind": "gradient"}, "invalid_kind", "kind"),
        ({"image": IMAGE, "texts": ["a"], "kind": 1}, "invalid_type", "kind"),
        ({"image": IMAGE, "texts": ["a"], "format": "svg"}, "invalid_format", "format"),
        ({"image": IMAGE, "texts": ["a", "b"], "format": "png"}, "conflicting_fields", "texts"),
        ({"image": IMAGE, "texts": ["a"], "labels": ["a"]}, "unknown_field", "labels"),
        ({"image": IMAGE, "texts": ["a"], "model": "none"}, "model_not_found", "model"),
    ],
)
def test_refusals(client, body, code, param):
    response = client.post("/v1/attention", json=body)
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param), error
    assert response.status_code == (404 if code == "model_not_found" else 400)


def explain(*arguments):
    return subprocess.run([BUILD / "limoe", "explain", "--model", MODEL, *arguments], capture_output=True, timeout=120)


def test_the_command_answers_what_the_route_does(client, tmp_path):
    body = {"image": IMAGE, "texts": ["a cat", "犬"]}
    done = explain("--json", EXAMPLES / "cat.png", *body["texts"])
    assert done.returncode == 0 and done.stdout == client.post("/v1/attention", json=body).content, done.stderr
    drawn = client.post("/v1/attention", json={"image": IMAGE, "texts": ["a cat"], "format": "png"}).content
    done = explain("-o", tmp_path / "map.png", EXAMPLES / "cat.png", "a cat")
    assert done.returncode == 0 and not done.stdout and (tmp_path / "map.png").read_bytes() == drawn
    printed = explain(EXAMPLES / "cat.png", "a cat").stdout.decode().splitlines()
    answer = ask(client, CAT, ["a cat"])
    item = answer["data"][0]
    assert printed[0] == f"a cat  cosine {item['cosine']:.4f}, rest {item['rest']:.4f}"
    assert np.allclose([[float(share) for share in line.split()] for line in printed[1:]], item["grid"], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((EXAMPLES / "none.png", "a cat"), "none.png: No such file or directory"),
        ((ROOT / "README.md", "a cat"), "not a picture of a known type"),
        (("-o", "/no/such/folder/map.png", EXAMPLES / "cat.png", "a cat"), "/no/such/folder/map.png: No such file or directory"),
    ],
)
def test_what_the_command_cannot_do(arguments, message):
    done = explain(*arguments)
    assert done.returncode == 1 and not done.stdout and message in done.stderr.decode()


def test_a_thousand_texts(client):
    answer = ask(client, CAT, [f"text {i}" for i in range(1000)], kind=None, format=None)
    assert len(answer["data"]) == 1000
