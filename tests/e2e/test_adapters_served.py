"""Protects adapters over HTTP: what a server answers by them has the bits of the merged model, alone and beside others, through
restarts and losses; what is no adapter of the model is refused and leaves nothing."""

import os
import pathlib
import re
import signal
import subprocess
import threading

import numpy as np
import pytest

from conftest import BUILD, MODEL, Server, b64, picture, stop_cleanly, wait_until
from test_adapters import answer, write
from test_http import assert_error

ITEMS = ["a cat", "猫", {"image": b64(picture(1))}, {"image": b64(picture(2))}]
LABELS = ["cat", "dog"]
TEMPLATES = ["a {}", "{}"]


def tail(path, base, seed, block=7, strength=1.0):
    """A tail of the bundled model that changes little, and enough."""
    rng = np.random.default_rng(seed)
    about = {"format": "limoe-adapter-1", "kind": "tail", "base": base, "start_block": block, "labels": LABELS,
             "templates": ["a {}"], "strength": strength}
    return write(path, about, {"ln.bias": rng.normal(0, 0.5, 192), f"blocks.{block}.ln1.weight": rng.normal(1, 0.3, 192)})


def probe(path, base, embed=192, labels=LABELS):
    about = {"format": "limoe-adapter-1", "kind": "probe", "base": base, "labels": labels}
    rng = np.random.default_rng(9)
    return write(path, about, {"probe.weight": rng.normal(0, 1, (2, embed)), "probe.bias": [0.25, -0.5]})


@pytest.fixture(scope="module")
def base():
    return answer("inspect", MODEL, "--digest").strip()


@pytest.fixture(scope="module")
def files(tmp_path_factory, base):
    folder = tmp_path_factory.mktemp("adapters")
    return {"pets": tail(folder / "pets", base, 1), "birds": tail(folder / "birds", base, 2, block=4, strength=0.5)}


@pytest.fixture(scope="module")
def merged(tmp_path_factory, files):
    """What the merged models answer: by name and strength."""
    folder = tmp_path_factory.mktemp("merged")
    answers = {}
    for name, strength in ("pets", 1), ("pets", 0.25), ("birds", 0.5):
        to = folder / f"{name}-{strength}"
        answer("adapters", "merge", MODEL, files[name], to, "--strength", strength)
        server = Server("--model", to)
        with server.client() as client:
            answers[name, strength] = data(embed(client))
            answers["routing", name, strength] = post(client, "routing").json()["data"]
            answers["classes", name, strength] = classify(client, labels=LABELS, templates=TEMPLATES)
        stop_cleanly(server)
    return answers


def put(client, name, path, **query):
    return client.put(f"/v1/adapters/{name}", content=pathlib.Path(path).read_bytes(),
                      headers={"Content-Type": "application/octet-stream"}, params=query)


def post(client, route, **fields):
    return client.post(f"/v1/{route}", json={"input": ITEMS, **fields})


def embed(client, **fields):
    return post(client, "embeddings", encoding_format="base64", **fields)


def classify(client, **fields):
    response = client.post("/v1/classify", json={"images": [b64(picture(1)), b64(picture(2))], **fields})
    assert response.status_code == 200, response.text
    return response.json()["data"]


def data(response):
    assert response.status_code == 200, response.text
    return [entry["embedding"] for entry in response.json()["data"]]


def stored(server):
    return sorted(os.listdir(pathlib.Path(server.state.name) / "adapters"))


@pytest.fixture(scope="module")
def adapted(files):
    server = Server()
    with server.client() as client:
        for name, path in files.items():
            assert put(client, name, path).status_code == 200
    yield server
    stop_cleanly(server)


@pytest.fixture
def own(adapted):
    with adapted.client() as client:
        yield client


@pytest.fixture(scope="module")
def plain(adapted):
    with adapted.client() as client:
        return data(embed(client))


# ---- bits


