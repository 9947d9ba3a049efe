"""Protects POST /v1/captions: its bytes are those of limoe caption, alone, beside anything, and when the engine is killed between two
tokens; captions leave with their client or at their deadline; they are bounded; without a decoder a bank answers."""

import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import threading
import time

import pytest

from conftest import BUILD, b64, copy_captioner, picture_files, wait_until
from test_int8 import answer

LENGTH = 12  # positions of the model's decoder
ROOM = 16  # tokens that a text is counted by
OPTIONS = [
    {},
    {"beams": 4, "n": 2, "min_tokens": 3},
    {"top_k": 50, "n": 5, "seed": 7, "temperature": 0.7},
    {"top_k": 1600, "n": 2, "seed": 9007199254740991},
    {"max_tokens": 4},
]
FLAGS = {"min_tokens": "min-length", "max_tokens": "max-length", "top_k": "top-k"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_captioner(tmp_path_factory.mktemp("captions") / "model")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return picture_files(tmp_path_factory.mktemp("pictures"), 4)


@pytest.fixture(scope="module")
def images(files):
    return [b64(path.read_bytes()) for path in files]


@pytest.fixture
def captioner(start, folder):
    return lambda *options, **keywords: start("--model", folder, *options, **keywords)


def command(folder, paths, options, *more):
    """What limoe caption --json answers to the same."""
    flags = [word for name, value in options.items() for word in (f"--{FLAGS.get(name, name)}".replace("_", "-"), value)]
    return answer("caption", "--model", folder, "--json", *flags, *more, *paths).encode()


def ask(client, images, options, **headers):
    return client.post("/v1/captions", json={"images": images, **options}, headers=headers, timeout=120)


@contextlib.contextmanager
def stopped(server):
    """The engine computes nothing meanwhile."""
    (engine,) = server.children("engine")
    os.kill(engine, signal.SIGSTOP)
    try:
        yield engine
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine, signal.SIGCONT)


def waiting(server):
    return server.metric("limoe_queue_caption_tokens")


@pytest.mark.parametrize("options", OPTIONS)
def test_the_bytes_of_the_command(captioner, folder, files, images, options):
    with captioner("--threads", 2).client() as client:
        response = ask(client, images, options)
        assert response.status_code == 200, response.text
        assert response.content == command(folder, files, options, "--threads", 1)
        one = client.post("/v1/captions", json={"image": images[1], **options}).json()
    whole = response.json()
    assert one["data"][0]["captions"] == whole["data"][1]["captions"] and len(one["data"][0]["captions"]) == options.get("n", 1)
    tokens = sum(caption["tokens"] + caption["ended"] for item in whole["data"] for caption in item["captions"])
    assert whole["usage"] == {"image_tokens": 4 * 16, "completion_tokens": tokens, "total_tokens": 4 * 16 + tokens}


def test_beside_anything_the_same_bytes_in_shared_steps(captioner, images):
    """What waits while the engine stands still goes on together, a token of all in each step; embeddings are between them."""
    server = captioner("--max-batch-delay-ms", 5)
    requests = [("/v1/captions", {"images": images[i % 4 :], **OPTIONS[i % len(OPTIONS)]}) for i in range(15)]
    requests += [("/v1/embeddings", {"input": [f"a {i}", {"image": images[i % 4]}]}) for i in range(5)]
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        alone = [client.post(path, json=body).content for path, body in requests]
        steps, captions = server.metric("limoe_caption_steps_total"), server.metric("limoe_captions_total")
        with stopped(server):
            together = [pool.submit(client.post, path, json=body, timeout=120) for path, body in requests]
            wait_until(lambda: waiting(server) == captions_of(requests))
        for one, beside in zip(alone, together, strict=True):
            assert beside.result().content == one
    assert server.metric("limoe_captions_total") == 2 * captions
    assert 0 < server.metric("limoe_caption_steps_total") - steps < steps / 3
    assert waiting(server) == 0


def captions_of(requests):
    """Tokens that they may come to."""
    return sum(
        len(body["images"]) * max(body.get("n", 1), body.get("beams", 1)) * ROOM for path, body in requests if path == "/v1/captions"
    )


def test_an_engine_killed_between_two_tokens_changes_no_byte(captioner, images):
    server = captioner("--threads", 1)
    options = {"top_k": 1600, "n": 32, "seed": 3}
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(2) as pool:
        expected = ask(client, images, options).content
        small = ask(client, images, OPTIONS[1]).content
        for _ in range(20):
            steps = server.metric("limoe_caption_steps_total")
            large, beside = pool.submit(ask, client, images, options), pool.submit(ask, client, images, OPTIONS[1])
            wait_until(lambda: server.metric("limoe_caption_steps_total") > steps + 2)
            for engine in server.children("engine"):
                os.kill(engine, signal.SIGKILL)
            assert (large.result().content, beside.result().content) == (expected, small)
            if server.metric("limoe_caption_restarts_total"):
                break
        assert server.metric("limoe_caption_restarts_total") > 0, "no caption was in the making when its engine was killed"
    server.log[:] = [line for line in server.log if " error " not in line]  # losses are told as errors


