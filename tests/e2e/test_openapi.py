"""Protects /openapi.json: it is what `limoe openapi` prints, refers to nothing that it lacks, and every operation's answer,
right or an error, is what its schema says. What may be asked wrongly in a thousand ways, `scripts/test openapi` asks."""

import json
import re
import subprocess

import jsonschema
import pytest
from conftest import BUILD, MODEL, b64, data_uri, key_file, picture, wait_until
from llm import Llm
from test_adapters import adapter_bytes, answer

KEY = "administration-0123456789"


@pytest.fixture(scope="module")
def document():
    return json.loads(subprocess.check_output([BUILD / "limoe", "openapi"]))


@pytest.fixture
def asked(start, tmp_path):
    keys = key_file(tmp_path / "admin", KEY)
    model = Llm()
    with start("--admin-keys-file", keys, *model.options()).client(headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client
    model.close()


def references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def resolve(document, value):
    while "$ref" in value:
        found = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def operations(document):
    return {operation["operationId"]: operation for item in document["paths"].values() for operation in item.values()}


def check(document, operation, response):
    """Holds an answer against what the document says of its operation: status, headers, type, body."""
    said = resolve(document, operation["responses"][str(response.status_code)])
    content = said.get("content", {})
    type = response.headers["Content-Type"]
    assert {type, "*/*"} & set(content) or response.request.method == "HEAD", (type, response.text)
    for name, header in said["headers"].items():
        schema = resolve(document, header)["schema"]
        if name in response.headers and schema["type"] == "string":
            assert re.search(schema.get("pattern", ""), response.headers[name])
    assert {"X-Request-Id", "traceresponse", "X-Total-Ms"} <= set(said["headers"])
    if content and type == "application/json" and response.request.method != "HEAD":
        # References are looked up in what is the root of the schema.
        jsonschema.Draft202012Validator({**content[type]["schema"], "components": document["components"]}).validate(
            response.json()
        )


def test_the_command_prints_what_the_server_answers(client, document):
    response = client.get("/openapi.json")
    assert response.status_code == 200 and response.headers["Content-Type"] == "application/json"
    assert response.content == subprocess.check_output([BUILD / "limoe", "openapi"])
    assert document["openapi"] == "3.1.0"
    assert client.head("/openapi.json").headers["Content-Length"] == str(len(response.content))


def test_references(document):
    for reference in set(references(document)):
        resolve(document, {"$ref": reference})


def test_schemas_are_schemas(document):
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


LABELS = {"labels": ["cat", "dog"], "templates": ["{}", "a picture of a {}"]}
IMAGE = {"image": b64(picture(1))}
EXAMPLES = [{"image": b64(picture(i)), "label": label} for i, label in enumerate("ab")]
PARTS = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": data_uri(picture(1))}}]
CHAT = {"messages": [{"role": "user", "content": PARTS}, {"role": "assistant", "content": None}]}
# operation -> method, path, what else is sent; in this order.
def adapter_file():
    base = answer("inspect", MODEL, "--digest").strip()
    about = {"format": "limoe-adapter-1", "kind": "tail", "base": base, "start_block": 7, "labels": ["cat"]}
    return adapter_bytes(about, {"ln.bias": [0.5] * 192})


# A callable is what makes the value.
REQUESTS = [
    ("classify", "POST", "/v1/classify", {"json": {**IMAGE, **LABELS, "top_k": 1, "model": None, "whatever": None}}),
    ("classify", "POST", "/v1/classify", {"files": {"image": picture(2)}, "data": {"labels": ["cat", "dog"], "top_k": "1"}}),
    (
        "classify",
        "POST",
        "/v1/classify",
        {"content": picture(3), "headers": {"Content-Type": "image/png"}, "params": {"labels": ["cat", "dog"]}},
    ),
    (
        "classify",
        "POST",
        "/v1/classify",
        {"content": picture(3), "headers": {"Content-Type": "application/octet-stream"}, "params": {"labels": ["cat", "dog"]}},
    ),
    ("rerank", "POST", "/v1/rerank", {"json": {"query": IMAGE, "documents": ["a cat", IMAGE], "return_documents": True}}),
    ("embeddings", "POST", "/v1/embeddings", {"json": {"input": ["a cat", IMAGE, {"type": "text", "text": "a"}]}}),
    ("embeddings", "POST", "/v1/embeddings", {"json": {"input": "a cat", "encoding_format": "base64", "dimensions": 192}}),
    ("embeddings", "POST", "/v1/embeddings", {"json": {"input": "a cat", "embedding_types": ["int8"], "truncate": True}}),
    (
        "embeddings",
        "POST",
        "/v1/embeddings",
        {
            "json": {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_uri(picture(4))}}]}
                ]
            }
        },
    ),
    ("embeddingsBare", "POST", "/embeddings", {"json": {"input": "a cat"}}),
    ("routing", "POST", "/v1/routing", {"json": {"input": ["a cat", IMAGE], "modality": "text"}}),
    ("attention", "POST", "/v1/attention", {"json": {**IMAGE, "texts": ["a cat", "red"], "kind": "contribution"}}),
    ("attention", "POST", "/v1/attention", {"json": {**IMAGE, "texts": ["a cat"], "format": "png"}}),
    ("putClassifier", "PUT", "/v1/classifiers/animals", {"json": LABELS}),
    (
        "describe",
        "POST",
        "/v1/describe",
        {
            "json": {
                **IMAGE,
                "tags": {"vocabulary": "animals", "threshold": -1},
                "attributes": {"k": 0},
                "captions": {"vocabulary": "animals"},
                "prompt": {"question": "?"},
            }
        },
    ),
    ("captions", "POST", "/v1/captions", {"json": {**IMAGE, "vocabulary": "animals", "n": 2}}),
    (
        "ask",
        "POST",
        "/v1/ask",
        {"json": {**IMAGE, "tags": {"vocabulary": "animals", "threshold": -1}, "attributes": {"k": 0}, "question": "?", "choices": ["cat"]}},
    ),
    ("ask", "POST", "/v1/ask", {"json": {**IMAGE, "question": "?", "stream": True}}),
    ("chat", "POST", "/v1/chat/completions", {"json": CHAT}),
    ("chat", "POST", "/v1/chat/completions", {"json": {**CHAT, "stream": True}}),
    ("chatBare", "POST", "/chat/completions", {"json": {**CHAT, "model": "smol", "temperature": 0}}),
    ("classifier", "GET", "/v1/classifiers/animals", {}),
    ("classifierHead", "HEAD", "/v1/classifiers/animals", {}),
    ("classifiers", "GET", "/v1/classifiers", {"params": {"limit": 1, "after": "a"}}),
    ("classifiersHead", "HEAD", "/v1/classifiers", {}),
    ("deleteClassifier", "DELETE", "/v1/classifiers/animals", {}),
    ("putVocabulary", "PUT", "/v1/vocabularies/animals", {"json": {"objects": {"cat": ["a tail"]}, "threshold": 0.5}}),
    ("putVocabulary", "PUT", "/v1/vocabularies/animals", {"json": {"terms": ["cat"], "template": "a {}"}}),
    ("vocabulary", "GET", "/v1/vocabularies/animals", {"params": {"offset": 0, "limit": 1}}),
    ("vocabularyHead", "HEAD", "/v1/vocabularies/tags", {}),
    ("vocabularies", "GET", "/v1/vocabularies", {"params": {"limit": 2}}),
    ("vocabulariesHead", "HEAD", "/v1/vocabularies", {}),
    ("deleteVocabulary", "DELETE", "/v1/vocabularies/animals", {}),
    ("putAdapter", "PUT", "/v1/adapters/pets", {"content": adapter_file, "params": {"model": "pictograms"}}),
    ("adapter", "GET", "/v1/adapters/pets", {}),
    ("adapterHead", "HEAD", "/v1/adapters/pets", {}),
    ("adapters", "GET", "/v1/adapters", {"params": {"limit": 1, "after": "a"}}),
    ("adaptersHead", "HEAD", "/v1/adapters", {}),
    ("embeddings", "POST", "/v1/embeddings", {"json": {"input": "a cat", "adapter": "pets", "strength": 0.5}}),
    ("routing", "POST", "/v1/routing", {"json": {"input": "a cat", "adapter": "pets"}}),
    ("classify", "POST", "/v1/classify", {"json": {**IMAGE, **LABELS, "adapter": ["base", "pets"]}}),
    ("deleteAdapter", "DELETE", "/v1/adapters/pets", {}),
    ("teachAdapter", "POST", "/v1/adapters/mine", {"json": {"examples": EXAMPLES, "kind": "probe", "options": {"seed": 1, "flip": None}}}),
    ("adapter", "GET", "/v1/adapters/mine", {}),
    ("adapters", "GET", "/v1/adapters", {}),
    (
        "teachAdapter",
        "POST",
        "/v1/adapters/formed",
        {"files": [("examples[a]", picture(1)), ("examples[b]", picture(2))], "data": {"options": '{"epochs":1}', "labels": "a,b,c"}},
    ),
    ("deleteAdapter", "DELETE", "/v1/adapters/formed", {}),
    ("deleteAdapter", "DELETE", "/v1/adapters/mine", {}),
    ("adapter", "GET", "/v1/adapters/mine", {}),
    ("models", "GET", "/v1/models", {}),
    ("modelsHead", "HEAD", "/v1/models", {}),
    ("modelsBare", "GET", "/models", {}),
    ("modelsBareHead", "HEAD", "/models", {}),
    ("model", "GET", "/v1/models/pictograms", {}),
    ("modelHead", "HEAD", "/v1/models/pictograms", {}),
    ("modelBare", "GET", "/models/pictograms", {}),
    ("modelBareHead", "HEAD", "/models/pictograms", {}),
    ("modelLoad", "GET", "/v1/models/pictograms/load", {}),
    ("modelLoadHead", "HEAD", "/v1/models/pictograms/load", {}),
    ("modelLoadBare", "GET", "/models/pictograms/load", {}),
    ("modelLoadBareHead", "HEAD", "/models/pictograms/load", {}),
    ("reload", "POST", "/v1/models/reload", {"json": {"model": "pictograms"}}),
    ("startLoadtest", "POST", "/v1/loadtests", {"json": {"rate": 5, "duration": 1, "mix": {"text": 1}}}),
    ("loadtests", "GET", "/v1/loadtests", {}),
    ("loadtestsHead", "HEAD", "/v1/loadtests", {}),
    ("loadtest", "GET", "/v1/loadtests/lt-1", {}),
    ("loadtestHead", "HEAD", "/v1/loadtests/lt-1", {}),
    ("stopLoadtest", "DELETE", "/v1/loadtests/lt-1", {}),
    ("health", "GET", "/health", {"params": {"model": "pictograms"}}),
    ("healthHead", "HEAD", "/health", {}),
    ("live", "GET", "/livez", {}),
    ("liveHead", "HEAD", "/livez", {}),
    ("ready", "GET", "/readyz", {}),
    ("readyHead", "HEAD", "/readyz", {}),
    ("metrics", "GET", "/metrics", {}),
    ("metricsHead", "HEAD", "/metrics", {}),
    ("openapi", "GET", "/openapi.json", {}),
    ("openapiHead", "HEAD", "/openapi.json", {}),
    ("page", "GET", "/", {}),
    ("page", "GET", "/", {"headers": {"Accept": "text/html"}}),
    ("pageHead", "HEAD", "/", {}),
    ("pageFile", "GET", "/page/app.js", {}),
    ("pageFileHead", "HEAD", "/page/app.js", {}),
]