def test_answers_are_those_of_the_merged_model(own, merged, plain):
    assert data(embed(own, adapter="pets")) == merged["pets", 1] != plain
    assert data(embed(own, adapter="pets", strength=0.25)) == merged["pets", 0.25]
    assert data(embed(own, adapter="birds")) == merged["birds", 0.5]
    assert data(embed(own, adapter="pets")) == merged["pets", 1]  # now of the text cache
    for fields in {"adapter": "pets", "strength": 0}, {"adapter": "base"}, {"adapter": None}, {}:
        assert data(embed(own, **fields)) == plain
    assert post(own, "routing", adapter="pets").json()["data"] == merged["routing", "pets", 1]


def test_steps_of_many_adapters_have_the_same_bits(own, merged, plain):
    wanted = [({}, plain), ({"adapter": "pets"}, merged["pets", 1]), ({"adapter": "birds"}, merged["birds", 0.5]),
              ({"adapter": "pets", "strength": 0.25}, merged["pets", 0.25])] * 6
    got = [None] * len(wanted)

    def ask(i):
        got[i] = data(embed(own, **wanted[i][0]))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, (fields, expected) in enumerate(wanted):
        assert got[i] == expected, fields


def test_a_lost_engine_reads_its_adapters_again(adapted, own, merged):
    data(embed(own, adapter="pets"))
    restarts = adapted.metric("limoe_engine_restarts_total")
    for pid in adapted.children("engine"):
        os.kill(pid, signal.SIGKILL)
    assert data(post(own, "embeddings", adapter="pets", encoding_format="base64")) == merged["pets", 1]
    fresh = post(own, "embeddings", input=[{"image": b64(picture(1))}], adapter="birds", encoding_format="base64")
    assert data(fresh) == merged["birds", 0.5][2:3]
    wait_until(lambda: adapted.metric("limoe_engine_restarts_total") == restarts + 1)


# ---- classification


def test_classes_are_those_of_the_merged_model(own, merged):
    ask = {"labels": LABELS, "templates": TEMPLATES}
    was = classify(own, **ask)
    assert classify(own, **ask, adapter="pets") == merged["classes", "pets", 1] != was
    assert classify(own, **ask, adapter="pets", strength=0.25) == merged["classes", "pets", 0.25]
    assert classify(own, **ask, adapter="pets", strength=0) == classify(own, **ask, adapter="base") == was
    assert own.put("/v1/classifiers/two", json=ask).status_code == 200
    for _ in range(2):
        assert classify(own, classifier="two", adapter="birds") == merged["classes", "birds", 0.5]
        assert classify(own, classifier="two") == was
    form = own.post("/v1/classify", files={"image": picture(1)}, data={**ask, "adapter": "pets", "strength": "0.25"})
    query = own.post("/v1/classify", content=picture(1), headers={"Content-Type": "image/png"},
                     params={**ask, "adapter": "pets", "strength": "0.25"})
    assert form.json()["data"] == query.json()["data"] == merged["classes", "pets", 0.25][:1]
    own.delete("/v1/classifiers/two")


