"""Ranks on GPUs of several hosts: the same bits from any number of them; and a host that is cut off, a rank that is killed,
reads another model, never comes, or comes too late, costs a wait and fails no request, while the ranks that were not
concerned keep their processes, and so their weights.

The GPUs and NCCL are emulated (tests/emulator), NCCL over TCP; the other hosts are network namespaces (hosts.py)."""

import os
import pathlib
import re
import shutil
import signal
import time

import pytest
from conftest import Clients, wait_until
from hosts import BRIDGE, FRONT, HOSTS, OWN, agent, cut, mend  # noqa: F401
from test_gpus import ENV, INPUT, answers, described, model, pytestmark  # noqa: F401

FAR, FAR_ADDRESS = next(iter(HOSTS.items()))
LOST = f"rank 1 on {FAR_ADDRESS}, cuda:0"


@pytest.fixture
def start_on(agent, start, model, tmp_path):  # noqa: F811
    """start_on([(host, slots), …], option, …): a server whose ranks are there."""
    shutil.copytree(model, tmp_path / "tiny")

    def run(hosts, *options):
        hostfile = tmp_path / f"hosts{len(hosts)}{hosts[0][1]}"
        hostfile.write_text("# the test's\n" + "".join(f"{host} slots={slots}\n" for host, slots in hosts))
        env = {**ENV, "LIMOE_TEST_EMULATED_DEVICES": "4", "NCCL_SOCKET_IFNAME": f"{BRIDGE},eth0"}
        return start(
            "--device", "cuda", "--ranks", sum(slots for _, slots in hosts), "--hostfile", hostfile, "--rank-agent", f"{agent} -q",
            "--rank-address", FRONT, "--cache-bytes", 0, "--model", tmp_path / "tiny", *options, env=env,
        )  # fmt: skip

    return run


def rank_processes(server):
    """{rank: its process id} of the server, on whatever host."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode().split("\0")
            if words[1:2] == ["engine"] and str(server.model) in words and "--rank" in words:
                found[int(words[words.index("--rank") + 1])] = int(path.name)
        except (OSError, UnicodeDecodeError):
            continue  # it has just ended
    return found


def test_answers_have_the_same_bits_on_one_host_and_on_two(start_on, start, model):  # noqa: F811
    one = start("--device", "cuda", "--cache-bytes", 0, "--model", model, env=ENV)
    want, fingerprint = answers(one), described(one)["fingerprint"]
    assert one.terminate() == 0
    for hosts in ([(FAR_ADDRESS, 1), (FRONT, 1)], [(FRONT, 2), (FAR_ADDRESS, 2)]):  # rank 0 is there, and here
        server = start_on(hosts)
        ranks, about = sum(slots for _, slots in hosts), described(server)
        assert about["ranks"] == len(about["by_rank"]) == ranks and about["fingerprint"] == fingerprint
        assert answers(server) == want
        assert len(server.children("engine")) == ranks // 2
        assert server.terminate() == 0
        server.assert_clean()
        assert sum("has come from" in line for line in server.log) == ranks // 2, server.log


def test_losses_of_another_host_are_a_wait(start_on, tmp_path, report):
    port = 20000 + OWN % 10000
    server = start_on([(FRONT, 1), (FAR_ADDRESS, 1)], "--step-timeout", 10, "--rank-address", f"{FRONT}:{port}")
    server.model = tmp_path / "tiny"
    body = {"input": INPUT[:1], "encoding_format": "base64"}
    with server.client() as client:
        expected = client.post("/v1/embeddings", json=body).content
    clients = Clients(server, body, expected)
    kept = rank_processes(server)[0]
    took = {}

    def told(pattern, seconds=30):
        wait_until(lambda: any(re.search(pattern, line) for line in server.log[seen:]), seconds)

    def answered():
        had = len(clients.times)
        wait_until(lambda: len(clients.times) >= had + 5, 60)  # one of them at least was asked for from here on

    def lose(name, disturb, *patterns, undo=lambda: None):
        nonlocal seen
        seen, began = len(server.log), time.monotonic()
        disturb()
        for pattern in patterns:
            told(pattern)
        undo()
        back = time.monotonic()
        answered()
        took[name] = [round(back - began, 1), round(next(at for at in clients.times if at > back) - back, 1)]
        assert rank_processes(server)[0] == kept, "a rank that was not concerned was replaced"

    def kill():
        os.kill(rank_processes(server)[1], signal.SIGKILL)

    seen = 0
    answered()
    lose("cut off", lambda: cut(FAR), f"{LOST} was lost: the connection is broken: Connection timed out", undo=lambda: mend(FAR))
    lose("killed", kill, f"{LOST} was lost: it closed its connection; started again")

    # Another model of the same shape: its last expert's last weight differs.
    other = tmp_path / "other"
    shutil.copytree(server.model, other)
    weights = next(other.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")

    def kill_with_another_model():
        (tmp_path / "model").write_text(str(other))
        kill()

    lose("another model", kill_with_another_model,
         rf"{re.escape(LOST)}\) was lost .* rank 0 says: another rank has opened another model than at first",
         undo=(tmp_path / "model").unlink)  # fmt: skip

    # What is started for the first round comes in the second, whose own never does.
    def kill_with_a_bad_agent():
        (tmp_path / "late").touch()
        (tmp_path / "never").touch()
        kill()

    lose("late, and never", kill_with_a_bad_agent,
         rf"{re.escape(LOST)}\) was lost .* the session that starts it exited with status 1",
         "turned away who came to the ranks' rendezvous: it did not show the token of this round",
         rf"{re.escape(LOST)}\) was lost .* it did not come to the front in \d+ s",
         undo=(tmp_path / "never").unlink)  # fmt: skip

    clients.stop()
    report(seconds_lost_and_to_answers=took, answers=len(clients.times), wrong=len(clients.wrong))
    assert not clients.wrong, clients.wrong[:3]
    assert server.metric('limoe_items_failed_total{reason="engine_lost"}') == 0
    assert rank_processes(server)[0] == kept
    server.log[:] = [line for line in server.log if " error " not in line]  # starts that fail are told as errors
