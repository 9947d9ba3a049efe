"""Protects docs/clients.md: its Python blocks run as they stand, with the clients' own packages, and get the server's bits; its
configurations are such, name addresses that are served and dimensions that are the model's."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
HERE = "http://127.0.0.1:8080"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
# Languages, and how many blocks of each: one that is added needs a test here, or is Python.
COUNTED = {"yaml": 3, "sql": 1, "ini": 2, "json": 2, "js": 1, "sh": 2}


def recipes():
    """(heading, language, text) of each block."""
    return [(section.split("\n", 1)[0], language, text)
            for section in re.split(r"^## ", PAGE, flags=re.M)[1:] for language, text in FENCE.findall(section)]


def blocks(heading, language):
    found = [text for where, kind, text in recipes() if (where, kind) == (heading, language)]
    assert found, f"no {language} under {heading}"
    return found


PYTHON = [(where, text) for where, language, text in recipes() if language == "python" and "# locustfile.py" not in text]
NAMES = [f"{where} {i}" for i, (where, _) in enumerate(PYTHON)]


@pytest.fixture
def here(server, tmp_path, monkeypatch):
    """A folder with the examples, in which a block finds what it names; text → the same for this server."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return lambda text: text.replace(HERE, server.url).replace(HERE.removeprefix("http://"), server.url.removeprefix("http://"))


def embedded(client, inputs):
    rows = client.post("/v1/embeddings", json={"input": inputs}).raise_for_status().json()["data"]
    return np.array([row["embedding"] for row in rows], np.float32)


def test_every_block_is_taken():
    """And none is left out because its fence is not read."""
    count = {}
    for _, language, _ in recipes():
        count[language] = count.get(language, 0) + 1
    assert count.pop("python") == len(PYTHON) + 1 and len(PYTHON) >= 14
    assert count == COUNTED
    assert len(FENCE.findall(PAGE)) == sum(count.values()) + len(PYTHON) + 1 == PAGE.count("\n```") // 2


@pytest.mark.parametrize("where, text", PYTHON, ids=NAMES)
def test_a_recipe(where, text, here, client):
    """In this process, as it stands: what it leaves is compared."""
    left = {}
    exec(compile(here(text), f"docs/clients.md, {where}", "exec"), left)
    assert "vectors" in left or "best" in left, "nothing to compare"
    if "vectors" in left:
        inputs = left["texts"] if "texts" in left else [{"image": image} for image in left["images"]]
        assert np.array_equal(np.array(left["vectors"], np.float32), embedded(client, inputs))
    if "best" in left:
        assert re.search(r"\bcat\b", left["best"])
    if "literals" in left:  # pgvector's text, which the extension reads as float4
        read = np.array([json.loads(literal) for literal in left["literals"]], np.float32)
        assert np.array_equal(read, embedded(client, left["texts"]))


def test_the_recipes_see_a_wrong_answer(here, client):
    """A block that got other vectors would fail."""
    with pytest.raises(AssertionError):
        test_a_recipe("made", 'texts = ["a cat"]\nvectors = [[0.0] * 192]', here, client)
    with pytest.raises(AssertionError, match="nothing to compare"):
        test_a_recipe("made", "import json", here, client)


def test_langchain_shows_why_token_ids_are_refused(server):
    """Its default; the remedy is in the recipe."""
    from langchain_openai import OpenAIEmbeddings

    model = OpenAIEmbeddings(base_url=f"{server.url}/v1", api_key="none", model="pictograms", check_embedding_ctx_length=False)
    with pytest.raises(Exception, match=r"input\[0\]"):
        model.client.create(input=[[1, 2, 3]], model="pictograms")


def test_litellm_gateway_configuration(here, client):
    [entry] = yaml.safe_load(here(blocks("LiteLLM", "yaml")[0]))["model_list"]
    import litellm

    answer = litellm.embedding(input=["a cat"], **entry["litellm_params"])
    assert np.array_equal(np.array([answer.data[0]["embedding"]], np.float32), embedded(client, ["a cat"]))


def test_pgvector_has_the_models_dimensions(client):
    [sql] = blocks("pgvector", "sql")
    embed = client.get("/v1/models").json()["data"][0]["embed"]
    assert re.findall(r"\bvector\((\d+)\)", sql) == [str(embed)]
    assert f"`bit({embed})`" in PAGE


