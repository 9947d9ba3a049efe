#!/usr/bin/env python3
"""Sends many mixed requests to a server of its own and fails if its memory grows, an answer is wrong, or it does not
stop cleanly.

    tests/soak/soak.py [--requests 20000] [--connections 16] [--build build] [--model models/pictograms]

Mixed: texts, pictures as JSON and raw and multipart, classification, routing, refused requests, clients that leave in
the middle. Every answer to a request is compared with the first one to the same request, byte for byte. Resident memory
is read after the first tenth, when every buffer has been used once, and at the end: it may grow by at most --growth
bytes. A build with AddressSanitizer reports what leaked when the server stops; its memory itself is not judged. Needs
the standard library only.
"""

import argparse
import asyncio
import json
import pathlib
import re
import signal
import struct
import subprocess
import sys
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def png(seed, width=72, height=56):
    """A small picture of coloured bands."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + bytes((seed * 40 + y * (c + 1) + x // 8 * 30) % 256 for x in range(width) for c in range(3))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def b64(data):
    import base64

    return base64.b64encode(data).decode()


def request(path, body=b"", kind="application/json", method="POST"):
    head = f"{method} {path} HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(body)}\r\nContent-Type: {kind}\r\n\r\n"
    return head.encode() + body


def mix():
    """The requests, as (bytes, status expected)."""

    def post(path, value):
        return request(path, json.dumps(value).encode())

    images = [png(i) for i in range(6)]
    form = b"".join(
        b'--xyz\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
        for part in [(b"image", images[0]), (b"labels", b"cat"), (b"labels", b"dog")]
    )
    wanted = [
        (post("/v1/embeddings", {"input": f"text {i}", "encoding_format": "base64"}), 200) for i in range(8)
    ]
    wanted += [(post("/v1/embeddings", {"input": [{"image": b64(image)}, "and a text"]}), 200) for image in images]
    wanted += [
        (post("/v1/classify", {"image": b64(image), "labels": [f"label {k}" for k in range(20)], "top_k": 3}), 200)
        for image in images[:3]
    ]
    wanted += [
        (request("/v1/classify", form + b"--xyz--\r\n", "multipart/form-data; boundary=xyz"), 200),
        (request("/v1/classify?labels=a&labels=b", images[1], "image/png"), 200),
        (post("/v1/routing", {"input": ["a text", {"image": b64(images[2])}]}), 200),
        (post("/v1/embeddings", {"input": [f"text {i}" for i in range(64)], "encoding_format": "base64"}), 200),
        (post("/v1/embeddings", {"input": []}), 400),
        (request("/v1/embeddings", b"{"), 400),
        (post("/v1/embeddings", {"input": [{"image": b64(images[0][:50])}]}), 400),
        (request("/v1/embeddings", b"x" * 3000, "text/plain"), 415),
        (request("/nowhere", b"x" * 3000), 404),
        (request("/health", method="GET"), 200),
    ]
    return wanted


class Soak:
    def __init__(self, port, total):
        self.port, self.total = port, total
        self.mix = mix()
        self.first = {}  # of each request, its first answer
        self.started = self.done = self.left = 0
        self.checkpoint = asyncio.Event()

    async def answer(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head).group(1))
        return int(head[9:12]), await reader.readexactly(length)

    async def leave(self, which):
        """Sends a part of a request, or all of it, and goes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = self.mix[which][0]
        writer.write(data[: len(data) * (self.left % 4 + 1) // 4])
        await writer.drain()
        if self.left % 2:
            writer.transport.abort()
        writer.close()
        self.left += 1

    async def client(self):
        reader = writer = None
        while self.started < self.total:
            index = self.started
            self.started += 1
            which = index % len(self.mix)
            if index % 50 == 49:
                await self.leave(which)
            if index % 200 == 199 and writer:  # connections come and go, too
                writer.close()
                writer = None
            if not writer:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            data, expected = self.mix[which]
            writer.write(data)
            status, body = await self.answer(reader)
            assert status == expected, (status, expected, body[:500])
            assert self.first.setdefault(which, body) == body, f"request {which} was answered otherwise before"
            self.done += 1
            if self.done == self.total // 10:
                self.checkpoint.set()
        if writer:
            writer.close()


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


async def drive(server, port, options):
    soak = Soak(port, options.requests)
    began = time.monotonic()
    clients = asyncio.gather(*(soak.client() for _ in range(options.connections)))
    warm = None
    while not clients.done():
        await asyncio.wait([clients], timeout=5)
        if warm is None and soak.checkpoint.is_set():
            warm = resident(server.pid)
        print(f"{soak.done:7d} requests, {time.monotonic() - began:6.1f} s, {resident(server.pid) / 1e6:.1f} MB", flush=True)
    await clients
    seconds = time.monotonic() - began
    await asyncio.sleep(1)
    return warm, resident(server.pid), seconds, soak.left


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--growth", type=int, default=4 << 20, help="bytes that resident memory may grow by")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictograms")
    options = parser.parse_args()

    binary = options.build / "limoe"
    sanitized = any(name in binary.read_bytes() for name in (b"__asan_init", b"__tsan_init"))
    server = subprocess.Popen(
        [binary, "serve", "--port", "0", "--model", options.model, "--log-level", "warning", "--idle-timeout", "5"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = None
        for line in server.stdout:
            if line.startswith("listening"):
                port = int(line.rsplit(":", 1)[1])
            if line.startswith("ready"):
                break
        if not port:
            sys.exit("the server did not start")
        warm, end, seconds, left = asyncio.run(drive(server, port, options))
        server.send_signal(signal.SIGTERM)
        status = server.wait(120)
    finally:
        server.kill()
    weights = (options.model / "model.safetensors").stat().st_size
    print(
        f"{options.requests} requests in {seconds:.1f} s ({options.requests / seconds:.0f}/s), {left} clients left early; "
        f"resident {warm / 1e6:.1f} MB after the first tenth, {end / 1e6:.1f} MB at the end "
        f"({end / weights:.2f} x the weights file); exit status {status}"
    )
    if status != 0:
        sys.exit("FAILED: the server did not stop cleanly")
    if not sanitized and end - warm > options.growth:
        sys.exit(f"FAILED: resident memory grew by {end - warm} bytes")
    if not sanitized and end > 2.5 * weights:
        sys.exit("FAILED: resident memory is over 2.5 times the weights file")


if __name__ == "__main__":
    main()
