"""Protects the page of metrics as others read it: Prometheus' own parser and linter, the document, the dashboard and the
rules, which must name nothing that the page does not have."""

import json
import re
import subprocess

import pytest
import yaml

from conftest import ROOT, b64, key_file, picture

DEPLOY = ROOT / "deploy"
# Only with --tls-certificate, on GPUs, or with keys that have names.
SOMETIMES = {"limoe_tls_certificate_expiry_timestamp_seconds", "limoe_gpu_memory_used_bytes", "limoe_gpu_memory_bytes"} | {f"limoe_key_{what}_total" for what in ("requests", "tokens", "pictures", "refused")}
NAME = re.compile(r"\b(?:limoe|process)_[a-z0-9_]+\b")


@pytest.fixture(scope="module")
def page(server):
    with server.client() as client:
        assert client.post("/v1/embeddings", json={"input": ["a cat", {"image": b64(picture(7))}]}).status_code == 200
        return client.get("/metrics").text


def families(page):
    return set(re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE))


def series(page):
    """The names that a query may use: a histogram's are its samples'."""
    return {re.split(r"[{ ]", line)[0] for line in page.splitlines() if not line.startswith("#")}


def used(expressions):
    """The metrics of PromQL expressions: names that are not a recorded rule's, nor a label's or its value."""
    found = set()
    for expression in expressions:
        for name in re.findall(r"[A-Za-z_:][A-Za-z0-9_:]*", re.sub(r'"[^"]*"', "", expression)):
            if ":" in name or name.startswith(("limoe_", "process_")):
                found.add(name)
    return found


def rules():
    return [rule for group in yaml.safe_load((DEPLOY / "prometheus/limoe.rules.yml").read_text())["groups"] for rule in group["rules"]]


def test_prometheus_finds_nothing_to_complain_about(page):
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_prometheus_would_complain(page):
    """So that the test above is known to be one."""
    wrong = page.replace("limoe_requests_cancelled_total", "limoe_requests_cancelled")
    done = subprocess.run(["promtool", "check", "metrics"], input=wrong, capture_output=True, text=True)
    assert done.returncode != 0 and "limoe_requests_cancelled" in done.stdout + done.stderr


def test_document_lists_what_the_page_has(page):
    rows = [line.split("|")[1] for line in (ROOT / "docs/metrics.md").read_text().splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in NAME.findall(row)]
    assert len(listed) == len(set(listed))
    assert set(listed) == families(page) | SOMETIMES


def test_document_gives_type_and_labels_as_the_page_does(page):
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        if not line.startswith("| `limoe_"):
            continue
        _, names, kind, labels, _ = line.split("|", 4)
        for name in NAME.findall(names):
            if name in SOMETIMES:
                continue
            assert types[name] == kind.strip(), name
            found = set()
            for sample in re.findall(rf"^{name}(?:_bucket|_sum|_count)?{{(.*)}} ", page, re.MULTILINE):
                found |= set(re.findall(r'(\w+)="', sample)) - {"le"}
            assert found == set(re.findall(r"`(\w+)`", labels)), name


def test_dashboard_asks_for_what_there_is(page):
    dashboard = json.loads((DEPLOY / "grafana/dashboards/limoe.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked += [variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable]
    asked += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert len(used(asked)) > 40
    assert used(asked) <= series(page) | recorded | SOMETIMES


def test_dashboard_shows_what_is_measured(page):
    """What nobody looks at need not be measured; the front's general names and what alerts alone use apart."""
    shown = (DEPLOY / "grafana/dashboards/limoe.json").read_text()
    apart = {name for name in families(page) if name.startswith("process_")} | {"limoe_build_info"}
    assert not [name for name in families(page) - apart if name not in shown]


def test_rules_ask_for_what_there_is(page):
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert used(rule["expr"] for rule in rules()) <= series(page) | recorded | SOMETIMES
    for rule in rules():
        for label in re.findall(r"\$labels\.(\w+)", json.dumps(rule.get("annotations", {}))):
            assert label in ("job", "instance") or f'{label}="' in page, label


def test_refusals_are_counted_by_reason(start, tmp_path):
    keys = key_file(tmp_path / "keys", "a-key-of-enough-bytes")
    running = start("--api-keys-file", keys, "--max-body-bytes", "1000")
    key = {"Authorization": "Bearer a-key-of-enough-bytes"}
    with running.client() as client:
        assert client.post("/v1/embeddings", json={"input": "a cat"}).status_code == 401
        assert client.post("/v1/embeddings", json={"input": "a" * 2000}, headers=key).status_code == 413
        assert client.post("/v1/embeddings", json={"input": "a cat"}, headers=key).status_code == 200
        page = client.get("/metrics").text
    refused = dict(re.findall(r'^limoe_requests_refused_total\{reason="(\w+)"\} (\d+)$', page, re.MULTILINE))
    assert {reason: n for reason, n in refused.items() if n != "0"} == {"unauthorized": "1", "too_large": "1"}
