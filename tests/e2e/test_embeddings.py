"""Protects the answers' content: the right item at the right place, the same bits alone and in company, metrics that
count what was done."""

import base64
import concurrent.futures
import json
import random

import numpy as np
import pytest

from conftest import b64, data_uri, picture


def embed(client, inputs, **more):
    response = client.post("/v1/embeddings", json={"input": inputs, "encoding_format": "base64", **more})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert [item["index"] for item in answer["data"]] == list(range(len(answer["data"])))
    return [base64.b64decode(item["embedding"]) for item in answer["data"]]


def vector(raw):
    return np.frombuffer(raw, "<f4")


def test_vectors_are_unit_and_both_encodings_agree(client):
    inputs = ["a cat", {"image": b64(picture(1))}]
    raw = embed(client, inputs)
    response = client.post("/v1/embeddings", json={"input": inputs, "encoding_format": "float"}).json()
    for bits, item in zip(raw, response["data"]):
        assert abs(np.linalg.norm(vector(bits)) - 1) < 1e-3
        assert np.array_equal(vector(bits), np.array(item["embedding"], dtype="<f4"))
    usage = response["usage"]
    assert usage["image_tokens"] > 0 and usage["prompt_tokens"] > 0
    assert usage["total_tokens"] == usage["image_tokens"] + usage["prompt_tokens"]


def test_every_input_form(client):
    image = picture(2)
    [text] = embed(client, "a dog")
    [pixels] = embed(client, [{"image": b64(image)}])
    assert text != pixels
    assert embed(client, ["a dog"]) == [text]
    assert embed(client, [{"text": "a dog"}]) == [text]
    assert embed(client, [{"image": data_uri(image)}]) == [pixels]
    assert embed(client, data_uri(image)) == [pixels]
    assert embed(client, [data_uri(image), "a dog", {"image": b64(image)}]) == [pixels, text, pixels]
    assert embed(client, b64(image), modality="image") == [pixels]
    assert embed(client, [b64(image)] * 2, modality="image") == [pixels] * 2


def test_the_same_bits_alone_and_among_concurrent_neighbours(server):
    """Each of 64 items alone, then all of them in random mixed requests, 32 at a time."""
    pool = []
    for i in range(32):
        pool.append(f"text number {i} " + "word " * (i % 12))
        pool.append({"image": b64(picture(i, size=(17 + 3 * i, 120 - 2 * i)))})
    with server.client() as client:
        alone = [embed(client, [item])[0] for item in pool]
    assert len(set(alone)) > 32
    choose = random.Random(1)
    requests = [[choose.randrange(len(pool)) for _ in range(choose.choice([1, 2, 5, 17, 40]))] for _ in range(96)]

    def ask(indices):
        with server.client() as client:
            return embed(client, [pool[i] for i in indices])

    with concurrent.futures.ThreadPoolExecutor(32) as threads:
        for indices, got in zip(requests, threads.map(ask, requests)):
            assert got == [alone[i] for i in indices]
    shared = server.metric("limoe_step_items_count") - server.metric('limoe_step_items_bucket{le="1"}')
    assert shared > 0


def test_a_large_request_keeps_its_order(client):
    texts = [f"number {i}" for i in range(2048)]
    together = embed(client, texts)
    for i in [0, 1, 777, 1024, 2047]:
        assert embed(client, texts[i]) == [together[i]]


def test_classify_in_all_three_forms(client):
    image = picture(5)
    labels, templates = ["cat", "dog", "a tree, green"], ["a picture of a {}", "{}"]
    answer = client.post(
        "/v1/classify", json={"image": data_uri(image), "labels": labels, "templates": templates}
    ).json()
    parts = [("image", ("x.png", image, "image/png"))]
    fields = {"labels": labels, "templates": templates}
    assert client.post("/v1/classify", files=parts, data=fields).json() == answer
    fields["labels"] = json.dumps(labels)
    assert client.post("/v1/classify", files=parts, data=fields).json() == answer
    query = [("labels", label) for label in labels] + [("templates", one) for one in templates]
    raw = client.post("/v1/classify", content=image, headers={"Content-Type": "image/png"}, params=query)
    assert raw.json() == answer
    assert answer["object"] == "list" and answer["model"]
    [row] = answer["data"]
    assert row["object"] == "classification" and row["index"] == 0
    scores = [one["score"] for one in row["predictions"]]
    assert sorted(one["label"] for one in row["predictions"]) == sorted(labels)
    assert scores == sorted(scores, reverse=True) and abs(sum(scores) - 1) < 1e-5


