"""Protects clients that were written for other servers: what they send is served, with the bits of the plain request, or
refused with what they should have sent."""

import base64
import json
import re
import subprocess

import numpy as np
import openai
import pytest

from conftest import BUILD, MODEL, ROOT, Server, b64, data_uri, picture, stop_cleanly

ORIGIN = "https://app.example.com"
ALIAS = "text-embedding-3-small"
JSON = {"Content-Type": "application/json"}
# What the openai SDK for JavaScript sends with each request.
STAINLESS = (
    "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,"
    "x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout"
)
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


def assert_error(response, status, code, contains=""):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code and contains in error["message"], error
    return error


def vectors(client, inputs, **more):
    response = client.post("/v1/embeddings", json={"input": inputs, **more})
    assert response.status_code == 200, response.text
    return [item["embedding"] for item in response.json()["data"]]


@pytest.fixture(scope="module")
def aliased():
    running = Server("--model-alias", ALIAS, "--model-alias", "clip,openai/clip-vit-base-patch32=pictograms")
    yield running
    stop_cleanly(running)


# ---- F1: browsers


@pytest.mark.parametrize("allowed", [ORIGIN, "*"])
def test_f1_a_preflight_allows_the_headers_that_are_asked_for(start, allowed):
    server = start("--cors-origin", allowed)
    with server.client() as client:
        asked = client.options("/v1/embeddings", headers={**PREFLIGHT, "Access-Control-Request-Headers": STAINLESS})
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-headers"] == STAINLESS
        assert asked.headers["access-control-allow-origin"] == allowed
        assert "access-control-allow-credentials" not in asked.headers
        vary = re.split(", *", asked.headers["vary"])
        assert "Access-Control-Request-Headers" in vary and ("Origin" in vary) == (allowed != "*")

        usual = client.options("/v1/embeddings", headers=PREFLIGHT).headers["access-control-allow-headers"]
        assert "Authorization" in usual
        for odd in ["a b", "a,,b", ",", "a;b", "a:b", '"a"', "a" * 5000, "x-ä".encode()]:
            asked = client.options("/v1/embeddings", headers={**PREFLIGHT, "Access-Control-Request-Headers": odd})
            assert asked.status_code == 204 and asked.headers["access-control-allow-headers"] == usual, odd

        # The request behind it is served, with whatever headers.
        answer = client.post("/v1/embeddings", json={"input": "a"}, headers={"Origin": ORIGIN, "x-stainless-os": "Linux"})
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == allowed


def test_f1_another_origin_is_allowed_nothing(start):
    server = start("--cors-origin", ORIGIN)
    with server.client() as client:
        asked = client.options("/v1/embeddings", headers={**PREFLIGHT, "Origin": "https://other.example.com",
                                                          "Access-Control-Request-Headers": STAINLESS})
        assert asked.status_code == 204
        assert not [name for name in asked.headers if name.startswith("access-control-")]


# ---- F4: texts of white space


@pytest.mark.parametrize("text", [" ", "   ", "\n", "\r\n\r\n", "\t", "\u00a0", "\u3000", " \n\u3000\t"])
def test_f4_a_text_of_white_space_is_embedded(client, text):
    """Its vector is that of the end token alone, as of U+200B; its batch is answered."""
    alone = vectors(client, text)
    batch = vectors(client, ["a cat", text, {"text": text}, "\u200b", "a dog"])
    assert batch[1] == batch[2] == batch[3] == alone[0]
    assert batch[0] == vectors(client, "a cat")[0] != batch[1]
    routing = client.post("/v1/routing", json={"input": text}).json()["data"][0]
    assert routing["tokens"] == 1


def test_f4_nothing_is_no_text_and_a_blank_label_no_label(client):
    assert_error(client.post("/v1/embeddings", json={"input": ["a", ""]}), 400, "empty_input", "input[1] is empty")
    assert_error(client.post("/v1/classify", json={"image": b64(picture()), "labels": ["a", " \u3000"]}), 400,
                 "empty_labels", "labels[1] is nothing but white space")