def test_answers(asked, document):
    said = operations(document)
    for name, method, path, rest in REQUESTS:
        rest = {key: value() if callable(value) else value for key, value in rest.items()}
        response = asked.request(method, path, **rest)
        assert response.is_success, (name, response.text)
        check(document, said[name], response)
    wait_until(lambda: asked.get("/v1/loadtests/lt-1").json()["ended"], 60)
    check(document, said["loadtest"], asked.get("/v1/loadtests/lt-1"))


def test_no_operation_is_left_out(document):
    assert {name for name, *_ in REQUESTS} == set(operations(document))


# Each a code that the operation's document must have.
WRONG = [
    ("classify", "POST", "/v1/classify", {"json": {"labels": ["cat"]}}, "missing_image"),
    ("classify", "POST", "/v1/classify", {"json": {**IMAGE, "labels": []}}, "empty_labels"),
    ("classify", "POST", "/v1/classify", {"json": {**IMAGE, "classifier": "none"}}, "classifier_not_found"),
    ("classify", "POST", "/v1/classify", {"content": b"{}", "headers": {"Content-Type": "a/b"}}, "unsupported_media_type"),
    ("classify", "POST", "/v1/classify", {"data": {"x": "1"}, "files": {"image": b"1"}}, "unknown_field"),
    ("embeddings", "POST", "/v1/embeddings", {"json": {"input": []}}, "empty_input"),
    ("embeddings", "POST", "/v1/embeddings", {"json": {"input": {"image": "AAAA"}}}, "invalid_type"),
    ("embeddings", "POST", "/v1/embeddings", {"json": {"input": [{"image": b64(b"MZ")}]}}, "bad_image"),
    ("embeddings", "POST", "/v1/embeddings", {"json": {"input": "a", "model": "other"}}, "model_not_found"),
    ("embeddings", "POST", "/v1/embeddings", {"content": b"[", "headers": {"Content-Type": "application/json"}}, "invalid_json"),
    ("embeddings", "POST", "/v1/embeddings", {"json": {"input": "a", "strength": 2, "adapter": "a"}}, "invalid_strength"),
    ("routing", "POST", "/v1/routing", {"json": {"input": "a", "adapter": "none"}}, "adapter_not_found"),
    ("putAdapter", "PUT", "/v1/adapters/a", {"content": b"none"}, "invalid_adapter"),
    ("adapter", "GET", "/v1/adapters/none", {}, "adapter_not_found"),
    ("teachAdapter", "POST", "/v1/adapters/a", {"json": {"examples": EXAMPLES[:1]}}, "too_few_classes"),
    ("teachAdapter", "POST", "/v1/adapters/a", {"json": {"examples": EXAMPLES, "options": {"epochs": 0}}}, "invalid_value"),
    ("teachAdapter", "POST", "/v1/adapters/a", {"json": {"examples": EXAMPLES, "labels": ["a", "a"]}}, "duplicate_field"),
    ("teachAdapter", "POST", "/v1/adapters/a", {"files": {"archive": b"none"}}, "invalid_archive"),
    ("routing", "POST", "/v1/routing", {"json": {"input": "a", "encoding_format": "float"}}, "unknown_field"),
    ("attention", "POST", "/v1/attention", {"json": {**IMAGE, "texts": ["a"], "kind": "cross"}}, "unsupported_kind"),
    ("attention", "POST", "/v1/attention", {"json": {**IMAGE, "texts": ["a", "b"], "format": "png"}}, "conflicting_fields"),
    ("describe", "POST", "/v1/describe", {"json": {**IMAGE, "captions": {"n": 1}}}, "no_decoder"),
    ("describe", "POST", "/v1/describe", {"json": {**IMAGE, "tags": {"vocabulary": "none"}}}, "classifier_not_found"),
    ("captions", "POST", "/v1/captions", {"json": {**IMAGE, "beams": 2}}, "no_decoder"),
    ("captions", "POST", "/v1/captions", {"json": {**IMAGE, "vocabulary": "none"}}, "classifier_not_found"),
    ("ask", "POST", "/v1/ask", {"json": {**IMAGE, "question": "?", "choices": []}}, "empty_labels"),
    ("chat", "POST", "/v1/chat/completions", {"json": {"messages": [{"content": [{"type": "file"}]}]}}, "unsupported_value"),
    ("putClassifier", "PUT", "/v1/classifiers/-", {"json": LABELS}, "invalid_name"),
    ("deleteClassifier", "DELETE", "/v1/classifiers/none", {}, "classifier_not_found"),
    ("classifiers", "GET", "/v1/classifiers", {"params": {"limit": 0}}, "invalid_limit"),
    ("putVocabulary", "PUT", "/v1/vocabularies/tags", {"json": {"terms": ["a"]}}, "vocabulary_shipped"),
    ("putVocabulary", "PUT", "/v1/vocabularies/a", {"json": {"terms": [""]}}, "empty_terms"),
    ("putVocabulary", "PUT", "/v1/vocabularies/a", {"json": {"terms": ["a"], "template": "a"}}, "invalid_template"),
    ("vocabulary", "GET", "/v1/vocabularies/none", {}, "vocabulary_not_found"),
    ("vocabulary", "GET", "/v1/vocabularies/tags", {"params": {"limit": -1}}, "invalid_limit"),
    ("deleteVocabulary", "DELETE", "/v1/vocabularies/none", {}, "vocabulary_not_found"),
    ("health", "GET", "/health", {"headers": {"X-Request-Timeout-Ms": "soon"}}, "invalid_header"),
    ("model", "GET", "/v1/models/other", {}, "model_not_found"),
    ("reload", "POST", "/v1/models/reload", {"headers": {"Authorization": "Bearer other"}}, "invalid_api_key"),
    ("startLoadtest", "POST", "/v1/loadtests", {"json": {"rate": 1}}, "missing_field"),
    ("loadtest", "GET", "/v1/loadtests/none", {}, "loadtest_not_found"),
    ("pageFile", "GET", "/page/none.js", {}, "unknown_path"),
]


