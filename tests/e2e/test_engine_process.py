"""Protects what clients see while engines are lost: nothing but a wait, until there is no engine to be had."""

import io
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import httpx
import pytest
from PIL import Image

from conftest import BUILD, MODEL, b64, picture, wait_until

HOOKS = b"LIMOE_TEST_CRASH_TEXT" in (BUILD / "limoe").read_bytes()


def engine_of(server):
    """The process id of the server's engine, or None while there is none."""
    return next(iter(server.children("engine")), None)


def signal_engine(server, number):
    """Sends the signal to whatever is the engine now. Returns its process id."""
    while True:
        wait_until(lambda: engine_of(server))
        pid = engine_of(server)
        try:
            os.kill(pid, number)
            return pid
        except (ProcessLookupError, TypeError):
            pass


def embed(client, items):
    response = client.post("/v1/embeddings", json={"input": items, "encoding_format": "base64"})
    assert response.status_code == 200, response.text
    return [item["embedding"] for item in response.json()["data"]]


def some_items(index):
    return [{"text": f"a picture of thing {index}"}, {"image": b64(picture(index))}, {"text": f"{index}"}] * 3


@pytest.fixture
def model_copy(tmp_path):
    """A model directory that can be broken; its weights are the real ones."""
    directory = tmp_path / "model"
    directory.mkdir()
    for path in MODEL.iterdir():
        if path.name == "config.json":
            shutil.copy(path, directory)
        else:
            (directory / path.name).symlink_to(path)
    return directory


def test_the_engine_is_a_process_that_ends_with_the_server(start):
    server = start()
    pid = engine_of(server)
    assert pid and pid != server.process.pid
    server.kill()
    wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists() or "Z" in state_of(pid))
    server.wait()


def state_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def test_a_signal_to_the_group_is_the_servers_to_heed(start):
    """Ctrl-C in a terminal reaches both processes; the front still finishes with its engine."""
    server = start()
    pid = engine_of(server)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    with server.client() as client:
        embed(client, some_items(1))
    assert engine_of(server) == pid


def test_kill_under_load_loses_nothing_and_changes_no_bit(start):
    server = start()
    with server.client() as client:
        expected = {index: embed(client, some_items(index)) for index in range(4)}
    stop = threading.Event()
    wrong, rounds, lock = [], [0], threading.Lock()

    def work(index):
        try:
            with server.client() as client:
                while not stop.is_set():
                    good = embed(client, some_items(index)) == expected[index]
                    with lock:
                        rounds[0] += 1
                        if not good:
                            wrong.append(index)
        except Exception as error:  # whatever it is, a client has seen it
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(index,)) for index in expected]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            before = rounds[0]
            signal_engine(server, signal.SIGKILL)
            wait_until(lambda: rounds[0] >= before + 12 or wrong, 120)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert server.metric("limoe_engine_restarts_total") == 5
    assert httpx.get(server.url + "/health", timeout=60).status_code == 200
    losses = [line for line in server.log if "was lost" in line]
    assert len(losses) == 5 and all("killed by SIGKILL" in line for line in losses)


def test_an_engine_that_stands_still_is_replaced(start):
    server = start("--step-timeout", 2)
    with server.client() as client:
        expected = embed(client, some_items(1))
        pid = signal_engine(server, signal.SIGSTOP)
        assert embed(client, some_items(1)) == expected
    assert engine_of(server) != pid
    assert any("did not answer a step for 2 s" in line for line in server.log)


def test_no_engine_to_be_had_says_so_and_recovers(start, model_copy):
    """The model goes away while it is served; when the engine is lost, no other can take its place."""
    server = start("--model", model_copy)
    config = model_copy / "config.json"
    with server.client() as client:
        expected = embed(client, some_items(1))
        config.rename(config.with_suffix(".away"))
        signal_engine(server, signal.SIGKILL)
        wait_until(lambda: "config.json" in client.get("/health").json().get("reason", ""), 60)
        health = client.get("/health")
        assert health.status_code == 503 and health.json()["status"] == "failing"
        live, ready = client.get("/livez"), client.get("/readyz")
        assert live.status_code == 200 and live.json() == {"status": "ok"}
        assert ready.status_code == 503 and ready.json() == health.json() and ready.headers["retry-after"] == "1"
        late = client.post("/v1/embeddings", json={"input": "x"}, headers={"X-Request-Timeout-Ms": "300"})
        assert late.status_code in (503, 504)

        config.with_suffix(".away").rename(config)
        wait_until(lambda: client.get("/health").status_code == 200, 60)
        assert client.get("/readyz").json() == {"status": "ok"}
        assert embed(client, some_items(1)) == expected
    # The failures are errors in the log, and rightly so.
    failures = [line for line in server.log if " error " in line]
    assert failures and all("has failed" in line or "health:" in line for line in failures)
    server.log[:] = [line for line in server.log if " error " not in line]


