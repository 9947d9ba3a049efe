"""Protects what PUT /v1/adapters/{name} makes of PEFT's folders in zip files, hostile ones among them; and adapters of several
models in one server: each is its own model's."""

import io
import json
import stat
import zipfile

import numpy as np
import pytest

from conftest import MODEL, Server, b64, picture, stop_cleanly
from test_adapters import adapter_bytes, answer
from test_adapters_served import LABELS, base, classify, data, embed, files, own, adapted, plain, probe, put, stored, tail  # noqa: F401
from test_http import assert_error

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "use_rslora": True, "bias": "none", "base_model_name_or_path": "nobody/asks"}


def weights(seed, prefix="base_model.model."):
    """A LoRA of two matrices of the bundled model, as PEFT saves it."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for module, out, wide in ("blocks.7.attn.qkv", 576, 192), ("image.proj", 192, 192):
        tensors[f"{prefix}{module}.lora_A.weight"] = rng.normal(0, 0.2, (2, wide))
        tensors[f"{prefix}{module}.lora_B.weight"] = rng.normal(0, 0.2, (out, 2))
    return adapter_bytes(None, tensors)


def packed(entries, method=zipfile.ZIP_DEFLATED, **attributes):
    """A zip file's bytes; entries: (name, bytes) in order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, raw in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            for key, value in attributes.items():
                setattr(entry, key, value)
            archive.writestr(entry, raw)
    return out.getvalue()


def peft_zip(seed=5, folder="", config=CONFIG, more=()):
    return packed([*more, (folder + "adapter_config.json", json.dumps(config).encode()),
                   (folder + "adapter_model.safetensors", weights(seed))])


def put_bytes(client, name, raw, kind="application/zip", **query):
    return client.put(f"/v1/adapters/{name}", content=raw, headers={"Content-Type": kind} if kind else {}, params=query)


def test_a_folder_of_pefts_is_served_as_the_merged_model(adapted, own, plain, base, tmp_path):  # noqa: F811
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft/adapter_config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "peft/adapter_model.safetensors").write_bytes(weights(5))
    answer("adapters", "merge", MODEL, tmp_path / "peft", tmp_path / "merged")
    server = Server("--model", tmp_path / "merged")
    with server.client() as client:
        wanted = data(embed(client))
    stop_cleanly(server)
    got = put_bytes(own, "lora", peft_zip())
    body = got.json()
    assert got.status_code == 200, body
    assert (body["kind"], body["base"], body["rank"], body["alpha"], body["rslora"]) == ("lora", base, 2, 3, True)
    assert data(embed(own, adapter="lora")) == wanted != plain
    assert data(embed(own, adapter="lora", strength=0)) == plain
    inside = peft_zip(folder="checkpoint-9/", more=[("README.md", b"words"), ("__MACOSX/._adapter_config.json", b"\0")])
    again = put_bytes(own, "lora2", inside, kind=None)
    assert again.status_code == 200 and again.json()["file_bytes"] == body["file_bytes"]
    names = [name.split("@")[1] for name in stored(adapted) if name.startswith("lora")]
    assert len(names) == 2 and len(set(names)) == 1  # the same file
    for name in "lora", "lora2":
        own.delete(f"/v1/adapters/{name}")


BOMB = packed([("adapter_config.json", b"{}"), ("adapter_model.safetensors", bytes(2 << 20))])
LINK = packed([("adapter_config.json", b"/etc/passwd")], create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16)
TWO = packed([(f"{name}/{file}", b"{}") for name in "ab" for file in ("adapter_config.json", "adapter_model.safetensors")])


