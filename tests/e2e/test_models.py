"""Protects several models in one server: by which names they answer, that each has a queue, metrics and reloads of its
own, that a stop finishes what all have, and what is refused before anything is loaded."""

import concurrent.futures
import json
import math
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess

import httpx
import pytest

from conftest import BUILD, MODEL, b64, data_uri, key_file, picture, wait_until

NAMES = ["pictograms", "b", "other"]
MOST_EXPERTS, MOST_MLP = 1024, 65536  # that a config may have


def with_other_texts(target):
    """The bundled model with its token table upside down: the same shape, other answers to texts."""
    shutil.copytree(MODEL, target)
    path = target / "model.safetensors"
    data = bytearray(path.read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    table = json.loads(data[8 : 8 + size])["text.token"]
    begin, end = (8 + size + at for at in table["data_offsets"])
    row = (end - begin) // table["shape"][0]
    data[begin:end] = b"".join(data[at : at + row] for at in range(end - row, begin - 1, -row))
    path.write_bytes(data)
    return target


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return with_other_texts(tmp_path_factory.mktemp("models") / "folder")


def embed(client, text, model=None, **more):
    body = {"input": text, "encoding_format": "base64", **({} if model is None else {"model": model}), **more}
    return client.post("/v1/embeddings", json=body)


def vector(client, text, model=None):
    answer = embed(client, text, model)
    assert answer.status_code == 200, answer.text
    return answer.json()["model"], answer.json()["data"][0]["embedding"]


def reloads(server, model):
    return server.metric(f'limoe_model_reloads_total{{model="{model}",result="ok"}}')


def refused(*arguments, env=None):
    done = subprocess.run(
        [BUILD / "limoe", "serve", "--port", "0", *map(str, arguments)], capture_output=True, text=True, timeout=120,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert "ready" not in done.stdout
    return done


@pytest.fixture(scope="module")
def trio(other):
    """A server of three models that the tests leave as they find it."""
    from harness import Server, stop_cleanly

    running = Server("--model", f"{MODEL},b={MODEL}", "--model", f"other={other}", "--model-alias", "clip=other,small")
    yield running
    stop_cleanly(running)


# ---- names


def test_each_model_answers_by_its_name(trio):
    with trio.client() as client:
        alone = {name: vector(client, "a cat", name) for name in NAMES}
        assert [name for name, _ in alone.values()] == NAMES
        assert alone["pictograms"][1] == alone["b"][1] != alone["other"][1]
        # The first where none is named; aliases stand for theirs, or the first.
        assert vector(client, "a cat") == vector(client, "a cat", "") == vector(client, "a cat", "small") == alone["pictograms"]
        assert vector(client, "a cat", "clip") == alone["other"]
        unknown = embed(client, "a cat", "siglip")
        assert unknown.status_code == 404 and unknown.json()["error"]["code"] == "model_not_found"
        assert 'available: "pictograms", "b", "other"' in unknown.json()["error"]["message"]


def test_each_form_of_a_request_names_a_model(trio):
    with trio.client() as client:
        image = picture(3)
        asked = {"labels": ["cat", "dog", "house"]}
        by_json = client.post("/v1/classify", json={"image": b64(image), **asked, "model": "other"})
        by_form = client.post("/v1/classify", files={"image": image}, data={"labels": asked["labels"], "model": "clip"})
        by_query = client.post("/v1/classify", content=image, headers={"Content-Type": "image/png"},
                               params={"labels": asked["labels"], "model": "other"})  # fmt: skip
        assert by_json.json()["model"] == "other" and by_json.text == by_form.text == by_query.text
        default = client.post("/v1/classify", json={"image": b64(image), **asked})
        assert default.json()["model"] == "pictograms" and default.json()["data"] != by_json.json()["data"]
        routing = client.post("/v1/routing", json={"input": "a cat", "model": "b"})
        assert routing.status_code == 200 and routing.json()["model"] == "b"


def test_models_are_listed(trio):
    with trio.client() as client:
        listed = client.get("/v1/models").json()["data"]
        assert [model["id"] for model in listed] == NAMES
        assert [model["aliases"] for model in listed] == [["small"], [], ["clip"]]
        for model in listed:
            assert model["capabilities"] == ["classify", "embeddings", "routing", "attention"]
            assert model["architecture"] == "limoe" and model["text"]["length"] == 16
            assert client.get(f"/v1/models/{model['id']}").json() == model
            assert client.get(f"/v1/models/{model['id']}/load").json()["format"] == "limoe-load-1"
        assert client.get("/v1/models/clip").json()["id"] == "other"
        assert client.get("/v1/models/none").status_code == 404
        assert len({model["fingerprint"] for model in listed}) == 2


def test_health_of_all_and_of_one(trio):
    with trio.client() as client:
        assert client.get("/health").json() == {"status": "ok", "models": [{"id": name, "status": "ok"} for name in NAMES]}
        assert client.get("/health", params={"model": "clip"}).json() == {"status": "ok", "models": [{"id": "other", "status": "ok"}]}
        assert client.get("/health", params={"model": "none"}).json()["error"]["code"] == "model_not_found"


def test_what_is_printed_names_each(trio):
    assert [line.split()[1] for line in trio.out if line.startswith("model ")] == [f"{name}:" for name in NAMES]
    assert sum(line.startswith("compute ") for line in trio.out) == 3


def test_a_name_by_the_folder_where_the_model_has_none(start, tmp_path):
    """As Hugging Face's folders have none; and an entry with a "/" before its "=" is a directory."""
    odd = tmp_path / "a=b"
    shutil.copytree(MODEL, odd)
    server = start("--model", f"{odd},second={MODEL}")
    with server.client() as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["pictograms", "second"]


def test_a_list_in_the_environment_and_in_the_file(start, other, tmp_path):
    command = [BUILD / "limoe", "serve"]
    server = start(command=command, env={"LIMOE_MODEL": f"x={MODEL},y={other}"})
    with server.client() as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["x", "y"]
    config = tmp_path / "limoe.conf"
    config.write_text(f"model = one={other},two={MODEL}\nmodel-alias = three=two\n")
    printed = subprocess.run([*command, "--config", config, "--print-config"], capture_output=True, text=True, check=True).stdout
    assert f'model = "one={other},two={MODEL}"' in printed
    server = start("--config", config, command=command)
    with server.client() as client:
        assert vector(client, "x", "three")[0] == "two"
    # The commands that answer on the terminal take the first.
    env = {**os.environ, "LIMOE_MODEL": f"one={MODEL},two=/nowhere"}
    done = subprocess.run([BUILD / "limoe", "inspect", "--json"], capture_output=True, text=True, env=env)
    assert json.loads(done.stdout)["id"] == "pictograms"


# ---- what is refused


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", f"a={MODEL},a={MODEL}"], 'the name "a" twice'),
        (["--model", f"a b={MODEL}"], 'the name "a b"'),
        (["--model", "a="], 'model "a" has no directory'),
        (["--model", ",".join(f"m{i}={MODEL}" for i in range(65))], "names 65 models; up to 64"),
        (["--model", f"a={MODEL},b={MODEL}", "--ranks", "2", "--load", "x"], "load is set and model names 2 models"),
        (["--model", f"a={MODEL},b={MODEL}", "--ranks", "2", "--rank-address", "127.0.0.1:9"], "without a port"),
        (["--memory-check", "maybe"], "on, off"),
    ],
)
def test_options_that_do_not_go_together(arguments, message):
    done = refused(*arguments)
    assert done.returncode == 2 and message in done.stderr and "--help" in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", f"{MODEL},{MODEL}"], 'two models are called "pictograms"'),
        (["--model", f"{MODEL},b={MODEL}", "--model-alias", "x=c"], 'model-alias names a model "c"; there is "pictograms", "b"'),
        (["--model", f"a={MODEL},b={MODEL}", "--model-alias", "x=a,x=b"], 'model-alias has "x" for two models'),
        (["--model", f"a={MODEL},b=/nowhere"], "model b: cannot open /nowhere"),
    ],
)
def test_starts_that_fail_name_the_model(arguments, message):
    done = refused(*arguments)
    assert done.returncode == 1 and message in done.stderr


