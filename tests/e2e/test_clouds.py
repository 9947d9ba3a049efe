"""Protects the dialects of platforms that run a container, and of programs that ask one: NIM, SageMaker, Vertex AI, Titan
(Bedrock, OpenSearch), Immich, and `vllm bench serve`. Requests are bytes as their clients send them, answers what these read."""

import json
import os
import socket
import subprocess

import pytest
from conftest import BUILD, b64, data_uri, key_file, picture

LABELS = ["a red circle", "a blue square"]


def own(client, inputs):
    return [item["embedding"] for item in client.post("/v1/embeddings", json={"input": inputs}).json()["data"]]


def recorded(server, method, path, headers, body=b""):
    """The request, byte for byte, on a connection of its own; status, head and body of the answer."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {server.url[7:]}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    host, port = server.url[7:].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


def asked(server, path, body, **headers):
    status, _, answer = recorded(server, "POST", path, {"Content-Type": "application/json", **headers}, json.dumps(body).encode())
    return status, json.loads(answer)


# ---- NIM


def test_nim_metadata_and_health(client):
    metadata = client.get("/v1/metadata").json()
    model = client.get("/v1/models").json()["data"][0]
    assert metadata["modelInfo"][0]["shortName"].split(":")[0] == model["id"]
    assert metadata["version"] == client.get("/info").json()["version"]
    assert client.get("/v1/health/ready").json()["ready"] is True
    assert client.get("/v1/health/live").json()["live"] is True
    wrong = client.get("/v1/health/dead")
    assert wrong.status_code == 404 and "/v1/health/" in wrong.json()["detail"]


# ---- SageMaker


def test_sagemaker_takes_our_own_bodies(server, client):
    image = picture(3)
    ours = {"image": b64(image), "labels": LABELS}
    embeddings = {"input": ["cat", data_uri(image)]}
    for path, body in (("/v1/classify", ours), ("/v1/embeddings", embeddings)):
        assert asked(server, "/invocations", body) == (200, client.post(path, json=body).json())
    form = {"files": {"image": image}, "data": {"labels": LABELS}}
    assert client.post("/invocations", **form).json() == client.post("/v1/classify", **form).json()


def test_sagemaker_takes_bodies_of_dialects(server, client):
    for path, body in (
        ("/hf", {"inputs": ["cat", "dog"]}),
        ("/hf", {"inputs": b64(picture(3)), "parameters": {"candidate_labels": LABELS}}),
        ("/rerank", {"query": "cat", "texts": ["dog", "cat"]}),
        ("/vertex/predict", {"instances": ["cat"]}),
    ):
        assert asked(server, "/invocations", body) == (200, client.post(path, json=body).json())


@pytest.mark.parametrize("kind", ["image/png", "application/x-image", "application/octet-stream"])
def test_sagemaker_takes_a_picture_as_it_is(server, client, kind):
    image = picture(4)
    status, _, answer = recorded(server, "POST", "/invocations", {"Content-Type": kind}, image)
    assert status == 200 and json.loads(answer)["data"][0]["embedding"] == own(client, [data_uri(image)])[0]
    status, _, answer = recorded(server, "POST", "/invocations?labels=cat&labels=dog", {"Content-Type": kind}, image)
    ours = client.post("/v1/classify", params={"labels": ["cat", "dog"]}, content=image, headers={"Content-Type": "image/png"})
    assert status == 200 and json.loads(answer) == ours.json()


def test_sagemaker_errors_are_our_own(server):
    status, answer = asked(server, "/invocations", {"input": []})
    assert status == 400 and answer["error"]["param"] == "input"
    status, _, answer = recorded(server, "POST", "/invocations", {"Content-Type": "text/csv"}, b"1,2")
    assert status == 415 and "application/x-image" in json.loads(answer)["error"]["message"]
    assert asked(server, "/invocations", {"image": b64(picture()), "classifier": "pets"})[1]["error"]["param"] == "classifier"


# ---- Vertex AI


def test_vertex_predictions(server, client):
    pictures = [picture(seed) for seed in (1, 2)]
    instances = ["cat", {"text": "dog"}, {"b64": b64(pictures[0])}, {"image": {"b64": b64(pictures[0])}}, {"image": b64(pictures[1])}]
    status, answer = asked(server, "/vertex/predict", {"instances": instances, "parameters": {}})
    assert status == 200
    assert answer["predictions"] == own(client, ["cat", "dog", *(data_uri(pictures[i]) for i in (0, 0, 1))])
    ranked = {"instances": [{"b64": b64(one)} for one in pictures], "parameters": {"labels": LABELS, "top_k": 1}}
    ours = client.post("/v1/classify", json={"images": [b64(one) for one in pictures], "labels": LABELS, "top_k": 1}).json()
    expected = [[{"label": p["label"], "score": p["score"]} for p in row["predictions"]] for row in ours["data"]]
    assert asked(server, "/vertex/predict", ranked) == (200, {"predictions": expected})
    assert asked(server, "/vertex/predict", {"instances": []}) == (400, {"error": "instances is empty; 1 to 2048 are accepted"})


def test_vertex_says_where_it_asks(start):
    """The paths that Vertex AI has where nothing else is chosen, and a choice that other routes have, too."""
    server = start("--vertex-predict-route", "/v1/endpoints/7/deployedModels/8:predict", "--vertex-health-route", "/v1/endpoints/7/deployedModels/8")
    with server.client() as client:
        assert client.get("/v1/endpoints/7/deployedModels/8").json() == {"status": "ok"}
        assert client.head("/v1/endpoints/7/deployedModels/8").status_code == 200
        body = {"instances": ["cat"]}
        named = client.post("/v1/endpoints/7/deployedModels/8:predict", json=body)
        assert named.status_code == 200 and named.json() == client.post("/vertex/predict", json=body).json()
        assert client.post("/v1/endpoints/7/deployedModels/9:predict", json=body).status_code == 404
        assert 'route="/vertex/predict"' in client.get("/metrics").text
    server = start("--vertex-predict-route", "/predict", "--vertex-health-route", "/health")
    with server.client() as client:
        assert len(client.post("/predict", json={"instances": ["cat"]}).json()["predictions"]) == 1
        assert client.get("/health").json()["status"] == "ok"


def printed(*arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIMOE_", "AIP_"))}
    return subprocess.run([BUILD / "limoe", "serve", *arguments, "--print-config"], capture_output=True, text=True, timeout=60,
                          env={**environment, **variables})


def setting(done, name):
    assert done.returncode == 0, done.stderr
    line, = [line for line in done.stdout.splitlines() if line.split(" ")[0].lstrip("#") == name]
    return " ".join(line.split())


def test_vertex_variables_are_weaker_than_options(tmp_path):
    aip = {"AIP_HTTP_PORT": "7080", "AIP_HEALTH_ROUTE": "/h", "AIP_PREDICT_ROUTE": "/p", "AIP_STORAGE_URI": str(tmp_path)}
    done = printed(**aip)
    assert setting(done, "port") == "port = 7080 # environment: AIP_HTTP_PORT"
    assert setting(done, "vertex-health-route") == 'vertex-health-route = "/h" # environment: AIP_HEALTH_ROUTE'
    assert setting(done, "vertex-predict-route") == 'vertex-predict-route = "/p" # environment: AIP_PREDICT_ROUTE'
    assert setting(done, "model") == f'model = "{tmp_path}" # environment: AIP_STORAGE_URI'
    config = tmp_path / "limoe.conf"
    config.write_text("port = 1001\n")
    assert setting(printed("--config", str(config), **aip), "port").startswith("port = 1001 #")
    assert setting(printed(LIMOE_PORT="1002", **aip), "port").startswith("port = 1002 #")
    assert setting(printed("--port", "1003", "--model", "m", **aip), "model") == 'model = "m" # flag: --model'
    assert setting(printed(AIP_HTTP_PORT="", AIP_STORAGE_URI=""), "port") == "port = 8080 # default"


@pytest.mark.parametrize("variables, message", [
    ({"AIP_HTTP_PORT": "http"}, 'AIP_HTTP_PORT is "http"; accepted: a whole number from 0 to 65535'),
    ({"AIP_PREDICT_ROUTE": "predict"}, 'vertex-predict-route is "predict"; accepted: a path'),
    ({"AIP_HEALTH_ROUTE": "health"}, 'vertex-health-route is "health"; accepted: a path'),
    ({"AIP_STORAGE_URI": "gs://bucket/model"}, 'model is "gs://bucket/model", by --model or AIP_STORAGE_URI; accepted: a directory'),
])
def test_vertex_variables_that_cannot_be_followed(variables, message):
    done = printed(**variables)
    assert done.returncode == 2 and message in done.stderr
    # What an option says instead is all that counts, but each value is checked.
    if "AIP_STORAGE_URI" in variables:
        assert printed("--model", "m", **variables).returncode == 0


# ---- Titan


def test_titan_is_one_vector(server, client):
    image = picture(5)
    cat, shown = own(client, ["cat", data_uri(image)])
    config = {"embeddingConfig": {"outputEmbeddingLength": len(cat)}}
    signed = "AWS4-HMAC-SHA256 Credential=AKID/20261127/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=00"
    boto3 = {"User-Agent": "Boto3/1.35.0", "Accept": "application/json", "X-Amzn-Bedrock-Accept": "*/*", "Authorization": signed}
    status, answer = asked(server, "/model/pictograms/invoke", {"inputText": "cat", **config}, **boto3)
    assert status == 200 and answer["embedding"] == cat and answer["inputTextTokenCount"] > 0
    # OpenSearch's connector sends both fields, null where a document lacks one.
    assert asked(server, "/model/pictograms/invoke", {"inputText": None, "inputImage": b64(image)})[1]["embedding"] == shown
    both = asked(server, "/model/pictograms/invoke", {"inputText": "cat", "inputImage": b64(image)})[1]["embedding"]
    total = [a + b for a, b in zip(cat, shown)]
    length = sum(x * x for x in total) ** 0.5
    assert both == pytest.approx([x / length for x in total], abs=1e-6)


def test_titan_errors_are_bedrocks(server):
    status, answer = asked(server, "/model/amazon.titan-embed-image-v1/invoke", {"inputText": "cat"})
    assert status == 404 and answer["__type"] == "ResourceNotFoundException" and "amazon.titan-embed-image-v1" in answer["message"]
    status, answer = asked(server, "/model/pictograms/invoke", {"inputText": "cat", "embeddingConfig": {"outputEmbeddingLength": 1024}})
    assert status == 400 and answer["__type"] == "ValidationException" and "must be 192" in answer["message"]
    assert asked(server, "/model/pictograms/converse", {"inputText": "cat"})[0] == 404


# ---- Immich


def predicted(server, entries, name, value, **more):
    """The form as Node's fetch writes it, which Immich's server sends it by."""
    boundary = "----formdata-undici-038812903344"
    parts = [("entries", "", json.dumps(entries).encode()), (name, *more.get("kind", ("",)), value), *more.get("rest", ())]
    body = b""
    for part, kind, content in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"{kind}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    headers = {"Accept": "*/*", "User-Agent": "node", "Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, _, answer = recorded(server, "POST", "/predict", headers, body)
    return status, json.loads(answer)


BLOB = ('; filename="blob"\r\nContent-Type: application/octet-stream',)


def clip(side, name="pictograms", **options):
    return {"clip": {side: {"modelName": name, **options}}}


def test_immich_vectors_are_strings(server, client):
    image = picture(6)
    text, shown = own(client, ["cat", data_uri(image)])
    status, answer = predicted(server, clip("visual"), "image", image, kind=BLOB)
    assert status == 200 and isinstance(answer["clip"], str) and json.loads(answer["clip"]) == shown
    assert answer["imageHeight"] > 0 and answer["imageWidth"] > 0
    status, answer = predicted(server, clip("textual", options={"language": "en"}), "text", b"cat")
    assert status == 200 and json.loads(answer["clip"]) == text and list(answer) == ["clip"]
    assert recorded(server, "GET", "/ping", {})[0] == 200


def test_immich_faces_and_text_are_refused_and_the_server_stays_healthy(server):
    """response.ok keeps it so; a body without faces and without text ends the job that asked."""
    for task in ("facial-recognition", "ocr"):
        entries = {task: {"detection": {"modelName": "m", "options": {"minScore": 0.7}}, "recognition": {"modelName": "m"}}}
        status, answer = predicted(server, entries, "image", picture(6), kind=BLOB)
        assert status == 200 and list(answer) == ["detail"] and f"there is no {task} here" in answer["detail"]


def test_immich_gets_no_other_models_vectors(server, start):
    entries = clip("textual", "ViT-B-32__openai")
    status, answer = predicted(server, entries, "text", b"cat")
    assert status == 404 and 'there is no model "ViT-B-32__openai" here' in answer["detail"]
    aliased = start("--model-alias", "ViT-B-32__openai", "--dialects", "immich")
    assert predicted(aliased, entries, "text", b"cat")[0] == 200
    status, head, body = recorded(aliased, "GET", "/ping", {})
    assert (status, body) == (200, b"pong") and "Content-Type: text/plain" in head


def test_immich_forms_that_are_wrong(server):
    text = ("text", "", b"dog")
    assert predicted(server, clip("textual"), "text", b"cat", rest=[text])[0] == 400
    assert predicted(server, clip("textual"), "image", picture(), kind=BLOB)[1]["detail"].startswith("there is a part image")
    assert predicted(server, clip("visual"), "image", b"no picture", kind=BLOB)[0] == 400
    assert predicted(server, [], "text", b"cat")[0] == 400
    status, _, answer = recorded(server, "POST", "/predict", {"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\nContent-")
    assert status == 400 and json.loads(answer)["detail"]


# ---- vllm bench serve: bytes as aiohttp sends them for its backends openai-embeddings, …-chat and …-clip

BENCH = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": "Python/3.12 aiohttp/3.13.2", "x-request-id": "benchmark-serving0"}


def benched(server, body):
    status, answer = asked(server, "/v1/embeddings", {"model": "pictograms", **body, "truncate_prompt_tokens": -1}, **BENCH)
    assert status == 200, answer
    return answer["data"][0]["embedding"], answer["usage"]["prompt_tokens"]


def test_vllm_bench(server, client):
    image = data_uri(picture(7))
    part = {"type": "image_url", "image_url": {"url": image}}
    words, (cat, shown) = {"type": "text", "text": "cat"}, own(client, ["cat", image])
    vector, tokens = benched(server, {"input": "cat"})
    assert vector == cat and tokens > 0
    assert benched(server, {"messages": [{"role": "user", "content": [words]}]}) == (cat, tokens)
    assert benched(server, {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}, part]}]})[0] == shown
    status, answer = asked(server, "/v1/embeddings", {"model": "pictograms", "messages": [{"role": "user", "content": [words, part]}]}, **BENCH)
    assert status == 400 and "exactly one is accepted" in answer["error"]["message"]


# ---- before the route


def test_keys_hold_and_probes_need_none(start, tmp_path):
    keys = key_file(tmp_path / "keys", "user-key-0123456789")
    with start("--api-keys-file", keys).client() as client:
        for path in ("/ping", "/vertex/health", "/v1/health/ready", "/v1/health/live"):
            assert client.get(path).status_code == 200
        refused = {"/invocations": "error", "/vertex/predict": "error", "/model/a/invoke": "message", "/predict": "detail"}
        for path, member in refused.items():
            answer = client.post(path, json={})
            assert answer.status_code == 401 and answer.json()[member]
        answer = client.get("/v1/metadata")
        assert answer.status_code == 401 and answer.json()["detail"] == answer.json()["message"]
        # Bedrock's own API keys come as ours do.
        answer = client.post("/model/pictograms/invoke", json={"inputText": "cat"}, headers={"Authorization": "Bearer user-key-0123456789"})
        assert answer.status_code == 200


def test_dialects_that_are_off_are_not_there(start):
    with start("--dialects", "titan").client() as client:
        assert client.post("/model/pictograms/invoke", json={"inputText": "cat"}).status_code == 200
        for method, path in (("POST", "/invocations"), ("POST", "/vertex/predict"), ("POST", "/predict"), ("GET", "/v1/metadata"), ("GET", "/ping")):
            assert client.request(method, path, json={}).status_code == 404