def test_classification_is_the_embeddings_arithmetic(client):
    """Cosines and ensembling, from the embeddings that the other route gives."""
    image, labels, templates = picture(6), ["sun", "moon", "car"], ["{}", "a {}", "two {}s"]
    [vec] = embed(client, [{"image": b64(image)}])
    prompts = [[vector(e) for e in embed(client, [t.replace("{}", label) for t in templates])] for label in labels]
    means = [np.mean(rows, axis=0) for rows in prompts]
    expected = {label: float(vector(vec) @ (m / np.linalg.norm(m))) for label, m in zip(labels, means)}
    answer = client.post("/v1/classify", json={"image": b64(image), "labels": labels, "templates": templates}).json()
    scale = np.exp(client.get("/v1/models").json()["data"][0]["logit_scale"])
    logits = {label: scale * cosine for label, cosine in expected.items()}
    total = sum(np.exp(value - max(logits.values())) for value in logits.values())
    for one in answer["data"][0]["predictions"]:
        assert one["cosine"] == pytest.approx(expected[one["label"]], abs=1e-5)
        assert one["score"] == pytest.approx(np.exp(logits[one["label"]] - max(logits.values())) / total, abs=1e-4)


def test_several_images_and_top_k(client):
    images = [b64(picture(i)) for i in range(5)]
    labels = [f"label {i}" for i in range(50)]
    together = client.post("/v1/classify", json={"images": images, "labels": labels, "top_k": 3}).json()
    assert [row["index"] for row in together["data"]] == list(range(5))
    for image, row in zip(images, together["data"]):
        assert len(row["predictions"]) == 3
        alone = client.post("/v1/classify", json={"image": image, "labels": labels, "top_k": 3}).json()
        assert alone["data"][0]["predictions"] == row["predictions"]


def test_many_labels_do_not_hold_up_a_small_request(server):
    """10,000 labels take many steps; meanwhile single texts are answered between them."""
    labels = [f"label number {i}" for i in range(10000)]
    with concurrent.futures.ThreadPoolExecutor(1) as thread, server.client() as other, server.client() as client:
        big = thread.submit(
            other.post, "/v1/classify", json={"image": b64(picture(1)), "labels": labels, "top_k": 2}
        )
        answered = 0
        while not big.done():
            embed(client, "quick")
            answered += 1
    assert big.result().status_code == 200
    assert len(big.result().json()["data"][0]["predictions"]) == 2
    assert answered >= 3


def test_routing(client):
    model = client.get("/v1/models").json()["data"][0]
    response = client.post("/v1/routing", json={"input": ["a cat", {"image": b64(picture(3))}]})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert [item["index"] for item in answer["data"]] == [0, 1]
    alone = client.post("/v1/routing", json={"input": {"image": b64(picture(3))}})
    if alone.status_code == 400:  # a single item must be listed
        alone = client.post("/v1/routing", json={"input": [{"image": b64(picture(3))}]})
    one, other = answer["data"][1], alone.json()["data"][0]
    one.pop("index"), other.pop("index")
    assert one == other
    assert len(one["layers"]) == len(model["moe"]["blocks"])


def test_metrics_count_what_is_done(start):
    server = start()
    with server.client() as client:
        model = client.get("/v1/models").json()["data"][0]
        usage = client.post(
            "/v1/embeddings", json={"input": ["a cat", "two dogs", {"image": b64(picture(1))}]}
        ).json()["usage"]
        client.post("/v1/embeddings", json={})
        client.get("/nope")
        page = client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = {}
    for line in page.text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in values
            values[name] = float(value)
    assert values['limoe_requests_total{model="pictograms",route="/v1/embeddings",code="200"}'] == 1
    assert values['limoe_requests_total{model="pictograms",route="/v1/embeddings",code="400"}'] == 1
    assert values['limoe_requests_total{route="unknown",code="404"}'] == 1
    assert values['limoe_request_duration_seconds_count{route="/v1/embeddings"}'] == 2
    assert values['limoe_stage_duration_seconds_count{model="pictograms",stage="inference"}'] == 1
    assert values['limoe_items_total{model="pictograms",modality="text"}'] == 2
    assert values['limoe_items_total{model="pictograms",modality="image"}'] == 1
    assert values['limoe_tokens_total{model="pictograms",modality="text"}'] == usage["prompt_tokens"]
    assert values['limoe_tokens_total{model="pictograms",modality="image"}'] == usage["image_tokens"]
    label = f'model="{model["id"]}"'
    for block in model["moe"]["blocks"]:
        for modality, tokens in [("image", usage["image_tokens"]), ("text", usage["prompt_tokens"])]:
            routed = sum(
                values[f'limoe_expert_tokens_total{{{label},layer="{block}",expert="{e}",modality="{modality}"}}']
                for e in range(model["moe"]["experts"])
            )
            assert routed == tokens * model["moe"]["top_k"]
    assert values[f"limoe_ready{{{label}}}"] == 1
    assert values[f"limoe_queue_depth{{{label}}}"] == values[f"limoe_queue_bytes{{{label}}}"] == 0
    assert values["process_resident_memory_bytes"] > 1e6
    assert any(name.startswith("limoe_build_info{") for name in values)
