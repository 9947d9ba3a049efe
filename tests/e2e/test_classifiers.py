"""Protects named classifiers: what PUT answered stays, through restarts and kill -9; a classification by name has the
bytes of one by labels."""

import signal
import threading

import httpx
import pytest
from conftest import Server, b64, picture
from test_http import assert_error

LABELS = ["cat", "dog", "猫", "a red circle", "dog"]
TEMPLATES = ["{}", "a picture of a {}", 'a "{}"']


def put(client, name, labels=LABELS, templates=TEMPLATES):
    response = client.put(f"/v1/classifiers/{name}", json={"labels": labels, "templates": templates})
    assert response.status_code == 200, response.text
    return response.json()


def names(client):
    return [entry["name"] for entry in client.get("/v1/classifiers").json()["data"]]


def by_json(client, image, **fields):
    return client.post("/v1/classify", json={"image": b64(image), **fields})


def by_form(client, image, **fields):
    return client.post("/v1/classify", files=[("image", ("x.png", image, "image/png"))], data=fields)


def by_query(client, image, **fields):
    return client.post("/v1/classify", content=image, headers={"Content-Type": "image/png"}, params=fields)


FORMS = [by_json, by_form, by_query]


def remove_all(client):
    for name in names(client):
        assert client.delete(f"/v1/classifiers/{name}").status_code == 200


@pytest.fixture
def clean(client):
    """The shared server, found and left without classifiers, whichever files of tests ran before."""
    remove_all(client)
    yield client
    remove_all(client)
    assert names(client) == []


# ---- the life of one


def test_put_get_list_and_delete(clean):
    assert clean.get("/v1/classifiers").json() == {"object": "list", "data": [], "has_more": False}
    answer = put(clean, "animals")
    assert answer == {
        "object": "classifier",
        "name": "animals",
        "labels": LABELS,
        "templates": TEMPLATES,
        "created": answer["created"],
        "updated": answer["created"],
        "model": clean.get("/v1/models").json()["data"][0]["id"],
    }
    assert answer["created"] > 1_700_000_000
    assert clean.get("/v1/classifiers/animals").json() == answer
    assert clean.get("/v1/classifiers").json()["data"] == [
        {
            "object": "classifier",
            "name": "animals",
            "label_count": len(LABELS),
            "template_count": len(TEMPLATES),
            "created": answer["created"],
            "updated": answer["updated"],
        }
    ]

    again = put(clean, "animals", ["one"], ["{}"])
    assert again["labels"] == ["one"]
    assert again["created"] == answer["created"] <= again["updated"]
    assert clean.get("/v1/classifiers/animals").json() == again

    gone = clean.delete("/v1/classifiers/animals")
    assert gone.status_code == 200
    assert gone.json() == {"object": "classifier.deleted", "name": "animals", "deleted": True}
    assert_error(clean.get("/v1/classifiers/animals"), 404, "classifier_not_found", "name")
    assert_error(clean.delete("/v1/classifiers/animals"), 404, "classifier_not_found", "name")


def test_templates_are_the_bare_label_by_default(clean):
    response = clean.put("/v1/classifiers/plain", json={"labels": ["cat"]})
    assert response.json()["templates"] == ["{}"]


def test_the_list_comes_in_pages(clean):
    expected = sorted(f"c{i}" for i in range(7))
    for name in expected:
        put(clean, name, ["x"], ["{}"])
    found, after = [], {}
    while True:
        page = clean.get("/v1/classifiers", params={"limit": 3, **after}).json()
        found.append([entry["name"] for entry in page["data"]])
        if not page["has_more"]:
            break
        after = {"after": found[-1][-1]}
    assert found == [expected[0:3], expected[3:6], expected[6:]]
    for query, param in [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"after": ".x"}, "after"),
        ({"x": 1}, "x"),
    ]:
        assert_error(clean.get("/v1/classifiers", params=query), 400, param=param)


# ---- classification by name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("templates", [["{}"], TEMPLATES])
def test_a_name_answers_with_the_bytes_of_its_labels(clean, form, templates):
    put(clean, "animals", LABELS, templates)
    image = picture(3)
    for top_k in [{}, {"top_k": 2}, {"top_k": 100}]:
        labelled = by_json(clean, image, labels=LABELS, templates=templates, **top_k)
        named = form(clean, image, classifier="animals", **top_k)
        assert named.status_code == 200, named.text
        assert named.content == labelled.content


def test_several_pictures(clean):
    put(clean, "animals")
    images = [b64(picture(seed)) for seed in range(5)]
    named = clean.post("/v1/classify", json={"images": images, "classifier": "animals"})
    labelled = clean.post("/v1/classify", json={"images": images, "labels": LABELS, "templates": TEMPLATES})
    assert named.status_code == 200 and named.content == labelled.content


def test_a_change_shows_in_the_next_answer(clean):
    image = picture(4)
    for labels in (["cat", "dog"], ["a", "b", "c"], ["dog", "cat"]):
        put(clean, "changing", labels, ["{}"])
        named = by_json(clean, image, classifier="changing")
        assert named.content == by_json(clean, image, labels=labels).content
    clean.delete("/v1/classifiers/changing")
    assert_error(by_json(clean, image, classifier="changing"), 404, "classifier_not_found", "classifier")


# ---- errors


@pytest.mark.parametrize("form", FORMS)
def test_a_name_excludes_labels_and_templates(clean, form):
    put(clean, "animals")
    for field, value in (("labels", "cat"), ("templates", "a {}")):
        given = [value] if form is by_json else value
        response = form(clean, picture(), classifier="animals", **{field: given})
        assert_error(response, 400, "conflicting_fields", field, f"both classifier and {field}")


