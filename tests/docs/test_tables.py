"""Protects the tables of docs/api.md: an error that a route can answer, and a path that is served, is in them."""

import re

import pytest
from conftest import ROOT
from documents import Document, tracked

API = Document("docs/api.md").text
NOT_SENT = {"client_gone"}  # the word in the log for who has left


def errors_of_the_sources():
    """(status, code) of each error that stands in the sources as such: 400, "empty_labels"."""
    sources = [(ROOT / path).read_text() for path in tracked() if path.startswith("server/") and path.endswith(".c")]
    return {found for text in sources for found in re.findall(r'\b([45]\d\d),\s*"([a-z_]+)"', text)}


def errors_of_the_table():
    """The same of the table below "Errors", where a status stands once for the rows that follow."""
    found, statuses = set(), []
    for row in API.split("\n## Errors\n", 1)[1].split("\n## ", 1)[0].splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) < 5:
            continue
        statuses = re.findall(r"\d{3}", cells[1]) or statuses
        found |= {(status, code) for status in statuses for code in re.findall(r"`([a-z_]+)`", cells[2])}
    return found


def test_errors():
    said = errors_of_the_table()
    missing = {found for found in errors_of_the_sources() - said if found[1] not in NOT_SENT}
    assert not sorted(missing)
    assert len(said) > 60


def routes():
    """The path of each route, and the methods that it takes."""
    text = (ROOT / "server/front/calls/route.c").read_text()
    paths = dict(re.findall(r'\[(ROUTE_\w+)\] = "(/[^"]*)"', text))
    rows = re.findall(r"\{\.series = (ROUTE_\w+),(.*?)\},\n", text, re.S)
    return [(paths[series], re.search(r'\.method = "(\w+)"', row).group(1)) for series, row in rows if series in paths]


@pytest.mark.parametrize("path, method", routes())
def test_a_route(path, method):
    rows = [row for row in API.split("\n## ", 1)[0].splitlines() if path in re.split(r"[\s|,;]+", row)]
    assert any(method in row for row in rows)


def test_routes_are_found():
    assert {("/v1/embeddings", "POST"), ("/v1/classifiers/{name}", "DELETE"), ("/health", "GET")} <= set(routes())


def test_keys_of_limoe_2():
    """Every key that config_limoe.c knows of a limoe-2 is in docs/format.md's part about it."""
    text = (ROOT / "docs/format.md").read_text().split('# Format "limoe-2"', 1)[1]
    source = (ROOT / "model/checkpoint/config_limoe.c").read_text()
    lists = re.findall(r"static const char \*const (?:two|known)\[\] = \{(.*?)\}", source, re.S)
    keys = {key for found in lists for key in re.findall(r'"(\w+)"', found)} - {"format", "tower"}
    assert len(keys) > 25
    assert not {key for key in keys if not re.search(rf"[`.]{key}`", text)}
