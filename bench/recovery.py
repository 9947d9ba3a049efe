#!/usr/bin/env python3
"""How long a server is without an answer after one of its ranks is killed, by model size and ranks.

    bench/recovery.py [--build build] [--ranks 1 2] [--kills 7] MODEL...

Kills a rank (SIGKILL; in turns, each of them), at once sends a text that no cache has, and takes the time until it is
answered, with 200. Before the next kill the server rests for two seconds. Models can be made with build/bench/synthetic.
Needs an idle machine and the standard library.
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import time
import urllib.request

from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[1]


def post(url, text):
    body = json.dumps({"input": text, "encoding_format": "base64"}).encode()
    request = urllib.request.Request(url + "/v1/embeddings", body, {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=300).read()


def engines(front):
    """The engines' pids: children of the front, or of the mpirun that it started."""
    parents, found = {front}, []
    processes = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            processes.append((int(path.name), parent, (path / "cmdline").read_bytes().split(b"\0")))
        except (FileNotFoundError, ProcessLookupError):
            continue
    for _ in range(3):
        parents |= {pid for pid, parent, _ in processes if parent in parents}
    for pid, _, command in processes:
        if pid in parents and len(command) > 1 and command[1] == b"engine":
            found.append(pid)
    return sorted(found)


def measure(arguments, model, ranks):
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    server = Server(arguments.build, model, "--ranks", ranks, environment=environment, log_level="error")
    times = []
    for kill in range(arguments.kills):
        pids = engines(server.process.pid)
        assert len(pids) == ranks, pids
        os.kill(pids[kill % ranks], signal.SIGKILL)
        began = time.monotonic()
        post(server.url, f"a text that is new: {kill}")
        times.append(time.monotonic() - began)
        time.sleep(2)
    server.stop()
    size = sum(path.stat().st_size for path in pathlib.Path(model).glob("*.safetensors"))
    print(
        f"{pathlib.Path(model).name:<20}{size / 1e6:>9.1f} MB  ranks {ranks}   median {statistics.median(times) * 1e3:7.0f} ms"
        f"   worst {max(times) * 1e3:7.0f} ms   first start {server.ready.split()[2]} ms",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kills", type=int, default=7)
    arguments = parser.parse_args()
    for model in arguments.models:
        for ranks in arguments.ranks:
            measure(arguments, model, ranks)


if __name__ == "__main__":
    main()
