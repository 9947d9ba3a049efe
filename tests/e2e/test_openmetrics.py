"""Protects the page of metrics as OpenMetrics, for who asks for it: read by prometheus_client's strict parser, with the traces of
requests as exemplars; the plain page is as ever."""

import pytest
from collector import Collector
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

ACCEPT = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"}


def samples(families):
    """Names and labels; bounds as numbers, since the formats write them in different ways."""
    return {(s.name, tuple(sorted((k, str(float(v)) if k == "le" else v) for k, v in s.labels.items()))) for f in families for s in f.samples}


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.close()


def test_it_is_openmetrics_and_has_what_the_plain_page_has(client):
    client.post("/v1/embeddings", json={"input": "a cat"})
    client.get("/metrics")
    page, other = client.get("/metrics"), client.get("/metrics", headers=ACCEPT)
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert other.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert other.text.endswith("\n# EOF\n") and "# EOF" not in page.text
    families = list(openmetrics(other.text))
    assert samples(families) == samples(plain(page.text))
    units = {family.name: family.unit for family in families}
    assert units["limoe_request_duration_seconds"] == "seconds" and units["limoe_queue_bytes"] == "bytes"


def test_the_parser_would_complain(client):
    page = client.get("/metrics", headers=ACCEPT).text
    for wrong in (page.replace("# EOF\n", ""), page.replace("# UNIT limoe_queue_bytes bytes", "# UNIT limoe_queue_bytes seconds"), page.replace("# TYPE limoe_requests counter", "# TYPE limoe_requests_total counter")):
        with pytest.raises(ValueError):
            list(openmetrics(wrong))


def test_exemplars_are_traces(start, collector):
    server = start("--otlp-endpoint", collector.url + "/v1/traces")
    with server.client() as client:
        plainly = client.get("/metrics").text
        answer = client.post("/v1/embeddings", json={"input": "a cat"})
        page = client.get("/metrics", headers=ACCEPT).text
    _, trace, span, _ = answer.headers["traceresponse"].split("-")
    found = [s for f in openmetrics(page) for s in f.samples if s.exemplar]
    assert [(s.name, s.labels["route"], s.exemplar.labels) for s in found] == [
        ("limoe_request_duration_seconds_bucket", "/v1/embeddings", {"trace_id": trace, "span_id": span})
    ]
    (sample,) = found
    assert abs(sample.exemplar.value * 1000 - float(answer.headers["x-total-ms"])) < 0.01
    assert sample.exemplar.value <= float(sample.labels["le"]) and sample.value == 1
    assert "# {" not in plainly
