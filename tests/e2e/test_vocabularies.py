"""Protects vocabularies that clients bring: what PUT answered stays, through restarts, kill -9 and reloads; a description by one has the
bytes of one by a classifier of the same words; embedding many terms holds nobody up; what is none is refused."""

import concurrent.futures
import contextlib
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import threading

import pytest
from conftest import BUILD, MODEL, ROOT, Server, b64, key_file, picture, stop_cleanly, wait_until
from test_http import assert_error

WORDS = ["cat", "dog", "house", "bicycle", "a tree", "犬", "red"]
TEMPLATE = "a picture of a {}"
IMAGE = b64((ROOT / "examples/cat.png").read_bytes())
ANY = {"vocabulary": "words", "threshold": -1}


def names(client):
    return [entry["name"] for entry in client.get("/v1/vocabularies").json()["data"] if not entry["shipped"]]


@pytest.fixture
def clean(client):
    """The shared server, found and left without vocabularies."""

    def remove_all():
        for name in names(client):
            assert client.delete(f"/v1/vocabularies/{name}").status_code == 200

    remove_all()
    yield client
    remove_all()


def states(client, name="words"):
    return [model["state"] for model in client.get(f"/v1/vocabularies/{name}").json()["models"]]


def put(client, name="words", wait=True, **fields):
    response = client.put(f"/v1/vocabularies/{name}", json={"terms": WORDS, **fields} if "objects" not in fields else fields)
    assert response.status_code == 202, response.text
    if wait:
        wait_until(lambda: set(states(client, name)) == {"ready"})
    return response.json()


def describe(client, **fields):
    return client.post("/v1/describe", json={"image": IMAGE, "attributes": {"k": 0}, **fields})


def terms(response):
    assert response.status_code == 200, response.text
    return [tag["term"] for tag in response.json()["data"][0]["tags"]]


# ---- the life of one


def test_put_get_list_and_delete(clean):
    answer = put(clean, template=TEMPLATE)
    models = answer.pop("models")
    assert answer == {"object": "vocabulary", "name": "words", "size": 7, "template": TEMPLATE, "threshold": "auto", "shipped": False,
                      "created": answer["created"], "updated": answer["updated"]}
    assert [model["model"] for model in models] == ["pictograms"] and models[0]["reason"] is None
    found = clean.get("/v1/vocabularies/words", params={"offset": 5, "limit": 10}).json()
    assert found["terms"] == WORDS[5:] and found["models"] == [{"model": "pictograms", "state": "ready", "embedded": 7, "reason": None}]
    assert "terms" not in clean.get("/v1/vocabularies/words").json()
    again = put(clean, terms=["x"])
    assert again["created"] == answer["created"] and again["size"] == 1
    assert clean.delete("/v1/vocabularies/words").json() == {"object": "vocabulary.deleted", "name": "words", "deleted": True}
    error = assert_error(clean.delete("/v1/vocabularies/words"), 404, "vocabulary_not_found")
    assert error["param"] == "name"
    put(clean)
    assert '"words"' in assert_error(clean.get("/v1/vocabularies/wordz"), 404, "vocabulary_not_found")["message"]


