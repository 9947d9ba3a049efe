"""Protects an engine of several ranks: the answers' bytes are those of one, the loss of any rank is nothing but a wait, what
is told of ranks adds up, and a job that cannot start says why."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import httpx
import pytest
from conftest import BUILD, MODEL, Clients, Server, b64, picture, stop_cleanly, wait_until
from test_adapters import adapter_bytes

pytestmark = pytest.mark.skipif(
    not (BUILD / "limoe-mpi.so").exists() or not shutil.which("mpirun"), reason="needs limoe-mpi.so and mpirun"
)
# Open MPI frees little at its end, and what it holds is not ours to report.
ENV = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
TEXTS = ["a picture of a cat", "dog", "", "a red circle beside a blue square", "猫", "one more text, longer than the others"]


def texts(n):
    return [f"{TEXTS[i % len(TEXTS)]} {i}" for i in range(n)]


def items(n):
    return [{"image": b64(picture(i))} if i % 3 == 0 else {"text": text} for i, text in enumerate(texts(n))]


def ranks_of(server):
    """{rank: its process id} of the server's job, by what Open MPI has told them."""
    found = {}
    for pid in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (pid / "cmdline").read_bytes().split(b"\0")
            if b"--connect" not in words or not words[0].decode() == f"/proc/{server.process.pid}/exe":
                continue
            environment = dict(word.partition(b"=")[::2] for word in (pid / "environ").read_bytes().split(b"\0"))
            found[int(environment[b"OMPI_COMM_WORLD_RANK"])] = int(pid.name)
        except (OSError, KeyError):
            continue  # it has just ended
    return found


def described(server):
    return httpx.get(server.url + "/v1/models", timeout=60).json()["data"][0]


def answers(server):
    """The bytes of many kinds of answers."""
    requests = [
        ("/v1/embeddings", {"input": items(40), "encoding_format": "base64"}),
        ("/v1/embeddings", {"input": "alone"}),
        ("/v1/classify", {"image": b64(picture(5)), "labels": ["cat", "dog", "boat"]}),
        ("/v1/routing", {"input": items(7)}),
        ("/v1/routing", {"input": [{"text": "x"}]}),
    ]
    with server.client() as client:
        found = [client.post(path, json=body) for path, body in requests]
    assert all(response.status_code == 200 for response in found), [response.text[:300] for response in found]
    return [response.content for response in found]


@pytest.fixture(scope="module")
def one():
    """What a server of one rank answers."""
    server = Server("--cache-bytes", 0)
    found = answers(server)
    stop_cleanly(server)
    return found


@pytest.fixture
def start_ranks(start):
    return lambda n, *options: start("--cache-bytes", 0, "--ranks", n, *options, env=ENV)


@pytest.mark.parametrize("n", [2, 3])
def test_answers_have_the_bytes_of_one_rank(start_ranks, one, n):
    server = start_ranks(n)
    assert answers(server) == one
    model = described(server)
    assert model["ranks"] == n and [rank["rank"] for rank in model["by_rank"]] == list(range(n))
    assert sorted(ranks_of(server)) == list(range(n))


def test_one_rank_is_one_process_without_mpirun(start, one):
    server = start("--cache-bytes", 0, "--ranks", 1, "--mpirun", "/nowhere")
    assert answers(server) == one
    assert len(server.children("engine")) == 1
    model = described(server)
    assert model["ranks"] == 1 and len(model["by_rank"]) == 1
    assert server.metric('limoe_exchange_bytes_total{model="pictograms",layer="1"}') == 0


def test_ranks_over_tcp_and_none_after_them(start_ranks, one):
    server = start_ranks(3, "--rank-address", "127.0.0.1", "--mpi-arguments", "--mca btl self,tcp  --mca pml ob1")
    assert answers(server) == one
    pids = ranks_of(server)
    words = pathlib.Path(f"/proc/{pids[0]}/cmdline").read_bytes().decode().split("\0")
    address = words[words.index("--connect") + 1]
    assert re.fullmatch(r"tcp:127\.0\.0\.1:\d+", address)
    with pytest.raises(ConnectionRefusedError):  # all have come: there is no more to join
        socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), timeout=10)
    assert b"LIMOE_RANK_TOKEN" not in b"".join(
        pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids.values()
    )


def test_ranks_end_with_the_server(start_ranks):
    server = start_ranks(2)
    pids = ranks_of(server)
    server.kill()
    wait_until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids.values()))


