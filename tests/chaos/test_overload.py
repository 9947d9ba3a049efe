"""Ten times more than the server can do: it goes on doing all it can, and says to the others when to come back."""

import time

from conftest import SECONDS, STRICT, Load, capacity, keep_apart

ITEMS = 32  # texts a request: the engine, not the network, is what is short; and each is done in one turn
QUEUE_SECONDS = 4  # of work that the queue may hold
MIX = {"mix": "text=1", "items": ITEMS, "unique_texts": True, "apart": True}
OPTIONS = ["--cache-bytes", 0, "--threads", 1, "--workers", 2]


def tokens_per_second(server, seconds=5):
    name = 'limoe_step_tokens_sum'
    before, began = server.metric(name), time.monotonic()
    best = capacity(server, seconds, **MIX)
    return best, (server.metric(name) - before) / (time.monotonic() - began)


def test_overload(start, report):
    probe = start(*OPTIONS)
    keep_apart(probe)
    best, tokens = tokens_per_second(probe)
    probe.terminate()

    bound = int(tokens * QUEUE_SECONDS)
    server = start(*OPTIONS, "--queue-tokens", bound)
    keep_apart(server)
    idle_rss = server.resident_bytes()
    load = Load(server, rate=int(10 * best), duration=max(SECONDS, 2 * QUEUE_SECONDS), timeout=60, connections=2048, **MIX)
    most_rss, hints = 0, []
    while load.busy():
        time.sleep(0.1)
        most_rss = max(most_rss, server.resident_bytes())
    done = load.result()
    report(
        unloaded_rps=best,
        goodput_rps=done["achieved_rps"],
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
        assert done["achieved_rps"] >= 0.95 * best
        assert done["latency_ms"]["p99"] <= 2 * QUEUE_SECONDS * 1000
        assert QUEUE_SECONDS / 2 <= done["retry_after_s"]["median"] <= 2 * QUEUE_SECONDS
