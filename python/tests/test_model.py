"""Protects the package's answers: the server's, bit for bit, whatever form a picture comes in and however many threads ask; and its
errors, which say what was wrong."""

import base64
import io
import os
import pathlib
import pickle
import signal
import threading

import numpy as np
import pytest
from conftest import ROOT, b64
from PIL import Image

import limoe

CAT = ROOT / "examples" / "cat.png"
PICTURES = sorted(path for path in (ROOT / "examples").iterdir() if path.suffix in (".png", ".jpg", ".webp"))
TEXTS = ["cat", "a picture of a dog", "自転車", "Ω" * 30, "a\n\tb", "x" * 65536]
LABELS = ["cat", "dog", "bicycle", "犬小屋"]
TEMPLATES = ["{}", "a picture of a {}", "{}!"]


def served(client, inputs):
    """float32 [n, embed], as the server answers."""
    body = {"input": inputs, "encoding_format": "base64"}
    rows = client.post("/v1/embeddings", json=body).raise_for_status().json()["data"]
    return np.array([np.frombuffer(base64.b64decode(row["embedding"]), np.float32) for row in rows])


# ---- bits


def test_texts_are_the_servers(model, client):
    found = model.embed_texts(TEXTS)
    assert found.shape == (len(TEXTS), model.info.embed) and found.dtype == np.float32
    assert np.array_equal(found, served(client, TEXTS))
    assert np.allclose(np.linalg.norm(found, axis=1), 1)


def test_pictures_are_the_servers(model, client):
    found = model.embed_images(PICTURES)
    assert np.array_equal(found, served(client, [{"image": b64(path.read_bytes())} for path in PICTURES]))


def test_more_than_a_step_is_as_one_by_one(model):
    """40 pictures of 64 patches are more than a step's 2,048 tokens."""
    some = [PICTURES[i % len(PICTURES)] for i in range(40)]
    assert np.array_equal(model.embed_images(some), np.concatenate([model.embed_images([path]) for path in some]))
    texts = [f"text {i}" for i in range(1500)]
    assert np.array_equal(model.embed_texts(texts)[::-1], model.embed_texts(texts[::-1]))


@pytest.mark.parametrize("templates", [None, ["{}"], ["a picture of a {}"], TEMPLATES])
def test_a_classification_is_the_servers(model, client, templates):
    body = {"image": b64(CAT.read_bytes()), "labels": LABELS, **({"templates": templates} if templates else {})}
    rows = client.post("/v1/classify", json=body).raise_for_status().json()["data"][0]["predictions"]
    found = model.classify(CAT, LABELS, templates)
    assert [one.label for one in found] == [row["label"] for row in rows]
    for kind in ("score", "cosine"):
        ours = [np.float32(getattr(one, kind)) for one in found]
        assert ours == [np.float32(row[kind]) for row in rows]


def test_equal_labels_stay_in_their_order(model):
    found = model.classify(CAT, ["dog", "cat", "dog ", "cat"])
    assert [one.label for one in found[:2]] == ["cat", "cat"] and found[0].score == found[1].score


def test_a_classifier_serves_many_pictures(model):
    classifier = model.classifier(LABELS, TEMPLATES)
    assert classifier.vectors.shape == (len(LABELS), model.info.embed)
    assert classifier.classify_many(PICTURES) == [model.classify(path, LABELS, TEMPLATES) for path in PICTURES]
    assert classifier.classify_many([]) == []


# ---- the forms of a picture


def test_a_file_by_path_and_by_its_bytes(model):
    data = CAT.read_bytes()
    one = model.embed_images([CAT])
    for form in (str(CAT), data, bytearray(data), memoryview(data)):
        assert np.array_equal(model.embed_images([form]), one)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "LA", "1"])
def test_an_image_of_pillow_is_its_file(model, mode):
    """And so is its array, where an array can be that."""
    picture = Image.open(CAT).convert("RGBA" if mode in ("RGBA", "LA") else "RGB").convert(mode)
    file = io.BytesIO()
    picture.save(file, "PNG")
    expected = model.embed_images([file.getvalue()])
    assert np.array_equal(model.embed_images([picture]), expected)
    if mode in ("RGB", "RGBA", "L"):
        array = np.asarray(picture)
        assert np.array_equal(model.embed_images([array]), expected)
        if array.ndim == 3:
            assert np.array_equal(model.embed_images(np.stack([array, array]))[1:], expected)
        assert np.array_equal(model.embed_images([np.asfortranarray(array)]), expected)