def test_a_list_is_answered_by_each_from_one_pass_of_the_trunk(adapted, own, merged):
    ask = {"images": [b64(picture(1)), b64(picture(2))], "labels": LABELS, "templates": TEMPLATES}
    was = classify(own, labels=LABELS, templates=TEMPLATES)
    wanted = [{"adapter": "base", "data": was}, {"adapter": "pets", "data": merged["classes", "pets", 1]},
              {"adapter": "birds", "data": merged["classes", "birds", 0.5]}]
    names = ["base", "pets", "birds"]
    assert own.post("/v1/classify", json={**ask, "adapter": names}).status_code == 200  # from here on the prompts are in the cache
    before = {part: adapted.metric(f'limoe_adapter_rows_total{{part="{part}"}}') for part in ("trunk", "tail")}
    got = own.post("/v1/classify", json={**ask, "images": [b64(picture(21))], "adapter": names}).json()
    assert [variant["adapter"] for variant in got["variants"]] == names
    rows = {part: adapted.metric(f'limoe_adapter_rows_total{{part="{part}"}}') - before[part] for part in before}
    assert rows == {"trunk": 25 * 8, "tail": 25 * (1 + 4)}
    got = own.post("/v1/classify", json={**ask, "adapter": names}).json()
    assert got["variants"] == wanted and "data" not in got
    assert got["usage"]["image_tokens"] == 3 * 2 * 25
    half = own.post("/v1/classify", json={**ask, "adapter": ["pets", "base"], "strength": 0.25}).json()["variants"]
    assert half == [{"adapter": "pets", "data": merged["classes", "pets", 0.25]}, {"adapter": "base", "data": was}]
    fresh = {**ask, "labels": ["never seen before", "nor this"]}
    got = own.post("/v1/classify", json={**fresh, "adapter": names}).json()["variants"]
    for variant in got:
        assert own.post("/v1/classify", json={**fresh, "adapter": variant["adapter"]}).json()["data"] == variant["data"]
    own.put("/v1/classifiers/listed", json={"labels": LABELS, "templates": TEMPLATES})
    got = own.post("/v1/classify", json={"images": ask["images"], "classifier": "listed", "adapter": names}).json()["variants"]
    assert got == wanted
    own.delete("/v1/classifiers/listed")


@pytest.mark.parametrize("names, code", [
    ([], "too_many_items"), (["base"] * 17, "too_many_items"), (["pets", "pets"], "duplicate_field"), (["pets", 1], "invalid_type"),
    (["base", "none"], "adapter_not_found"),
])
def test_lists_that_cannot_be(own, names, code):
    ask = {"image": b64(picture(1)), "labels": LABELS, "adapter": names}
    assert_error(own.post("/v1/classify", json=ask), 404 if code == "adapter_not_found" else 400, code, "adapter")
    assert own.post("/v1/classify", json={**ask, "adapter": ["base"]}).status_code == 200


@pytest.fixture
def flat(own, tmp_path, base):
    path = probe(tmp_path / "flat", base)
    assert put(own, "flat", path).json()["kind"] == "probe"
    yield path
    own.delete("/v1/adapters/flat")


def test_a_probe_scores_its_own_labels(own, flat):
    zero_shot = classify(own, labels=LABELS)
    assert classify(own, adapter="flat", strength=0) == zero_shot
    image = np.array(own.post("/v1/embeddings", json={"input": ITEMS[2:3]}).json()["data"][0]["embedding"])
    raw = np.frombuffer(flat.read_bytes()[-8 * 193:], "<f4")
    logits = raw[:-2].reshape(2, 192) @ image + raw[-2:]
    cosines = {p["label"]: p["cosine"] for p in zero_shot[0]["predictions"]}
    scores = {p["label"]: p["score"] for p in zero_shot[0]["predictions"]}
    scale = np.log(scores["cat"] / scores["dog"]) / (cosines["cat"] - cosines["dog"])
    for strength in 1, 0.5:
        mixed = (1 - strength) * scale * np.array([cosines[name] for name in LABELS]) + strength * logits
        wanted = np.exp(mixed - mixed.max()) / np.exp(mixed - mixed.max()).sum()
        got = classify(own, adapter="flat", strength=strength)[0]["predictions"]
        assert {p["label"]: p["cosine"] for p in got} == cosines
        assert np.allclose([next(p["score"] for p in got if p["label"] == name) for name in LABELS], wanted, atol=1e-4)
        assert got[0]["score"] >= got[1]["score"]
    assert classify(own, adapter="flat", top_k=1)[0]["predictions"] == classify(own, adapter="flat")[0]["predictions"][:1]