def test_captions_leave_with_their_client(captioner, images):
    server = captioner()
    body = json.dumps({"image": images[0]}).encode()
    with stopped(server):
        connection = server.connect()
        connection.sendall(b"POST /v1/captions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        wait_until(lambda: waiting(server) == ROOM)
        connection.close()
        time.sleep(0.2)  # its end is noticed
    wait_until(lambda: waiting(server) == 0)
    assert server.metric("limoe_caption_steps_total") == 1 and server.metric("limoe_requests_cancelled_total") == 1
    with server.client() as client:
        assert ask(client, images, {}).status_code == 200


def test_a_deadline_passes_between_two_tokens(captioner, images):
    server = captioner()
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(1) as pool:
        with stopped(server):
            late = pool.submit(ask, client, images, {}, **{"X-Request-Timeout-Ms": "300"})
            wait_until(lambda: waiting(server) > 0)
            time.sleep(0.4)
        assert late.result().status_code == 504 and late.result().json()["error"]["code"] == "deadline_exceeded"
    assert waiting(server) == 0 and server.metric("limoe_captions_total") == 0


def test_a_server_that_stops_writes_what_was_begun(captioner, images):
    server = captioner()
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(1) as pool:
        expected = ask(client, images, OPTIONS[2]).content
        with stopped(server):
            last = pool.submit(ask, client, images, OPTIONS[2])
            wait_until(lambda: waiting(server) > 0)
            ended = threading.Thread(target=server.terminate)
            ended.start()
            time.sleep(0.3)
        assert last.result().content == expected
        ended.join()


def test_captions_are_bounded(captioner, images):
    server = captioner("--queue-caption-tokens", 140)
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(2) as pool:
        many = ask(client, images[:1], {"top_k": 5, "n": 9})
        error = many.json()["error"]
        assert (many.status_code, error["code"], error["param"]) == (400, "too_many_tokens", "max_tokens")
        assert "1 images x 9 texts x 16 tokens (counted by 16) are 144; up to 140" in error["message"], error
        with stopped(server):
            let_in = [pool.submit(ask, client, images[:1], {"top_k": 5, "n": 8})]
            wait_until(lambda: waiting(server) == 128)
            let_in.append(pool.submit(ask, client, images[:1], {"top_k": 5, "n": 8}))
            wait_until(lambda: waiting(server) == 256)
            full = ask(client, images[:1], {})
            embedded = pool.submit(client.post, "/v1/embeddings", json={"input": "a"})  # it has its own limits
            assert full.status_code == 429 and full.json()["error"]["code"] == "queue_full" and int(full.headers["Retry-After"]) > 0
        assert {one.result().status_code for one in [*let_in, embedded]} == {200}
        assert ask(client, images[:1], {}).status_code == 200


WRONG = [
    ({"n": 2}, 400, "invalid_value", "n"),
    ({"n": 0}, 400, "invalid_value", "n"),
    ({"beams": 2, "n": 3}, 400, "invalid_value", "n"),
    ({"beams": 17}, 400, "invalid_value", "beams"),
    ({"beams": 2, "top_k": 2}, 400, "conflicting_fields", "beams"),
    ({"top_k": 1601}, 400, "invalid_value", "top_k"),
    ({"top_k": "a"}, 400, "invalid_type", "top_k"),
    ({"seed": 1}, 400, "missing_field", "top_k"),
    ({"seed": 0.5, "top_k": 2}, 400, "invalid_value", "seed"),
    ({"temperature": 0, "top_k": 2}, 400, "invalid_value", "temperature"),
    ({"max_tokens": 13}, 400, "invalid_value", "max_tokens"),
    ({"min_tokens": 5, "max_tokens": 4}, 400, "invalid_value", "min_tokens"),
    ({"vocabulary": "bank", "beams": 1}, 400, "conflicting_fields", "beams"),
    ({"vocabulary": "none"}, 404, "classifier_not_found", "vocabulary"),
    ({"image": None}, 400, "missing_image", "image"),
    ({"image": "AAAA"}, 400, "bad_image", "image"),
    ({"words": 1}, 400, "unknown_field", "words"),
]


def test_what_a_request_gets_wrong(captioner, images):
    with captioner().client() as client:
        for fields, status, code, param in WRONG:
            response = client.post("/v1/captions", json={"image": images[0], **fields})
            error = response.json()["error"]
            assert (response.status_code, error["code"], error["param"]) == (status, code, param), (fields, error)
        model = client.get("/v1/models/captions").json()
        assert "captions" in model["capabilities"] and model["decoder"]["length"] == LENGTH


BANK = ["a picture of a cat", "two dogs", "a red house"]


def test_a_bank_answers_where_it_is_named_and_without_a_decoder(captioner, client, images):
    for asked in (captioner().client(), client):
        assert asked.put("/v1/classifiers/bank", json={"labels": BANK}).status_code == 200
        described = asked.post("/v1/describe", json={"images": images, "tags": {"k": 0}, "attributes": {"k": 0}, "captions": {"vocabulary": "bank", "n": 2}})
        response = ask(asked, images, {"vocabulary": "bank", "n": 2})
        assert response.status_code == 200, response.text
        found = [item["captions"] for item in response.json()["data"]]
        assert found == [item["captions"] for item in described.json()["data"]]
        assert all(len(captions) == 2 and {one["source"] for one in captions} == {"bank"} for captions in found)
        assert response.json()["usage"]["completion_tokens"] == 0
    refused = ask(client, images, {"beams": 2}).json()["error"]
    assert (refused["code"], refused["param"]) == ("no_decoder", "vocabulary")


@pytest.mark.skipif(not (BUILD / "limoe-mpi.so").exists() or not shutil.which("mpirun"), reason="needs limoe-mpi.so and mpirun")
def test_ranks_say_that_they_write_none(captioner, images):
    from test_ranks import ENV

    with captioner("--ranks", 2, env=ENV).client() as client:
        refused = ask(client, images, {})
        assert refused.status_code == 501 and refused.json()["error"]["code"] == "captions_unsupported"
        assert "2 ranks" in refused.json()["error"]["message"]
