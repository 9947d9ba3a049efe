"""What tests of the real binary use: servers started on a free port, and pictures made on the spot.

Every server a test starts must stop cleanly: SIGTERM, exit status 0, nothing from a sanitizer, no error in its log.
LIMOE_BUILD names the build directory (default build/), LIMOE_TEST_MODEL another model than models/pictograms.
"""

import base64
import io
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import zlib

import httpx
import pytest
from PIL import Image, ImageDraw

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("LIMOE_BUILD", ROOT / "build")).resolve()
MODEL = pathlib.Path(os.environ.get("LIMOE_TEST_MODEL", ROOT / "models" / "pictograms")).resolve()
# A build with sanitizers is slower and larger: what is measured in it says nothing of what users run.
SANITIZED = any(name in (BUILD / "limoe").read_bytes() for name in (b"__asan_init", b"__tsan_init"))
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:")
START_SECONDS = 60  # sanitizers are slow; how fast a start really is, test_lifecycle measures


class Server:
    """A running `limoe serve`, or what is given to start one by."""

    def __init__(self, *options, wait=True, env=None, command=None):
        model = [] if "--model" in options else ["--model", MODEL]
        command = command or [BUILD / "limoe", "serve", *model]
        command = [*command, "--port", "0", *map(str, options)]
        self.log = []
        self.out = []
        self.state = tempfile.TemporaryDirectory(prefix="limoe-state-")
        # Requests made by hand carry any Host; test_store.py checks which are refused.
        environment = {**os.environ, "LIMOE_ALLOWED_HOSTS": "*", "LIMOE_STATE_DIR": self.state.name, **(env or {})}
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={name: value for name, value in environment.items() if value is not None},
        )
        self._ready = threading.Event()
        self._listening = threading.Event()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.out), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.log), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self._await(self._listening, "listening")
        self.url = next(line.split()[1] for line in self.out if line.startswith("listening"))
        self.port = int(self.url.rsplit(":", 1)[1])
        if wait:
            self.wait_ready()

    def _read(self, stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))
            if line.startswith("ready"):
                self._ready.set()
            if line.startswith("listening"):
                self._listening.set()
        self._ready.set()
        self._listening.set()

    def _await(self, event, word):
        assert event.wait(START_SECONDS), f"the server did not get to {word!r}: {self.out} {self.log}"
        said = any(line.startswith(word) for line in self.out)
        if self.process.poll() is not None or not said:  # it is ending, and all that it says belongs in the message
            self.wait()
        assert said, f"no {word!r} in {self.out}; log: {self.log}"

    def wait_ready(self):
        self._await(self._ready, "ready")

    def client(self, **options):
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def children(self, command):
        """The pids of the server's processes of one kind: "engine" or "decoder"."""
        found = []
        for pid in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                parent = int((pid / "stat").read_text().rsplit(")", 1)[1].split()[1])
                arguments = (pid / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            if parent == self.process.pid and len(arguments) > 1 and arguments[1] == command.encode():
                found.append(int(pid.name))
        return sorted(found)

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

    def metric(self, name):
        """The sum of a metric's samples that have at least the labels in the name: name{a="b"}; 0 where none has."""
        family, _, wanted = name.rstrip("}").partition("{")
        wanted = set(re.findall(r'\w+="[^"]*"', wanted))
        found = 0.0
        for line in httpx.get(self.url + "/metrics", timeout=60).text.splitlines():
            series, _, value = line.rpartition(" ")
            sample, _, labels = series.partition("{")
            if sample == family and wanted <= set(re.findall(r'\w+="[^"]*"', labels)):
                found += float(value)
        return found

    def terminate(self, timeout=60):
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=60):
        status = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(10)
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def assert_clean(self):
        found = [line for line in self.log if SANITIZER.search(line)]
        assert not found, "\n".join(self.log)
        assert not [line for line in self.log if re.match(r"\S+Z error ", line)], "\n".join(self.log)