def test_a_probe_in_a_list_brings_the_labels(adapted, own, flat, tmp_path, base):
    ask = {"images": [b64(picture(1)), b64(picture(2))]}
    alone = {"base": classify(own, labels=LABELS), "flat": classify(own, adapter="flat"),
             "pets": classify(own, labels=LABELS, adapter="pets")}
    for names in ["base", "flat"], ["flat"], ["flat", "pets", "base"]:
        got = own.post("/v1/classify", json={**ask, "adapter": names}).json()
        assert got["variants"] == [{"adapter": name, "data": alone[name]} for name in names]
        assert got["usage"]["image_tokens"] == (2 if "pets" in names else 1) * 2 * 25  # a probe embeds as the base does
    half = own.post("/v1/classify", json={**ask, "adapter": ["flat", "pets"], "strength": 0.25, "top_k": 1}).json()["variants"]
    for variant in half:
        labels = {"labels": LABELS} if variant["adapter"] == "pets" else {}
        assert variant["data"] == classify(own, adapter=variant["adapter"], strength=0.25, top_k=1, **labels)
    none = own.post("/v1/classify", json={**ask, "adapter": ["pets", "flat"], "strength": 0}).json()["variants"]
    assert [variant["data"] for variant in none] == [alone["base"]] * 2

    before = {part: adapted.metric(f'limoe_adapter_rows_total{{part="{part}"}}') for part in ("trunk", "tail")}
    own.post("/v1/classify", json={"image": b64(picture(22)), "adapter": ["base", "flat", "pets"]})
    rows = {part: adapted.metric(f'limoe_adapter_rows_total{{part="{part}"}}') - before[part] for part in before}
    assert rows == {"trunk": 25 * 8, "tail": 25}  # base and probe share all blocks, and the prompts are in the cache

    for names in ["pets", "base"], ["base"]:
        assert_error(own.post("/v1/classify", json={**ask, "adapter": names}), 400, "empty_labels", "labels")
    for fields, param in ({"labels": LABELS}, "labels"), ({"classifier": "x"}, "classifier"):
        assert_error(own.post("/v1/classify", json={**ask, **fields, "adapter": ["base", "flat"]}), 400, "conflicting_fields", param)
    put(own, "twin", probe(tmp_path / "twin", base))
    got = own.post("/v1/classify", json={**ask, "adapter": ["twin", "flat"]}).json()["variants"]
    assert [variant["data"] for variant in got] == [alone["flat"]] * 2
    put(own, "other", probe(tmp_path / "other", base, labels=["cat", "bird"]))
    got = own.post("/v1/classify", json={**ask, "adapter": ["flat", "other"]})
    assert_error(got, 400, "unsupported_adapter", "adapter", "different labels")
    for name in "twin", "other":
        own.delete(f"/v1/adapters/{name}")


def test_what_a_probe_is_not_for(own, flat):
    assert_error(embed(own, adapter="flat"), 400, "unsupported_adapter", "adapter")
    image = {"image": b64(picture(1))}
    assert_error(own.post("/v1/classify", json={**image, "adapter": "flat", "labels": ["x"]}), 400, "conflicting_fields", "labels")
    assert_error(own.post("/v1/classify", json={**image, "adapter": "flat", "classifier": "x"}), 400, "conflicting_fields", "classifier")
    assert_error(own.post("/v1/classify", json={**image, "adapter": "pets"}), 400, "empty_labels", "labels")
    assert_error(own.post("/v1/classify", json=image), 400, "empty_labels", "labels")
    form = own.post("/v1/classify", files={"image": picture(1)}, data={"labels": ["a"], "adapter": "pets", "strength": "full"})
    assert_error(form, 400, "invalid_strength", "strength")


def test_a_dialect_with_our_bodies_uses_them(own, merged, flat):
    asked = own.post("/invocations", json={"input": ITEMS, "adapter": "pets", "encoding_format": "base64"})
    assert data(asked) == merged["pets", 1]
    images = [b64(picture(1)), b64(picture(2))]
    asked = own.post("/invocations", json={"images": images, "labels": LABELS, "templates": TEMPLATES, "adapter": "pets"})
    assert asked.json()["data"] == merged["classes", "pets", 1]
    asked = own.post("/invocations", json={"images": images, "adapter": "flat"})
    assert asked.json()["data"] == classify(own, adapter="flat")


