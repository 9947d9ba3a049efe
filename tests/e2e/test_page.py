"""Protects the page at GET /: how its files are served, that they are all there and fit together, and that it stays small."""

import gzip
import json
import pathlib
import re

import pytest
from conftest import ROOT, key_file

SITE = ROOT / "server/page/site"
MOST_FIRST_VIEW = 150_000  # bytes, uncompressed
ADMIN = "admin-key-0123456789"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
IMPORT = re.compile(r"""(?:\bfrom\s+|\bimport\s*\(?\s*)'\./([\w.]+)'""")
STATIC_IMPORT = re.compile(r"""\bfrom\s+'\./([\w.]+)'""")
REFERENCE = re.compile(r'(?:href|src)="page/([^"]+)"')
WORDS = re.compile(r"""'((?:[a-z-]+\.)+[a-z-]+)'""")
STEM = re.compile(r"`((?:[a-z]+\.)+)\$\{")  # of words that are put together; tests/page looks for those that are missing


def text(name):
    return (SITE / name).read_text(encoding="utf-8")


def words(language):
    return json.loads(text(f"{language}.json"))


SCRIPTS = sorted(path.name for path in SITE.glob("*.js"))


def served(client, name, **headers):
    page = name == "index.html"
    return client.get("/" if page else f"/page/{name}", headers={**({"Accept": BROWSER} if page else {}), **headers})


# ---- over HTTP


@pytest.mark.parametrize("name", sorted(path.name for path in SITE.iterdir()))
def test_a_file_is_served_as_it_lies_in_the_sources(client, name):
    for coding in ("identity", "gzip"):
        answer = served(client, name, **{"Accept-Encoding": coding})
        assert answer.status_code == 200 and answer.content == (SITE / name).read_bytes()
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["vary"] == ("Accept, Accept-Encoding" if name == "index.html" else "Accept-Encoding")
        assert answer.headers["cache-control"] == "no-cache"
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in answer.headers["content-security-policy"] and policy["frame-ancestors"] == "'none'"
    types = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
    suffix = pathlib.PurePath(name).suffix
    assert answer.headers["content-type"] == types.get(suffix, {".json": "application/json", ".svg": "image/svg+xml"}.get(suffix))