def test_f4_the_command_line_embeds_white_space_too(client):
    done = subprocess.run([BUILD / "limoe", "embed", "--model", MODEL, "--json", "--text", " ", "--text", "\u3000"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [item["embedding"] for item in json.loads(done.stdout)["data"]]
    assert rows[0] == rows[1] == vectors(client, " ")[0]


# ---- F12, F13: pictures in strings


@pytest.mark.parametrize("kind", ["encodebytes", "newline", "crlf", "lines of 60", "space in the head", "percent newline"])
def test_f12_base64_as_encoders_write_it(client, kind):
    image = picture(3, size=(200, 150))
    plain = b64(image)
    form = {
        "encodebytes": base64.encodebytes(image).decode(),
        "newline": plain + "\n",
        "crlf": plain + "\r\n",
        "lines of 60": "\r\n".join(re.findall(".{1,60}", plain)),
        "space in the head": "data:image/png; base64," + plain,
        "percent newline": "data:image/png;base64," + plain.replace("+", "%2B") + "%0A",
    }[kind]
    expected = vectors(client, [{"image": plain}])
    assert vectors(client, [{"image": form}]) == expected
    assert vectors(client, [form], modality="image") == expected
    scored = [client.post("/v1/classify", json={"image": image, "labels": ["a", "b"]}).json() for image in (plain, form)]
    assert scored[0] == scored[1] and "data" in scored[0]


def test_f12_stray_characters_are_still_refused_with_their_place(client):
    assert_error(client.post("/v1/embeddings", json={"input": [{"image": "iVBO Rw0K"}]}), 400, "invalid_image",
                 'white space without a line break at character 5; was it a "+"')
    assert_error(client.post("/v1/embeddings", json={"input": [{"image": "iVBO\nRw0"}]}), 400, "invalid_image",
                 "7 characters, which is not a multiple of 4")


@pytest.mark.parametrize("head", ["data:application/octet-stream;base64,", "data:;base64,", " data:image/png;base64,",
                                  "\n\tdata:image/png;base64,", "DATA:IMAGE/PNG;BASE64,", "data:image/png;name=a.png;base64,"])
def test_f13_a_string_that_is_meant_for_a_picture_is_one(client, head):
    image = picture(5)
    response = client.post("/v1/embeddings", json={"input": ["a cat", head + b64(image)]})
    assert response.status_code == 200 and response.json()["usage"]["image_tokens"] > 0
    assert response.json()["data"][1]["embedding"] == vectors(client, [{"image": b64(image)}])[0]


def test_f13_what_is_then_no_picture_says_so(client):
    ask = lambda text: client.post("/v1/embeddings", json={"input": [text]})  # noqa: E731
    assert_error(ask("data:text/plain;base64,aGVsbG8="), 400, "invalid_image", 'type "text/plain"; image/… is accepted')
    assert_error(ask("data:application/octet-stream;base64,aGVsbG8="), 400, "bad_image")
    for text in ["data: a love story", "data:text/plain,hello", "data:;base64", "data: the word;base64, what is it?"]:
        answer = ask(text)
        assert answer.status_code == 200 and answer.json()["usage"]["image_tokens"] == 0


# ---- F17: byte order marks


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/routing"])
def test_f17_a_byte_order_mark_before_json(client, path):
    body = json.dumps({"input": "a cat"})
    marked = client.post(path, content=body.encode("utf-8-sig"), headers=JSON)
    assert marked.status_code == 200
    assert marked.json() == client.post(path, content=body, headers=JSON).json()


def test_f17_a_byte_order_mark_on_the_other_routes(client):
    body = json.dumps({"image": b64(picture()), "labels": ["a", "b"]}).encode("utf-8-sig")
    assert client.post("/v1/classify", content=body, headers=JSON).status_code == 200
    body = json.dumps({"labels": ["a", "b"]}).encode("utf-8-sig")
    assert client.put("/v1/classifiers/marked", content=body, headers=JSON).status_code == 200
    assert client.delete("/v1/classifiers/marked").status_code == 200


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_f17_another_encoding_is_named(client, encoding):
    response = client.post("/v1/embeddings", content='{"input":"a"}'.encode(encoding), headers=JSON)
    assert_error(response, 400, "invalid_json", f"this is {encoding[:6].upper()}; UTF-8 is accepted")


# ---- F19: bodies without a type


def send(client, method, path, body, **headers):
    """httpx sends no Content-Type with bytes."""
    request = client.build_request(method, path, content=body, headers=headers)
    assert "content-type" not in request.headers or "Content-Type" in headers
    return client.send(request)


@pytest.mark.parametrize("kind", [{}, {"Content-Type": ""}])
def test_f19_json_without_a_type_is_read(client, kind):
    body = b' \n{"input":["a cat"]}'
    for path in ["/v1/embeddings", "/v1/routing"]:
        untyped = send(client, "POST", path, body, **kind)
        assert untyped.status_code == 200, untyped.text
        assert untyped.json() == send(client, "POST", path, body, **JSON).json()
    body = json.dumps({"image": data_uri(picture()), "labels": ["a", "b"]}).encode()
    assert send(client, "POST", "/v1/classify", body, **kind).json() == send(client, "POST", "/v1/classify", body, **JSON).json()
    assert send(client, "PUT", "/v1/classifiers/untyped", b'{"labels":["a"]}', **kind).status_code == 200
    assert client.delete("/v1/classifiers/untyped").status_code == 200
    # An error of it is one of JSON, not of its type.
    assert_error(send(client, "POST", "/v1/embeddings", b'{"input":', **kind), 400, "invalid_json")
    assert_error(send(client, "POST", "/v1/embeddings", b"", **kind), 400, "invalid_json", "the body is empty")


def test_f19_a_picture_without_a_type_is_read_where_pictures_are(client):
    image = picture(6)
    untyped = send(client, "POST", "/v1/classify?labels=a&labels=b", image)
    assert untyped.status_code == 200
    for kind in ("image/png", "application/octet-stream", "Application/Octet-Stream; charset=binary"):
        typed = send(client, "POST", "/v1/classify?labels=a&labels=b", image, **{"Content-Type": kind})
        assert typed.status_code == 200 and typed.json() == untyped.json(), kind
    bytes_unnamed = {"Content-Type": "application/octet-stream"}
    assert_error(send(client, "POST", "/v1/classify?labels=a", b'{"image":"a"}', **bytes_unnamed), 400, "bad_image")
    for path in ["/v1/embeddings", "/v1/routing"]:
        assert_error(send(client, "POST", path, image), 415, "unsupported_media_type", "no Content-Type")
        assert_error(send(client, "POST", path, image, **bytes_unnamed), 415, "unsupported_media_type", "application/octet-stream")
    assert_error(send(client, "PUT", "/v1/classifiers/x", b"labels=a"), 415, "unsupported_media_type", "application/json")


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/embeddings", "/v1/routing"])
def test_f19_curl_without_a_header_is_told_what_to_add(client, path):
    response = send(client, "POST", path, b'{"input":"a"}', **{"Content-Type": "application/x-www-form-urlencoded"})
    assert_error(response, 415, "unsupported_media_type", 'add -H "Content-Type: application/json"')


# ---- F20: fields of other servers


def peer_fields():
    """docs/api.md's table: (name, accepted values)."""
    section = (ROOT / "docs" / "api.md").read_text().split("### Fields of other servers", 1)[1].split("\n## ", 1)[0]
    return [(name, re.findall("`([^`]+)`", accepted)) for name, accepted in re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.M)]


def test_f20_what_the_contract_accepts_changes_nothing(client):
    plain = client.post("/v1/embeddings", json={"input": ["a cat"]}).json()
    model = client.get("/v1/models").json()["data"][0]
    fields = peer_fields()
    assert len(fields) > 10
    tried = 0
    for name, accepted in fields:
        for text in accepted:
            value = model["embed"] if text == "embed" else json.loads(text)
            answer = client.post("/v1/embeddings", json={"input": ["a cat"], name: value})
            assert answer.status_code == 200 and answer.json() == plain, (name, value, answer.text)
            tried += 1
    assert tried >= 30
    length = {"truncate_prompt_tokens": model["text"]["length"]}
    assert client.post("/v1/embeddings", json={"input": ["a cat"], **length}).json() == plain


@pytest.mark.parametrize("name, value, why", [
    ("truncate", False, "cut at its end"), ("truncate", "NONE", "cut at its end"), ("truncate", "START", "cut at its end"),
    ("truncation", False, "cut at its end"), ("truncate_prompt_tokens", 1, "cut at its end"), ("normalized", False, "unit vectors"),
    ("embedding_type", "uint8", "ubinary"), ("embedding_types", ["float", "int8"], "once"), ("output_dtype", "uint8", "ubinary"),
    ("late_chunking", True, "by itself"), ("task", "summarize", "one embedding"), ("input_type", 1, "one embedding"),
    ("output_dimension", 2, "cut shorter"),
])
def test_f20_what_would_be_done_otherwise_is_refused_with_the_reason(client, name, value, why):
    error = assert_error(client.post("/v1/embeddings", json={"input": "a", name: value}), 400, "unsupported_value", why)
    assert error["param"] == name and f"{name} is " in error["message"] and "accepted: " in error["message"]


def test_f20_a_misspelt_field_is_refused_as_ever(client):
    assert_error(client.post("/v1/embeddings", json={"input": "a", "truncat": True}), 400, "unknown_field")
    assert_error(client.post("/v1/routing", json={"input": "a", "truncate": True}), 400, "unknown_field")


# ---- F21: fixed names of models


def test_f21_an_alias_is_the_model(aliased):
    with aliased.client() as client:
        model = client.get("/v1/models").json()["data"][0]
        assert model["aliases"] == [ALIAS, "clip", "openai/clip-vit-base-patch32"]
        plain = client.post("/v1/embeddings", json={"input": "a cat"}).json()
        for name in [*model["aliases"], model["id"], ""]:
            answer = client.post("/v1/embeddings", json={"input": "a cat", "model": name})
            assert answer.status_code == 200 and answer.json() == plain  # "model" is the hosted model's name
            if name:
                assert client.get(f"/v1/models/{name}").json() == model
                assert client.get(f"/v1/models/{name}/load").status_code == 200
        image = picture()
        for form in [{"json": {"image": b64(image), "labels": ["a"], "model": "clip"}},
                     {"files": {"image": image}, "data": {"labels": "a", "model": "clip"}},
                     {"content": image, "headers": {"Content-Type": "image/png"}, "params": {"labels": "a", "model": "clip"}},
                     {"content": image, "headers": {"Content-Type": "image/png"}, "params": {"labels": "a", "model": ""}}]:
            answer = client.post("/v1/classify", **form)
            assert answer.status_code == 200 and answer.json()["model"] == model["id"], answer.text
        assert client.put("/v1/classifiers/a", json={"labels": ["a"], "model": "clip"}).status_code == 200
        assert client.post("/v1/routing", json={"input": "a", "model": ALIAS}).status_code == 200
        assert_error(client.post("/v1/embeddings", json={"input": "a", "model": "clap"}), 404, "model_not_found", "--model-alias")


def test_f21_without_an_alias_the_message_names_the_option(client):
    for response in [client.post("/v1/embeddings", json={"input": "a", "model": ALIAS}), client.get("/v1/models/" + ALIAS)]:
        error = assert_error(response, 404, "model_not_found", "--model-alias")
        assert ALIAS in error["message"] and "pictograms" in error["message"]
    assert client.get("/v1/models").json()["data"][0]["aliases"] == []
    assert client.post("/v1/embeddings", json={"input": "a", "model": ""}).status_code == 200


def test_f21_any_name_from_the_environment(start):
    server = start(env={"LIMOE_MODEL_ALIAS": "*"})
    with server.client() as client:
        answer = client.post("/v1/embeddings", json={"input": "a", "model": "whatever it is called"})
        assert answer.status_code == 200 and answer.json()["model"] == "pictograms"


@pytest.mark.parametrize("alias, status, says", [("a,,b", 2, "names divided by commas"), ("=pictograms", 2, "ALIAS=NAME"),
                                                 ("a=", 2, "ALIAS=NAME"), ("a=photos", 1, '"photos"; there is "pictograms"')])
def test_f21_a_wrong_alias_ends_the_start(alias, status, says, tmp_path):
    done = subprocess.run([BUILD / "limoe", "serve", "--port", "0", "--model", MODEL, "--state-dir",
                           tmp_path, "--model-alias", alias], capture_output=True, text=True, timeout=60)
    assert done.returncode == status and "model-alias" in done.stderr and says in done.stderr, done.stderr


# ---- F22: paths


@pytest.mark.parametrize("path", ["/v1/models/", "/models", "/models/", "//v1//models", "/v1//models/"])
def test_f22_the_list_of_models_by_any_slash(client, path):
    assert client.get(path).json() == client.get("/v1/models").json()


@pytest.mark.parametrize("path", ["/v1/embeddings/", "/embeddings", "/embeddings/", "/v1//embeddings"])
def test_f22_embeddings_by_any_slash(client, path):
    answer = client.post(path, json={"input": "a cat"})
    assert answer.status_code == 200
    assert answer.json() == client.post("/v1/embeddings", json={"input": "a cat"}).json()
    refused = client.get(path)
    assert_error(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST"


def test_f22_one_model_by_any_slash(client):
    model = client.get("/v1/models/pictograms").json()
    for path in ["/v1/models/pictograms/", "/models/pictograms", "/models//pictograms/"]:
        assert client.get(path).json() == model
    assert client.get("/models/pictograms/load").status_code == 200


def test_f22_the_other_routes_take_a_slash_too(client):
    assert client.get("/v1/classifiers/").json()["object"] == "list"
    assert_error(client.get("/v1/classifiers/nobody/"), 404, "classifier_not_found")
    assert client.post("/v1/routing/", json={"input": "a"}).status_code == 200
    for path in ["/classify", "/routing", "/classifiers"]:
        assert_error(client.post(path), 404, "unknown_path")


@pytest.mark.parametrize("path", ["/health/", "//health", "/metrics/", "/v1/health", "/models/reload", "/v1//models/reload",
                                  "/v1/models/reload/"])
def test_f22_what_a_proxy_may_guard_is_at_its_own_path_alone(server, path):
    with server.connect() as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" % path.encode())
        assert connection.recv(65536).split(b" ", 2)[1] in (b"404", b"405")


@pytest.mark.parametrize("path, nearest", [
    ("/v1/embedings", "POST /v1/embeddings"), ("/v1/embedding", "POST /v1/embeddings"), ("/v1/clasify", "POST /v1/classify"),
    ("/v1/model", "GET /v1/models"), ("/healthz", "GET /health"), ("/metric", "GET /metrics"), ("/v1/router", "POST /v1/routing"),
    ("/classify", "POST /v1/classify"), ("/v1/v1/embeddings", "POST /v1/embeddings"), ("/" + "x" * 3000, "/v1/"),
])
def test_f22_an_unknown_path_names_the_nearest_alone(client, path, nearest):
    message = assert_error(client.get(path), 404, "unknown_path", f"the nearest is {nearest if ' ' in nearest else ''}")["message"]
    assert len(re.findall("(GET|POST|PUT|DELETE) /", message)) == 1 and len(message) < 300


def test_f22_the_metrics_know_the_routes_by_one_name(start):
    server = start()
    with server.client() as client:
        for path in ["/models", "/v1/models/", "/v1//models", "/odd", "/other"]:
            client.get(path)
        routes = set(re.findall(r'route="([^"]*)"', client.get("/metrics").text))
    assert "/models" not in routes and "/odd" not in routes and "/v1/models/" not in routes
    assert server.metric('limoe_requests_total{route="/v1/models",code="200"}') == 3


# ---- W15: names cut by a NUL


@pytest.mark.parametrize("query", ["labels%00evil=a&labels=b", "labels=a&top_k%00=1", "labels=a%00b", "labels=a&model=pictograms%00",
                                   "classifier=a%00b"])
def test_w15_a_nul_in_a_query_is_refused(client, query):
    response = client.post("/v1/classify?" + query, content=picture(), headers={"Content-Type": "image/png"})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("disposition, shown", [(b'name="labels\0evil"', "labels?evil"), (b'name="image"; filename="a.png\0.exe"', "a.png?")])
def test_w15_a_nul_in_a_forms_names_is_refused_with_the_name(client, disposition, shown):
    image = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + picture() + b"\r\n"
    labels = b'--x\r\nContent-Disposition: form-data; name="labels"\r\n\r\na\r\n'
    odd = b"--x\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\na\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/v1/classify", content=image + labels + b"--x--", headers=headers).status_code == 200
    assert_error(client.post("/v1/classify", content=image + labels + odd + b"--x--", headers=headers), 400, "malformed_multipart", shown)


@pytest.mark.parametrize("body", [b'{"input\\u0000evil":"a"}', b'{"input\0evil":"a"}', b'{"input":"a\\u0000b"}', b'{"input":"a\0b"}',
                                  b'{"input":"a","model":"pictograms\\u0000x"}'])
def test_w15_a_nul_in_json_is_refused(client, body):
    assert_error(client.post("/v1/embeddings", content=body, headers=JSON), 400, "invalid_json", "0")


def test_w15_a_nul_in_a_classifiers_name_is_refused(client):
    client.put("/v1/classifiers/cut", json={"labels": ["a"]})
    try:
        body = b'{"image":"%s","classifier":"cut\\u0000evil"}' % b64(picture()).encode()
        assert client.post("/v1/classify", content=body, headers=JSON).status_code == 400
        form = client.post("/v1/classify", files={"image": picture()}, data={"classifier": "cut\0evil"})
        assert_error(form, 400, "invalid_utf8", "classifier has a NUL byte at 3")
        assert client.get("/v1/classifiers?after=cut%00evil").status_code == 400
    finally:
        client.delete("/v1/classifiers/cut")


# ---- all of it, by the real client


def test_the_openai_client_with_another_servers_habits(aliased):
    """A fixed model's name, the path without /v1, a blank text in the batch, harmless fields beside."""
    for base in ["", "/v1", "/v1/"]:
        with openai.OpenAI(base_url=aliased.url + base, api_key="unused", max_retries=0) as ai:
            answer = ai.embeddings.create(
                model=ALIAS,
                input=["a cat", " ", "\u3000\n", "a dog", "data:application/octet-stream;base64," + b64(picture())],
                extra_body={"input_type": "query", "truncate": True, "normalized": True, "late_chunking": False, "task": "text-matching"},
            )
            assert answer.model == "pictograms"
            rows = [np.array(item.embedding, "<f4") for item in answer.data]
            assert np.array_equal(rows[1], rows[2]) and not np.array_equal(rows[0], rows[1])
            plain = ai.embeddings.create(model="", input=["a cat"]).data[0].embedding
            assert np.array_equal(rows[0], np.array(plain, "<f4"))
            assert ai.models.retrieve(ALIAS).id == ai.models.list().data[0].id == "pictograms"
            with pytest.raises(openai.BadRequestError) as caught:
                ai.embeddings.create(model=ALIAS, input="a", extra_body={"truncate": "NONE"})
            assert caught.value.param == "truncate"