@pytest.mark.parametrize("form", FORMS)
def test_an_unknown_name_is_told_its_nearest(clean, form):
    put(clean, "animals", ["cat"], ["{}"])
    error = assert_error(form(clean, picture(), classifier="anmals"), 404, "classifier_not_found", "classifier")
    assert '"anmals"' in error["message"] and '"animals"' in error["message"]
    error = assert_error(form(clean, picture(), classifier="vehicles"), 404, "classifier_not_found", "classifier")
    assert "animals" not in error["message"]


def test_names_and_definitions_are_checked(clean):
    for name in [".x", "-x", "a b", "ä", "a%2Fb", "n" * 129]:
        assert_error(clean.put(f"/v1/classifiers/{name}", json={"labels": ["x"]}), 400, "invalid_name", "name")
        assert_error(clean.get(f"/v1/classifiers/{name}"), 400, "invalid_name", "name")
        assert_error(clean.delete(f"/v1/classifiers/{name}"), 400, "invalid_name", "name")
    put(clean, "n" * 128, ["x"], ["{}"])
    for body, code, param in [
        ({}, "empty_labels", "labels"),
        ({"labels": [""]}, "empty_labels", "labels[0]"),
        ({"labels": ["x"], "templates": ["y"]}, "invalid_template", "templates[0]"),
        ({"labels": ["x"], "top_k": 1}, "unknown_field", "top_k"),
        ({"labels": ["x"] * 10000, "templates": ["{}", "a {}", "b {}"]}, "too_many_prompts", "templates"),
    ]:
        assert_error(clean.put("/v1/classifiers/bad", json=body), 400, code, param)
    assert_error(clean.put("/v1/classifiers/bad", content=b"labels"), 415, "unsupported_media_type")
    assert_error(clean.get("/v1/classifiers/bad"), 404)


def test_methods(client):
    response = client.post("/v1/classifiers/x", json={})
    assert_error(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT", "DELETE"}
    assert client.head("/v1/classifiers").status_code == 200


# ---- what the disk keeps


def answers_of(client, stored):
    image = picture(6)
    return {name: by_json(client, image, classifier=name).content for name in stored}


def test_a_restart_keeps_them(start, tmp_path):
    first = start("--state-dir", tmp_path / "state")
    with first.client() as client:
        kept = {name: put(client, name, [f"{name} {i}" for i in range(20)]) for name in ("a", "b", "c")}
        client.delete("/v1/classifiers/b")
        del kept["b"]
        before = answers_of(client, kept)
    assert first.terminate() == 0

    second = start("--state-dir", tmp_path / "state")
    with second.client() as client:
        assert names(client) == ["a", "c"]
        for name, answer in kept.items():
            assert client.get(f"/v1/classifiers/{name}").json() == answer
        assert answers_of(client, kept) == before


def test_two_servers_share_a_directory(start, tmp_path):
    servers = [start("--state-dir", tmp_path / "state") for _ in range(2)]
    with servers[0].client() as one, servers[1].client() as other:
        for labels in (["cat", "dog"], ["a", "b", "c"]):
            put(one, "shared", labels, ["{}"])
            image = picture(7)
            assert by_json(other, image, classifier="shared").content == by_json(other, image, labels=labels).content
        other.delete("/v1/classifiers/shared")
        assert_error(by_json(one, picture(), classifier="shared"), 404, "classifier_not_found")


def test_a_file_that_is_none_stops_the_start(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "classifiers.db").write_bytes(b"no database at all\n" * 500)
    with pytest.raises(AssertionError, match="classifiers.db"):
        Server("--state-dir", state)


WRITES = 200


def kill_once(server, enough):
    enough.wait()
    server.process.send_signal(signal.SIGKILL)


def definition(number):
    return [f"label {number} {i}" for i in range(1 + number % 30)]


def test_kill_9_during_200_puts(start, tmp_path):
    """Every PUT that was answered 200 is there afterwards, whole; none is half there."""
    name_of = [f"c{number % 9}" for number in range(WRITES)]
    acknowledged = {}  # name → the number of its last PUT that was answered
    number = 0
    rounds = 0
    while number < WRITES:
        server = start("--state-dir", tmp_path / "state")
        kill_at = WRITES * (rounds + 1) // 4
        enough = threading.Event()
        killer = threading.Thread(target=kill_once, args=(server, enough))
        killer.start()
        in_flight = None
        try:
            with server.client() as client:
                while number < WRITES:
                    if number >= kill_at:
                        enough.set()  # and go on: the kill meets a PUT
                    in_flight = number
                    put(client, name_of[number], definition(number), ["{}"])
                    acknowledged[name_of[number]] = number
                    in_flight = None
                    number += 1
        except httpx.TransportError:
            pass
        finally:
            enough.set()
            killer.join()
            server.wait()
        rounds += 1

        survivor = start("--state-dir", tmp_path / "state")
        with survivor.client() as client:
            for name, last in acknowledged.items():
                labels = client.get(f"/v1/classifiers/{name}").json()["labels"]
                possible = [definition(last)]
                if in_flight is not None and name_of[in_flight] == name:
                    possible.append(definition(in_flight))  # stored, but not answered any more
                assert labels in possible
                image = picture(last % 5)
                named = by_json(client, image, classifier=name)
                assert named.content == by_json(client, image, labels=labels).content
        assert survivor.terminate() == 0
    assert rounds >= 4
