"""Protects /v1/loadtests: who may start a load test, of what, and that it is measured, counted, stopped and kept as said."""

import os
import pathlib
import signal
import subprocess
import time

import pytest
from conftest import BUILD, key_file, wait_until

USER = "user-key-0123456789"
ADMIN = "admin-key-0123456789"
SHORT = {"rate": 20, "duration": 2, "arrivals": "constant"}
LONG = {"rate": 20, "duration": 300, "mix": {"text": 1}}
KEPT = 20


def child_of(server):
    """The load generator's folder in /proc."""
    wait_until(lambda: server.children("loadtest"))
    return pathlib.Path("/proc") / str(server.children("loadtest")[0])


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keys(tmp_path):
    return ["--api-keys-file", key_file(tmp_path / "users", USER), "--admin-keys-file", key_file(tmp_path / "admins", ADMIN)]


@pytest.fixture
def server(start, keys):
    return start(*keys)


@pytest.fixture
def admin(server):
    with server.client(headers=bearer(ADMIN)) as client:
        yield client


def begin(admin, body):
    answer = admin.post("/v1/loadtests", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] in ("queued", "running")
    return "/v1/loadtests/" + answer.json()["id"]


def ended(admin, path, seconds=60):
    wait_until(lambda: admin.get(path).json()["ended"], seconds)
    return admin.get(path).json()


def answered(server):
    """What the server itself has answered 200 to on the two routes of a load."""
    routes = [f'limoe_requests_total{{model="pictograms",route="/v1/{route}",code="200"}}' for route in ("classify", "embeddings")]
    return sum(server.metric(route) for route in routes)


def test_only_an_admin_key_opens_it(server):
    with server.client() as client:
        for method, path in (("POST", ""), ("GET", ""), ("GET", "/lt-1"), ("DELETE", "/lt-1")):
            for headers, status, code in (({}, 401, "invalid_api_key"), (bearer(USER), 403, "admin_key_required")):
                answer = client.request(method, "/v1/loadtests" + path, headers=headers, json=SHORT if method == "POST" else None)
                assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert server.metric('limoe_loadtest_ended_total{state="done"}') == 0 and not server.children("loadtest")


def test_without_admin_keys_there_is_none(start):
    server = start()
    with server.client(headers=bearer(ADMIN)) as client:
        for answer in (client.post("/v1/loadtests", json=SHORT), client.get("/v1/loadtests"), client.delete("/v1/loadtests/lt-1")):
            assert answer.status_code == 403 and answer.json()["error"]["code"] == "admin_disabled"


def test_one_is_measured_counted_and_kept(server, admin):
    path = begin(admin, SHORT)
    test = ended(admin, path)
    result, whole = test["result"], test["progress"]["all"]
    assert (test["state"], test["reason"]) == ("done", None)
    assert test["request"] == SHORT | {"mix": {"classify": 1, "image": 1, "text": 2}, "target": None, "model": None}
    assert result["sent"] == result["ok"] == 40 and result["load"]["rate"] == 20 and result["load"]["arrivals"] == "constant"
    assert sum(result["latency_counts"]) == 40 and result["by_kind"].keys() == {"classify", "image", "text"}
    assert result["server_ms"]["total"]["mean"] <= result["latency_ms"]["mean"]
    assert (whole["sent"], whole["answers"], whole["latency_counts"]) == (40, {"200": 40}, result["latency_counts"])
    # What the page of metrics says of it, from the generator's side and from the server's own.
    assert server.metric("limoe_loadtest_sent_total") == server.metric('limoe_loadtest_answers_total{code="200"}') == 40
    assert server.metric("limoe_loadtest_latency_seconds_count") == 40 == answered(server)
    assert server.metric("limoe_loadtest_latency_seconds_sum") == pytest.approx(whole["latency_sum_ms"] / 1e3, rel=1e-3)
    assert server.metric('limoe_loadtest_ended_total{state="done"}') == 1
    assert server.metric('limoe_loadtest_running{target="self"}') == 0
    assert [kept["id"] for kept in admin.get("/v1/loadtests").json()["data"]] == [test["id"]]


def test_one_at_a_time_and_stopped_with_what_was_measured(server, admin):
    path = begin(admin, LONG)
    wait_until(lambda: (admin.get(path).json()["progress"] or {"all": {"ok": 0}})["all"]["ok"] > 0)
    assert server.metric('limoe_loadtest_running{target="self"}') == 1 and server.metric("limoe_loadtest_rate") == 20
    assert server.metric('limoe_process_resident_memory_bytes{process="loadtest",index="0"}') > 0
    other = admin.post("/v1/loadtests", json=SHORT)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "loadtest_running")
    child = child_of(server)
    told = [(child / name).read_bytes() for name in ("cmdline", "environ")]
    assert not any(key.encode() in part for part in told for key in (ADMIN, USER))
    assert admin.delete(path).status_code == 202
    test = ended(admin, path, 20)
    assert (test["state"], test["reason"]) == ("stopped", "stopped by DELETE")
    assert test["result"]["interrupted"] and test["result"]["ok"] >= 1 and test["result"]["seconds"] < 300
    assert not server.children("loadtest") and server.metric('limoe_loadtest_running{target="self"}') == 0
    again = admin.delete(path)
    assert again.status_code == 200 and again.json() == test
    ended(admin, begin(admin, SHORT | {"duration": 1}))