def test_the_list_has_pages_and_what_the_program_brings(clean):
    for name in ("a", "b", "t", "z"):
        put(clean, name, wait=False)
    every = ["a", "attributes", "b", "t", "tags", "z"]
    assert [entry["name"] for entry in clean.get("/v1/vocabularies").json()["data"]] == every
    for size in (1, 2, 3, 5, 6):
        seen, after = [], {}
        while True:
            page = clean.get("/v1/vocabularies", params={"limit": size, **after}).json()
            assert 1 <= len(page["data"]) <= size
            seen += [entry["name"] for entry in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": seen[-1]}
        assert seen == every, size
    tags = clean.get("/v1/vocabularies/tags", params={"limit": 2}).json()
    assert tags["size"] > 4000 and tags["shipped"] and len(tags["terms"]) == 2 and "models" not in tags


@pytest.mark.parametrize("template", ["{}", TEMPLATE])
def test_a_description_is_that_of_a_classifier(clean, template):
    assert clean.put("/v1/classifiers/same", json={"labels": WORDS, "templates": [template]}).status_code == 200
    put(clean, template=template)
    fields = {"captions": {"vocabulary": "words", "n": 3}, "prompt": {"question": "?"}}
    by_words = describe(clean, tags=ANY, attributes={**ANY, "threshold": "auto"}, **fields)
    fields["captions"]["vocabulary"] = "same"
    by_labels = describe(clean, tags={**ANY, "vocabulary": "same"}, attributes={"vocabulary": "same"}, **fields)
    assert by_words.status_code == 200 and by_words.content == by_labels.content
    assert clean.delete("/v1/classifiers/same").status_code == 200


def test_a_vocabulary_goes_before_a_classifier(clean):
    assert clean.put("/v1/classifiers/words", json={"labels": ["nothing"]}).status_code == 200
    assert terms(describe(clean, tags=ANY)) == ["nothing"]
    put(clean)
    assert len(terms(describe(clean, tags=ANY))) == 5
    assert clean.delete("/v1/vocabularies/words").status_code == 200
    assert terms(describe(clean, tags=ANY)) == ["nothing"]
    assert clean.delete("/v1/classifiers/words").status_code == 200


def test_its_threshold_is_used_where_none_is_said(clean):
    put(clean)
    tags = describe(clean, tags=ANY).json()["data"][0]["tags"]
    second = tags[1]["cosine"]
    put(clean, threshold=second)
    assert clean.get("/v1/vocabularies/words").json()["threshold"] == second
    assert terms(describe(clean, tags={"vocabulary": "words"})) == [tag["term"] for tag in tags[:2]]
    assert len(terms(describe(clean, tags=ANY))) == 5
    assert len(describe(clean, tags={"k": 0}, captions={"vocabulary": "words"}).json()["data"][0]["captions"]) == 5


def test_objects_and_terms_that_come_again(clean):
    put(clean, objects={"cat": ["pointed ears", "a tail", "a tail"], "wheel": ["spokes"]})
    found = clean.get("/v1/vocabularies/words", params={"limit": 9}).json()
    assert found["terms"] == ["cat with pointed ears", "cat with a tail", "wheel with spokes"] and found["size"] == 3
    assert put(clean, terms=["a", "b", "a"])["size"] == 2


@pytest.mark.parametrize(
    ("name", "body", "status", "code", "param"),
    [
        ("words", {"terms": ["cat", ""]}, 400, "empty_terms", "terms[1]"),
        ("words", {"terms": []}, 400, "empty_terms", "terms"),
        ("words", {}, 400, "missing_field", "terms"),
        ("words", {"terms": ["a"], "objects": {"a": ["b"]}}, 400, "conflicting_fields", "objects"),
        ("words", {"terms": [str(i) for i in range(100001)]}, 400, "too_many_terms", "terms"),
        ("words", {"terms": ["a" * 1025]}, 400, "too_long", "terms[0]"),
        ("words", {"terms": ["a"], "template": "no place"}, 400, "invalid_template", "template"),
        ("words", {"terms": ["a"], "template": "{} and {}"}, 400, "invalid_template", "template"),
        ("words", {"terms": ["a"], "threshold": 1.01}, 400, "invalid_value", "threshold"),
        ("words", b'{"terms":["a"],"threshold":NaN}', 400, "invalid_json", None),
        ("words", b'{"terms":["a"],"threshold":1e999}', 400, None, None),
        ("words", {"terms": ["a"], "model": "pictograms"}, 400, "unknown_field", "model"),
        ("tags", {"terms": ["a"]}, 409, "vocabulary_shipped", "name"),
        ("a%2Fb", {"terms": ["a"]}, 400, "invalid_name", "name"),
    ],
)
def test_refusals(clean, name, body, status, code, param):
    content = {"content": body, "headers": {"Content-Type": "application/json"}} if isinstance(body, bytes) else {"json": body}
    response = clean.put(f"/v1/vocabularies/{name}", **content)
    error = response.json()["error"]
    assert response.status_code == status and error["code"] == (code or error["code"]), error
    assert param is None or error["param"] == param
    assert names(clean) == []


def test_what_the_program_brings_is_not_deleted(clean):
    assert_error(clean.delete("/v1/vocabularies/attributes"), 409, "vocabulary_shipped")


# ---- many


def test_embedding_many_terms_holds_nobody_up(clean):
    """A description is told to come again; all else is answered meanwhile; DELETE ends it."""
    put(clean, "large", wait=False, terms=[f"a thing of number {i} with a name that is not short" for i in range(100000)])
    answer = describe(clean, tags={"vocabulary": "large"})
    error = assert_error(answer, 503, "vocabulary_not_ready")
    assert error["param"] == "tags.vocabulary" and int(answer.headers["Retry-After"]) >= 1 and "of 100000" in error["message"]
    for i in range(3):
        assert clean.post("/v1/embeddings", json={"input": f"text {i}"}).status_code == 200
    progress = clean.get("/v1/vocabularies/large").json()["models"][0]
    assert progress["state"] == "embedding" and 0 <= progress["embedded"] < 100000
    assert clean.delete("/v1/vocabularies/large").status_code == 200
    put(clean)
    assert len(terms(describe(clean, tags=ANY))) == 5


def test_ten_at_once(clean):
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda i: put(clean, f"v{i % 5}", terms=[*WORDS, f"number {i}"]), range(10)))
    assert names(clean) == [f"v{i}" for i in range(5)]
    for i in range(5):
        assert describe(clean, tags={"vocabulary": f"v{i}", "threshold": -1}).status_code == 200