def test_an_image_of_pillow_is_turned_upright(model):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.open(CAT).convert("RGB").save(file, "PNG", exif=exif)
    turned = Image.open(io.BytesIO(file.getvalue()))
    assert np.array_equal(model.embed_images([turned]), model.embed_images([file.getvalue()]))
    assert not np.array_equal(model.embed_images([turned]), model.embed_images([CAT]))


def test_an_array_may_be_larger_than_a_file(model):
    """12.5 million pixels are accepted, which are more bytes than a file may have."""
    found = model.embed_images([np.full((3000, 4000, 3), 128, np.uint8)])
    assert np.array_equal(found, model.embed_images([np.full((300, 400, 3), 128, np.uint8)]))


# ---- errors


@pytest.mark.parametrize("texts, error, message", [
    ("cat", TypeError, "texts is a str; accepted: a list of them"),
    (["cat", 7], TypeError, "texts[1] is of type int; accepted: str"),
    (["cat", ""], limoe.InvalidError, "texts[1] is empty"),
    (["\ud800"], limoe.InvalidError, "texts[0] is no Unicode text: half of a pair of surrogates at 0"),
    (["cat", "a\0b"], limoe.InvalidError, "texts[1]: "),
    (["x" * 65537], limoe.Error, "texts[0]: "),
])
def test_texts_that_are_none(model, texts, error, message):
    with pytest.raises(error) as raised:
        model.embed_texts(texts)
    assert message in str(raised.value)


@pytest.mark.parametrize("images, error, message", [
    ([CAT, b"no picture"], limoe.BadImageError, "images[1]: "),
    ([CAT.read_bytes()[:2000]], limoe.BadImageError, "images[0]: "),
    ([b""], limoe.BadImageError, "images[0]: "),
    ([CAT, "nobody.png"], FileNotFoundError, "nobody.png"),
    (CAT, TypeError, "images is one picture"),
    ([7], TypeError, "images[0] is of type int; accepted: a path, the bytes of a file, an array of uint8"),
    ([np.zeros((4, 4, 3))], limoe.InvalidError, "images[0] is an array of float64 [4, 4, 3]; accepted: uint8 [height, width]"),
    ([np.zeros((4, 4, 2), np.uint8)], limoe.InvalidError, "images[0] is an array of uint8 [4, 4, 2]"),
    ([np.zeros((0, 4, 3), np.uint8)], limoe.InvalidError, "0 x 4 pixels; accepted: 1 x 1 or more"),
    ([np.zeros((4000, 4000), np.uint8)], limoe.TooLargeError, "images[0]: "),
    ([Image.new("F", (4, 4))], limoe.UnsupportedError, 'images[0] is a PIL image of mode "F"; accepted: L, 1, P, RGB'),
])
def test_pictures_that_are_none(model, images, error, message):
    with pytest.raises(error) as raised:
        model.embed_images(images)
    assert message in str(raised.value)


@pytest.mark.parametrize("labels, templates, message", [
    ([], None, "there are no labels; 1 or more are accepted"),
    (["cat", " \u3000"], None, "labels[1] is nothing but white space"),
    (["cat"], [], "there are no templates; 1 or more are accepted"),
    (["cat"], ["{}", "a {} or {}"], 'templates[1] ("a {} or {}") has 2 "{}"; exactly one is accepted, where the label goes'),
])
def test_labels_that_are_none(model, labels, templates, message):
    with pytest.raises(limoe.InvalidError) as raised:
        model.classify(CAT, labels, templates)
    assert str(raised.value) == message


@pytest.mark.parametrize("options, error, message", [
    ({"path": "/nowhere"}, limoe.NotFoundError, "/nowhere"),
    ({"path": "a\0b"}, limoe.InvalidError, "path has a NUL byte"),
    ({"dtype": "float8"}, limoe.InvalidError, 'dtype is "float8"; accepted: auto, float32, bfloat16, int8'),
    ({"threads": -1}, limoe.InvalidError, "threads is -1; accepted: 0 for the default, or more"),
    ({"device": "tpu"}, limoe.Error, "tpu"),
])
def test_a_model_that_is_none(options, error, message):
    with pytest.raises(error) as raised:
        limoe.Model(**options)
    assert message in str(raised.value)


