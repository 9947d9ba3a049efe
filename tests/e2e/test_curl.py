"""Protects what people paste: the README's request as it stands, and curl's own ways of sending."""

import json
import re
import subprocess

from conftest import ROOT, b64, picture


def curl(*arguments):
    result = subprocess.run(["curl", "-sS", "--max-time", "60", *map(str, arguments)], capture_output=True, timeout=90)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def readme_commands():
    """The curl commands of the README's code blocks, as a shell takes them: a command ends at an empty line."""
    text = (ROOT / "README.md").read_text()
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.S | re.M):
        for command in block.split("\n\n"):
            if command.startswith("curl "):
                yield command


def test_the_readmes_requests(server):
    """As they stand, but for the address, run from the root of the clone as it says."""
    commands = list(readme_commands())
    assert commands, "the README shows no request"
    for command in commands:
        assert "127.0.0.1:8080" in command, command
        here = command.replace("http://127.0.0.1:8080", server.url)
        result = subprocess.run(["bash", "-c", here], capture_output=True, cwd=ROOT, timeout=90)
        assert result.returncode == 0, (command, result.stderr)
        answer = json.loads(result.stdout)
        assert "error" not in answer and (answer.get("data") or answer["object"] == "classifier"), (command, answer)
        shown = re.search(r"examples/(\w+)\.\w+", command)
        if shown:  # the picture is named after what it shows
            assert answer["data"][0]["predictions"][0]["label"] == shown.group(1), (command, answer)


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
