"""Protects adapters that a server learns: a job comes to the bytes of limoe tune, by form or JSON, through lost trainers and
restarts; what is cancelled, refused or failed says so, serves nothing new and leaves no example behind."""

import contextlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import httpx
import pytest

from conftest import BUILD, Server, b64, draw_classes, picture, stop_cleanly, wait_until
from test_http import assert_error

SYNTHETIC = BUILD / "bench" / "synthetic"
pytestmark = pytest.mark.skipif(not SYNTHETIC.exists(), reason=f"needs {SYNTHETIC}")
SHAPES = {"block": "rectangle", "disc": "ellipse", "slash": "line"}
SIZES = {"image-size": 32, "patch": 16, "width": 64, "heads": 2, "blocks": 4, "mlp": 64, "embed": 32, "moe-layers": 1, "experts": 4}
TAIL = {"kind": "tail", "options": {"epochs": 60, "start_block": 2, "seed": 7}}
LONG = {"kind": "tail", "options": {"epochs": 1000}}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    arguments = [str(word) for name, size in SIZES.items() for word in (f"--{name}", size)]
    subprocess.run([SYNTHETIC, "--preset", "small", "--name", "tiny", "--out", folder, *arguments], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    draw_classes(folder, SHAPES)
    return folder


@pytest.fixture(scope="module")
def examples(pictures):
    """(label, bytes), a round of the labels at a time."""
    return [(label, (pictures / label / f"{i}.png").read_bytes()) for i in range(4) for label in SHAPES]


@pytest.fixture(scope="module")
def tuned(tiny, pictures, tmp_path_factory):
    """What limoe tune writes, by its options."""
    folder, made = tmp_path_factory.mktemp("tuned"), {}

    def tune(*options):
        if options not in made:
            out = folder / str(len(made))
            done = subprocess.run([BUILD / "limoe", "tune", pictures, "-o", out, "--model", tiny, "--quiet", *options],
                                  capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            made[options] = out.read_bytes()
        return made[options]

    return tune


@pytest.fixture
def tail(tuned):
    return tuned("--kind", "tail", "--epochs", "60", "--start-block", "2", "--seed", "7")


@pytest.fixture
def teach(start, tiny):
    return lambda *options, **keywords: start("--model", tiny, *options, **keywords)


@pytest.fixture(scope="module")
def own(tiny):
    """One server for the tests that leave it as they find it."""
    server = Server("--model", tiny)
    yield server
    stop_cleanly(server)


def as_json(examples):
    return [{"image": b64(data), "label": label} for label, data in examples]


def client_of(server):
    """One for all of a test: it takes longer to make than most answers."""
    if not hasattr(server, "asked"):
        server.asked = server.client()
    return server.asked


def post(server, name, examples, **fields):
    return client_of(server).post(f"/v1/adapters/{name}", json={"examples": as_json(examples), **fields})


def begin(server, name, examples, **fields):
    answer = post(server, name, examples, **fields)
    assert answer.status_code == 202, answer.text
    assert {key: answer.json()[key] for key in ("object", "name", "state")} == {"object": "adapter.job", "name": name, "state": "queued"}


def look(server, name):
    answer = client_of(server).get(f"/v1/adapters/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(server, name, seconds=60):
    wait_until(lambda: look(server, name)["state"] not in ("queued", "training"), seconds)
    return look(server, name)


def delete(server, name):
    answer = client_of(server).delete(f"/v1/adapters/{name}")
    assert answer.json() == {"object": "adapter.deleted", "name": name, "deleted": True}


def state(server):
    return pathlib.Path(server.state.name)


def stored(server, name):
    (path,) = (state(server) / "adapters").glob(f"{name}@*")
    return path.read_bytes()


def files(server):
    """What there is of jobs, by name of file."""
    return sorted(path.name for path in (state(server) / "training").glob("*/*"))


def expect_warnings(server):
    server.log[:] = [line for line in server.log if " warning " not in line]


# ---- what is learnt


def test_a_form_comes_to_the_bytes_of_limoe_tune(own, examples, tuned):
    parts = [(f"examples[{label}]", (f"{i}.png", data)) for i, (label, data) in enumerate(examples)]
    with own.client() as client:
        answer = client.post("/v1/adapters/form", files=parts, data={"options": '{"epochs":4}', "templates": ["a {}", "{}"]})
        assert answer.status_code == 202, answer.text
        done = ended(own, "form")
        assert done["state"] == "ready" and done["progress"] == 1 and done["labels"] == sorted(SHAPES)
        held = done["training"]["held_out"]
        assert done["held_out"] == {"before": held["before"], "after": held[done["kind"]]["right"]} and "tail" in held
        assert stored(own, "form") == tuned("--epochs", "4", "--template", "a {}", "--template", "{}")
        assert any("adapter form: a probe is served, a tail is tried" in line for line in own.log)
        assert files(own) == ["end.json", "job.json"]
        image = {"image": b64(picture(1)), "adapter": "form"}
        asked = client.post("/v1/classify", json=image if done["kind"] == "probe" else {**image, "labels": sorted(SHAPES)})
        assert asked.status_code == 200, asked.text
    delete(own, "form")
    assert files(own) == [] and stored_names(own) == []


def stored_names(server):
    return os.listdir(state(server) / "adapters")


def test_json_comes_to_them_too_and_order_within_a_label_alone_counts(own, examples, tail):
    shuffled = sorted(examples, key=lambda example: example[0], reverse=True)
    begin(own, "json", shuffled, **TAIL, labels=["slash", "disc", "block"], model="tiny")
    assert ended(own, "json")["state"] == "ready"
    assert stored(own, "json") == tail
    with own.client() as client:
        asked = client.post("/v1/embeddings", json={"input": "a", "adapter": "json"})
        assert asked.status_code == 200 and asked.json() != client.post("/v1/embeddings", json={"input": "a"}).json()
    assert own.metric('limoe_adapter_jobs_ended_total{state="ready"}') >= 1
    assert own.metric("limoe_adapter_training_seconds_total") > 0 and own.metric("limoe_adapter_jobs") == 0
    delete(own, "json")


def test_a_label_may_have_no_examples(own, examples):
    begin(own, "more", examples, kind="probe", labels=[*SHAPES, "cat"], options={"held_out": 0, "learning_rate": 0.1})
    done = ended(own, "more")
    assert done["state"] == "ready" and done["labels"] == sorted([*SHAPES, "cat"]) and done["held_out"] is None
    assert done["notes"] == ["nothing is held out, as asked: nothing is chosen by trial"]
    delete(own, "more")


def test_lost_trainers_cost_time_and_no_bit(teach, examples, tail):
    server = teach()
    begin(server, "lost", examples, **TAIL)
    for moment in range(3):
        wait_until(lambda: server.children("trainer"))
        time.sleep(0.1 * moment)  # before it begins, and later
        for pid in server.children("trainer"):
            os.kill(pid, signal.SIGKILL)
    assert ended(server, "lost")["state"] == "ready"
    assert stored(server, "lost") == tail
    assert 1 <= server.metric("limoe_trainer_restarts_total") <= 3
    assert files(server) == ["end.json", "job.json"]
    expect_warnings(server)


def test_a_trainer_that_is_always_lost_is_given_up(tiny, examples, start):
    """Its state is larger than a file may be, for which the system ends it; the server ignores that, as its own files are small."""
    server = start(command=["bash", "-c", 'ulimit -f 64; trap "" XFSZ; exec "$@"', "-", BUILD / "limoe", "serve", "--model", tiny])
    begin(server, "doomed", examples, **TAIL)
    done = ended(server, "doomed")
    assert done["state"] == "failed" and done["reason"] == "its trainer was lost 5 times without getting on: killed by SIGXFSZ"
    assert server.metric("limoe_trainer_restarts_total") == 5
    assert files(server) == ["end.json", "job.json"] and stored_names(server) == []
    expect_warnings(server)


def test_jobs_outlive_the_server(teach, examples, tail):
    """One that is in training goes on from its last epoch, one that waits is begun; one that has failed is still told of."""
    server = teach()
    begin(server, "bad", [*examples, ("disc", b"no picture")], kind="probe")
    assert ended(server, "bad")["state"] == "failed"
    begin(server, "first", examples, **TAIL)
    begin(server, "second", examples, kind="probe")
    wait_until(lambda: "adapter.partial" in files(server))
    server.process.kill()
    server.process.wait()
    folder = state(server) / "training"
    (folder / "77").mkdir()
    (folder / "77" / "examples").write_bytes(b"half a job")
    again = teach(env={"LIMOE_STATE_DIR": server.state.name})
    assert ended(again, "first")["state"] == ended(again, "second")["state"] == "ready"
    assert stored(server, "first") == tail
    assert look(again, "bad")["state"] == "failed" and "examples[disc][4]" in look(again, "bad")["reason"]
    assert files(server) == 3 * ["end.json"] + 3 * ["job.json"] and not (folder / "77").exists()
    expect_warnings(again)
    expect_warnings(server)


# ---- beside requests


@contextlib.contextmanager
def load(server):
    """Requests, one after the other, for as long as the server takes any."""
    over = threading.Event()

    def ask():
        with server.client() as client, contextlib.suppress(httpx.TransportError):
            for i in itertools.count():
                if over.is_set():
                    return
                client.post("/v1/embeddings", json={"input": f"a {i}"})

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


def is_stopped(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def stopped_trainer(server):
    wait_until(lambda: server.children("trainer"))
    (pid,) = server.children("trainer")
    wait_until(lambda: is_stopped(pid))
    return pid


def test_a_job_gets_on_beside_requests_to_the_same_bytes(own, examples, tail):
    begin(own, "beside", examples, **TAIL)
    with load(own):
        assert ended(own, "beside")["state"] == "ready"
    assert stored(own, "beside") == tail
    delete(own, "beside")


@pytest.mark.parametrize("end", ["cancelled", "lost", "told to stop", "killed"])
def test_a_stopped_trainer_ends_with_its_job_and_its_server(teach, examples, end):
    server = teach()
    begin(server, "stopped", examples, **LONG)
    with load(server):
        pid = stopped_trainer(server)
        if end == "cancelled":
            delete(server, "stopped")
        elif end == "lost":
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: server.metric("limoe_trainer_restarts_total") == 1)
            assert stopped_trainer(server) != pid
            expect_warnings(server)
        elif end == "told to stop":
            server.process.terminate()
            assert server.wait() == 0
        else:
            server.kill()
        wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists())


# ---- cancelled, queued


def test_delete_cancels_and_the_queue_has_an_end(teach, examples):
    server = teach("--adapter-jobs", 2, "--trainer-threads", 2)
    begin(server, "running", examples, **LONG)
    wait_until(lambda: look(server, "running")["progress"] > 0)
    shown = look(server, "running")
    assert shown["stage"].startswith("tail") and shown["epochs"] == 1000 and shown["loss"] > 0 and shown["seconds"] > 0
    assert server.metric('limoe_adapter_jobs{state="training"}') == 1
    assert server.metric('limoe_process_resident_memory_bytes{process="trainer"}') > 0
    begin(server, "waiting", examples, kind="probe")
    assert look(server, "waiting")["state"] == "queued" and server.metric('limoe_adapter_jobs{state="queued"}') == 1
    full = post(server, "third", examples)
    assert_error(full, 429, "too_many_jobs")
    assert full.headers["Retry-After"] == "30"
    (pid,) = server.children("trainer")
    threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
    assert len(threads) == min(2, len(os.sched_getaffinity(0))) and all(os.sched_getscheduler(thread) == os.SCHED_IDLE for thread in threads)
    assert all(os.getpriority(os.PRIO_PROCESS, thread) == 19 for thread in threads)
    delete(server, "waiting")
    assert look(server, "waiting")["state"] == "cancelled"
    again = post(server, "running", examples)
    assert_error(again, 409, "adapter_training", "name")
    delete(server, "running")
    assert look(server, "running")["state"] == "cancelled"
    wait_until(lambda: not server.children("trainer") and files(server) == 2 * ["end.json"] + 2 * ["job.json"])
    assert server.metric('limoe_adapter_jobs_ended_total{state="cancelled"}') == 2 and stored_names(server) == []
    begin(server, "running", examples, kind="probe")  # in the cancelled one's place
    assert ended(server, "running")["state"] == "ready"
    for name in "running", "waiting":
        delete(server, name)
        with server.client() as client:
            assert_error(client.get(f"/v1/adapters/{name}"), 404, "adapter_not_found", "name")
    assert files(server) == []


def page(server, **query):
    """The list, as (name, state, whether an adapter is there)."""
    answer = client_of(server).get("/v1/adapters", params=query).json()
    return [(entry["name"], entry["state"], "kind" in entry) for entry in answer["data"]], answer["has_more"]


def test_the_list_has_jobs_among_adapters(teach, examples):
    server = teach()
    begin(server, "b", examples, kind="probe")
    ended(server, "b")
    begin(server, "a", [*examples, ("disc", b"no picture")], kind="probe")
    ended(server, "a")
    begin(server, "d", examples, kind="probe")
    ended(server, "d")
    begin(server, "c", examples, **LONG)
    wait_until(lambda: look(server, "c")["state"] == "training")
    begin(server, "d", examples, kind="probe")
    begin(server, "e", examples, kind="probe")
    whole = [("a", "failed", False), ("b", "ready", True), ("c", "training", False), ("d", "queued", True), ("e", "queued", False)]
    assert page(server) == (whole, False)
    assert page(server, limit=2) == (whole[:2], True) and page(server, limit=5) == (whole, False)
    assert page(server, limit=2, after="b") == (whole[2:4], True) and page(server, limit=2, after="d") == (whole[4:], False)
    assert page(server, limit=1, after="c") == (whole[3:4], True) and page(server, after="e") == ([], False)
    (entry,) = client_of(server).get("/v1/adapters", params={"after": "d"}).json()["data"]
    assert entry.pop("created") > 1.6e9
    assert entry == {"object": "adapter", "name": "e", "model": "tiny", "state": "queued"}
    for name in "e", "d", "c":
        delete(server, name)
    assert page(server) == (whole[:2], False)  # cancelled by who does not ask for them any more
    expect_warnings(server)


def test_what_is_put_later_counts(own, examples, tuned, tmp_path):
    begin(own, "put", examples[:5], kind="probe", options={"start_block": 1})
    ended(own, "put")
    begin(own, "put", [*examples, ("disc", b"no picture")], kind="probe")
    done = ended(own, "put")
    assert done["state"] == "failed" and done["kind"] == "probe"  # which is served still
    with own.client() as client:
        answer = client.put("/v1/adapters/put", content=tuned("--kind", "probe"), headers={"Content-Type": "application/octet-stream"})
        assert answer.status_code == 200 and client.get("/v1/adapters/put").json() == answer.json()
    delete(own, "put")
    expect_warnings(own)


def test_room_is_bounded_and_training_can_be_off(teach, examples):
    server = teach("--adapter-jobs", 0)
    assert_error(post(server, "none", examples), 403, "training_disabled")
    small = teach("--adapter-job-bytes", "1MiB")
    large = [("a", b"\x89PNG" + os.urandom(700_000)), ("b", b"\x89PNG" + os.urandom(700_000))]
    assert_error(post(small, "large", large), 507, "store_full", "examples")
    assert files(small) == [] and small.metric("limoe_adapter_job_bytes") == 0


def test_a_full_disk_is_said(teach, examples, tmp_path):
    """First there is room for the examples and not for the state of a tail; then not even for those."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    try:
        server = teach(env={"LIMOE_STATE_DIR": disk})
        begin(server, "full", examples, **TAIL)
        assert ended(server, "full")["reason"] == "cannot write adapter.partial: No space left on device"
        noise = [("a", picture(1)), ("b", b"\x89PNG" + os.urandom(400_000))]
        assert_error(post(server, "full", noise), 507, "store_full", "examples")
        assert sorted(path.name for path in (disk / "training").glob("*/*")) == ["end.json", "job.json"]
        expect_warnings(server)
        stop_cleanly(server)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


# ---- what cannot be


def test_examples_that_fail_their_job(own, examples):
    """Pictures are looked at when it is their turn: the reason names them."""
    broken = [*examples[:7], ("disc", b"no picture"), *examples[7:]]
    begin(own, "broken", broken, kind="probe")
    begin(own, "twice", [*examples, ("disc", examples[0][1])], kind="probe")
    begin(own, "skipped", broken, kind="probe", options={"skip_broken": True})
    begin(own, "deep", examples, kind="tail", options={"start_block": 9})
    done = ended(own, "broken")
    assert done["state"] == "failed" and done["reason"].startswith("examples[disc][2]: ") and "kind" not in done
    done = ended(own, "twice")
    assert done["reason"] == "examples[block][0] and examples[disc][4] are the same picture in two classes; a picture is of one"
    done = ended(own, "skipped")
    assert done["state"] == "ready" and done["training"]["skipped"] == 1 and done["training"]["pictures"] == 12
    assert any(note.startswith("examples[disc][2] is left out: ") for note in done["notes"])
    assert ended(own, "deep")["reason"] == 'start block 9; 0 to 4 are accepted of "tiny"'
    for name in "broken", "twice", "skipped", "deep":
        delete(own, name)
    assert files(own) == []
    expect_warnings(own)


def test_another_model_than_was_meant(teach, start, examples, tmp_path):
    """A job is of the model that was served when it was asked for."""
    server = teach()
    begin(server, "long", examples, **LONG)
    begin(server, "later", examples, kind="probe")
    server.process.kill()
    server.process.wait()
    other = tmp_path / "other"
    arguments = [str(word) for name, size in SIZES.items() for word in (f"--{name}", size)]
    command = [SYNTHETIC, "--preset", "small", "--name", "tiny", "--seed", "2", "--out", other, *arguments]
    subprocess.run(command, check=True, capture_output=True)
    again = start("--model", other, env={"LIMOE_STATE_DIR": server.state.name})
    for name in "long", "later":
        assert ended(again, name)["reason"] == "another model is served now than the one that was to be taught: tiny"
    assert files(server) == 2 * ["end.json"] + 2 * ["job.json"]
    expect_warnings(again)


GOOD = {"label": "a", "image": b64(picture(1))}
OTHER = {"label": "b", "image": b64(picture(2))}


@pytest.mark.parametrize("fields, code, param", [
    ({}, "missing_field", "examples"),
    ({"examples": []}, "missing_field", "examples"),
    ({"examples": "a"}, "invalid_type", "examples"),
    ({"examples": [GOOD, 1]}, "invalid_type", "examples[1]"),
    ({"examples": [GOOD, {"label": "b"}]}, "missing_field", "examples[1]"),
    ({"examples": [GOOD, {"image": "", "label": "b"}]}, "invalid_image", "examples[1]"),
    ({"examples": [GOOD, {"image": "https://example.com/a.png", "label": "b"}]}, "invalid_image", "examples[1]"),
    ({"examples": [GOOD, {**OTHER, "label": " "}]}, "empty_labels", "examples[1]"),
    ({"examples": [GOOD, {**OTHER, "label": "b" * 1025}]}, "too_long", "examples[1]"),
    ({"examples": [GOOD, {**OTHER, "weight": 1}]}, "unknown_field", "weight"),
    ({"examples": [GOOD, GOOD]}, "too_few_classes", "examples"),
    ({"examples": [GOOD, OTHER], "labels": ["a", "c"]}, "invalid_value", "examples[1]"),
    ({"examples": [GOOD, OTHER], "labels": ["a", "b", "a"]}, "duplicate_field", "labels"),
    ({"examples": [GOOD, OTHER], "labels": ["a"]}, "invalid_value", "examples[1]"),
    ({"examples": [GOOD, OTHER], "templates": ["no place"]}, "invalid_template", "templates[0]"),
    ({"examples": [GOOD, OTHER], "kind": "lora"}, "invalid_kind", "kind"),
    ({"examples": [GOOD, OTHER], "model": "none"}, "model_not_found", "model"),
    ({"examples": [GOOD, OTHER], "options": []}, "invalid_type", "options"),
    ({"examples": [GOOD, OTHER], "options": {"epoch": 1}}, "unknown_field", "epoch"),
    ({"examples": [GOOD, OTHER], "options": {"epochs": 1.5}}, "invalid_value", "options.epochs"),
    ({"examples": [GOOD, OTHER], "options": {"epochs": 1001}}, "invalid_value", "options.epochs"),
    ({"examples": [GOOD, OTHER], "options": {"held_out": 0.6}}, "invalid_value", "options.held_out"),
    ({"examples": [GOOD, OTHER], "options": {"learning_rate": 0}}, "invalid_value", "options.learning_rate"),
    ({"examples": [GOOD, OTHER], "options": {"seed": -1}}, "invalid_value", "options.seed"),
    ({"examples": [GOOD, OTHER], "options": {"flip": 1}}, "invalid_type", "options.flip"),
])
def test_requests_that_cannot_be(own, fields, code, param):
    with own.client() as client:
        assert_error(client.post("/v1/adapters/x", json=fields), 404 if code == "model_not_found" else 400, code, param)
        assert_error(client.get("/v1/adapters/x"), 404, "adapter_not_found", "name")


def test_more_than_may_be(own):
    image = GOOD["image"]
    with own.client() as client:
        many = client.post("/v1/adapters/x", json={"examples": [{"image": image, "label": str(i)} for i in range(10_000)]})
        assert_error(many, 400, "too_many_labels", "labels")
        assert "10000 labels; 2 to 1000 are accepted" in many.text
        many = client.post("/v1/adapters/x", json={"examples": [{"image": image, "label": str(i % 2)} for i in range(10_001)]})
        assert_error(many, 400, "too_many_images", "examples")
        labels = [str(i) for i in range(200)]
        many = client.post("/v1/adapters/x", json={"examples": [{"image": image, "label": str(i)} for i in range(2)], "labels": labels,
                                                   "templates": ["{} " + str(i) for i in range(60)]})
        assert_error(many, 400, "too_many_prompts", "templates")
        for name in "base", "a b":
            assert_error(client.post(f"/v1/adapters/{name}", json={"examples": [GOOD, OTHER]}), 400, "invalid_name")
        assert_error(client.post("/v1/adapters/x", content=b"zip", headers={"Content-Type": "application/zip"}), 415, "unsupported_media_type")


@pytest.mark.parametrize("parts, data, code", [
    ([("examples[a]", picture(1)), ("example[b]", picture(2))], {}, "unknown_field"),
    ([("examples[a]", picture(1)), ("examples[]", picture(2))], {}, "empty_labels"),
    ([("examples[a]", picture(1)), ("examples[b]", b"")], {}, "invalid_image"),
    ([("examples[a]", picture(1)), ("examples[b]", picture(2))], {"options": "{"}, "invalid_json"),
    ([("examples[a]", picture(1)), ("examples[b]", picture(2))], {"kind": ["probe", "tail"]}, "duplicate_field"),
    ([], {"labels": "a,b"}, "missing_field"),
])
def test_forms_that_cannot_be(own, parts, data, code):
    with own.client() as client:
        files = [(name, ("x.png", content)) for name, content in parts] or {"": ("", b"")}
        answer = client.post("/v1/adapters/x", files=files, data=data) if parts else client.post(
            "/v1/adapters/x", files=[("labels", (None, "a,b"))])
        assert_error(answer, 400, code)


def test_what_is_written_is_for_one_user_alone(own, examples):
    begin(own, "modes", examples, **LONG)
    wait_until(lambda: "adapter.partial" in files(own))
    job = next((state(own) / "training").iterdir())
    assert json.loads((job / "job.json").read_text())["name"] == "modes"
    assert all(path.stat().st_mode & 0o77 == 0 for path in [job, job / "examples", job / "job.json"])
    delete(own, "modes")
    wait_until(lambda: files(own) == ["end.json", "job.json"])
    delete(own, "modes")