def test_limits_are_the_callers():
    with limoe.Model(max_bytes=1000, max_pixels=100) as small:
        with pytest.raises(limoe.TooLargeError, match="more than 1000 bytes"):
            small.embed_images([CAT])
        with pytest.raises(limoe.TooLargeError, match="images.0.: "):
            small.embed_images([np.zeros((20, 20, 3), np.uint8)])
        assert len(small.embed_images([np.zeros((10, 10, 3), np.uint8)])) == 1


# ---- a model's life


def test_what_it_says_of_itself(model, client):
    said = client.get("/v1/models").json()["data"][0]
    info = model.info
    assert (info.name, info.architecture, info.embed, info.scores) == (said["id"], said["architecture"], said["embed"], said["scores"])
    assert (info.experts, info.top_k, info.moe_layers) == (said["moe"]["experts"], said["moe"]["top_k"], len(said["moe"]["blocks"]))
    assert (info.total_parameters, info.active_parameters) == (said["parameters"]["total"], said["parameters"]["active"])
    assert (model.dtype, model.backend, model.fingerprint) == (said["dtype"], said["backend"], said["fingerprint"])
    assert info.takes_images and info.takes_texts
    assert repr(model) == f'<limoe.Model "{info.name}" {model.dtype} on {model.backend}>'


def test_int8_is_chosen_by_name(model):
    with limoe.Model(dtype="int8", threads=1) as other:
        assert (other.dtype, other.threads) == ("int8", 1) and other.fingerprint != model.fingerprint
        assert not np.array_equal(other.embed_texts(["cat"]), model.embed_texts(["cat"]))


def test_nothing_is_embedded_to_nothing(model):
    assert model.embed_texts([]).shape == model.embed_images([]).shape == (0, model.info.embed)


def test_threads_share_a_model(model):
    """Each gets what it would get alone."""
    expected = [model.embed_images([path]) for path in PICTURES]
    found = [None] * len(PICTURES)

    def embed(i):
        for _ in range(5):
            found[i] = model.embed_images([PICTURES[i]])
            assert np.array_equal(model.embed_texts(TEXTS[:1]), model.embed_texts(TEXTS[:1]))

    threads = [threading.Thread(target=embed, args=(i,)) for i in range(len(PICTURES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(found, expected))


def test_closing_waits_for_who_is_inside():
    model = limoe.Model()
    expected, found = model.embed_images([CAT] * 100), []
    thread = threading.Thread(target=lambda: found.append(model.embed_images([CAT] * 100)))
    thread.start()
    while not model._users.n and thread.is_alive():
        pass
    model.close()
    thread.join()
    assert np.array_equal(found[0], expected)
    with pytest.raises(limoe.InvalidError, match="the model is closed"):
        model.embed_texts(["cat"])
    model.close()


def test_a_classifier_outlives_its_model_without_a_crash():
    with limoe.Model() as model:
        classifier = model.classifier(["cat"])
    with pytest.raises(limoe.InvalidError, match="the model is closed"):
        classifier.classify(CAT)


def test_a_fork_is_refused_and_frees_nothing(model):
    """In place of waiting for ever for threads that it does not have."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            model.embed_texts(["cat"])
        except limoe.Error as error:
            model._free()
            os._exit(0 if "is a fork without its threads" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(model.embed_texts(["cat"])) == 1


def test_it_is_not_pickled(model):
    with pytest.raises(TypeError, match="open the folder in each process"):
        pickle.dumps(model)


def test_errors_are_of_their_kinds():
    assert issubclass(limoe.NotFoundError, FileNotFoundError) and issubclass(limoe.BadImageError, ValueError)
    assert limoe.BadImageError("x").status == "bad_image"


def test_the_bundled_model_is_the_programs():
    assert limoe.bundled_model() == pathlib.Path(limoe.program()).parents[1] / "share/limoe/models/pictograms"