def test_stopping_while_the_engine_is_lost_does_not_hang(start, model_copy):
    server = start("--model", model_copy, "--drain-timeout", 2)
    (model_copy / "config.json").unlink()
    signal_engine(server, signal.SIGKILL)
    wait_until(lambda: sum("in a row has failed" in line for line in server.log) >= 3, 60)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    server.wait(60)
    assert time.monotonic() - began < 30
    server.log[:] = [line for line in server.log if " error " not in line]


def test_too_little_memory_for_the_engine(start):
    server = start("--engine-memory", "1MiB", wait=False)
    with server.client() as client:
        wait_until(lambda: any("resident memory" in line for line in server.log), 60)
        assert client.get("/health").status_code == 503
    server.terminate()
    server.log[:] = [line for line in server.log if " error " not in line]


def test_a_delay_for_batches_is_kept(start):
    """One small request waits for company that does not come, and is then computed all the same."""
    server = start("--max-batch-delay-ms", 200)
    with server.client() as client:
        embed(client, some_items(1))
        response = client.post("/v1/embeddings", json={"input": "one text alone"})
        assert float(response.headers["x-queue-ms"]) >= 199
        assert response.status_code == 200


def test_help():
    result = subprocess.run([BUILD / "limoe", "engine", "--help"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and "limoe serve" in result.stdout and "--step-tokens" in result.stdout


def test_not_by_hand():
    result = subprocess.run(
        [BUILD / "limoe", "engine", "--model", MODEL], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1 and "limoe itself" in result.stderr


# ---- builds with -Dtest_hooks=true


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def token_ids(word):
    """The ids of a text that is one piece of the vocabulary, and EOS. A tokenizer.model is a protocol buffer whose
    field 1 is a piece, again and again; a piece's own field 1 is its text."""
    data, at, ids = (MODEL / "tokenizer.model").read_bytes(), 0, 0
    while data[at] == 0x0A:
        size, at = varint(data, at + 1)
        length, begin = varint(data, at + 1)
        if data[begin : begin + length] == ("\u2581" + word).encode():
            return [ids, 2]
        at, ids = at + size, ids + 1
    raise AssertionError(f"{word} is no piece")


@pytest.mark.skipif(not HOOKS, reason="a build without -Dtest_hooks=true")
@pytest.mark.parametrize("hook", ["LIMOE_TEST_CRASH_TEXT", "LIMOE_TEST_HANG_TEXT", "LIMOE_TEST_CRASH_PIXEL"])
def test_a_poison_item_fails_alone(start, hook):
    poison_text, colour = "cat", (1, 2, 3)
    value = ",".join(map(str, colour if hook.endswith("PIXEL") else token_ids(poison_text)))
    server = start("--step-timeout", 2, "--cache-bytes", 0, env={hook: value})
    if hook.endswith("PIXEL"):
        out = io.BytesIO()
        Image.new("RGB", (64, 64), colour).save(out, "PNG")
        poison = {"image": b64(out.getvalue())}
    else:
        poison = {"text": poison_text}
    statuses, lock = {}, threading.Lock()

    def send(name, items):
        with server.client() as client:
            response = client.post("/v1/embeddings", json={"input": items})
        with lock:
            statuses[name] = response

    threads = [threading.Thread(target=send, args=(i, some_items(i))) for i in range(20)]
    threads.append(threading.Thread(target=send, args=("poison", [poison])))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    poisoned = statuses.pop("poison")
    assert poisoned.status_code == 500
    assert "lost twice" in poisoned.json()["error"]["message"]
    assert [response.status_code for response in statuses.values()] == [200] * 20
    wait_until(lambda: httpx.get(server.url + "/health", timeout=60).status_code == 200)
    server.log[:] = [line for line in server.log if " error " not in line]
