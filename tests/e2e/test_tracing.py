"""Spans: what a request becomes at an OpenTelemetry collector, and that no collector costs a request anything."""

import concurrent.futures
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import httpx
import pytest
from collector import Collector, Wrong, request
from conftest import BUILD, SANITIZED, data_uri, key_file, picture, wait_until

# LIMOE_TRACED_REQUESTS=1000 for the whole measure; each request is one of a picture and a text, not seen before.
REQUESTS = int(os.environ.get("LIMOE_TRACED_REQUESTS", "100"))
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.close()
    assert running.wrong == []


# Otherwise a batch waits for a second.
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "20"}


def traced(start, collector, *options):
    return start("--otlp-endpoint", collector.url + "/v1/traces", *options, env=QUICK)


def send_many(server, n):
    """As fast as it goes; with as much of a record's texts as it keeps, so that few requests fill the way."""
    head = f"GET /v1/models HTTP/1.1\r\nHost: a\r\nUser-Agent: {'a' * 256}\r\nX-Request-Id: {'r' * 128}\r\n\r\n".encode()
    with server.connect() as connection:
        threading.Thread(target=connection.sendall, args=(head * n,), daemon=True).start()
        found, rest = 0, b""
        while found < n:
            rest += connection.recv(1 << 16)
            found += rest.count(b"HTTP/1.1 200 ")
            rest = rest[-12:]


def outcomes(server):
    page = httpx.get(server.url + "/metrics").text
    return {name: int(n) for name, n in re.findall(r'^limoe_otlp_spans_total\{outcome="(\w+)"\} (\d+)$', page, re.M)}


def spans_of(collector, n, seconds=30):
    wait_until(lambda: len(collector.requests()) >= n, seconds)
    return collector.requests()


