"""A picture that kills whoever computes it fails alone: its 500 neighbours are answered, bit for bit as without it."""

import concurrent.futures
import io

import harness
import httpx
import pytest
from conftest import HOOKS
from harness import copy_captioner, data_uri, picture
from PIL import Image

NEIGHBOURS = 500
COLOUR = (1, 2, 3)


@pytest.fixture
def hooked(monkeypatch, start):
    """start(), with a build that has the hooks."""
    assert (HOOKS / "limoe").exists(), f"{HOOKS} is no build with -Dtest_hooks=true"
    monkeypatch.setattr(harness, "BUILD", HOOKS)
    return start


def poison():
    out = io.BytesIO()
    Image.new("RGB", (64, 64), COLOUR).save(out, "PNG")
    return {"input": [{"image": data_uri(out.getvalue())}]}


def neighbour(i):
    if i % 3:
        return {"input": [f"neighbour {i}"], "encoding_format": "base64"}
    return {"input": [{"image": data_uri(picture(i))}], "encoding_format": "base64"}


def send(server, bodies, path="/v1/embeddings"):
    """All at once; status and answer of each."""
    limits = httpx.Limits(max_connections=len(bodies))
    with httpx.Client(base_url=server.url, timeout=300, limits=limits) as client:
        with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
            answers = pool.map(lambda body: client.post(path, json=body), bodies)
            return [(answer.status_code, answer.json()) for answer in answers]


def test_a_poisonous_item_fails_alone(hooked, report):
    bodies = [neighbour(i) for i in range(NEIGHBOURS)]
    calm = hooked("--cache-bytes", 0)
    expected = send(calm, bodies)
    assert all(status == 200 for status, _ in expected)

    server = hooked("--cache-bytes", 0, env={"LIMOE_TEST_CRASH_PIXEL": ",".join(map(str, COLOUR))})
    half = NEIGHBOURS // 2
    answers = send(server, bodies[:half] + [poison()] + bodies[half:])
    status, poisoned = answers.pop(half)
    restarts = server.metric("limoe_engine_restarts_total")
    report(neighbours=NEIGHBOURS, engine_restarts=restarts, answer=poisoned["error"]["message"])
    assert answers == expected
    assert status == 500 and poisoned["error"]["code"] == "engine_error", poisoned
    assert restarts >= 2, "one loss may be chance: it takes two to be suspected"
    assert send(server, bodies[:10]) == expected[:10]
    server.log[:] = [line for line in server.log if " error " not in line]  # the loss is told as one


def test_a_poisonous_picture_fails_alone_among_captions(hooked, report, tmp_path):
    """Captions in the making are begun anew by each engine that it ends, and come out as they would have."""
    folder = copy_captioner(tmp_path / "captions")
    images = [data_uri(picture(i)) for i in range(40)]
    bodies = [{"images": images[i : i + 2], "top_k": 50, "n": 4, "seed": i} for i in range(39)]
    calm = hooked("--model", folder)
    expected = send(calm, bodies, "/v1/captions")
    assert all(status == 200 for status, _ in expected)

    server = hooked("--model", folder, env={"LIMOE_TEST_CRASH_PIXEL": ",".join(map(str, COLOUR))})
    answers = send(server, [*bodies[:20], {"image": poison()["input"][0]["image"]}, *bodies[20:]], "/v1/captions")
    status, poisoned = answers.pop(20)
    report(captions=len(bodies), engine_restarts=server.metric("limoe_engine_restarts_total"), begun_anew=server.metric("limoe_caption_restarts_total"))
    assert answers == expected
    assert status == 500 and poisoned["error"]["code"] == "engine_error", poisoned
    assert server.metric("limoe_engine_restarts_total") >= 2 and server.metric("limoe_queue_caption_tokens") == 0
    server.log[:] = [line for line in server.log if " error " not in line]


@pytest.mark.parametrize("what", ["crash", "hang", "socket", "open"])
def test_a_picture_that_breaks_its_decoder_fails_alone(hooked, what):
    """A decoder that crashes, hangs, or does what its sandbox forbids: the picture is at fault, and only it."""
    bodies = [neighbour(i) for i in range(0, 60)]
    calm = hooked("--cache-bytes", 0)
    expected = send(calm, bodies)
    server = hooked("--cache-bytes", 0, "--decode-timeout", 2, env={"LIMOE_TEST_DECODER": what})
    broken = {"input": [{"image": data_uri(picture(1) + b"LIMOE-TEST")}]}
    answers = send(server, bodies + [broken])
    status, poisoned = answers.pop()
    assert answers == expected
    # One that computes for ever is told by its processor time: too large for any client's sake, and tried once.
    assert status == (413 if what == "hang" else 500) and "decoder" in poisoned["error"]["message"], poisoned
    assert poisoned["error"]["param"] == "input[0].image"
    assert send(server, bodies[:10]) == expected[:10]
    server.log[:] = [line for line in server.log if " error " not in line]


def test_poison_for_one_model_is_nothing_to_another(hooked, report, tmp_path):
    """A picture that ends its engine and its own model's alone: the same picture's other model does not even see it."""
    names = ("poisoned", "sound")
    for name in names:
        (tmp_path / name).symlink_to(harness.MODEL)
    listed = ",".join(f"{name}={tmp_path / name}" for name in names)
    bodies = [{**neighbour(i), "model": "sound"} for i in range(NEIGHBOURS // 2)]
    expected = send(hooked("--cache-bytes", 0, "--model", listed), bodies)
    assert all(status == 200 for status, _ in expected)

    server = hooked("--cache-bytes", 0, "--model", listed, env={"LIMOE_TEST_CRASH_PIXEL": ",".join(map(str, COLOUR))})
    poisoned = [{**poison(), "model": "poisoned"}, {**neighbour(1), "model": "poisoned"}]
    half = len(bodies) // 2
    answers = send(server, bodies[:half] + poisoned + bodies[half:])
    (status, told), (beside, _) = answers[half], answers[half + 1]
    del answers[half : half + 2]
    restarts = {name: server.metric(f'limoe_engine_restarts_total{{model="{name}"}}') for name in names}
    report(neighbours=len(bodies), engine_restarts=restarts)
    assert answers == expected
    assert status == 500 and told["error"]["code"] == "engine_error" and beside == 200
    assert restarts["poisoned"] >= 2 and restarts["sound"] == 0
    assert any("engine poisoned: " in line and "was lost" in line for line in server.log)
    server.log[:] = [line for line in server.log if " error " not in line]