# ---- what stays


def test_a_restart_computes_nothing(start, tmp_path):
    seen, state = [], tmp_path / "state"
    for turn in range(2):
        server = start("--state-dir", state, "--cache-bytes", "0")
        with server.client() as client:
            if turn == 0:
                put(client, template=TEMPLATE, threshold=-1)
            wait_until(lambda client=client: states(client) == ["ready"])
            seen.append(describe(client, tags={"vocabulary": "words"}).content)
            seen.append(client.get("/v1/vocabularies/words", params={"limit": 9}).content)
            computed = server.metric('limoe_items_total{model="pictograms",modality="text"}')
        server.terminate()
    assert computed == 0 and seen[:2] == seen[2:]


def damaged(data, damage):
    """Vectors with their SHA-256 behind them, of which something is wrong; of "numbers" not the SHA-256."""
    if damage == "cut":
        return data[:-1]
    if damage == "bits":
        return data[:100] + bytes([data[100] ^ 1]) + data[101:]
    vectors = struct.pack("<f", float("nan")) + data[4:-32]
    return vectors + hashlib.sha256(vectors).digest()


@pytest.mark.parametrize("damage", ["cut", "bits", "numbers"])
def test_vectors_that_are_not_whole_are_made_again(start, tmp_path, damage):
    state = tmp_path / "state"
    server = start("--state-dir", state)
    with server.client() as client:
        put(client)
        before = describe(client, tags=ANY).content
    server.terminate()
    (rows,) = (state / "vocabularies").glob("words@*.rows")
    rows.write_bytes(damaged(rows.read_bytes(), damage))
    (state / "vocabularies/.new-1").write_text("half")
    (state / "vocabularies/gone@00.rows").write_text("of none")
    (state / "vocabularies/somebody@elsewhere").write_text("not ours")
    (state / "vocabularies/broken.json").write_text("{")
    (state / "vocabularies/tags.json").write_bytes((state / "vocabularies/words.json").read_bytes())
    os.mkfifo(state / "vocabularies/pipe.json")
    server = start("--state-dir", state)
    with server.client() as client:
        wait_until(lambda: states(client) == ["ready"])
        assert describe(client, tags=ANY).content == before and names(client) == ["words"]
    left = sorted(path.name for path in (state / "vocabularies").iterdir())
    assert left == ["broken.json", "pipe.json", "somebody@elsewhere", "tags.json", "words.json", rows.name]


def test_kill_9_right_after_put(start, tmp_path):
    server = start("--state-dir", tmp_path / "state")
    with server.client() as client:
        put(client, wait=False)
    server.kill()
    with start("--state-dir", tmp_path / "state").client() as client:
        wait_until(lambda: states(client) == ["ready"])
        assert len(terms(describe(client, tags=ANY))) == 5


def test_an_engine_that_is_lost_meanwhile(tmp_path):
    """Its terms are embedded by the next; without one the server stops all the same."""
    shutil.copytree(MODEL, tmp_path / "model")
    server = Server("--model", tmp_path / "model", "--state-dir", tmp_path / "state")
    with contextlib.ExitStack() as stack:
        stack.callback(server.kill)
        client = stack.enter_context(server.client())
        put(client, terms=[f"number {i}" for i in range(600)], wait=False)
        os.kill(server.children("engine")[0], signal.SIGKILL)
        wait_until(lambda: states(client) == ["ready"])
        put(client, terms=[f"thing of number {i}" for i in range(100000)], wait=False)
        wait_until(lambda: client.get("/v1/vocabularies/words").json()["models"][0]["embedded"] > 0)
        os.kill(server.children("engine")[0], signal.SIGSTOP)
        shutil.rmtree(tmp_path / "model")
        os.kill(server.children("engine")[0], signal.SIGKILL)
        assert server.terminate(20) == 0


