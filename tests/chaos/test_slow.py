"""Thousands of connections that do nothing, or next to nothing, are no burden to the others."""

import resource
import socket
import threading
import time

import pytest
from conftest import SECONDS, STRICT, Load, capacity, wait_until

SLOW = 5000


@pytest.fixture
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Dribble(threading.Thread):
    """Half of the connections say nothing; the other half send one byte of a request a second."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.sockets = []
        for _ in range(SLOW):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            connection.setblocking(False)
            self.sockets.append(connection)
        self.start()

    def run(self):
        """A hundredth of them each hundredth of a second: slow clients do not move in step."""
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: limoe\r\nX-Slow: " + b"a" * 4096
        moving, at = self.sockets[::2], 0
        while not self.stopped.wait(0.01):
            for connection in moving[at % 100 :: 100]:
                try:
                    connection.send(head[at // 100 : at // 100 + 1])
                except OSError:
                    pass  # closed for being slow
            at += 1

    def close(self):
        self.stopped.set()
        self.join()
        for connection in self.sockets:
            connection.close()


def test_slow_clients_are_no_burden(start, report, descriptors):
    server = start("--idle-timeout", 600)
    mix = "image=1,text=2"
    rate = max(1, int(capacity(server, 3, mix=mix) * 0.3))
    options = {"rate": rate, "duration": SECONDS, "arrivals": "poisson", "mix": mix, "check": True}
    calm = Load(server, **options).result()
    idle = server.resident_bytes()
    slow = Dribble(server)
    try:
        wait_until(lambda: server.metric("limoe_connections") > SLOW)
        connections = server.metric("limoe_connections")
        held = server.resident_bytes() - idle
        done = Load(server, **options).result()
    finally:
        slow.close()
    report(
        rate=rate,
        connections=connections,
        calm_ms=calm["latency_ms"],
        slow_ms=done["latency_ms"],
        bytes_per_connection=held / SLOW,
        failed=done["failed"],
    )
    assert calm["failed"] == 0 and done["failed"] == 0 and done["refused"] == 0 and done["wrong"] == 0
    if STRICT:
        assert done["latency_ms"]["p99"] <= 1.5 * calm["latency_ms"]["p99"]