def test_a_stop_leaves_nothing(start, tmp_path):
    server = start("--cache-bytes", 0, "--ranks", 2, env={**ENV, "TMPDIR": str(tmp_path)})
    pids = ranks_of(server)
    assert list(tmp_path.iterdir())  # mpirun's, and the socket: they are here
    assert server.terminate() == 0
    server.assert_clean()
    wait_until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids.values()))  # init reaps them
    assert not list(tmp_path.iterdir())
    assert not [line for line in server.log if "mpirun" in line], server.log  # it saw no failure


def test_mpirun_keeps_out_of_the_log(start_ranks):
    """Also where it has something to say: a rank is lost. What there is to say the front says, in a line of its own."""
    server = start_ranks(2)
    os.kill(ranks_of(server)[1], signal.SIGKILL)
    wait_until(lambda: server.metric("limoe_engine_restarts_total") == 1 and len(ranks_of(server)) == 2)
    stop_cleanly(server)
    assert [line for line in server.log if "warning engine: process" in line and "was lost: rank 1" in line], server.log
    assert not [line for line in server.log if not re.match(r"\d{4}-\d\d-\d\dT\S+Z (info|warning) ", line)], server.log


def placement(n, *options):
    done = subprocess.run(
        [BUILD / "limoe", "inspect", MODEL, "--ranks", str(n), "--json", *map(str, options)],
        capture_output=True, text=True, timeout=60, check=True,
    )
    return json.loads(done.stdout)


def shares(lengths, n):
    """Which rank has which item: the longest first, each to whoever has the fewest tokens."""
    tokens, rank = [0] * n, {}
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        rank[item] = tokens.index(min(tokens))
        tokens[rank[item]] += lengths[item]
    return rank, tokens


@pytest.mark.parametrize("n", [2, 3])
def test_what_is_told_of_ranks_adds_up(start_ranks, n):
    server = start_ranks(n)
    planned, model = placement(n), described(server)
    assert model["by_rank"] == planned["ranks"]
    assert sum(rank["experts"] for rank in model["by_rank"]) == len(model["moe"]["blocks"]) * model["moe"]["experts"]
    assert all(rank["expert_bytes"] == rank["experts"] * planned["expert_bytes"] for rank in model["by_rank"])

    routed = httpx.post(server.url + "/v1/routing", json={"input": items(10)}, timeout=60).json()
    assert server.metric("limoe_step_items_count") == 1  # one step, and the probes are not counted
    lengths = [item["tokens"] for item in routed["data"]]
    rank, tokens = shares(lengths, n)
    imbalance = server.metric('limoe_rank_imbalance_ratio_sum{model="pictograms"}')
    assert imbalance == pytest.approx(max(tokens) * n / sum(tokens), abs=2e-3)
    row_bytes = model["width"] * {"float32": 4, "bfloat16": 2}[model["dtype"]]
    for layer, block in enumerate(model["moe"]["blocks"]):
        rows = sum(
            planned["placement"][layer][expert] != [rank[i]]
            for i, item in enumerate(routed["data"])
            for token in experts_of(item, layer, block)
            for expert in token
        )
        label = f'{{model="pictograms",layer="{block}"}}'
        assert server.metric(f"limoe_exchange_rows_total{label}") == rows
        counts = (n - 1) * model["moe"]["experts"] * 4  # each rank tells each expert of others how many rows come
        assert server.metric(f"limoe_exchange_bytes_total{label}") == 2 * rows * row_bytes + counts
        assert server.metric(f"limoe_exchange_seconds_total{label}") > 0
    for r in range(n):
        assert server.metric(f'limoe_process_resident_memory_bytes{{process="engine",index="{r}"}}') > 1 << 20


def experts_of(item, layer, block):
    found = item["layers"][layer]
    assert found["block"] == block
    return [expert if isinstance(expert, list) else [expert] for expert in found["experts"]]


