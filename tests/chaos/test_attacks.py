"""One client that means harm, or behaves as if: the others are answered as if it were not there.

Each attack goes on for the whole of a load at half of what the server can do. It is bounded in count, size and pace: what
is tested is what little of it costs, not a flood. None of the others' requests may fail or be refused, and the front's
memory stays within what docs/operations.md states. How much later the others are answered is judged in strict runs:
there the engine has a processor of its own, since the attacker and the load would take theirs from it.
"""

import contextlib
import io
import json
import os
import socket
import sqlite3
import struct
import threading
import time

import httpx
import pytest
from conftest import SECONDS, STRICT, Load, Memory, b64, capacity, keep_apart, others_processor, picture
from PIL import Image

MIX = "classify=1,image=1,text=2"
QUEUE_BYTES = 128 * 2**20  # --queue-bytes by default
# What the front holds beside the queue's bytes: itself, the cache of texts, connections (docs/operations.md).
BESIDE_QUEUE = 160 * 2**20


class Attack:
    """Threads that repeat one act until told to stop. An act that the server cuts short is what is wanted."""

    def __init__(self, act, threads=1, pause=0.0):
        self.stopped = threading.Event()
        self.acts = 0
        self.act, self.pause = act, pause
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self):
        while not self.stopped.is_set():
            with contextlib.suppress(OSError, httpx.HTTPError):
                self.act(self.stopped)
            self.acts += 1
            self.stopped.wait(self.pause)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)


def head(path, length, kind="application/json", more=""):
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\r\n"
    ).encode()


def gone(connection, seconds, stopped):
    """Waits, reading nothing, until the server has closed the connection, `seconds` are over or the test is."""
    until = time.monotonic() + seconds
    connection.setblocking(False)
    while time.monotonic() < until and not stopped.wait(0.05):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if info[0] != 1:  # no longer TCP_ESTABLISHED
            return


# ---- the acts, by the weakness that each looks for


def large_picture(side):
    out = io.BytesIO()
    Image.effect_noise((side // 8, side // 8), 90).resize((side, side)).convert("RGB").save(out, "JPEG", quality=60)
    return out.getvalue()


def unwanted_decodes(server):
    """Requests of many large pictures, of which some have a short deadline, and some a client that does not wait."""
    body = json.dumps({"images": [b64(large_picture(1500))] * 24, "labels": ["a", "b"]}).encode()
    assert len(body) < 30 * 2**20

    def act(stopped):
        for more in ("X-Request-Timeout-Ms: 100\r\n", ""):
            with server.connect() as connection:
                connection.sendall(head("/v1/classify", len(body), more=more) + body)
                stopped.wait(0.3)

    return Attack(act, threads=2, pause=0.1)


def bombs(server):
    """Small files that claim to be enormous, and files as large as is let in, many to a request."""
    claim = b"RIFF\x1c\0\0\0WEBPVP8L\x0f\0\0\0\x2f" + struct.pack("<I", 16383 | 16383 << 14) + b"\x07\x10\xfd\x8f\xfe\x07\0"
    out = io.BytesIO()
    Image.new("P", (4000, 4000)).save(out, "PNG")
    bodies = [
        json.dumps({"images": [b64(claim)] * 2048, "labels": ["a", "b"]}).encode(),
        json.dumps({"images": [b64(out.getvalue())] * 200, "labels": ["a", "b"]}).encode(),
    ]

    def act(stopped):
        for body in bodies:
            with server.connect() as connection:
                connection.sendall(head("/v1/classify", len(body)) + body)
                gone(connection, 2, stopped)

    return Attack(act, threads=2, pause=0.2)


def half_heads(server):
    """Connections that are closed in the midst of a head: some 250 a second."""

    def act(_):
        with server.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nX-Half")

    return Attack(act, threads=1, pause=0.004)


def half_bodies(server):
    """Bodies that are announced as large, sent by half, and then not gone on with."""
    body = b" " * (16 * 2**20 + 2**16)

    def act(stopped):
        with server.connect() as connection:
            connection.settimeout(5)
            connection.sendall(head("/v1/embeddings", 32 * 2**20) + body)
            gone(connection, 30, stopped)

    return Attack(act, threads=5, pause=0.5)


def repeated_delimiters(server):
    body = b"--x\r\n" * (24 * 2**20 // 5)
    form = b'--x\r\nContent-Disposition: form-data; name="labels"\r\n\r\na\r\n--x--\r\n' + body

    def act(stopped):
        with server.connect() as connection:
            connection.settimeout(10)
            connection.sendall(head("/v1/classify", len(form), "multipart/form-data; boundary=x") + form)
            connection.recv(4096)

    return Attack(act, threads=4, pause=1)


@contextlib.contextmanager
def locked_store(server):
    """Another process's transaction on the store that does not end, and a client that writes to it."""
    other = sqlite3.connect(f"{server.state.name}/classifiers.db", isolation_level=None, timeout=10)
    other.execute("BEGIN EXCLUSIVE")

    def act(_):
        httpx.put(server.url + "/v1/classifiers/pets", json={"labels": ["cat", "dog"]}, timeout=30)

    try:
        with Attack(act, threads=2, pause=0.1) as attack:
            yield attack
    finally:
        other.execute("ROLLBACK")
        other.close()


def unread_answers(server):
    """Clients that ask for megabytes, more than once, and read nothing."""
    body = json.dumps({"input": [f"text {i}" for i in range(2000)]}).encode()

    def act(stopped):
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(head("/v1/embeddings", len(body)) + body)
            gone(connection, 60, stopped)

    return Attack(act, threads=20, pause=1)


@contextlib.contextmanager
def kept_apart(apart):
    """This process, and the threads that it starts meanwhile, on the processor that keep_apart gives to all but engines."""
    processors = os.sched_getaffinity(0)
    if apart:
        os.sched_setaffinity(0, others_processor())
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


ATTACKS = {
    "w1": unwanted_decodes,
    "w2": bombs,
    "w3": half_heads,
    "w4": half_bodies,
    "w5": repeated_delimiters,
    "w6": locked_store,
    "w7": unread_answers,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_others_are_answered(start, report, name):
    # Half a head each fills the connections in two seconds, where it holds a place. The load comes from the attacker's
    # address.
    server = start("--connections", 512, "--connections-per-address", 512, *(("--threads", 1) if STRICT else ()))
    if STRICT:
        keep_apart(server)
    rate = max(1, int(capacity(server, 3 if STRICT else 1, mix=MIX, apart=STRICT) * 0.5))
    load = {"rate": rate, "arrivals": "poisson", "mix": MIX, "check": True, "apart": STRICT}
    calm = Load(server, duration=SECONDS if STRICT else 1, **load).result()
    with kept_apart(STRICT), ATTACKS[name](server) as attack, Memory(server) as memory:
        time.sleep(3)
        done = Load(server, duration=SECONDS, **load).result()
    report(
        attack=name,
        acts=attack.acts,
        rate=rate,
        calm_ms=calm["latency_ms"],
        attacked_ms=done["latency_ms"],
        failed=done["failed"],
        refused=done["refused"],
        front_resident_mib=memory.most / 2**20,
    )
    server.log[:] = [line for line in server.log if "error classifiers: not " not in line]  # a lock is told as one
    assert calm["failed"] == calm["refused"] == 0, calm
    assert attack.acts > 0
    assert done["failed"] == done["refused"] == done["wrong"] == 0, done
    assert memory.most < QUEUE_BYTES + BESIDE_QUEUE
    if STRICT:
        assert done["latency_ms"]["p99"] <= 2 * calm["latency_ms"]["p99"]