# ---- the life of one


def test_put_get_list_and_delete(start, files, base, merged):
    server = start()
    client = server.client()
    assert client.get("/v1/adapters").json() == {"object": "list", "data": [], "has_more": False}
    was = data(embed(client))
    got = put(client, "pets", files["pets"])
    assert got.status_code == 200
    body = got.json()
    assert body.pop("created") > 1.6e9
    assert body == {"object": "adapter", "name": "pets", "model": "pictograms", "state": "ready", "kind": "tail", "base": base,
                    "file_bytes": files["pets"].stat().st_size, "start_block": 7, "strength": 1, "parameters": 384, "bytes": 1536,
                    "tensors": 2, "labels": LABELS, "templates": ["a {}"], "training": None}
    assert client.get("/v1/adapters/pets").json() == got.json()
    put(client, "birds", files["birds"])
    listed = client.get("/v1/adapters").json()
    assert [entry["name"] for entry in listed["data"]] == ["birds", "pets"] and not listed["has_more"]
    assert listed["data"][0]["strength"] == 0.5 and listed["data"][0]["label_count"] == 2
    page = client.get("/v1/adapters", params={"limit": 1}).json()
    assert [entry["name"] for entry in page["data"]] == ["birds"] and page["has_more"]
    after = client.get("/v1/adapters", params={"after": "birds"}).json()
    assert [entry["name"] for entry in after["data"]] == ["pets"] and not after["has_more"]
    assert put(client, "pets", files["birds"]).status_code == 200  # another in its place
    assert data(embed(client, adapter="pets")) == merged["birds", 0.5]
    assert client.delete("/v1/adapters/pets").json() == {"object": "adapter.deleted", "name": "pets", "deleted": True}
    assert_error(embed(client, adapter="pets"), 404, "adapter_not_found", "adapter")
    assert_error(client.delete("/v1/adapters/pets"), 404, "adapter_not_found", "name")
    assert data(embed(client)) == was
    assert len(stored(server)) == 1


def test_they_outlive_the_server_and_leftovers_do_not(start, files, merged):
    server = start()
    put(server.client(), "pets", files["pets"])
    folder = pathlib.Path(server.state.name) / "adapters"
    assert server.terminate() == 0
    (kept,) = os.listdir(folder)
    (folder / ".new-7@left").write_bytes(b"half of a file")
    (folder / ".new-8-folder").mkdir()
    (folder / ".new-8-folder/adapter_config.json").write_bytes(b"half of an archive")
    (folder / kept.replace("pets@", "torn@")).write_bytes(b"half of a file")
    (folder / "notes.txt").write_text("mine")
    again = start(env={"LIMOE_STATE_DIR": server.state.name})
    with again.client() as client:
        assert [entry["name"] for entry in client.get("/v1/adapters").json()["data"]] == ["pets"]
        assert data(embed(client, adapter="pets")) == merged["pets", 1]
    assert sorted(os.listdir(folder)) == sorted([kept, "notes.txt", kept.replace("pets@", "torn@")])
    assert any("torn@" in line and "left alone" in line for line in again.log)


def test_a_file_that_is_gone_is_the_error_of_its_request(start, files):
    server = start()
    client = server.client()
    put(client, "pets", files["pets"])
    assert len(data(embed(client, adapter="pets"))) == 4
    (name,) = stored(server)
    (pathlib.Path(server.state.name) / "adapters" / name).unlink()
    assert_error(embed(client, adapter="pets", strength=0.125), 409, "adapter_gone", "adapter")
    assert len(data(embed(client, input=["beside it"]))) == 1
    server.log.clear()  # the refusal is an error in the log, as it should be


def test_two_puts_at_once_leave_one(start, files):
    server = start()
    client = server.client()
    threads = [threading.Thread(target=put, args=(client, "pets", files[name])) for name in ("pets", "birds") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored(server)) == 1 and client.get("/v1/adapters/pets").status_code == 200