def test_a_model_that_does_not_open_stops_the_start(tmp_path):
    for name in ["config.json", "tokenizer.model"]:
        (tmp_path / name).symlink_to(MODEL / name)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    done = refused("--model", f"a={MODEL},broken={tmp_path},c={MODEL}")
    assert done.returncode == 1 and "model broken: " in done.stderr and "model.safetensors" in done.stderr


def larger_than_memory(target):
    """A sound header of 200 GB and more; the data, a hole in the file, are never read."""
    target.mkdir()
    config = json.loads((MODEL / "config.json").read_text())
    experts, mlp = config["moe"]["experts"], config["mlp"]
    raw = (MODEL / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    at = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        larger = {mlp: MOST_MLP, experts: MOST_EXPERTS} if ".moe." in name else {mlp: MOST_MLP}
        shape = [larger.get(size, size) for size in tensor["shape"]]
        count = math.prod(shape) * {"BF16": 2, "F16": 2, "F32": 4}[tensor["dtype"]]
        tensor["shape"], tensor["data_offsets"] = shape, [at, at + count]
        at += count
    config["moe"]["experts"], config["mlp"] = MOST_EXPERTS, MOST_MLP
    (target / "config.json").write_text(json.dumps(config))
    shutil.copy(MODEL / "tokenizer.model", target)
    text = json.dumps(header).encode()
    with open(target / "model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + at)
    return target


def test_memory_is_counted_before_an_engine_is_started(tmp_path):
    large = larger_than_memory(tmp_path / "large")
    done = refused("--model", f"a={MODEL},large={large}")
    assert done.returncode == 1, done.stderr
    assert re.search(
        r"model large needs \d{3}\.\d\d GiB of memory, and (this machine|the control group \S+) has \d+\.\d\d GiB, of which the "
        r"models before it take 0\.\d\d GiB; --memory-check off",
        done.stderr,
    )
    # Without the check the engine finds out: of this one that its data are no finite numbers of a model's, or how much it is.
    assert "needs" not in subprocess.run([BUILD / "limoe", "serve", "--memory-check", "off", "--print-config"], capture_output=True, text=True).stderr


def test_a_reload_to_a_model_that_does_not_fit_is_refused(start, tmp_path):
    small, link = tmp_path / "small", tmp_path / "served"
    shutil.copytree(MODEL, small)
    link.symlink_to(small)
    server = start("--model", f"{link},b={MODEL}")
    large = larger_than_memory(tmp_path / "large")
    link.unlink()
    link.symlink_to(large)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.metric('limoe_model_reloads_total{model="pictograms",result="failed"}') == 1 and reloads(server, "b") == 1)
    assert [line for line in server.log if "model pictograms: model " in line and "of memory" in line]
    with server.client() as client:
        assert client.get("/health").status_code == 200 and vector(client, "x")[0] == "pictograms"
    server.log[:] = [line for line in server.log if " error " not in line]


# ---- apart from each other


@pytest.fixture
def apart(start, tmp_path):
    """start() with models whose directories, links to the bundled one, tell their engines apart."""

    def run(*options, names=("a", "b", "c"), **keywords):
        for name in names:
            (tmp_path / name).symlink_to(MODEL)
        return start("--model", ",".join(f"{name}={tmp_path / name}" for name in names), *options, **keywords)

    return run


def engine_of(server, name):
    """The pid of a model's engine; None: it is being started just now."""
    for pid in server.children("engine"):
        arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "--model" in arguments and pathlib.Path(arguments[arguments.index("--model") + 1]).name == name:
            return pid
    return None


def test_a_full_queue_refuses_its_own_model_alone(apart):
    server = apart("--queue-items", 4, "--cache-bytes", 0)
    stopped = engine_of(server, "b")
    os.kill(stopped, signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool, server.client() as client:
            waiting = [pool.submit(embed, client, [f"{i} {k}" for k in range(3)], "b") for i in range(2)]
            wait_until(lambda: server.metric('limoe_queue_depth{model="b"}') == 6)
            full = embed(client, "one more", "b")
            assert full.status_code == 429 and full.json()["error"]["code"] == "queue_full"
            assert "the model b has as much" in full.json()["error"]["message"] and int(full.headers["retry-after"]) >= 1
            for name in ("a", "c"):
                assert embed(client, "one more", name).status_code == 200
            assert server.metric('limoe_queue_depth{model="a"}') == 0 and server.metric("limoe_intake_bytes") == 0
            os.kill(stopped, signal.SIGCONT)
            assert [call.result().status_code for call in waiting] == [200, 200]
            assert embed(client, "one more", "b").status_code == 200
    finally:
        os.kill(stopped, signal.SIGCONT)
    by_code = {(name, code): server.metric(f'limoe_requests_total{{model="{name}",code="{code}"}}') for name in "abc" for code in (200, 429)}
    assert by_code == {("a", 200): 1, ("b", 200): 3, ("c", 200): 1, ("a", 429): 0, ("b", 429): 1, ("c", 429): 0}


def test_bodies_of_no_model_yet_are_bounded(apart):
    """What has come of requests that have not said which model they are for counts for itself."""
    server = apart("--queue-bytes", "1MiB", names=("a", "b"))
    body = json.dumps({"input": ["x" * 60000] * 12}).encode()
    connection = server.connect()
    connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
    connection.sendall(body[:-10])
    wait_until(lambda: server.metric("limoe_intake_bytes") > 512 * 1024)
    with server.client() as client:
        assert client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"}).status_code == 429
        assert embed(client, "small", "b").status_code == 200
        assert server.metric("limoe_queue_bytes") == 0
        connection.sendall(body[-10:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        connection.close()
        wait_until(lambda: server.metric("limoe_intake_bytes") == 0 and server.metric("limoe_queue_bytes") == 0)


def test_steps_items_and_restarts_are_counted_by_model(apart):
    server = apart("--cache-bytes", "1MiB")
    with server.client() as client:
        assert embed(client, ["one", "two", {"image": b64(picture(1))}], "b").status_code == 200
        assert embed(client, ["one", "two"], "b").status_code == 200
        assert embed(client, "one", "c").status_code == 200
    counted = {
        name: [server.metric(f'{family}{{model="{name}"}}') for family in
               ("limoe_items_total", "limoe_text_cache_hits_total", "limoe_text_cache_misses_total", "limoe_text_cache_entries")]
        for name in "abc"
    }  # fmt: skip
    assert counted == {"a": [0, 0, 0, 0], "b": [3, 2, 2, 2], "c": [1, 0, 1, 1]}
    os.kill(engine_of(server, "b"), signal.SIGKILL)
    wait_until(lambda: server.metric('limoe_engine_restarts_total{model="b"}') == 1)
    assert server.metric("limoe_engine_restarts_total") == 1
    assert {server.metric(f'limoe_ready{{model="{name}"}}') for name in "ac"} == {1}
    page = httpx.get(server.url + "/metrics").text
    assert all(f'limoe_process_resident_memory_bytes{{process="engine",index="0",model="{name}"}}' in page for name in "ac")


def test_health_names_the_model_that_is_down(start, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken)
    server = start("--model", f"a={MODEL},b={broken},c={MODEL}")
    (broken / "config.json").write_text("{}")
    with server.client() as client:
        os.kill(engine_of(server, "broken"), signal.SIGKILL)
        wait_until(lambda: client.get("/health").status_code == 503, 60)
        health = client.get("/health").json()
        assert health["status"] == "failing" and health["reason"].startswith("model b: ") and "config.json" in health["reason"]
        assert [(model["id"], model["status"]) for model in health["models"]] == [("a", "ok"), ("b", "failing"), ("c", "ok")]
        assert client.get("/health?model=b").status_code == client.get("/readyz?model=b").status_code == 503
        assert client.get("/readyz?model=a").json() == {"status": "ok"} and client.get("/readyz").json()["reason"] == health["reason"]
        assert client.get("/livez").status_code == 200
        for name in ("a", "c"):
            assert client.get("/health", params={"model": name}).json()["status"] == "ok"
            assert embed(client, "x", name).status_code == 200
        shutil.copy(MODEL / "config.json", broken)
        wait_until(lambda: client.get("/health").status_code == 200, 60)
    server.log[:] = [line for line in server.log if " error " not in line]


SYNTHETIC = BUILD / "bench" / "synthetic"


@pytest.mark.skipif(not SYNTHETIC.exists(), reason=f"needs {SYNTHETIC}")
def test_models_of_other_shapes_beside_each_other(start, tmp_path):
    """Decoders are shared: each picture becomes the size of the model that it is for; and a dense model routes nothing."""
    sizes = {"image-size": 32, "patch": 16, "width": 64, "heads": 2, "blocks": 2, "mlp": 64, "embed": 32, "moe-layers": 0}
    tiny = tmp_path / "tiny"
    arguments = [str(word) for name, size in sizes.items() for word in (f"--{name}", size)]
    subprocess.run([SYNTHETIC, "--preset", "small", "--name", "tiny", "--out", tiny, *arguments], check=True, capture_output=True)
    alone = {"pictograms": start(), "tiny": start("--model", tiny)}
    server = start("--model", f"{MODEL},{tiny}", "--workers", 2)
    bodies = [{"input": [{"image": b64(picture(i, (40 + 30 * i, 90)))}, f"text {i}"], "encoding_format": "base64"} for i in range(6)]

    def ask(client, name, body):
        answer = client.post("/v1/embeddings", json={**body, "model": name})
        assert answer.status_code == 200, answer.text
        return answer.text

    with server.client() as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        expected = {}
        for name, single in alone.items():
            with single.client() as other:
                expected[name] = [ask(other, name, body) for body in bodies]
        asked = [(name, i, pool.submit(ask, client, name, bodies[i])) for _ in range(5) for i in range(len(bodies)) for name in alone]
        assert all(call.result() == expected[name][i] for name, i, call in asked)
        assert client.get("/v1/models/tiny").json()["capabilities"] == ["classify", "embeddings", "attention"]
        for name, columns in (("tiny", 2), ("pictograms", 5)):
            split = client.post("/v1/attention", json={"image": b64(picture(3)), "texts": ["a cat", "red"], "model": name}).json()
            assert (split["model"], split["rows"], split["columns"]) == (name, columns, columns)
            for item in split["data"]:
                grid = [share for row in item["grid"] for share in row]
                assert len(grid) == columns**2 and abs(sum(grid) - item["cosine"]) <= 1e-5
        none = client.post("/v1/routing", json={"input": "a cat", "model": "tiny"})
        assert none.status_code == 400 and none.json()["error"]["code"] == "no_experts" and none.json()["error"]["param"] == "model"
        assert '"tiny" has no blocks with experts' in none.json()["error"]["message"]
        assert client.post("/v1/routing", json={"input": "a cat"}).status_code == 200
        wrong = embed(client, "x", "tiny", dimensions=192)
        assert wrong.status_code == 400 and "have 32" in wrong.json()["error"]["message"]
        assert embed(client, "x", "tiny", dimensions=32).status_code == embed(client, "x", dimensions=192).status_code == 200


@pytest.mark.skipif(not (BUILD / "limoe-mpi.so").exists() or not shutil.which("mpirun"), reason="needs limoe-mpi.so and mpirun")
def test_each_model_has_ranks_of_its_own(apart):
    from test_ranks import ENV

    server = apart("--ranks", 2, "--cache-bytes", 0, names=("a", "b"), env=ENV)
    with server.client() as client:
        before = {name: vector(client, "a cat", name)[1] for name in "ab"}
        assert before["a"] == before["b"]
        assert [model["ranks"] for model in client.get("/v1/models").json()["data"]] == [2, 2]
        page = client.get("/metrics").text
        ranks = set(re.findall(r'^limoe_process_resident_memory_bytes\{process="engine",index="(\d)",model="(\w)"\}', page, re.M))
        assert ranks == {(rank, name) for rank in "01" for name in "ab"}
        assert {name: vector(client, "a cat", name)[1] for name in "ab"} == before


# ---- reloads


ADMIN = {"Authorization": "Bearer an-admin-key-of-enough-bytes"}


@pytest.fixture
def admin(tmp_path):
    keys = key_file(tmp_path / "admin-keys", ADMIN["Authorization"].split()[1])
    return ["--admin-keys-file", keys]


def test_one_is_reloaded_or_all(apart, admin):
    server = apart(*admin, "--model-alias", "second=b")
    with server.client(headers=ADMIN) as client:
        before = {name: engine_of(server, name) for name in "abc"}
        one = client.post("/v1/models/reload", json={"model": "second"})
        assert one.status_code == 200, one.text
        assert {name: one.json()[name] for name in ("object", "model", "generation")} == {"object": "model.reload", "model": "b", "generation": 2}
        wait_until(lambda: len(server.children("engine")) == 3)
        assert engine_of(server, "b") != before["b"] and [engine_of(server, name) for name in "ac"] == [before["a"], before["c"]]
        for body in ({}, {"content": b"", "headers": {"Content-Type": "text/plain"}}, {"json": {}}):
            every = client.post("/v1/models/reload", **body)
            assert every.status_code == 200, every.text
            assert [one["model"] for one in every.json()["data"]] == ["a", "b", "c"]
        assert [reloads(server, name) for name in "abc"] == [3, 4, 3]
        assert [one["generation"] for one in every.json()["data"]] == [4, 5, 4]
        for body, status, code in [
            ({"model": "none"}, 404, "model_not_found"),
            ({"model": 1}, 400, "invalid_type"),
            ({"name": "a"}, 400, "unknown_field"),
            ([], 400, "invalid_json"),
        ]:
            answer = client.post("/v1/models/reload", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_one_that_does_not_load_leaves_the_others_be(start, admin, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken)
    server = start("--model", f"a={MODEL},b={broken}", *admin)
    (broken / "model.safetensors").write_bytes(b"broken")
    with server.client(headers=ADMIN) as client:
        before = vector(client, "x", "b")
        failed = client.post("/v1/models/reload")
        assert failed.status_code == 500 and failed.json()["error"]["code"] == "reload_failed"
        assert "model b: " in failed.json()["error"]["message"] and "model.safetensors" in failed.json()["error"]["message"]
        assert client.post("/v1/models/reload", json={"model": "a"}).status_code == 200
        assert client.post("/v1/models/reload", json={"model": "b"}).status_code == 500
        assert vector(client, "x", "b") == before
        assert (reloads(server, "a"), reloads(server, "b")) == (2, 0)
        assert server.metric('limoe_model_reloads_total{model="b",result="failed"}') == 2
        assert client.get("/health").json()["status"] == "ok"
    server.log[:] = [line for line in server.log if " error " not in line]


def test_a_reload_that_takes_another_models_name_fails(start, tmp_path):
    """A model without a name of the options' is called as its config says, which may change."""
    folder = tmp_path / "folder"
    shutil.copytree(MODEL, folder)
    server = start("--model", f"{folder},b={MODEL}")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "name": "b"}))
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.metric('limoe_model_reloads_total{model="pictograms",result="failed"}') == 1 and reloads(server, "b") == 1)
    (folder / "config.json").write_text(json.dumps({**config, "name": "renamed"}))
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: reloads(server, "renamed") == 1 and reloads(server, "b") == 2)
    with server.client() as client:
        assert vector(client, "x", "renamed") == vector(client, "x")
        assert embed(client, "x", "pictograms").status_code == 404
    server.log[:] = [line for line in server.log if " error " not in line]