class Memory(threading.Thread):
    """The most memory that the front has while it runs."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.most, self.stopped = server, 0, threading.Event()

    def run(self):
        while not self.stopped.wait(0.01):
            self.most = max(self.most, self.server.resident_bytes())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()


def stop_cleanly(server):
    try:
        status = server.terminate()
        assert status == 0, f"exit status {status}; log: {server.log[-20:]}"
        server.assert_clean()
    finally:
        server.kill()


@pytest.fixture(scope="session")
def server():
    """One server for all tests that leave it as they find it."""
    running = Server()
    yield running
    stop_cleanly(running)


@pytest.fixture
def start():
    """Starts servers with options of the test's own; those still running at its end must stop cleanly."""
    started = []

    def run(*options, **keywords):
        running = Server(*options, **keywords)
        started.append(running)
        return running

    yield run
    for running in started:
        if running.process.poll() is None:
            stop_cleanly(running)
        else:
            running.wait()
            running.assert_clean()


@pytest.fixture
def client(server):
    with server.client() as opened:
        yield opened


# ---- clients


class Clients:
    """Four that ask for the same embeddings without a pause, however long it takes, and compare."""

    def __init__(self, server, body, expected):
        self.server, self.body, self.expected = server, body, expected
        self.wrong, self.times, self.done = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def run(self):
        with self.server.client() as client:
            while not self.done.is_set():
                response = client.post("/v1/embeddings", json=self.body, timeout=300)
                if response.status_code != 200 or response.content != self.expected:
                    self.wrong.append((response.status_code, response.text[:300]))
                self.times.append(time.monotonic())

    def wait_for_more(self, seconds=60):
        answered = len(self.times)
        wait_until(lambda: len(self.times) > answered + 8, seconds)

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join(300)


# ---- pictures


def picture(seed=0, size=(96, 80), kind="PNG", mode="RGB"):
    """An encoded picture that differs with its seed."""
    image = Image.new("RGB", size, ((seed * 37) % 256, (seed * 91 + 60) % 256, (seed * 151 + 120) % 256))
    draw = ImageDraw.Draw(image)
    corner = (size[0] // 8, size[1] // 8)
    draw.ellipse([*corner, corner[0] + size[0] // 2, corner[1] + size[1] // 2], fill=((seed * 53 + 200) % 256, 40, 90))
    draw.line([0, 0, size[0], size[1]], fill=(0, (seed * 17) % 256, 0), width=1 + seed % 7)
    out = io.BytesIO()
    image.convert(mode).save(out, kind)
    return out.getvalue()


def picture_files(folder, n):
    paths = [folder / f"{i}.png" for i in range(n)]
    for i, path in enumerate(paths):
        path.write_bytes(picture(i))
    return paths


def copy_captioner(folder):
    """A small random model with a decoder, which writes nonsense; its config may be edited."""
    shutil.copytree(ROOT / "tests/golden/captions", folder)
    shutil.copy(ROOT / "tests/golden/tokenizer/tokenizer.model", folder)
    return folder


def draw_classes(folder, shapes):
    """Four pictures of each label, {label: what ImageDraw draws}, each in a folder of its label's name."""
    for label, shape in shapes.items():
        (folder / label).mkdir()
        for i in range(4):
            chance = random.Random(f"{label} {i}")
            image = Image.new("RGB", (64, 64), "white")
            box = [chance.randint(6, 14), chance.randint(6, 14), chance.randint(44, 58), chance.randint(44, 58)]
            getattr(ImageDraw.Draw(image), shape)(box, fill=tuple(chance.randint(0, 190) for _ in range(3)))
            image.save(folder / label / f"{i}.png")


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(size, packed, kind=2, depth=8):
    """A PNG whose header says this; `packed` is all its pixel data, compressed, whether or not it fits the header."""
    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def b64(data):
    return base64.b64encode(data).decode()


def data_uri(data, kind="png"):
    return f"data:image/{kind};base64,{b64(data)}"


def key_file(path, *lines):
    """Writes the lines of a file of keys, which nobody else may read. Returns its path."""
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return path


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")
