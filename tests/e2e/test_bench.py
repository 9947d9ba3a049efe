"""Protects the load generator: its sums, that it finds wrong answers, and that it counts what it did not send."""

import contextlib
import http.server
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from conftest import BUILD, SANITIZER, picture, wait_until

OK, INPUT, USAGE = 0, 1, 2


def bench(*arguments, env=None):
    environment = {name: value for name, value in os.environ.items() if name != "LIMOE_API_KEY"}
    done = subprocess.run([BUILD / "limoe", "bench", *map(str, arguments)], capture_output=True, text=True,
                          env={**environment, **(env or {})}, timeout=300)
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


def measure(*arguments, **options):
    done = bench("--json", *arguments, **options)
    assert done.returncode == OK, done.stderr
    report = json.loads(done.stdout)
    assert report["sent"] == report["ok"] + report["refused"] + report["failed"]
    assert report["sent"] == sum(kind["sent"] for kind in report["by_kind"].values())
    return report


class Stub(http.server.ThreadingHTTPServer):
    """A server that says what a test wants: POST requests are answered by answer(number, handler), counted from 0."""

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.posts = 0
        self.seen = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # the client left: that is what some tests do


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one segment

    def log_message(self, *_):
        pass

    def say(self, status, body, headers=()):
        body = body.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.say(200, '{"data":[{"id":"stub"}]}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            number = self.server.posts
            self.server.posts += 1
            self.server.seen.append((self.path, dict(self.headers), body))
        self.server.answer(number, self)


@contextlib.contextmanager
def stub(answer):
    server = Stub(answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


def ok(_number, handler):
    handler.say(200, "{}")


# ---- against the real server


def test_open_loop_adds_up(server):
    report = measure(server.url, "--rate", 40, "--duration", 1.5)
    assert report["sent"] + report["dropped"] == 60  # a constant rate leaves no choice
    assert report["ok"] == report["sent"] and report["failed"] == report["refused"] == report["wrong"] == 0
    assert report["offered_rps"] == pytest.approx(40)
    latency = report["latency_ms"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p999"]
    assert latency["p999"] <= latency["max"]
    assert latency["min"] <= latency["mean"] <= latency["max"]
    # The server's own time is within the client's.
    assert 0 < report["server_ms"]["total"]["mean"] <= latency["mean"]
    assert report["server_ms"]["inference"]["mean"] <= report["server_ms"]["total"]["mean"]
    assert 0 < report["longest_stall_ms"] <= 1e3 * report["seconds"] + 1e3
    assert report["statuses"] == report["errors"] == {}
    assert report["load"]["loop"] == "open"


def test_its_sums_are_the_servers_own(server):
    """Counts are equal, and times but for what rounding to microseconds does to each."""
    route = '{route="/v1/classify"}'
    stage = '{stage="inference"}'

    def counted():
        return {name: server.metric(name) for name in (
            f'limoe_requests_total{{route="/v1/classify",code="200"}}', f"limoe_request_duration_seconds_sum{route}",
            f"limoe_request_duration_seconds_count{route}", f"limoe_stage_duration_seconds_sum{stage}",
            f"limoe_stage_duration_seconds_count{stage}")}

    before = counted()
    report = measure(server.url, "--closed", 2, "--duration", 0.5, "--warmup", 0, "--mix", "classify=1")
    # A request is counted behind its answer.
    name = f"limoe_stage_duration_seconds_count{stage}"
    wait_until(lambda: server.metric(name) - before[name] >= report["sent"])
    requests, total, answers, inference, computed = (now - before[name] for name, now in counted().items())
    assert report["ok"] == report["sent"] == requests == answers == computed > 0
    rounding = 1.1e-6 * report["ok"] + 1e-6
    assert report["server_ms"]["total"]["mean"] * report["ok"] / 1e3 == pytest.approx(total, abs=rounding, rel=1e-6)
    assert report["server_ms"]["inference"]["mean"] * report["ok"] / 1e3 == pytest.approx(inference, abs=rounding, rel=1e-6)


def test_every_encoding_is_answered_and_comes_back_equal(server, tmp_path):
    one = tmp_path / "one.png"
    one.write_bytes(picture(1))
    two = tmp_path / "two.jpg"
    two.write_bytes(picture(2, kind="JPEG"))
    report = measure(server.url, "--rate", 40, "--duration", 1, "--mix", "classify=1", "--check", "--encoding",
                     "json,multipart,raw", "--image", one, "--image", two, "--labels", "red,猫,a & b")
    assert report["ok"] == report["sent"] == 40
    assert report["wrong"] == 0 and report["load"]["checked"]


def test_mixed_load_is_checked(server):
    report = measure(server.url, "--rate", 30, "--duration", 1, "--check", "--arrivals", "poisson", "--items", 3,
                     "--texts", __file__)
    assert report["ok"] == report["sent"] > 0
    assert report["wrong"] == 0
    assert set(report["by_kind"]) == {"classify", "image", "text"}


def test_a_closed_loop_says_so(server):
    report = measure(server.url, "--closed", 3, "--duration", 1, "--warmup", 1, "--mix", "text=1", "--unique-texts")
    assert report["load"]["loop"] == "closed" and report["load"]["clients"] == 3
    assert report["ok"] == report["sent"] > 0
    assert report["connections_opened"] == 3


def test_a_table_for_people(server):
    done = bench(server.url, "--rate", 20, "--duration", 1, "--mix", "text=1")
    assert done.returncode == OK
    assert "sent 20: ok 20, refused 0, failed 0; dropped 0" in done.stdout
    assert "open loop, 20/s, constant arrivals" in done.stdout
    assert "1000 texts of our own" in done.stdout
    assert "p99.9" in done.stdout and "server: queue" in done.stdout


# ---- against servers that misbehave


def test_a_different_answer_is_wrong():
    with stub(lambda number, handler: handler.say(200, "calm" if number < 1000 else "calm, not")) as server:
        report = measure(server.url, "--rate", 20, "--duration", 1, "--mix", "text=1", "--check")
        assert report["ok"] == 20 and report["wrong"] == 20
        done = bench(server.url, "--rate", 5, "--duration", 1, "--mix", "text=1", "--check")
    assert "wrong 0" in done.stdout  # by now every answer is the same


def test_a_wrong_answer_is_shown():
    with stub(lambda number, handler: handler.say(200, "calm" if number < 1000 else "call")) as server:
        done = bench(server.url, "--rate", 20, "--duration", 1, "--mix", "text=1", "--check")
    assert done.returncode == OK
    assert 'wrong: text differs at byte 3: "l" was "m"' in done.stdout


def test_what_fails_before_the_load_cannot_be_checked():
    with stub(lambda number, handler: handler.say(400, "no such thing")) as server:
        done = bench(server.url, "--mix", "text=1", "--check")
    assert done.returncode == INPUT and "text answered 400: no such thing" in done.stderr
    assert not done.stdout


def test_refusals_are_counted_apart():
    def answer(number, handler):
        if number % 2:
            handler.say(429, "{}", [("Retry-After", str(1 + number % 4))])
        else:
            handler.say(200, "{}")

    with stub(answer) as server:
        report = measure(server.url, "--rate", 40, "--duration", 1, "--mix", "text=1")
    assert report["ok"] == report["refused"] == 20 and report["failed"] == 0
    assert report["statuses"] == {"429": 20}
    assert report["retry_after_s"] == {"min": 2.0, "median": 2.0, "max": 4.0}
    assert report["refused_latency_ms"]["p50"] > 0


def test_a_refusal_without_retry_after_is_a_failure():
    with stub(lambda number, handler: handler.say(503, "{}")) as server:
        report = measure(server.url, "--rate", 10, "--duration", 1, "--mix", "text=1")
    assert report["failed"] == 10 and report["refused"] == 0 and report["statuses"] == {"503": 10}
    assert report["latency_ms"]["p50"] is None


def test_failures_say_why():
    def answer(number, handler):
        if number % 3 == 0:
            handler.say(500, '{"error":"broken"}')
        elif number % 3 == 1:
            handler.close_connection = True  # without a word
        else:
            time.sleep(4)
            handler.say(200, "{}")

    with stub(answer) as server:
        report = measure(server.url, "--rate", 15, "--duration", 1, "--mix", "text=1", "--timeout", 1)
    assert report["ok"] == 0 and report["failed"] == 15
    assert report["statuses"]["500"] >= 1
    assert report["errors"]["closed"] >= 1 and report["errors"]["timeout"] >= 1
    assert report["statuses"]["500"] + sum(report["errors"].values()) == 15
    # Nothing was sent again, not even where a connection that had been kept open closed without an answer.
    assert server.posts == 15


def test_lines_for_programs():
    """--json-lines: an object a second, the last of which agrees with the report behind it; failures are lines, too."""
    with stub(lambda number, handler: handler.say(500 if number % 4 == 0 else 200, "{}", [("X-Total-Ms", "1.5")])) as server:
        done = bench(server.url, "--rate", 40, "--duration", 1.5, "--mix", "text=1", "--json-lines")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
    *progress, report = lines
    assert done.stderr == "" and len(progress) == 2 and [line["object"] for line in progress] == ["bench.progress"] * 2
    assert [line["phase"] for line in progress] == ["load", "drain"] and progress[0]["fraction"] < progress[1]["fraction"] == 1
    whole = progress[-1]["all"]
    assert sum(line["offered"] for line in progress) == whole["sent"] == report["sent"] == 60
    assert whole["answers"] == {"200": report["ok"], "500": report["failed"]} and report["failed"] == 15
    assert whole["latency_counts"] == report["latency_counts"] and sum(whole["latency_counts"]) == report["ok"]
    assert whole["latency_sum_ms"] == pytest.approx(report["latency_ms"]["mean"] * report["ok"], rel=1e-3)
    assert progress[0]["server_ms"]["total"]["mean"] == 1.5
    done = bench(server.url, "--json-lines", "--timeout", 5)
    (line,) = done.stdout.splitlines()
    assert done.returncode != OK and json.loads(line)["object"] == "bench.error" and server.url in line


def test_waiting_for_a_connection_counts():
    """One connection, 0.2 s an answer, ten arrivals at once: the last one waits for all before it."""
    def answer(number, handler):
        time.sleep(0.2)
        handler.say(200, "{}", [("X-Total-Ms", "200.0")])

    with stub(answer) as server:
        report = measure(server.url, "--rate", 100, "--duration", 0.1, "--mix", "text=1", "--connections", 1)
    assert report["ok"] == 10
    assert report["latency_ms"]["max"] >= 1800  # 10 × 200 ms less the 90 ms over which they arrived
    assert report["waiting_ms"]["max"] >= 1600
    assert report["server_ms"]["total"]["max"] == 200.0


def test_what_is_not_sent_is_reported():
    def answer(number, handler):
        time.sleep(0.3)
        handler.say(200, "{}")

    with stub(answer) as server:
        report = measure(server.url, "--rate", 100, "--duration", 0.2, "--mix", "text=1", "--connections", 1,
                         "--backlog", 2)
        assert report["sent"] + report["dropped"] == 20 and report["dropped_for"]["backlog_full"] == report["dropped"]
        assert report["dropped"] >= 15
        report = measure(server.url, "--rate", 1e6, "--duration", 1e-5, "--mix", "text=1", "--connections", 1,
                         "--timeout", 1)  # ten at once
        assert report["sent"] + report["dropped"] == 10 and report["dropped_for"]["waited_too_long"] >= 1


def test_a_key_is_sent(tmp_path):
    key = tmp_path / "key"
    key.write_text("from-a-file name=bench\n")
    with stub(ok) as server:
        few = [server.url, "--rate", 2, "--duration", 1, "--mix", "text=1"]
        measure(*few, env={"LIMOE_API_KEY": "from-the-environment"})
        measure(*few, "--api-key-file", key, env={"LIMOE_API_KEY": "from-the-environment"})
        keys = [headers.get("Authorization") for _, headers, _ in server.seen]
    assert keys == ["Bearer from-the-environment"] * 2 + ["Bearer from-a-file"] * 2


def test_unique_texts_are_unique():
    with stub(ok) as server:
        measure(server.url, "--rate", 50, "--duration", 1, "--mix", "text=1", "--items", 2, "--unique-texts")
        texts = [text for _, _, body in server.seen for text in json.loads(body)["input"]]
    assert len(set(texts)) == len(texts) == 100


def test_an_interrupt_ends_the_load_and_prints():
    started = threading.Event()

    def answer(number, handler):
        started.set()
        handler.say(200, "{}")

    with stub(answer) as server:
        running = subprocess.Popen([BUILD / "limoe", "bench", server.url, "--rate", "20", "--duration", "600", "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert started.wait(60)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == OK, err
    report = json.loads(out)
    assert report["interrupted"] and report["ok"] == report["sent"] >= 1
    assert report["seconds"] < 60


# ---- what cannot be measured, or was asked wrongly


def test_an_unreachable_server_is_not_measured():
    with stub(ok) as server:
        url = server.url
    done = bench("--json", url, "--duration", 1)
    assert done.returncode == INPUT and not done.stdout
    assert done.stderr.startswith(f"limoe: {url}/v1/models: ")


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "no URL"),
        (["example"], 'the URL is "example"'),
        (["http://127.0.0.1:1", "http://127.0.0.1:2"], "more than one URL"),
        (["http://127.0.0.1:1", "--mix", "texts=1"], '--mix is "texts=1"; accepted: classify=N'),
        (["http://127.0.0.1:1", "--mix", "text=0"], "nothing to send"),
        (["http://127.0.0.1:1", "--encoding", "xml"], '--encoding is "xml"; accepted: json'),
        (["http://127.0.0.1:1", "--closed", "2", "--rate", "3"], "--closed makes no arrivals"),
        (["http://127.0.0.1:1", "--check", "--unique-texts"], "--check needs requests that come again"),
        (["http://127.0.0.1:1", "--rate", "0"], "rate"),
        (["http://127.0.0.1:1", "--arrivals", "bursts"], "arrivals"),
    ],
)
def test_a_wrong_command_line(arguments, said):
    done = bench(*arguments)
    assert done.returncode == USAGE and not done.stdout
    assert said in done.stderr and "limoe bench --help" in done.stderr


def test_missing_files_are_named(tmp_path):
    done = bench("http://127.0.0.1:1", "--image", tmp_path / "none.png")
    assert done.returncode == INPUT and f"{tmp_path}/none.png: No such file" in done.stderr
    done = bench("http://127.0.0.1:1", "--texts", os.devnull)
    assert done.returncode == INPUT and "/dev/null: empty" in done.stderr