def test_a_slow_body_keeps_no_model_in_memory(apart, admin):
    server = apart(*admin, names=("a", "b"))
    body = json.dumps({"input": "late", "model": "b"}).encode()
    connection = server.connect()
    connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
    connection.sendall(body[:-5])
    wait_until(lambda: server.metric("limoe_requests_in_flight") == 2)
    with server.client(headers=ADMIN) as client:
        for _ in range(2):
            assert client.post("/v1/models/reload").status_code == 200
        wait_until(lambda: len(server.children("engine")) == 2)
        connection.sendall(body[-5:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    connection.close()


# ---- classifiers


def test_a_classifier_serves_the_model_that_is_asked_for(trio):
    labels = {"labels": ["cat", "dog", "house"], "templates": ["{}", "a picture of a {}"]}
    image = data_uri(picture(5))
    with trio.client() as client:
        put = client.put("/v1/classifiers/pets", json={**labels, "model": "other"})
        assert put.status_code == 200 and put.json()["model"] == "other"
        assert client.put("/v1/classifiers/pets2", json={**labels, "model": "none"}).status_code == 404
        for _ in range(2):  # vectors of each are kept beside those of the others
            for name in [None, *NAMES]:
                model = {} if name is None else {"model": name}
                by_name = client.post("/v1/classify", json={"image": image, "classifier": "pets", **model})
                by_labels = client.post("/v1/classify", json={"image": image, **labels, **model})
                assert by_name.status_code == 200 and by_name.text == by_labels.text
        assert client.get("/v1/classifiers/pets").json()["model"] == "pictograms"
        assert client.get("/v1/classifiers/pets", params={"model": "clip"}).json()["model"] == "other"
        assert client.get("/v1/classifiers/pets", params={"model": "none"}).status_code == 404
        assert [one["name"] for one in client.get("/v1/classifiers").json()["data"]] == ["pets"]
        assert client.delete("/v1/classifiers/pets").status_code == 200
        assert client.delete("/v1/classifiers/pets").status_code == 404
        assert client.get("/v1/classifiers/pets").json()["error"]["code"] == "classifier_not_found"


# ---- the end


def test_a_stop_finishes_what_all_models_have(apart):
    """Engines stand still until the stop has begun, so that each model has something to finish."""
    server = apart("--cache-bytes", 0)
    inputs = ["a text", {"image": b64(picture(1))}, "another"]
    engines = [engine_of(server, name) for name in "abc"]

    def ask(name):
        with server.client() as client:
            return embed(client, inputs, name)

    for pid in engines:
        os.kill(pid, signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(ask, name) for name in "abc" * 2]
            wait_until(lambda: [server.metric(f'limoe_queue_depth{{model="{name}"}}') for name in "abc"] == [6] * 3)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: any("stopping" in line for line in server.log))
            for pid in engines:
                os.kill(pid, signal.SIGCONT)
            answers = [call.result(60) for call in asked]
    finally:
        for pid in server.children("engine"):
            os.kill(pid, signal.SIGCONT)
    assert [answer.status_code for answer in answers] == [200] * 6
    assert [answer.json()["model"] for answer in answers] == list("abc" * 2)
    assert len({json.dumps(answer.json()["data"]) for answer in answers}) == 1
    assert server.wait() == 0
