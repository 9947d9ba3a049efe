"""Protects the comparison of servers: what a bound that is kept means, the search for a rate, the ratios and their verdicts."""

import os
import subprocess
import sys

import pytest
from harness import ROOT

sys.path.insert(0, str(ROOT / "bench"))

import http_peers  # noqa: E402
from http_peers import Measured  # noqa: E402


def found(rate, p99, **changed):
    return {
        "refused": 0, "failed": 0, "dropped": 0, "latency_ms": {"p50": p99 / 2, "p99": p99}, "offered_rps": rate, "achieved_rps": rate, **changed,
    }  # fmt: skip


def test_what_keeps_a_bound():
    assert http_peers.kept(found(10, 100), 100)
    assert not http_peers.kept(found(10, 101), 100)
    for field in ("refused", "failed", "dropped"):
        assert not http_peers.kept(found(10, 50, **{field: 1}), 100)
    assert not http_peers.kept(found(10, 50, achieved_rps=9), 100)
    assert not http_peers.kept(found(10, 50, latency_ms={"p50": None, "p99": None}), 100)


@pytest.mark.parametrize("limit", [3.0, 55.0, 80.0, 104.0])
def test_the_search_ends_just_below_what_a_server_can_do(limit):
    asked = []

    def server(rate):
        asked.append(rate)
        return found(rate, 20 if rate <= limit else 500)

    rate, seen = http_peers.search(server, 100, 100, steps=9)
    assert limit - 1 <= rate <= limit and rate in asked
    assert seen["offered_rps"] == rate


def test_a_server_that_keeps_no_bound():
    assert http_peers.search(lambda rate: found(rate, 500), 100, 100) == (0.0, None)


def test_ratios_are_to_the_best_peer_in_each_regard():
    servers = {
        "limoe": Measured(start_s=0.1, rate_rps=400, memory_mb=50), "onnx": Measured(start_s=2, rate_rps=100, memory_mb=200),
        "infinity": Measured(start_s=9, rate_rps=50, memory_mb=900),
    }  # fmt: skip
    rates, memory, start = http_peers.ratios("case", servers, 4.0)
    assert rates.startswith("case: 4.00 ") and rates.endswith("aimed at 4: PASS")
    assert memory.startswith("case: 4.00 ") and memory.endswith("aimed at 5: MISSED")
    assert start.startswith("case: 20.00 ") and start.endswith("aimed at 10: PASS")
    assert http_peers.ratios("case", {"limoe": Measured()}, 4.0) == ["case: nothing to compare"]


def test_memory_is_of_all_processes():
    child = subprocess.Popen([sys.executable, "-c", "x = bytearray(50 << 20); print(1, flush=True); input()"], stdin=-1, stdout=-1)
    try:
        child.stdout.readline()
        assert child.pid in http_peers.tree(os.getpid())
        assert http_peers.memory_mb(os.getpid()) > http_peers.memory_mb(child.pid) > 50
    finally:
        child.communicate(b"\n")


@pytest.mark.parametrize("kind, magic", [("png", b"\x89PNG"), ("jpg", b"\xff\xd8\xff")])
def test_pictures_are_what_was_asked_for(tmp_path, kind, magic):
    from PIL import Image

    paths = http_peers.pictures(tmp_path, 64, kind, n=2)
    assert all(path.read_bytes().startswith(magic) for path in paths)
    assert paths[0].read_bytes() != paths[1].read_bytes() and Image.open(paths[0]).width == 64