# ---- what is refused


@pytest.mark.parametrize("spoil, word", [
    (lambda raw: raw[:100], "header"),
    (lambda raw: raw[:-4], "offsets"),
    (lambda raw: b"", "bytes"),
    (lambda raw: raw.replace(b'\\"start_block\\": 7', b'\\"start_block\\": 6').replace(b"limoe-adapter-1", b"limoe-adapter-2"), "format"),
    (lambda raw: raw.replace(b"ln.bias", b"ln.bian"), "ln.bian"),
    (lambda raw: raw[:-4] + b"\0\0\xc0\x7f", "finite"),
])
def test_what_is_no_adapter_is_refused_and_not_kept(adapted, own, files, spoil, word, tmp_path):
    spoilt = tmp_path / "spoilt"
    spoilt.write_bytes(spoil(files["pets"].read_bytes()))
    before = stored(adapted)
    got = put(own, "spoilt", spoilt)
    assert_error(got, 400, "invalid_adapter")
    assert word in got.json()["error"]["message"] and ".new-" not in got.text
    assert stored(adapted) == before
    if word == "finite":  # which the engine finds; the log is read by a thread
        wait_until(lambda: any("failed: " in line for line in adapted.log))
    adapted.log[:] = [line for line in adapted.log if "spoilt" not in line and "failed: " not in line]


def test_another_models_adapter_is_refused(adapted, own, tmp_path, base):
    other = tail(tmp_path / "other", base[:-1] + ("0" if base[-1] != "0" else "1"), 1)
    assert_error(put(own, "other", other), 409, "adapter_of_another_model")
    assert_error(put(own, "wide", probe(tmp_path / "wide", base, embed=64)), 400, "invalid_adapter")
    assert len(stored(adapted)) == 2


@pytest.mark.parametrize("fields, status, code, param", [
    ({"adapter": "pet"}, 404, "adapter_not_found", "adapter"),
    ({"adapter": ".."}, 400, "invalid_name", "adapter"),
    ({"adapter": 1}, 400, "invalid_type", "adapter"),
    ({"adapter": "pets", "strength": 1.5}, 400, "invalid_strength", "strength"),
    ({"adapter": "pets", "strength": "all"}, 400, "invalid_type", "strength"),
    ({"strength": 1}, 400, "conflicting_fields", "strength"),
])
def test_requests_that_cannot_be(own, fields, status, code, param):
    assert_error(embed(own, **fields), status, code, param)


def test_names_and_types_are_checked(own, files):
    for name in "base", "..", "a b":
        assert_error(put(own, name, files["pets"]), 404 if name == ".." else 400, "unknown_path" if name == ".." else "invalid_name")
    assert_error(own.put("/v1/adapters/x", json={"a": 1}), 415, "unsupported_media_type")
    assert_error(put(own, "x", files["pets"], model="other"), 404, "model_not_found", "model")
    assert_error(put(own, "x", files["pets"], models="other"), 400, "unknown_field", "models")


# ---- memory


