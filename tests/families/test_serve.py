"""Protects: what was made of CLIP-MoE and V-MoE is served with all that the server does: labels, classifiers, routing by tower,
load and metrics by layer, inspect, several ranks."""

import io
import re
import struct
import subprocess

import numpy as np
import pytest
from conftest import BUILD, Server, b64, data_uri, stop_cleanly
from files import save_vmoe, save_zip
from originals import EMBED, VOCAB, Clip, VMoE, clip_state, vmoe_tree
from PIL import Image
from reference import Model

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def tokenizer(vocab):
    """SentencePiece, unigram: a letter a piece, then pieces that no text has."""

    def message(field, data):
        return bytes([field << 3 | 2, len(data)]) + data

    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("\u2581", 1), *((c, 1) for c in LETTERS)]
    pieces += [(f"@{i}", 1) for i in range(vocab - len(pieces))]
    body = b"".join(
        message(1, message(1, text.encode()) + b"\x15" + struct.pack("<f", -1.0) + b"\x18" + bytes([kind]))
        for text, kind in pieces
    )
    return body + message(2, b"\x18\x01") + message(3, message(1, b"identity"))


@pytest.fixture
def clip_moe(tmp_path, command):
    state = clip_state(31, experts=4, moe=dict(image=[0, 1], text=[1]), long=True)
    save_zip(tmp_path / "moe.pt", state)
    (tmp_path / "tokenizer.model").write_bytes(tokenizer(VOCAB))
    status, said = command("convert.py", tmp_path / "moe.pt", "--out", tmp_path / "clip-moe")
    assert status == 0, said
    return tmp_path / "clip-moe", Clip(state)


@pytest.fixture
def v_moe(tmp_path, command):
    tree = vmoe_tree(32)
    save_vmoe(tmp_path / "ckpt", tree)
    status, said = command("convert.py", tmp_path, "--out", tmp_path / "v-moe", "--no-text")
    assert status == 0, said
    return tmp_path / "v-moe", VMoE(tree)


def picture():
    """Of the model's own size, so that it is not resized."""
    pixels, out = np.random.default_rng(4).integers(0, 256, (16, 16, 3), dtype=np.uint8), io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return pixels, out.getvalue()


def serve(model, *options):
    return Server("--dtype", "float32", *options, command=[BUILD / "limoe", "serve", "--model", model])


def answer(client, method, path, body=None):
    got = client.request(method, path, json=body)
    assert got.status_code in (200, 201, 204), got.text
    return got.json() if got.content else None


def expect_routing(told, routing, blocks):
    """Of the tower that the item passes, and of no other: as the reference routes it."""
    assert [layer["block"] for layer in told["layers"]] == blocks
    for layer, (_, expert, gate) in zip(told["layers"], routing.layers, strict=True):
        assert layer["experts"] == expert.tolist()
        assert np.abs(np.array(layer["gates"]) - gate).max() < 1e-5


@pytest.mark.parametrize("ranks", [1, 2])
def test_clip_moe(clip_moe, ranks):
    model, original = clip_moe
    pixels, png = picture()
    server = serve(model, *(["--ranks", 2] if ranks == 2 else []))
    try:
        with server.client() as client:
            embedded = answer(client, "POST", "/v1/embeddings", {"input": ["ab", {"image": b64(png)}]})["data"]
            assert np.abs(np.array(embedded[1]["embedding"]) - original.image(pixels)).max() < 1e-5
            want = answer(client, "POST", "/v1/classify", {"image": data_uri(png), "labels": ["ab", "cd", "e"]})
            answer(client, "PUT", "/v1/classifiers/letters", {"labels": ["ab", "cd", "e"]})
            have = answer(client, "POST", "/v1/classify", {"image": data_uri(png), "classifier": "letters"})
            assert want["data"][0]["predictions"] == have["data"][0]["predictions"]
            routed = answer(client, "POST", "/v1/routing", {"input": [{"image": b64(png)}, "ab"]})["data"]
            load = answer(client, "GET", "/v1/models/clip-moe/load")["load"]
            split = client.post("/v1/attention", json={"image": b64(png), "texts": ["ab", "cd"]})
        (model.parent / "picture.png").write_bytes(png)
        explain = [BUILD / "limoe", "explain", "--json", "--dtype", "float32", "--model", model, model.parent / "picture.png", "ab", "cd"]
        assert split.content == subprocess.run(explain, capture_output=True, timeout=60, check=True).stdout
        assert split.json()["method"] == "class_token"
        for item in split.json()["data"]:
            assert abs(np.sum(item["grid"]) - item["cosine"]) <= 1e-5 and np.std(item["grid"]) > 1e-5
        assert len(embedded[0]["embedding"]) == EMBED
        reference = Model.load(model)
        expect_routing(routed[0], reference.image(pixels)[1], [0, 1])
        expect_routing(routed[1], reference.text(routed[1]["token_ids"])[1], [3])
        # Three layers: pictures pass two of them, texts the third. A token goes to two experts.
        assert len(load) == 3 and sum(load[0]) == sum(load[1]) > 0 and sum(load[0]) % (17 * 2) == 0 and sum(load[2]) > 0
        assert server.metric('limoe_requests_total{route="/v1/classify",code="200"}') == 2
        tokens = [
            sum(
                server.metric(f'limoe_expert_tokens_total{{model="clip-moe",layer="{n}",expert="{e}",modality="{m}"}}')
                for e in range(4)
            )
            for n, m in ((0, "image"), (0, "text"), (3, "image"), (3, "text"))
        ]
        assert tokens[0] > 0 and tokens[1] == tokens[2] == 0 and tokens[3] > 0
        assert (server.metric('limoe_exchange_rows_total{model="clip-moe",layer="3"}') > 0) == (ranks == 2)
    finally:
        stop_cleanly(server)


def test_v_moe(v_moe):
    model, original = v_moe
    pixels, png = picture()
    shown = subprocess.run([BUILD / "limoe", "inspect", model], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0 and re.search(r"experts +4 in each of blocks 1, top-2\n", shown.stdout), shown
    server = serve(model)
    try:
        with server.client() as client:
            embedded = answer(client, "POST", "/v1/embeddings", {"input": [{"image": b64(png)}]})["data"]
            text = client.post("/v1/embeddings", json={"input": "a"})
            routed = answer(client, "POST", "/v1/routing", {"input": [{"image": b64(png)}]})
        assert np.abs(np.array(embedded[0]["embedding"]) - original.image(pixels)).max() < 1e-5
        assert text.status_code == 400 and '"v-moe" has no text tower' in text.json()["error"]["message"]
        expect_routing(routed["data"][0], Model.load(model).image(pixels)[1], [1])
    finally:
        stop_cleanly(server)