def test_stopped_at_once_is_stopped(admin):
    path = begin(admin, LONG)
    assert admin.delete(path).status_code in (200, 202)
    assert ended(admin, path, 20)["state"] == "stopped"


def test_a_generator_that_dies_fails_its_test_alone(server, admin):
    path = begin(admin, LONG)
    child = child_of(server)
    os.kill(int(child.name), signal.SIGKILL)
    test = ended(admin, path, 20)
    assert (test["state"], test["reason"], test["result"]) == ("failed", "the load generator killed by SIGKILL", None)
    assert server.metric('limoe_loadtest_ended_total{state="failed"}') == 1
    assert admin.get("/health").status_code == 200


@pytest.mark.parametrize("how", ["SIGHUP", "POST"])
def test_a_reload_stops_it(server, admin, how):
    path = begin(admin, LONG)
    wait_until(lambda: admin.get(path).json()["progress"])
    if how == "POST":
        assert admin.post("/v1/models/reload").status_code == 200
    else:
        server.process.send_signal(signal.SIGHUP)
    test = ended(admin, path, 30)
    assert (test["state"], test["reason"]) == ("stopped", "stopped by a reload of the models")
    assert test["result"]["interrupted"]


def test_it_ends_with_the_server(server, admin):
    begin(admin, LONG)
    child = child_of(server)
    began = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - began < 20 and not child.exists()


def test_it_dies_with_the_server(server, admin):
    begin(admin, LONG)
    child = child_of(server)
    server.kill()
    wait_until(lambda: not child.exists() or "State:\tZ" in (child / "status").read_text())


def test_of_another_server_that_is_named(start, keys, tmp_path):
    other = start()
    url = str(other.client().base_url).rstrip("/")
    key = tmp_path / "key"
    key.write_text("key-of-the-other-server\n")
    server = start(*keys, "--loadtest-targets", url, "--loadtest-key-file", key)
    with server.client(headers=bearer(ADMIN)) as admin:
        for wrong in (url + "0", "http://127.0.0.1:1", url.replace("127.0.0.1", "localhost"), url + "/v1", "file:///etc/passwd"):
            answer = admin.post("/v1/loadtests", json=SHORT | {"target": wrong})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "target_not_allowed")
        test = ended(admin, begin(admin, SHORT | {"target": url + "/", "model": "pictograms"}))
        assert test["state"] == "done" and test["result"]["ok"] == 40 and test["result"]["load"]["url"] == url
        assert answered(other) == 40 and answered(server) == 0
        failed = ended(admin, begin(admin, SHORT | {"target": url, "model": "no such model"}))
        assert failed["result"]["ok"] == 0 and failed["result"]["statuses"] == {"404": 40}
        other.terminate()
        lost = ended(admin, begin(admin, SHORT | {"target": url}))
        assert lost["state"] == "failed" and url in lost["reason"] and lost["result"] is None
        assert server.metric('limoe_loadtest_ended_total{state="failed"}') == 1


def test_what_is_asked_for_is_bounded_and_read_strictly(start, keys):
    server = start(*keys, "--loadtest-max-rate", 30, "--loadtest-max-seconds", 5, "--loadtest-max-requests", 100)
    with server.client(headers=bearer(ADMIN)) as admin:
        for body, code, param in (
            (SHORT | {"rate": 31}, "invalid_value", "rate"),
            (SHORT | {"duration": 6}, "invalid_value", "duration"),
            (SHORT | {"rate": 30, "duration": 4}, "invalid_value", "duration"),
            (SHORT | {"seconds": 1}, "unknown_field", "seconds"),
            ({"rate": 1}, "missing_field", "duration"),
            (SHORT | {"mix": {"text": 0}}, "invalid_value", "mix"),
        ):
            error = admin.post("/v1/loadtests", json=body).json()["error"]
            assert (error["code"], error["param"]) == (code, param)
        assert admin.post("/v1/loadtests", json=SHORT | {"model": "other"}).status_code == 404
        assert admin.post("/v1/loadtests", content=b"{").json()["error"]["code"] == "invalid_json"
        for answer in (admin.get("/v1/loadtests/lt-9"), admin.delete("/v1/loadtests/lt-9")):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "loadtest_not_found")
        assert admin.get("/v1/loadtests").json() == {"object": "list", "data": []}


def test_the_last_ones_are_kept(server, admin):
    for _ in range(KEPT + 3):
        path = begin(admin, LONG)
        admin.delete(path)
        ended(admin, path, 20)
    kept = [test["id"] for test in admin.get("/v1/loadtests").json()["data"]]
    assert kept[0] == f"lt-{KEPT + 3}" and KEPT <= len(kept) <= KEPT + 1
    assert admin.get("/v1/loadtests/lt-1").status_code == 404


@pytest.mark.parametrize(
    "options, message",
    [
        (["--loadtest-targets", "10.0.0.1"], 'loadtest-targets has "10.0.0.1"'),
        (["--loadtest-key-file", "/dev/null"], "loadtest-key-file is set and loadtest-targets is not"),
        (["--loadtest-targets", "http://a", "--loadtest-key-file", "/dev/null"], "/dev/null: its first line is empty"),
        (["--loadtest-max-rate", "0"], "--loadtest-max-rate"),
    ],
)
def test_options_that_make_no_sense(options, message):
    done = subprocess.run([BUILD / "limoe", "serve", "--port", "0", *options], capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2) and message in done.stderr