@pytest.mark.parametrize(
    "accepted, packed",
    [
        (None, False),
        ("gzip", True),
        ("br, GZIP", True),
        ("gzip;q=0.5, br;q=1", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip; q = 0.000 , br", False),
        ("identity", False),
        ("*", False),
        ("gzipped", False),
        (",, gzip", True),
        (";q=1", False),
    ],
)
def test_it_is_compressed_for_who_asks(server, accepted, packed):
    headers = {"Accept-Encoding": accepted} if accepted else {}
    with server.client() as client:
        request = client.build_request("GET", "/page/app.js")
        del request.headers["Accept-Encoding"]
        request.headers.update(headers)
        answer = client.send(request, stream=True)
        body = b"".join(answer.iter_raw())
        answer.close()
    assert (answer.headers.get("content-encoding") == "gzip") == packed
    assert (gzip.decompress(body) if packed else body) == (SITE / "app.js").read_bytes()


def test_a_tag_saves_the_bytes_and_is_of_one_form_alone(client):
    plain, packed = (served(client, "app.js", **{"Accept-Encoding": coding}).headers["etag"] for coding in ("identity", "gzip"))
    assert plain != packed and re.fullmatch(r'"[0-9a-f]{32}"', plain) and re.fullmatch(r'"[0-9a-f]{32}"', packed)
    for known in (plain, f"W/{plain}", f'"other", {plain}', "*"):
        answer = served(client, "app.js", **{"Accept-Encoding": "identity", "If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", plain), known
        assert answer.headers["content-security-policy"] and "content-encoding" not in answer.headers
    for known in (packed, '"other"', plain.strip('"'), plain[:-1], "", ",", '"'):
        assert served(client, "app.js", **{"Accept-Encoding": "identity", "If-None-Match": known}).status_code == 200, known


@pytest.mark.parametrize(
    "accepted, page",
    [
        (BROWSER, True),
        ("TEXT/HTML ; q=0.1", True),
        ("image/avif, application/xhtml+xml", True),
        (None, True),
        ("*/*", False),
        ("application/json, */*;q=0.5", False),
        ("text/html;q=0, */*", False),
        ("text/htmlish", False),
        ("", False),
    ],
)
def test_who_does_not_ask_for_a_page_is_told_that_the_server_is_alive(server, accepted, page):
    with server.client() as client:
        for method in ("GET", "HEAD"):
            request = client.build_request(method, "/")
            del request.headers["Accept"]
            request.headers.update({} if accepted is None else {"Accept": accepted})
            answer = client.send(request)
            assert answer.status_code == 200 and "Accept" in re.split(", *", answer.headers["vary"])
            assert answer.headers["content-type"] == ("text/html; charset=utf-8" if page else "application/json")
            if method == "GET" and not page:
                assert answer.json() == {"status": "alive"}


def test_without_the_dialect_there_is_the_page_alone(start):
    with start("--dialects", "hf").client() as client:
        assert client.get("/", headers={"Accept": "*/*"}).headers["content-type"].startswith("text/html")


def test_other_methods_and_other_names(client):
    assert client.head("/").status_code == 200 and client.head("/").content == b""
    for path in ("/page/", "/page/none.js", "/page/../app.js", "/page/index.html", "/page/app.js/"):
        answer = client.get(path)
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "unknown_path", path
    answer = client.delete("/page/app.js")
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"


def test_it_is_open_while_the_api_is_not(start, tmp_path):
    keys = key_file(tmp_path / "keys", ADMIN)
    locked = start("--api-keys-file", keys)
    with locked.client() as client:
        assert client.get("/").status_code == client.get("/page/app.js").status_code == 200
        assert client.get("/v1/models").status_code == 401


# ---- the files


def closure(names, pattern):
    """These scripts and all that they import."""
    found, left = set(), set(names)
    while left:
        name = left.pop()
        found.add(name)
        left |= set(pattern.findall(text(name))) - found
    return found


def test_all_that_is_named_is_there_and_all_that_is_there_is_named(client):
    named = set(REFERENCE.findall(text("index.html"))) | closure(["app.js"], IMPORT) | {"en.json", "ja.json"}
    assert named == {path.name for path in SITE.iterdir()} - {"index.html"}
    for sample in re.search(r"EXAMPLES = \[(.*)\]", text("picture.js")).group(1).replace("'", "").split(", "):
        assert client.get(f"/page/{sample}").content == (ROOT / "examples" / sample).read_bytes()


def first_view():
    """What a browser loads before anything is clicked; its language has the larger file."""
    scripts = closure(["app.js", "try.js"], STATIC_IMPORT)
    assert scripts == set(re.findall(r'modulepreload" href="page/([^"]+)"', text("index.html"))), "the head names what the first view needs"
    samples = [ROOT / "examples" / name for name in ("cat.png", "lemon.webp", "rocket.jpg")]
    return [SITE / name for name in {"index.html", "style.css", "views.css", "icon.svg", "ja.json", *scripts}] + samples


def test_the_first_view_is_small():
    sizes = {path.name: path.stat().st_size for path in first_view()}
    assert sum(sizes.values()) <= MOST_FIRST_VIEW, sizes


@pytest.mark.parametrize("path", sorted(SITE.iterdir()), ids=lambda path: path.name)
def test_nothing_is_of_another_host_and_nothing_is_inline(path):
    found = path.read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[\w-]+\.[\w.-]+", re.sub(r"^\s*(//|\*|/\*).*$", "", found, flags=re.M))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|javascript:", found)
    if path.suffix == ".html":
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", found)
    assert path.suffix not in (".js", ".css") or found.count("\n") <= 400


def test_both_languages_say_the_same():
    en, ja = words("en"), words("ja")
    assert en.keys() == ja.keys()
    for key, said in en.items():
        assert said and ja[key] and sorted(set(re.findall(r"\{\w+\}", said))) == sorted(set(re.findall(r"\{\w+\}", ja[key]))), key


def test_words_are_there_and_are_used():
    known = words("en").keys()
    scripts = "".join(map(text, SCRIPTS))
    named = {key for key in WORDS.findall(scripts) if not key.endswith((".png", ".webp", ".jpg", ".js"))}
    stems = tuple(STEM.findall(scripts)) + ("tab.", "code.", "monitor.", "loadtest.")
    assert named - known == set()
    assert {key for key in known - named if not key.startswith(stems)} == set()
