"""Protects what keys with names may ask for in a minute: what is let in, what a refusal says, in whose form, and what is counted."""

import concurrent.futures
import re
import signal
import time

import httpx
import pytest
from conftest import data_uri, key_file, picture, wait_until

ALICE, BOB, PLAIN, ADMIN = (f"{name}-key-0123456789" for name in ("alice", "bob", "plain", "admin"))


@pytest.fixture
def keys(tmp_path):
    return key_file(tmp_path / "keys")


@pytest.fixture
def asked(start, keys):
    """A function: what the lines of a key file say of the keys, to a server with these."""

    def run(lines, *options):
        keys.write_text(lines)
        return start("--api-keys-file", keys, *options)

    return run


def as_key(server, key, **headers):
    return server.client(headers={"Authorization": f"Bearer {key}", **headers})


def left(answer):
    """RateLimit's numbers: {"requests": (left, seconds until all of it is)}."""
    return {kind: (int(r), int(t)) for kind, r, t in re.findall(r'"(\w+)";r=(\d+);t=(\d+)', answer.headers.get("RateLimit", ""))}


def counted(server, name):
    page = httpx.get(server.url + "/metrics").text
    return {m[1] + (m[2] or ""): int(m[3]) for m in re.finditer(rf'^limoe_key_(\w+)_total\{{key="{name}"(?:,quota="(\w+)")?\}} (\d+)$', page, re.M)}


def test_requests_a_minute(asked):
    server = asked(f"{ALICE} name=alice requests-per-minute=3\n{BOB} name=bob\n{PLAIN}\n")
    with as_key(server, ALICE) as alice, as_key(server, BOB) as bob, as_key(server, PLAIN) as plain:
        first = alice.get("/v1/models")
        assert first.headers["RateLimit-Policy"] == '"requests";q=3;w=60' and left(first)["requests"][0] == 2 and left(first)["requests"][1] <= 20
        used = alice.post("/v1/embeddings", json={"input": "cat"}).json()["usage"]["total_tokens"]
        assert alice.get("/no/such/path").status_code == 404  # costs as much as any other
        refused = alice.post("/v1/embeddings", json={"input": "cat"})
        assert refused.status_code == 429 and left(refused)["requests"][0] == 0
        seconds = int(refused.headers["Retry-After"])
        assert 1 <= seconds <= 20
        assert refused.json()["error"] == {
            "message": f'the key "alice" has used up its quota of 3 requests per minute; try again in {seconds} s',
            "type": "rate_limit_error",
            "param": None,
            "code": "quota_exceeded",
        }
        for other in (bob, plain):
            for _ in range(5):
                answer = other.get("/v1/models")
                assert answer.status_code == 200 and "RateLimit" not in answer.headers
        assert alice.get("/health").status_code == 200  # whoever watches needs no key, and spends nothing
    assert counted(server, "alice") == {"requests": 3, "tokens": used, "pictures": 0, "refusedrequests": 1, "refusedtokens": 0}
    assert counted(server, "bob")["requests"] == 5
    page = httpx.get(server.url + "/metrics").text
    assert "0123456789" not in page and server.metric('limoe_requests_refused_total{reason="quota_exceeded"}') == 1
    assert server.metric('limoe_requests_refused_total{reason="queue_full"}') == 0