def test_errors(asked, document):
    said = operations(document)
    for name, method, path, rest, code in WRONG:
        response = asked.request(method, path, **rest)
        assert response.json()["error"]["code"] == code, response.text
        check(document, said[name], response)


def accepts(document, field, value, where="/v1/embeddings"):
    schema = document["paths"][where]["post"]["requestBody"]["content"]["application/json"]["schema"]
    whole = {**schema, "required": [], "components": document["components"]}
    return jsonschema.Draft202012Validator(whole).is_valid({field: value})


@pytest.mark.parametrize("field", ["encoding_format", "embedding_type", "embedding_types", "output_dtype", "task", "truncate"])
@pytest.mark.parametrize("value", ["float", "base64", "int8", "ubinary", "binary", "half", "", "query", "END", True, False, 1])
def test_values_are_accepted_as_the_document_says(client, document, field, value):
    response = client.post("/v1/embeddings", json={"input": "a cat", field: value})
    assert accepts(document, field, value) == (response.status_code == 200), response.text
    many = client.post("/v1/embeddings", json={"input": "a cat", field: [value]})
    assert accepts(document, field, [value]) == (many.status_code == 200), many.text


def test_it_needs_no_key(start, tmp_path):
    keys = key_file(tmp_path / "keys", "a-key-of-sixteen-or-more")
    with start("--api-keys-file", keys).client() as client:
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/v1/models").status_code == 401