def test_little_memory_holds_few_and_reads_them_again(start, files, merged):
    """A tail from block 7 of float32 takes about 1.3 MB: one fits at a time."""
    probe_server = start("--dtype", "float32")
    client = probe_server.client()
    put(client, "pets", files["pets"])
    one = int(probe_server.metric("limoe_adapter_memory_bytes"))
    assert one > 0 and probe_server.metric("limoe_adapters_loaded") == 1
    small = start("--dtype", "float32", "--adapter-memory", one + one // 2)
    client = small.client()
    put(client, "pets", files["pets"])
    strengths = [1, 0.25, 0.5, 1, 0.25]
    alone = {s: data(embed(client, adapter="pets", strength=s, input=["x", {"image": b64(picture(3))}])) for s in strengths}
    got = {}

    def ask(i):
        s = strengths[i % 3]
        got[i] = s, data(embed(client, adapter="pets", strength=s, input=[f"y{i}", {"image": b64(picture(3))}]))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(vectors[1] == alone[s][1] for s, vectors in got.values())
    wait_until(lambda: small.metric("limoe_adapters_loaded") == 1)
    assert small.metric("limoe_adapter_memory_bytes") == one
    assert small.metric("limoe_adapter_reads_total") >= 5 and small.metric("limoe_adapter_drops_total") >= 4
    none = start("--dtype", "float32", "--adapter-memory", one - 1)
    got = put(none.client(), "pets", files["pets"])
    assert_error(got, 413, "adapter_too_large")
    assert stored(none) == []
    none.log.clear()


@pytest.mark.parametrize("option", ["--adapter-memory", "--trunk-cache"])
def test_memory_for_adapters_is_counted_before_an_engine_is_started(option):
    done = subprocess.run([BUILD / "limoe", "serve", "--model", MODEL, "--port", "0", "--device", "cpu", option, "900GiB"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and re.search(r"needs 900\.\d\d GiB of memory", done.stderr)


def test_what_an_adapter_leaves_as_it_is_is_computed_once(start, files, merged):
    def told(server):
        names = "trunk_cache_hits_total", "trunk_cache_misses_total", "trunk_cache_entries", 'adapter_rows_total{part="trunk"}'
        return [int(server.metric(f"limoe_{name}")) for name in names]

    kept = start()
    client = kept.client()
    for name in files:
        put(client, name, files[name])
    hits, misses, entries, before = told(kept)
    assert data(embed(client, adapter="pets")) == merged["pets", 1]
    *counts, rows = told(kept)
    assert counts == [hits, misses + 4, entries + 4] and rows >= before + 2 * 25 * 7
    assert data(embed(client, adapter="pets", strength=0.25)) == merged["pets", 0.25]  # another tail, from the same block on
    assert told(kept) == [hits + 4, misses + 4, entries + 4, rows]
    assert data(embed(client, adapter="birds")) == merged["birds", 0.5]  # from another block on
    *counts, more = told(kept)
    assert counts == [hits + 4, misses + 8, entries + 8] and more > rows
    assert post(client, "routing", adapter="birds").json()["data"] == merged["routing", "birds", 0.5]  # tells of all blocks
    assert told(kept)[:3] == counts
    assert 0 < kept.metric("limoe_trunk_cache_bytes") <= kept.metric("limoe_trunk_cache_limit_bytes") == 64 << 20
    none = start("--trunk-cache", 0)
    client = none.client()
    put(client, "pets", files["pets"])
    for strength in 1, 0.25:
        assert data(embed(client, adapter="pets", strength=strength)) == merged["pets", strength]
    assert told(none)[:3] == [0, 0, 0]


def test_a_reload_to_another_model_leaves_adapters_behind(start, files, tmp_path):
    answer("adapters", "merge", MODEL, files["birds"], tmp_path / "a")
    answer("adapters", "merge", MODEL, files["birds"], tmp_path / "b", "--strength", "1")
    (tmp_path / "model").symlink_to(MODEL)
    (tmp_path / "admin").write_text("k" * 40 + "\n")
    server = start("--model", tmp_path / "model", "--admin-keys-file", tmp_path / "admin")
    client = server.client(headers={"Authorization": "Bearer " + "k" * 40})
    put(client, "pets", files["pets"])
    with_pets = data(embed(client, adapter="pets"))

    def reload(to):
        (tmp_path / "model").unlink()
        (tmp_path / "model").symlink_to(to)
        assert client.post("/v1/models/reload").status_code == 200

    reload(tmp_path / "a")
    assert_error(embed(client, adapter="pets"), 409, "adapter_of_another_model", "adapter")
    assert client.get("/v1/adapters/pets").json()["model"] is None
    reload(MODEL)
    assert data(embed(client, adapter="pets")) == with_pets
