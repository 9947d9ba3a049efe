"""The model is replaced under load: nobody gets an error, and no answer is made of two models."""

import os
import shutil
import signal
import struct
import threading
import time

import httpx
import pytest
from conftest import SECONDS
from harness import MODEL, data_uri, picture


def with_other_weights(source, target):
    """A model of the same shape whose texts differ: rows of its token table swapped."""
    shutil.copytree(source, target)
    path = target / "model.safetensors"
    data = bytearray(path.read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    import json

    header = json.loads(data[8 : 8 + size])
    begin, end = header["text.token"]["data_offsets"]
    rows = header["text.token"]["shape"][0]
    row = (end - begin) // rows
    at = 8 + size + begin
    table = [bytes(data[at + i * row : at + (i + 1) * row]) for i in range(rows)]
    data[at : at + end - begin] = b"".join(reversed(table))
    path.write_bytes(data)
    return target


@pytest.fixture
def models(tmp_path):
    first, second = tmp_path / "first", with_other_weights(MODEL, tmp_path / "second")
    shutil.copytree(MODEL, first)
    link = tmp_path / "served"
    link.symlink_to(first)
    return link, first, second


def point(link, target):
    """Atomically, as one should."""
    other = link.with_name("next")
    other.symlink_to(target)
    os.replace(other, link)


REQUESTS = [
    ("/v1/embeddings", {"input": [f"a text of several words {i}", "another"], "encoding_format": "base64"})
    for i in range(4)
] + [
    ("/v1/classify", {"image": data_uri(picture(1)), "labels": ["cat", "dog", "house"], "templates": ["a {}"]}),
    ("/v1/embeddings", {"input": [{"text": "beside a picture"}, {"image": data_uri(picture(2))}]}),
    ("/v1/classify", {"image": data_uri(picture(3)), "classifier": "pets"}),
]
PETS = {"labels": ["cat", "dog", "fish"], "templates": ["a {}", "a picture of a {}"]}


def answers(server):
    with server.client() as client:
        if client.get("/v1/classifiers/pets").status_code == 404:
            client.put("/v1/classifiers/pets", json=PETS).raise_for_status()
        return [client.post(path, json=body).text for path, body in REQUESTS]


def test_reload_under_load(start, models, report):
    link, first, second = models
    server = start("--model", link)
    old = answers(server)
    reference = start("--model", second)
    new = answers(reference)
    assert all(a != b for a, b in zip(old, new))

    stop, wrong, counts = threading.Event(), [], [0, 0]
    guard = threading.Lock()

    def hammer():
        with server.client() as client:
            while not stop.is_set():
                for i, (path, body) in enumerate(REQUESTS):
                    answer = client.post(path, json=body)
                    with guard:
                        if answer.status_code != 200 or answer.text not in (old[i], new[i]):
                            wrong.append((answer.status_code, answer.text[:200]))
                        else:
                            counts[answer.text == new[i]] += 1

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    reloads, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        reloads += 1
        point(link, second if reloads % 2 else first)
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while server.metric('limoe_model_reloads_total{result="ok"}') < reloads:
            assert time.monotonic() < deadline, server.log[-5:]
            time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    report(reloads=reloads, from_first=counts[0], from_second=counts[1], wrong=len(wrong))
    assert not wrong, wrong[:3]
    assert counts[0] > 0 and counts[1] > 0
    assert len(server.children("engine")) == 1, "an old engine is still there"
    assert [line for line in server.log if "classifiers: 1 made ready" in line]


def test_a_model_that_does_not_load_changes_nothing(start, models):
    link, first, second = models
    (second / "model.safetensors").write_bytes(b"broken")
    server = start("--model", link)
    old = answers(server)
    point(link, second)
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while server.metric('limoe_model_reloads_total{result="failed"}') < 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert answers(server) == old
    assert httpx.get(server.url + "/health").status_code == 200
    told = [line for line in server.log if "reload" in line and "model.safetensors" in line]
    assert told, server.log
    server.log.clear()


def test_an_engine_that_finds_another_model_is_not_mixed_with_the_old(start, models):
    """The directory was replaced, nobody asked for a reload, and the engine dies: the new model is loaded whole."""
    link, first, second = models
    server = start("--model", link)
    old = answers(server)
    reference = start("--model", second)
    new = answers(reference)
    point(link, second)
    for pid in server.children("engine"):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while server.metric('limoe_model_reloads_total{result="ok"}') < 1:
        assert time.monotonic() < deadline, server.log[-5:]
        time.sleep(0.02)
    assert answers(server) == new
    assert old != new
    server.log[:] = [line for line in server.log if " error " not in line]  # the loss is told as one