def test_the_stand_in_refuses_what_the_protocol_does():
    """So that a collector which takes everything is known not to be one."""
    good = {"traceId": TRACE, "spanId": PARENT, "name": "a", "kind": 2, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    request({"resourceSpans": [{"scopeSpans": [{"spans": [good]}]}]})
    for change in ({"traceId": TRACE[1:]}, {"kind": "SERVER"}, {"startTimeUnixNano": 1}, {"endTimeUnixNano": "0"}, {"start_time": "1"},
                   {"spanId": "0" * 16}, {"attributes": [{"key": "a", "value": {"intValue": 1}}]}, {"flags": "1"}):
        with pytest.raises(Wrong):
            request({"resourceSpans": [{"scopeSpans": [{"spans": [{**good, **change}]}]}]})


def test_every_request_arrives_complete(start, collector):
    server = traced(start, collector, "--otlp-service-name", "pictures")
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        bodies = [{"input": [f"text {i}", {"image": data_uri(picture(i % 16))}]} for i in range(REQUESTS)]
        answers = list(pool.map(lambda body: client.post("/v1/embeddings", json=body), bodies))
    assert {answer.status_code for answer in answers} == {200}
    found = spans_of(collector, REQUESTS)
    assert len(found) == REQUESTS
    by_trace = {one["traceId"]: (one, parts) for one, parts in found}
    for answer in answers:
        _, trace, span, flags = answer.headers["traceresponse"].split("-")
        one, parts = by_trace[trace]
        assert (one["spanId"], flags, one["name"]) == (span, "01", "POST /v1/embeddings")
        assert one["flags"] == 0x101 and "parentSpanId" not in one and "status" not in one
        assert sorted(part["name"] for part in parts) == ["decode", "queue", "step", "tokenize"]
        assert {part["traceId"] for part in parts} == {trace} and {part["kind"] for part in parts} == {1}
        for part in parts:
            assert int(one["startTimeUnixNano"]) <= int(part["startTimeUnixNano"])
            assert int(part["endTimeUnixNano"]) <= int(one["endTimeUnixNano"])
        ends = {part["name"]: (int(part["startTimeUnixNano"]), int(part["endTimeUnixNano"])) for part in parts}
        assert ends["decode"][1] <= ends["queue"][0] <= ends["queue"][1] == ends["step"][0] < ends["step"][1]
        facts = one["attributes"]
        assert facts["http.response.status_code"] == 200 and facts["http.request.method"] == "POST"
        assert facts["http.route"] == facts["url.path"] == "/v1/embeddings" and facts["url.scheme"] == "http"
        assert facts["limoe.items"] == 2 and facts["limoe.request_id"] == answer.headers["x-request-id"]
        assert facts["user_agent.original"].startswith("python-httpx") and facts["client.address"] == "127.0.0.1"
        step = next(part for part in parts if part["name"] == "step")["attributes"]
        assert step["limoe.tokens"] == answer.json()["usage"]["total_tokens"]
    assert len({span["spanId"] for span in collector.spans}) == len(collector.spans) == 5 * REQUESTS
    resource = collector.resources[0]
    assert resource["service.name"] == "pictures" and re.fullmatch(r"\d+\.\d+\.\d+", resource["service.version"])
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", resource["service.instance.id"])
    wait_until(lambda: outcomes(server)["exported"] == 5 * REQUESTS)
    assert outcomes(server) == {"exported": 5 * REQUESTS, "failed": 0, "dropped": 0}


def test_who_calls_decides(start, collector):
    """A caller's trace is recorded where the caller does, also of /health, which is not of our own accord."""
    server = traced(start, collector)
    with server.client() as client:
        for trace in (SAMPLED, UNSAMPLED):
            client.post("/v1/embeddings", json={"input": trace}, headers={"traceparent": trace})
        client.get("/health", headers={"traceparent": SAMPLED})
        client.get("/health")
        client.get("/metrics")
        client.get("/v1/models")
    names = sorted(one["name"] for one, _ in spans_of(collector, 3))
    assert names == ["GET /health", "GET /v1/models", "POST /v1/embeddings"]
    for one, _ in collector.requests():
        if one["name"] != "GET /v1/models":
            assert (one["traceId"], one["parentSpanId"], one["flags"]) == (TRACE, PARENT, 0x301)


def test_a_share_of_the_traces(start, collector):
    server = traced(start, collector, "--trace-sample", "0.5")
    with server.client() as client:
        flags = [client.get("/v1/models").headers["traceresponse"][-2:] for _ in range(100)]
    sampled = flags.count("01")
    assert 20 < sampled < 80 and sampled + flags.count("00") == 100
    assert len(spans_of(collector, sampled)) == sampled


def test_none_but_of_callers(start, collector):
    server = traced(start, collector, "--trace-sample", "0")
    with server.client() as client:
        client.get("/v1/models")
        client.get("/v1/models", headers={"traceparent": SAMPLED})
    assert [one["traceId"] for one, _ in spans_of(collector, 1)] == [TRACE]


def test_the_store_and_errors(start, collector):
    server = traced(start, collector)
    with server.client() as client:
        assert client.put("/v1/classifiers/pets", json={"labels": ["cat", "dog"]}).status_code in (200, 201)
        assert client.get("/v1/classifiers/none").status_code == 404
        assert client.request("BREW", "/v1/pot").status_code == 404
    found = {one["name"]: (one, [part["name"] for part in parts]) for one, parts in spans_of(collector, 3)}
    assert "store" in found["PUT /v1/classifiers/{name}"][1] and "step" in found["PUT /v1/classifiers/{name}"][1]
    missing, parts = found["GET /v1/classifiers/{name}"]
    assert parts == ["store"] and missing["attributes"]["url.path"] == "/v1/classifiers/none"
    assert missing["attributes"]["http.response.status_code"] == 404 and "status" not in missing
    odd = found["HTTP"][0]["attributes"]
    assert (odd["http.request.method"], odd["http.request.method_original"]) == ("_OTHER", "BREW")


def test_the_specification_s_variables(start, collector):
    server = start(env={
        **QUICK,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc, x-tenant=zoo",
        "OTEL_SERVICE_NAME": "limoe-test",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging,service.name=not-this",
    })
    with server.client() as client:
        client.get("/v1/models")
    spans_of(collector, 1)
    assert collector.resources[0]["service.name"] == "limoe-test"
    assert collector.resources[0]["deployment.environment.name"] == "staging"
    headers = {name.lower(): value for name, value in collector.headers[0].items()}
    assert headers["authorization"] == "Bearer abc" and headers["x-tenant"] == "zoo"
    (exporter,) = server.children("exporter")
    assert b"abc" not in pathlib.Path(f"/proc/{exporter}/cmdline").read_bytes()


def test_a_key_goes_by_its_name(start, collector, tmp_path):
    keys = key_file(tmp_path / "keys", "alice-key-0123456789 name=alice", "plain-key-0123456789")
    server = traced(start, collector, "--api-keys-file", keys)
    with server.client() as client:
        for who in ("alice", "plain", "wrong"):
            client.get("/v1/models", headers={"Authorization": f"Bearer {who}-key-0123456789"})
    facts = [one["attributes"] for one, _ in spans_of(collector, 3)]
    named = sorted((one["http.response.status_code"], one.get("limoe.key", "")) for one in facts)
    assert named == [(200, ""), (200, "alice"), (401, "")]
    assert "0123456789" not in str(collector.spans)


def test_what_is_left_is_sent_when_the_server_stops(start, collector):
    server = traced(start, collector)
    with server.client() as client:
        for _ in range(20):
            client.get("/v1/models")
    assert server.terminate() == 0
    assert len(collector.requests()) == 20


def test_a_busy_collector_is_asked_again(start, collector):
    """Not before it wants to be, and soon where it does not say."""
    other = Collector()
    collector.answers, other.answers = [(503, {"Retry-After": "1"}, b"")], [(429, {}, b"")]
    asked = [(traced(start, collector), collector, 503, 0.9), (traced(start, other), other, 429, 0.4)]
    for server, *_ in asked:
        with server.client() as client:
            client.get("/v1/models")
    for server, its, status, least in asked:
        assert len(spans_of(its, 1)) == 1 and its.posts == 2 and its.times[1] - its.times[0] > least
        wait_until(lambda: any("takes spans again" in line for line in server.log))
        assert [line for line in server.log if f"the collector answers {status}" in line]
    other.close()


def test_what_is_refused_is_counted(start, collector):
    collector.answers = [(400, {}, b"no"), (200, {}, b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}'), (200, {}, b"\xff" * 100000)]
    server = traced(start, collector)
    with server.client() as client:
        for n in range(1, 4):
            client.get("/v1/models")
            wait_until(lambda: collector.posts == n)
    wait_until(lambda: sum(outcomes(server).values()) == 3)
    assert outcomes(server) == {"exported": 1, "failed": 2, "dropped": 0}
    assert [line for line in server.log if "rejects 1 spans: too old" in line]


def test_a_collector_that_is_not_there_costs_nothing(start):
    """Nobody listens, and then one that never answers: requests go on, what finds no room is dropped and counted, and the
    server stops in time."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        dead = start("--otlp-endpoint", "http://127.0.0.1:9/v1/traces", env=QUICK)
        impatient = {**QUICK, "OTEL_EXPORTER_OTLP_TIMEOUT": "100"}
        mute = start("--otlp-endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces", env=impatient)
        for server in (dead, mute):
            send_many(server, 2000)
            (exporter,) = server.children("exporter")
            status = pathlib.Path(f"/proc/{exporter}/status").read_text()
            assert SANITIZED or int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) < 64 * 1024
            wait_until(lambda: any("the collector cannot be reached" in line for line in server.log))
            assert outcomes(server)["exported"] == 0 < outcomes(server)["dropped"]
        for server in (dead, mute):
            began = time.monotonic()
            assert server.terminate() == 0
            assert time.monotonic() - began < 10
            assert not [line for line in server.log if " error " in line]


def test_a_full_way_drops_and_counts(start, collector):
    """The exporter is held up, as by a machine that has no time for it."""
    server = traced(start, collector)
    (exporter,) = server.children("exporter")
    os.kill(exporter, signal.SIGSTOP)
    sent = 0
    while outcomes(server)["dropped"] < 100 and sent < 20000:
        send_many(server, 250)
        sent += 250
    assert outcomes(server)["exported"] == 0
    os.kill(exporter, signal.SIGCONT)
    wait_until(lambda: sum(outcomes(server).values()) == sent)
    assert outcomes(server)["exported"] == len(collector.requests()) >= 800  # 1 MiB of records


def test_a_lost_exporter_is_replaced(start, collector):
    server = traced(start, collector)
    (exporter,) = server.children("exporter")
    os.kill(exporter, signal.SIGKILL)
    wait_until(lambda: server.children("exporter") not in ([], [exporter]))
    assert server.metric('limoe_process_resident_memory_bytes{process="exporter"}') > 0
    with server.client() as client:
        client.get("/v1/models")
    assert len(spans_of(collector, 1)) == 1
    assert [line for line in server.log if "exporter was lost (killed by SIGKILL)" in line]


@pytest.mark.parametrize(("option", "value", "found"), [
    ("--otlp-endpoint", "collector:4318", 'otlp-endpoint is "collector:4318"; accepted: a URL of http:// or https://'),
    ("--otlp-endpoint", "ftp://collector/", "accepted: a URL of http"),
    ("--otlp-headers", "no-value", "otlp-headers is no list of names and values"),
    ("--otlp-headers", "a=%0d%0ab: c", "otlp-headers is no list"),
    ("--trace-sample", "1.5", "a number from 0 to 1"),
    ("OTEL_BSP_SCHEDULE_DELAY", "0", 'OTEL_BSP_SCHEDULE_DELAY is "0"; accepted: milliseconds, 1 to 60000'),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", 'OTEL_EXPORTER_OTLP_TIMEOUT is "10s"; accepted: milliseconds'),
])
def test_what_is_wrong_is_said(option, value, found, tmp_path):
    endpoint = [] if option == "--otlp-endpoint" else ["--otlp-endpoint", "http://127.0.0.1:9/"]
    said, env = ([], {**os.environ, option: value}) if option.startswith("OTEL") else ([option, value], None)
    done = subprocess.run([BUILD / "limoe", "serve", *endpoint, *said], capture_output=True, text=True, env=env)
    assert done.returncode == 2 and found in done.stderr
