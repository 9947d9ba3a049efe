"""A stand-in for an OpenTelemetry collector: it takes OTLP/HTTP with JSON, and accepts nothing that opentelemetry-proto's
trace.proto, common.proto and resource.proto, in the JSON encoding of the OTLP specification, would not read."""

import http.server
import json
import re
import threading
import time

HEX = re.compile(r"[0-9a-f]+")
UINT64 = re.compile(r"0|[1-9][0-9]{0,19}")
KINDS = range(6)
STATUS_CODES = range(3)


class Wrong(Exception):
    pass


def check(condition, where, value):
    if not condition:
        raise Wrong(f"{where}: {value!r}")


def check_message(value, where, /, **fields):
    """An object of no other fields than these; a field's check is called where it is there."""
    check(isinstance(value, dict), where, value)
    for name, member in value.items():
        check(name in fields, f"{where}.{name}", member)
        fields[name](member, f"{where}.{name}")


def text(value, where):
    check(isinstance(value, str), where, value)


def listed(one):
    def checked(value, where):
        check(isinstance(value, list), where, value)
        for i, member in enumerate(value):
            one(member, f"{where}[{i}]")

    return checked


def identifier(digits):
    def checked(value, where):
        text(value, where)
        check(len(value) == digits and HEX.fullmatch(value) and set(value) != {"0"}, where, value)

    return checked


def uint64(value, where):
    check(isinstance(value, str) and UINT64.fullmatch(value) and int(value) < 2**64, where, value)


def int64(value, where):
    check(isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]*)", value) and abs(int(value)) < 2**63, where, value)


def uint32(value, where):
    check(type(value) is int and 0 <= value < 2**32, where, value)


def enum(values):
    def checked(value, where):
        check(type(value) is int and value in values, where, value)

    return checked


def any_value(value, where):
    check(isinstance(value, dict) and len(value) == 1, where, value)
    check_message(
        value,
        where,
        stringValue=text,
        boolValue=lambda v, w: check(isinstance(v, bool), w, v),
        intValue=int64,
        doubleValue=lambda v, w: check(isinstance(v, (int, float)), w, v),
    )


def attributes(value, where):
    listed(lambda v, w: check_message(v, w, key=text, value=any_value))(value, where)
    names = [attribute["key"] for attribute in value]
    check(all(names) and len(names) == len(set(names)), where, names)
    check(all("value" in attribute for attribute in value), where, value)


def span(value, where):
    check_message(
        value,
        where,
        traceId=identifier(32),
        spanId=identifier(16),
        parentSpanId=identifier(16),
        flags=uint32,
        name=text,
        kind=enum(KINDS),
        startTimeUnixNano=uint64,
        endTimeUnixNano=uint64,
        attributes=attributes,
        status=lambda v, w: check_message(v, w, code=enum(STATUS_CODES), message=text),
    )
    for name in ("traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano"):
        check(name in value, f"{where}.{name}", value)
    check(value["name"], f"{where}.name", value)
    check(int(value["startTimeUnixNano"]) <= int(value["endTimeUnixNano"]), where, value)


def request(value):
    def scope_spans(v, w):
        check_message(v, w, scope=lambda s, x: check_message(s, x, name=text, version=text), spans=listed(span))

    def resource_spans(v, w):
        check_message(v, w, resource=lambda r, x: check_message(r, x, attributes=attributes), scopeSpans=listed(scope_spans))

    check_message(value, "request", resourceSpans=listed(resource_spans))


def values(pairs):
    """Attributes as a dict, numbers as such."""
    found = {}
    for pair in pairs:
        ((kind, value),) = pair["value"].items()
        found[pair["key"]] = int(value) if kind == "intValue" else value
    return found


class Collector:
    """On a port of its own. `answers`: what it answers instead of taking spans, in turn: (status, headers, body)."""

    def __init__(self):
        self.spans, self.resources, self.wrong, self.headers, self.answers, self.posts, self.times = [], [], [], [], [], 0, []
        self.lock = threading.Lock()
        self.pause = 0.0
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, answer = collector.take(self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(answer)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def take(self, path, headers, body):
        time.sleep(self.pause)
        with self.lock:
            self.posts += 1
            self.times.append(time.monotonic())
            self.headers.append(headers)
            if self.answers:
                return self.answers.pop(0)
            try:
                check(path == "/v1/traces", "path", path)
                check(headers.get("Content-Type") == "application/json", "Content-Type", headers)
                value = json.loads(body)
                request(value)
            except (Wrong, ValueError) as error:
                self.wrong.append(str(error))
                return 400, {}, b"{}"
            for resource in value["resourceSpans"]:
                self.resources.append(values(resource["resource"]["attributes"]))
                for scope in resource["scopeSpans"]:
                    self.spans += [{**one, "attributes": values(one["attributes"])} for one in scope["spans"]]
            return 200, {}, b'{"partialSuccess":{}}'

    def requests(self):
        """The spans of each request: its own and those below it."""
        with self.lock:
            spans = list(self.spans)
        own = {one["spanId"]: (one, []) for one in spans if one["kind"] == 2}
        for one in spans:
            if one["kind"] != 2:
                own[one["parentSpanId"]][1].append(one)
        return list(own.values())

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