def test_a_measured_load_places_experts(start_ranks, one, tmp_path):
    server = start_ranks(2)
    httpx.post(server.url + "/v1/embeddings", json={"input": items(60)}, timeout=60).raise_for_status()
    measured = httpx.get(server.url + "/v1/models/pictograms/load", timeout=60)
    assert measured.json()["format"] == "limoe-load-1"
    load = measured.json()["load"]
    for layer, block in enumerate(described(server)["moe"]["blocks"]):
        for expert, rows in enumerate(load[layer]):
            assert rows == sum(
                server.metric(
                    f'limoe_expert_tokens_total{{model="pictograms",layer="{block}",expert="{expert}",modality="{m}"}}'
                )
                for m in ("image", "text")
            )
    path = tmp_path / "load.json"
    path.write_bytes(measured.content)
    for size in (0, 1 << 40):  # without copies, and with a copy of everything everywhere
        options = ["--load", path] + (["--expert-bytes", f"{size >> 30}GiB"] if size else [])
        placed = start_ranks(2, *options)
        assert answers(placed) == one
        planned = placement(2, "--load", path, *(["--expert-bytes", size] if size else []))
        assert described(placed)["by_rank"] == planned["ranks"]
    assert httpx.get(server.url + "/v1/models/other/load", timeout=60).status_code == 404


def test_the_loss_of_any_rank_is_a_wait(start_ranks):
    server = start_ranks(3)
    with server.client() as client:
        body = {"input": items(12), "encoding_format": "base64"}
        expected = client.post("/v1/embeddings", json=body).content
    clients = Clients(server, body, expected)
    for victim in (0, 1, 2):
        wait_until(lambda: len(ranks_of(server)) == 3)
        clients.wait_for_more()
        killed, at = ranks_of(server), time.monotonic()
        os.kill(killed[victim], signal.SIGKILL)
        wait_until(lambda: len(ranks_of(server)) == 3 and not set(ranks_of(server).values()) & set(killed.values()))
        clients.wait_for_more()
        gap = max(b - a for a, b in zip([at, *clients.times], clients.times) if b > at)
        print(f"rank {victim} lost: {gap * 1000:.0f} ms without an answer")
    clients.stop()
    assert not clients.wrong, clients.wrong[:3]
    assert server.metric("limoe_engine_restarts_total") == 3
    assert server.metric('limoe_items_failed_total{reason="engine_lost"}') == 0


def refused(*options):
    done = subprocess.run(
        [BUILD / "limoe", "serve", "--port", "0", "--model", MODEL, *map(str, options)],
        capture_output=True, text=True, timeout=120, env={**os.environ, **ENV},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "options, reason",
    [
        (["--ranks", 2, "--hostfile", "hosts"], "hostfile is set and rank-address is not"),
        (["--rank-address", "::1"], "rank-address is set and ranks is 1"),
        (["--load", "x.json"], "load is set and ranks is 1"),
        (["--ranks", 2, "--expert-bytes", "1MiB"], "expert-bytes is set and load is not"),
        (["--ranks", 0], "ranks is \"0\"; accepted: a whole number from 1 to 1024"),
    ],
)
def test_options_that_do_not_go_together(options, reason):
    status, told = refused(*options)
    assert status == 2 and reason in told, told


def test_a_job_that_cannot_start_says_why(tmp_path):
    (tmp_path / "hosts").write_text("localhost slots=1\n")
    cases = [
        (["--mpirun", "/nowhere/mpirun"], 'cannot start "/nowhere/mpirun": No such file or directory'),
        (["--mpirun", "/bin/false"], "mpirun exited with status 1"),
        (["--hostfile", tmp_path / "hosts", "--rank-address", "127.0.0.1"], "not enough slots available"),
        (["--load", tmp_path / "none.json"], "none.json"),
        (["--rank-address", "192.0.2.1"], "cannot listen for ranks at 192.0.2.1"),
    ]
    for options, reason in cases:
        status, told = refused("--ranks", 2, *options, "--state-dir", tmp_path)
        assert status == 1 and reason in told, told


def test_adapters_are_refused_and_nothing_is_kept(start_ranks):
    server = start_ranks(2)
    with server.client() as client:
        base = subprocess.run([BUILD / "limoe", "inspect", MODEL, "--digest"], capture_output=True, text=True, check=True).stdout.strip()
        about = {"format": "limoe-adapter-1", "kind": "tail", "base": base, "start_block": 7}
        put = client.put("/v1/adapters/pets", content=adapter_bytes(about, {"ln.bias": [0.5] * 192}))
        assert put.status_code == 400 and put.json()["error"]["code"] == "unsupported_adapter"
        assert "on 2 ranks; adapters work on 1" in put.json()["error"]["message"]
        assert client.get("/v1/adapters").json()["data"] == []
        assert client.post("/v1/embeddings", json={"input": "a", "adapter": "base"}).status_code == 200