def test_a_reload_to_another_model_makes_them_anew(start, tmp_path):
    """Before it is in force, so that nobody is told to come again."""
    model, key = tmp_path / "model", {"Authorization": "Bearer " + "k" * 40}
    model.symlink_to(MODEL)
    server = start("--model", model, "--state-dir", tmp_path / "state", "--admin-keys-file", key_file(tmp_path / "admin", "k" * 40))
    subprocess.run([BUILD / "limoe", "quantize", MODEL, tmp_path / "other", "--quiet"], check=True)
    with server.client(headers=key) as client:
        put(client)
        before = describe(client, tags=ANY).json()
        model.unlink()
        model.symlink_to(tmp_path / "other")
        wrong, stop = [], threading.Event()

        def ask():
            with server.client(headers=key) as own:
                while not stop.is_set():
                    answer = describe(own, tags=ANY)
                    if answer.status_code != 200:
                        wrong.append(answer.text)

        asking = threading.Thread(target=ask)
        asking.start()
        assert client.post("/v1/models/reload").status_code == 200
        stop.set()
        asking.join()
        after = describe(client, tags=ANY).json()
    assert wrong == [] and before["data"] != after["data"]
    assert len(list((tmp_path / "state/vocabularies").glob("words@*.rows"))) == 2


# ---- bounds


def test_memory_is_bounded(start, tmp_path):
    server = start("--state-dir", tmp_path / "state", "--vocabulary-bytes", "1MiB")
    with server.client() as client:
        many = [f"{i:01000}" for i in range(300)]
        put(client, "a", terms=many, wait=False)
        error = assert_error(client.put("/v1/vocabularies/b", json={"terms": many}), 507, "store_full")
        assert "--vocabulary-bytes" in error["message"]
        put(client, "a", terms=many, wait=False)  # in place of itself
        assert client.delete("/v1/vocabularies/a").status_code == 200
        put(client, "b", terms=many, wait=False)


def test_memory_is_bounded_after_a_restart(start, tmp_path):
    """Of the terms alone three find room, of their vectors besides one."""
    server = start("--state-dir", tmp_path / "state")
    with server.client() as client:
        for i in range(6):
            put(client, f"v{i}", terms=[f"{i:01000}" for i in range(300)], wait=False)
    server.terminate()
    server = start("--state-dir", tmp_path / "state", "--vocabulary-bytes", "1MiB")
    with server.client() as client:
        found = names(client)
        assert len(found) == 3
        wait_until(lambda: sorted(states(client, name)[0] for name in found) == ["failed", "failed", "ready"])
        failed = next(name for name in found if states(client, name) == ["failed"])
        assert "--vocabulary-bytes" in client.get(f"/v1/vocabularies/{failed}").json()["models"][0]["reason"]
        answer = describe(client, tags={"vocabulary": failed})
        error = assert_error(answer, 503, "vocabulary_not_ready")
        assert "--vocabulary-bytes" in error["message"] and int(answer.headers["Retry-After"]) >= 30
        ready = next(name for name in found if states(client, name) == ["ready"])
        assert client.delete(f"/v1/vocabularies/{ready}").status_code == 200  # there is room for one of the others
        wait_until(lambda: sorted(states(client, name)[0] for name in names(client)) == ["failed", "ready"])
    assert len(list((tmp_path / "state/vocabularies").glob("*.json"))) == 5


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_told_and_serves_what_it_has(small_disk):
    server = Server("--state-dir", small_disk / "state")
    with server.client() as client:
        put(client)
        with open(small_disk / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        error = assert_error(client.put("/v1/vocabularies/b", json={"terms": ["a"]}), 507, "store_full")
        assert "the disk is full" in error["message"]
        assert names(client) == ["words"] and len(terms(describe(client, tags=ANY))) == 5
        os.truncate(small_disk / "filler", (small_disk / "filler").stat().st_size - 8192)
        put(client, "wide", terms=[str(i) for i in range(20)])  # its vectors find no room, and are served all the same
        assert describe(client, tags={"vocabulary": "wide"}).status_code == 200
        assert not list((small_disk / "state/vocabularies").glob("wide@*")) and not list((small_disk / "state/vocabularies").glob(".new*"))
        assert client.delete("/v1/vocabularies/wide").status_code == 200
    stop_cleanly(server)


def test_pictures_are_the_same_alone_and_in_company(clean):
    put(clean)
    pictures = [b64(picture(i)) for i in range(4)]
    fields = {"tags": ANY, "attributes": {"k": 0}}
    alone = [clean.post("/v1/describe", json={"image": one, **fields}).json()["data"][0] for one in pictures]
    together = clean.post("/v1/describe", json={"images": pictures, **fields}).json()["data"]
    assert [{**one, "index": 0} for one in together] == alone
