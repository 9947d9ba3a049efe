"""Protects curl's own ways of sending. What the documents show is run by tests/docs."""

import json
import subprocess

from conftest import b64, picture


def curl(*arguments):
    result = subprocess.run(["curl", "-sS", "--max-time", "60", *map(str, arguments)], capture_output=True, timeout=90)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def test_a_large_body_with_expect(server, tmp_path):
    """Past a megabyte curl asks before it sends, with Expect: 100-continue."""
    image = picture(1, size=(900, 700), kind="BMP")
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"input": [{"image": b64(image)}]}))
    assert body.stat().st_size > 2**21
    out = curl("-v", "-H", "Content-Type: application/json", "-H", "Expect: 100-continue", "-d", f"@{body}", server.url + "/v1/embeddings")
    assert len(json.loads(out)["data"]) == 1


def test_too_large_a_body(start, tmp_path):
    server = start("--max-body-bytes", 100000)
    body = tmp_path / "body.json"
    body.write_bytes(b" " * 3000000)
    out = curl("-H", "Content-Type: application/json", "-d", f"@{body}", server.url + "/v1/embeddings")
    assert json.loads(out)["error"]["code"] == "body_too_large"


def test_the_three_forms_of_classify(server, tmp_path):
    image = tmp_path / "picture.png"
    image.write_bytes(picture(8))
    labels = ["red circle", "blue, with \"quotes\""]
    url = server.url + "/v1/classify"
    body = json.dumps({"image": b64(image.read_bytes()), "labels": labels})
    as_json = json.loads(curl(url, "-H", "Content-Type: application/json", "-d", body))
    form = [word for label in labels for word in ("--form-string", "labels=" + label)]
    assert json.loads(curl(url, "-F", f"image=@{image}", *form)) == as_json
    query = "?labels=red%20circle&labels=blue%2C+with+%22quotes%22"
    raw = curl(url + query, "-H", "Content-Type: image/png", "--data-binary", f"@{image}")
    assert json.loads(raw) == as_json
    assert as_json["data"][0]["predictions"]


def test_http_1_0_and_close(server):
    assert json.loads(curl("--http1.0", server.url + "/health")) == {"status": "ok"}
    assert json.loads(curl("-H", "Connection: close", server.url + "/health")) == {"status": "ok"}
