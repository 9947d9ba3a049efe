"""Ranks are killed under load, and ranks on other hosts (hosts.py) are cut off: nobody gets an error, and every answer keeps
its bits."""

import os
import pathlib
import shutil
import signal
import time

import pytest
from conftest import BUILD, SECONDS, STRICT, Clients, Load, assert_all_answered, b64, capacity, figures_of, picture, wait_until
from hosts import FRONT, HOSTS, NET, agent, cut, ip, mend  # noqa: F401

pytestmark = pytest.mark.skipif(
    not (BUILD / "limoe-mpi.so").exists() or not shutil.which("mpirun"), reason="needs limoe-mpi.so and mpirun"
)
ENV = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
MIX = "classify=1,image=1,text=2"


def ranks_of(server):
    """{rank: its process id} of the server's job, on whatever host."""
    found = {}
    for pid in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (pid / "cmdline").read_bytes().split(b"\0")
            if b"engine" not in words[1:2] or b"--connect" not in words:
                continue
            environment = dict(word.partition(b"=")[::2] for word in (pid / "environ").read_bytes().split(b"\0"))
            if environment.get(b"LIMOE_STATE_DIR") == server.state.name.encode():
                found[int(environment[b"OMPI_COMM_WORLD_RANK"])] = int(pid.name)
        except (OSError, KeyError):
            continue  # it has just ended
    return found


# ---- kills


def test_no_request_fails_while_ranks_are_killed(start, report):
    ranks = 3
    server = start("--ranks", ranks, env=ENV)
    best = capacity(server, mix=MIX)
    rate = max(1, int(best * 0.5))
    load = Load(server, rate=rate, duration=max(SECONDS, 6), arrivals="poisson", mix=MIX, check=True)
    killed = computed = 0
    time.sleep(1)
    while load.busy():
        pids, steps = ranks_of(server), server.metric("limoe_step_duration_seconds_count")
        if len(pids) == ranks and steps > computed:  # a busy machine may not start a job in the time between two kills
            try:
                os.kill(pids[killed % ranks], signal.SIGKILL)
                killed, computed = killed + 1, steps
            except ProcessLookupError:
                pass
        time.sleep(1.5)
    done = load.result()
    report(ranks=ranks, capacity_rps=best, rate=rate, killed=killed, **figures_of(server, done))
    assert killed > 0
    assert_all_answered(done)
    assert server.metric("limoe_engine_restarts_total") > 0
    server.log[:] = [line for line in server.log if " error " not in line]  # losses are told as errors


# ---- hosts


@pytest.fixture
def hosts(agent, tmp_path):
    """The options of a server whose ranks are on two hosts beside its own."""
    hostfile = tmp_path / "hosts"
    hostfile.write_text("".join(f"{address} slots=1\n" for address in HOSTS.values()))
    arguments = (
        f"--mca plm_rsh_agent {agent} --mca plm_rsh_no_tree_spawn 1 --mca btl self,tcp --mca pml ob1 "
        f"--mca btl_tcp_if_include {NET}.0/24 --mca oob_tcp_if_include {NET}.0/24 -x LIMOE_STATE_DIR"
    )
    return [
        "--ranks", len(HOSTS), "--hostfile", hostfile, "--rank-address", FRONT, "--mpi-arguments", arguments,
        "--step-timeout", 3, "--cache-bytes", 0,
    ]  # fmt: skip


def body(n):
    return {
        "input": [{"image": b64(picture(i))} if i % 3 == 0 else {"text": f"a picture of thing {i}"} for i in range(n)],
        "encoding_format": "base64",
    }


def answers_of_one_rank(start):
    """Of one rank: what /v1/embeddings says of body(12), and /v1/routing of body(6)."""
    one = start("--cache-bytes", 0)
    with one.client() as client:
        expected = client.post("/v1/embeddings", json=body(12)).content
        routed = client.post("/v1/routing", json={"input": body(6)["input"]}).content
    assert one.terminate() == 0
    return expected, routed


def assert_no_request_failed(server, clients):
    assert not clients.wrong, clients.wrong[:3]
    assert server.metric('limoe_items_failed_total{reason="engine_lost"}') == 0
    server.log[:] = [line for line in server.log if " error " not in line]  # starts that fail are told as errors


@pytest.mark.skipif(not STRICT, reason="LIMOE_CHAOS_STRICT is not set, and this takes minutes")
def test_a_host_that_is_cut_off_is_a_wait(hosts, start, report):
    expected, routed = answers_of_one_rank(start)
    server = start(*hosts, env=ENV)
    with server.client() as client:
        assert client.post("/v1/embeddings", json=body(12)).content == expected
        assert client.post("/v1/routing", json={"input": body(6)["input"]}).content == routed
    namespaces = {os.readlink(f"/proc/{pid}/ns/net") for pid in ranks_of(server).values()}
    assert len(namespaces) == len(HOSTS) and os.readlink("/proc/self/ns/net") not in namespaces

    clients = Clients(server, body(12), expected)
    cuts = []
    # Longer than a step may take: the job is given up meanwhile, and others are started in vain. Each length meets
    # what the network tries again in another state.
    for longer in (0, 1.7, 3.1):
        for name in HOSTS:
            clients.wait_for_more()
            cut(name)
            away = time.monotonic()
            time.sleep(max(SECONDS, 6) + longer)
            mend(name)
            back = time.monotonic()
            clients.wait_for_more()
            first = next(at for at in clients.times if at > back)
            cuts.append({"cut_s": round(back - away, 1), "recovered_s_after_it": round(first - back, 1)})
    clients.stop()
    report(cuts=cuts, answers=len(clients.times), wrong=len(clients.wrong),
           engine_restarts=server.metric("limoe_engine_restarts_total"))  # fmt: skip
    assert server.metric("limoe_engine_restarts_total") >= len(cuts)
    assert_no_request_failed(server, clients)


def part(names, apart):
    """Hosts do not reach each other, and nothing tells them: each has a wrong address of the network card of each."""
    for name in names:
        for other in names:
            if name != other and apart:
                ip("-n", name, "neigh", "replace", HOSTS[other], "lladdr", "02:00:00:00:00:99", "dev", "eth0",
                   "nud", "permanent")  # fmt: skip
            elif name != other:
                ip("-n", name, "neigh", "del", HOSTS[other], "dev", "eth0")


@pytest.mark.skipif(not STRICT, reason="LIMOE_CHAOS_STRICT is not set, and this takes minutes")
def test_hosts_that_do_not_reach_each_other_are_a_wait(hosts, start, report):
    """MPI hangs then for ever, in the first of its calls: the front, which all of them reach, must not."""
    expected, _ = answers_of_one_rank(start)
    server = start(*hosts, env=ENV)
    clients = Clients(server, body(12), expected)
    clients.wait_for_more()
    part(HOSTS, True)
    os.kill(ranks_of(server)[1], signal.SIGKILL)
    wait_until(lambda: any("only 0 of 2 ranks found the others in time" in line for line in server.log), 60)
    part(HOSTS, False)
    back = time.monotonic()
    clients.wait_for_more()
    clients.stop()
    report(recovered_s_after_it=round(next(at for at in clients.times if at > back) - back, 1))
    assert_no_request_failed(server, clients)
