"""Ten times more than the server can do: it goes on doing all it can, and says to the others when to come back."""

import time

from conftest import SECONDS, STRICT, Load, keep_apart

ITEMS = 32  # texts a request: the engine, not the network, is what is short; and each is done in one turn
QUEUE_SECONDS = 4  # of work that the queue may hold
MIX = {"mix": "text=1", "items": ITEMS, "unique_texts": True, "apart": True}
OPTIONS = ["--cache-bytes", 0, "--threads", 1, "--workers", 2]


def watch(server, load, seconds):
    """Tokens a second that are computed while the load lasts, and the most memory that the front has. (Requests a second
    would not do: the texts of a longer load have more digits, and so more tokens.)"""
    time.sleep(1)
    began, first, most = time.monotonic(), server.metric("limoe_step_tokens_sum"), 0
    while time.monotonic() < began + seconds - 2:
        time.sleep(0.1)
        most = max(most, server.resident_bytes())
    return (server.metric("limoe_step_tokens_sum") - first) / (time.monotonic() - began), most


def test_overload(start, report):
    probe = start(*OPTIONS)
    keep_apart(probe)
    load = Load(probe, closed=32, duration=8, **MIX)
    tokens, _ = watch(probe, load, 8)
    best = load.result()["achieved_rps"]
    probe.terminate()

    bound = int(tokens * QUEUE_SECONDS)
    server = start(*OPTIONS, "--queue-tokens", bound)
    keep_apart(server)
    idle_rss = server.resident_bytes()
    seconds = max(SECONDS, 2 * QUEUE_SECONDS)
    load = Load(server, rate=int(10 * best), duration=seconds, timeout=60, connections=2048, **MIX)
    good, most_rss = watch(server, load, seconds)
    done = load.result()
    report(
        unloaded_tokens_per_second=tokens,
        goodput_tokens_per_second=good,
        ratio=good / tokens,
        unloaded_rps=best,
        ok_rps=done["achieved_rps"],
        offered_rps=done["offered_rps"],
        refused=done["refused"],
        failed=done["failed"],
        queue_bound_seconds=QUEUE_SECONDS,
        latency_ms=done["latency_ms"],
        retry_after_s=done["retry_after_s"],
        server_ms=done.get("server_ms"),
        front_resident_mib=most_rss / 2**20,
        idle_resident_mib=idle_rss / 2**20,
    )
    assert done["failed"] == 0, done
    assert done["refused"] > 0 and done["ok"] > 0
    assert most_rss < idle_rss + 512 * 2**20
    if STRICT:
        assert good >= 0.95 * tokens
        assert done["latency_ms"]["p99"] <= 2 * QUEUE_SECONDS * 1000
        assert QUEUE_SECONDS / 2 <= done["retry_after_s"]["median"] <= 2 * QUEUE_SECONDS