def test_open_webui_asks_what_is_there(here, client):
    """The bodies are those that its functions for embeddings and for an external reranker send."""
    lines = here(blocks("Open WebUI", "ini")[0]).splitlines()
    assert all(re.fullmatch(r"[A-Z_]+=\S+", line) for line in lines)
    said = dict(line.split("=", 1) for line in lines)
    key = {"Authorization": f"Bearer {said['RAG_OPENAI_API_KEY']}"}
    answer = client.post(said["RAG_OPENAI_API_BASE_URL"] + "/embeddings", headers=key,
                         json={"input": ["a cat"], "model": said["RAG_EMBEDDING_MODEL"]})
    assert answer.status_code == 200 and len(answer.json()["data"]) == 1
    answer = client.post(said["RAG_EXTERNAL_RERANKER_URL"], headers=key,
                         json={"model": said["RAG_RERANKING_MODEL"], "query": "cat", "documents": ["dog", "cat"], "top_n": 2})
    ranked = sorted(answer.json()["results"], key=lambda one: one["index"])
    assert ranked[1]["relevance_score"] > ranked[0]["relevance_score"]


def test_weaviate_asks_what_is_there(here, client):
    """Its module asks whether the server is ready, what it is, and for vectors."""
    said = dict(line.split("=", 1) for line in here(blocks("Weaviate", "ini")[0]).splitlines())
    api = said["CLIP_INFERENCE_API"]
    assert client.get(f"{api}/.well-known/ready").status_code == 204 and client.get(f"{api}/meta").status_code == 200
    answer = client.post(f"{api}/vectorize", content=b'{"texts":["a cat"],"images":null}')
    assert np.array_equal(np.array(answer.raise_for_status().json()["textVectors"], np.float32), embedded(client, ["a cat"]))


def test_elasticsearch_asks_what_is_there(here, client):
    service, index = (json.loads(here(text)) for text in blocks("Elasticsearch", "json"))
    settings = service["service_settings"]
    answer = client.post(settings["url"], headers={"Authorization": f"Bearer {settings['api_key']}"},
                         json={"input": ["a cat"], "model": settings["model_id"]})
    [row] = answer.raise_for_status().json()["data"]
    vector = index["mappings"]["properties"]["embedding"]
    assert vector["dims"] == len(row["embedding"])
    # What dot_product demands of an index's vectors.
    assert vector["similarity"] == settings["similarity"] == "dot_product" and np.linalg.norm(row["embedding"]) == pytest.approx(1, abs=1e-6)


def program(name):
    """Of this environment."""
    return pathlib.Path(sys.executable).with_name(name)


def test_k6(here, tmp_path, server):
    [script] = blocks("k6", "js")
    (tmp_path / "script.js").write_text(here(script).replace("10s", "2s"))
    before = server.metric('limoe_requests_total{code="200"}')
    [command] = blocks("k6", "sh")
    done = subprocess.run([program("k6"), *command.split()[1:], "--quiet", "--no-usage-report"], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.metric('limoe_requests_total{code="200"}') >= before + 20


def test_locust(here, tmp_path, server):
    [text] = blocks("locust", "python")
    (tmp_path / "locustfile.py").write_text(text)
    [command] = blocks("locust", "sh")
    arguments = here(command).replace("--users 8 --run-time 10s", "--users 2 --run-time 4s --csv said").split()
    done = subprocess.run([program("locust"), *arguments[1:]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    total = (tmp_path / "said_stats.csv").read_text().splitlines()[-1].split(",")
    assert total[1] == "Aggregated" and int(total[2]) > 0 and int(total[3]) == 0


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs Debian's prometheus")
def test_prometheus(here, tmp_path, client):
    (tmp_path / "prometheus.yml").write_text(here(blocks("Prometheus", "yaml")[0]))
    done = subprocess.run(["promtool", "check", "config", "prometheus.yml"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["promtool", "check", "metrics"], input=client.get("/metrics").text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_grafana():
    """As the provisioning in deploy/, which compose uses."""
    ours, page = (yaml.safe_load(text) for text in
                  ((ROOT / "deploy/grafana/provisioning/dashboards/limoe.yaml").read_text(), blocks("Grafana", "yaml")[0]))
    [provider], [shown] = ours["providers"], page["providers"]
    assert page["apiVersion"] == ours["apiVersion"] and shown.items() <= provider.items()


def test_the_examples_that_it_names_are_there():
    named = set(re.findall(r"examples/[\w.]+", PAGE))
    assert named and all((ROOT / path).is_file() for path in named)
