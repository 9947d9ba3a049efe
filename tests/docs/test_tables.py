"""Protects docs/api.md and the OpenAPI document from lacking what the other or the sources have: errors, paths, fields."""

import json
import re
import subprocess

import pytest
from conftest import BUILD, ROOT
from documents import Document, tracked

API = Document("docs/api.md").text
# Where status and code do not stand side by side.
WITHOUT_A_LITERAL = {
    *("empty_template", "invalid_encoding_format", "request_timeout"),
    *("too_many_labels", "too_many_templates", "unsupported_value"),
}
NOT_SENT = {"client_gone"}  # the word in the log for who has left


def errors_of_the_sources(but=("error_codes.c",)):
    """(status, code) of each error that stands in the sources as such: 400, "empty_labels". error_codes.c is no source: it
    only says what others do."""
    paths = [path for path in tracked() if path.startswith("server/") and path.endswith(".c") and not path.endswith(but)]
    sources = [(ROOT / path).read_text() for path in paths]
    return {found for text in sources for found in re.findall(r'\b([45]\d\d),\s*"([a-z0-9_]+)"', text)}


def errors_of_the_table():
    """The same of the table below "Errors", where a status stands once for the rows that follow."""
    found, statuses = set(), []
    for row in API.split("\n## Errors\n", 1)[1].split("\n## ", 1)[0].splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) < 5:
            continue
        statuses = re.findall(r"\d{3}", cells[1]) or statuses
        found |= {(status, code) for status in statuses for code in re.findall(r"`([a-z0-9_]+)`", cells[2])}
    return found


def test_errors():
    said = errors_of_the_table()
    missing = {found for found in errors_of_the_sources() - said if found[1] not in NOT_SENT}
    assert not sorted(missing)
    assert len(said) > 60


# Made of liblimoe's statuses (api_fail_from), not written in a call of api_fail.
OF_THE_LIBRARY = {"invalid", "bad_image", "unsupported", "too_large", "internal"}


@pytest.fixture(scope="module")
def openapi():
    return json.loads(subprocess.check_output([BUILD / "limoe", "openapi"]))


def errors_of_the_document(openapi):
    codes = openapi["components"]["schemas"]["ErrorCode"]["oneOf"]
    return {(str(code["x-status"]), code["const"]) for code in codes}


def test_errors_of_the_document(openapi):
    found = {error for error in errors_of_the_sources() if error[1] not in NOT_SENT}
    said = errors_of_the_document(openapi)
    assert not sorted(found - said)
    assert not sorted(error for error in said - found if error[1] not in OF_THE_LIBRARY | WITHOUT_A_LITERAL)


def test_errors_of_both(openapi):
    table, document = errors_of_the_table(), errors_of_the_document(openapi)
    assert not sorted(document - table)
    assert {code for _, code in table} == {code for _, code in document}


def operations(openapi):
    return [
        (path, method, operation)
        for path, item in openapi["paths"].items()
        for method, operation in item.items()
        if method != "head" and not operation["operationId"].endswith("Bare")
    ]


def test_paths_of_both(openapi):
    """A path of the document is in the table at the top, with its method; and the other way round."""
    rows = [row.split("|")[1] for row in API.split("\n## ", 1)[0].splitlines() if row.startswith("| ")][1:]
    told = set()
    for cell in rows:
        for part in cell.split(";"):
            methods = re.findall(r"\b(?:GET|PUT|POST|DELETE)\b", part)
            told |= {(path, method.lower()) for path in re.findall(r"/[\w./{}]*", part) for method in methods}
    assert told == {(path, method) for path, method, _ in operations(openapi)}


def test_fields_of_requests(openapi):
    """Each field and argument is named in docs/api.md as such."""
    missing = []
    for path, method, operation in operations(openapi):
        named = [parameter["name"] for parameter in operation["parameters"] if "name" in parameter and parameter["in"] == "query"]
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            named += content["schema"].get("properties", [])
        missing += [(path, method, name) for name in named if not re.search(rf"[`?&]{re.escape(name)}[`=]", API)]
    assert not missing


def test_headers_of_both(openapi):
    headers = API.split("\n## Headers\n", 1)[1]
    told = set(re.findall(r"`([A-Za-z-]+)`", " ".join(row.split("|")[1] for row in headers.splitlines() if row.startswith("| `"))))
    components = openapi["components"]
    said = set(components["headers"]) | {parameter["name"] for parameter in components["parameters"].values()}
    elsewhere = {"WWW-Authenticate", "Allow", "Access-Control-Allow-Origin"}  # under Errors and Other origins
    assert said - elsewhere == told - {"Authorization"}
    assert not [name for name in elsewhere if f"`{name}" not in API]


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