@pytest.mark.parametrize("raw, word", [
    (BOMB, "100 times"), (LINK, "is a link"), (TWO, "the folder of one adapter"),
    (packed([("../adapter_config.json", b"{}")]), '".." part'),
    (packed([("/etc/adapter_config.json", b"{}")]), "absolute"),
    (packed([(f"{i}", b"") for i in range(1001)]), "1001 entries; up to 1000"),
    (packed([("adapter_config.json", b"{}")]), 'no "adapter_model.safetensors" beside'),
    (packed([]), 'has no "adapter_config.json"'), (packed([("a", b"x")], method=zipfile.ZIP_LZMA), "by method 14"),
    (peft_zip()[:-30], "cut short"), (peft_zip()[:60], "cut short"),
    (peft_zip(config={**CONFIG, "use_dora": True}), "use_dora"), (peft_zip(config={**CONFIG, "r": 3}), "shape"),
    (peft_zip().replace(b"adapter_model.safetensors", b"adapter_model.safetensorz"), "beside"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_no_folder_of_pefts_is_refused_and_leaves_nothing(adapted, own, raw, word):  # noqa: F811
    before = stored(adapted)
    got = put_bytes(own, "spoilt", raw)
    assert_error(got, 400, "invalid_adapter")
    assert word in got.json()["error"]["message"] and ".new-" not in got.text, got.text
    assert stored(adapted) == before
    adapted.log[:] = [line for line in adapted.log if "failed: " not in line]


def test_damaged_bytes_are_refused(adapted, own):  # noqa: F811
    raw = bytearray(peft_zip())
    at = raw.index(b"adapter_model.safetensors") + 200
    raw[at] ^= 255
    got = put_bytes(own, "spoilt", bytes(raw))
    assert_error(got, 400, "invalid_adapter")
    assert "damaged" in got.json()["error"]["message"] and ".new-" not in " ".join(stored(adapted))


# ---- several models


@pytest.fixture(scope="module")
def family(tmp_path_factory, files):  # noqa: F811
    """A server of three models with two bases: the bundled one, another made of it, and that other under a second name."""
    folder = tmp_path_factory.mktemp("family")
    answer("adapters", "merge", MODEL, files["birds"], folder / "other")
    server = Server("--model", f"first={MODEL}", "--model", f"second={folder / 'other'}", "--model", f"third={folder / 'other'}")
    with server.client() as client:
        yield server, client, answer("inspect", folder / "other", "--digest").strip(), folder
    stop_cleanly(server)


def test_each_model_has_its_own_adapters(family, files, base, tmp_path):  # noqa: F811
    server, client, other_base, folder = family
    assert put(client, "pets", files["pets"]).json()["model"] == "first"
    other = tail(tmp_path / "other", other_base, 3)
    assert put(client, "other", other, model="second").json()["model"] == "second"
    assert put(client, "flat", probe(tmp_path / "flat", other_base), model="third").status_code == 200
    assert put_bytes(client, "lora", peft_zip(), model="second").json()["base"] == other_base
    for query in {"model": "second"}, {"model": "third"}:
        assert_error(put(client, "x", files["pets"], **query), 409, "adapter_of_another_model", "adapter")
    assert_error(put(client, "x", other), 409, "adapter_of_another_model", "adapter")
    listed = client.get("/v1/adapters").json()["data"]
    assert {entry["name"]: entry["model"] for entry in listed} == {"pets": "first", "other": "second", "flat": "second", "lora": "second"}

    for adapter, models in ("pets", ["second", "third"]), ("other", ["first"]), ("lora", ["first"]), ("flat", ["first"]):
        for model in models:
            assert_error(embed(client, model=model, adapter=adapter), 409, "adapter_of_another_model", "adapter")
    assert_error(client.post("/v1/classify", json={"image": b64(picture(1)), "labels": ["a"], "model": "first",
                                                 "adapter": ["base", "other"]}), 409, "adapter_of_another_model", "adapter")
    answer("adapters", "merge", folder / "other", other, tmp_path / "merged")
    alone = Server("--model", tmp_path / "merged")
    with alone.client() as single:
        wanted = data(embed(single))
    stop_cleanly(alone)
    for model in "second", "third":  # equal bases take the same adapters, each in its own engine
        assert data(embed(client, model=model, adapter="other")) == wanted
    labels = [p["label"] for p in classify(client, model="second", adapter="flat")[0]["predictions"]]
    assert sorted(labels) == LABELS
    plain_first = data(embed(client, model="first"))
    assert data(embed(client, model="first", adapter="pets")) != plain_first
    client.delete("/v1/adapters/other")
    assert data(embed(client, model="first")) == plain_first
    server.log[:] = [line for line in server.log if "failed: " not in line]