def test_tokens_are_those_that_usage_says(asked):
    server = asked(f"{ALICE} name=alice tokens-per-minute=600\n")
    with as_key(server, ALICE) as client:
        answer = client.post("/v1/embeddings", json={"input": ["a cat", "a red circle", {"image": data_uri(picture(1))}]})
        used = answer.json()["usage"]["total_tokens"]
        assert 600 - used <= left(answer)["tokens"][0] <= 600  # ten come back in a second
        again = client.post("/v1/embeddings", json={"input": ["a cat", "a red circle"]})  # the cache has them
        used += again.json()["usage"]["total_tokens"]
        bad = client.post("/v1/embeddings", json={"input": ["a dog", {"image": data_uri(b"no picture")}]})
        assert bad.status_code == 400
        assert left(bad)["tokens"][0] >= 600 - used  # was not computed, and is not charged
        assert counted(server, "alice") == {"requests": 3, "tokens": used, "pictures": 1, "refusedrequests": 0, "refusedtokens": 0}

        large = client.post("/v1/embeddings", json={"input": [f"text {i} of many" for i in range(400)]})
        assert large.status_code == 200 and large.json()["usage"]["total_tokens"] > 1200  # let in whole, and owed
        for answer in (client.post("/v1/embeddings", json={"input": "cat"}), client.put("/v1/classifiers/a", json={"labels": ["a"]})):
            assert answer.status_code == 429 and "its quota of 600 tokens per minute" in answer.json()["error"]["message"]
            assert int(answer.headers["Retry-After"]) > 60 and left(answer)["tokens"][0] == 0
        for path in ("/v1/models", "/v1/classifiers"):  # take none
            assert client.get(path).status_code == 200
    assert counted(server, "alice")["refusedtokens"] == 2


def test_many_at_once_get_no_more_than_there_is(asked):
    """All are let in by their heads, and the tokens of each are known before the next one's."""
    server = asked(f"{ALICE} name=alice tokens-per-minute=60\n")
    text = "a red circle beside a blue square"
    with as_key(server, ALICE) as client, concurrent.futures.ThreadPoolExecutor(16) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda i: client.post("/v1/embeddings", json={"input": [text] * 3}), range(64)))
        seconds = time.monotonic() - began
    assert {answer.status_code for answer in answers} == {200, 429}
    each = next(answer for answer in answers if answer.status_code == 200).json()["usage"]["total_tokens"]
    good = sum(answer.status_code == 200 for answer in answers)
    assert good * each <= 60 + each + seconds  # one beyond, and what comes back meanwhile
    assert counted(server, "alice")["tokens"] == good * each


def test_each_dialect_says_it_in_its_own_form(asked):
    server = asked(f"{ALICE} name=alice requests-per-minute=1\n")
    with as_key(server, ALICE) as client:
        assert client.post("/embed", json={"inputs": "cat"}).status_code == 200
        tei, rerank = client.post("/embed", json={"inputs": "cat"}), client.post("/rerank", json={"query": "cat", "documents": ["a"]})
    for answer in (tei, rerank):
        assert answer.status_code == 429 and 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.json()["error"].startswith('the key "alice" has used up its quota of 1 requests per minute')
    assert rerank.json()["message"] == rerank.json()["error"]


def test_a_reload_keeps_counters_and_balances(asked, keys):
    server = asked(f"{ALICE} name=alice requests-per-minute=2\n")
    with as_key(server, ALICE) as client:
        assert [client.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]

    def reload(lines, said):
        keys.write_text(lines)
        server.process.send_signal(signal.SIGHUP)
        wait_until(said)

    reload(f"{ALICE} name=alice requests-per-minute=2 colour=red\n", lambda: any(f"{keys}:1: word 3 behind the key" in line for line in server.log))
    assert counted(server, "alice")["requests"] == 2
    reload(f"{BOB} name=bob\n{PLAIN} name=alice requests-per-minute=2\n", lambda: counted(server, "bob"))
    with as_key(server, PLAIN) as client:
        assert client.get("/v1/models").status_code == 429
    assert counted(server, "alice") == {"requests": 2, "tokens": 0, "pictures": 0, "refusedrequests": 2, "refusedtokens": 0}
    reload(f"{PLAIN} name=alice\n", lambda: not counted(server, "bob"))
    with as_key(server, PLAIN) as client:
        assert client.get("/v1/models").status_code == 200
    assert counted(server, "alice")["requests"] == 3
    assert not [line for line in server.log if "0123456789" in line]


def test_admin_keys_have_names_too(start, keys):
    keys.write_text(f"{ADMIN} name=operator requests-per-minute=1\n")
    server = start("--admin-keys-file", keys)
    with as_key(server, ADMIN) as client:
        assert [client.get("/v1/loadtests").status_code for _ in range(2)] == [200, 429]
        assert client.get("/v1/models").status_code == 200  # needs no key here
    assert counted(server, "operator")["requests"] == 1
