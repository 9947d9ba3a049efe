#!/usr/bin/env python3
"""The whole server beside Python servers: requests/s at a bound on p99, memory, and the time until the first answer.

    python bench/http_peers.py --build build --infinity venv-infinity/bin/python
    python bench/http_peers.py --build build --case pictograms-64px --seconds 5

The peers are FastAPI with ONNX Runtime and dynamic batching (bench/peers/onnx_server.py), and infinity-emb where --infinity
names a Python that has it (its requirements exclude the others', so it has a virtual environment of its own). All servers
run in turns on the same cores, which `limoe bench` shares, and are sent the same bytes. For each, the highest rate
(Poisson arrivals, one picture or text a request) is sought at which p99 stays below --p99-ms and nothing is refused, fails or
is late. Memory is the proportional set size of all of a server's processes, after that load. Ratios come last, held to
what is aimed at. Each server's figures are appended to bench/results/CPU-http.csv.
"""

import argparse
import dataclasses
import datetime
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from suite import machine, models, peers, results  # noqa: E402
from suite.children import dies_with_parent  # noqa: E402

SERVERS = {"limoe": "limoe", "onnx": "FastAPI + ONNX Runtime", "infinity": "infinity-emb"}
CASES = {  # model, what `limoe bench` is asked to send, who serves it, the ratio of rates that is aimed at
    "pictograms-64px": ("pictograms", "image", ("limoe", "onnx"), 4.0),
    "clip-b32-640px": ("clip-b32", "image", ("limoe", "onnx", "infinity"), 1.3),
    "clip-b32-texts": ("clip-b32", "text", ("limoe", "onnx", "infinity"), None),
}
MEMORY_TARGET, START_TARGET = 5.0, 10.0
STEPS = 6  # of the search for a rate
START_LIMIT = 300.0


@dataclasses.dataclass
class Measured:
    start_s: float = 0.0
    capacity_rps: float = 0.0
    rate_rps: float = 0.0  # the highest that keeps the bound; 0: none did
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    memory_mb: float = 0.0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pictures(folder: Path, size: int, kind: str, n: int = 16) -> list[Path]:
    """Drawings with some grain, so that they compress about as photographs do: PNG of `size` pixels, or JPEG of `size` x 3/4."""
    import numpy as np
    from PIL import Image

    paths, rng = [], np.random.default_rng(size)
    for i in range(n):
        height = size if kind == "png" else size * 3 // 4
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((size, height), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (height, size, 1))
        paths.append(folder / f"{i}.{kind}")
        Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(paths[-1], quality=88)
    return paths


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found, parents = [pid], {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def memory_mb(pid: int) -> float:
    """Proportional set size: pages that several processes share are counted once among them."""
    total = 0
    for process in tree(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


class Server:
    def __init__(self, args, name: str, model: str, folder: Path, body: bytes):
        self.port, self.state = free_port(), tempfile.mkdtemp(prefix="limoe-http-peers-")
        self.log = open(Path(self.state) / "log", "w+b")  # noqa: SIM115 - closed by stop()
        self.url = f"http://127.0.0.1:{self.port}"
        here = Path(__file__).resolve().parent
        command = {
            "limoe": [
                args.build / "limoe", "serve", "--model", folder, "--port", self.port, "--dtype", args.dtype, "--threads", args.threads,
                "--state-dir", self.state, "--log-level", "warning",
            ],
            "onnx": [
                sys.executable, here / "peers/onnx_server.py", "--folder", folder, "--onnx", args.models / "onnx" / model,
                "--port", self.port, "--threads", args.threads, "--tokens", args.tokens,
            ],
            "infinity": [args.infinity, here / "peers/infinity_server.py", "--folder", folder, "--port", self.port],
        }[name]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
        start = time.monotonic()
        self.process = subprocess.Popen(list(map(str, command)), stdout=self.log, stderr=self.log, env=environment, preexec_fn=dies_with_parent)
        try:
            self.wait_for_answer(body, start + START_LIMIT)
        except BaseException:
            self.stop()
            raise
        self.start_s = time.monotonic() - start

    def wait_for_answer(self, body: bytes, end: float) -> None:
        request = urllib.request.Request(f"{self.url}/v1/embeddings", body, {"Content-Type": "application/json"})
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"it ended: {self.last_words()}")
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    if json.load(answer)["data"][0]["embedding"]:
                        return
            except urllib.error.HTTPError as error:
                if error.code not in (404, 503):
                    raise RuntimeError(f"it answers {error.code}: {error.read()[:200]}") from error
                time.sleep(0.005)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.005)
        raise RuntimeError("no answer")

    def last_words(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace").strip()[-300:]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.state, ignore_errors=True)


def load(args, url: str, sent: list, *how) -> dict:
    command = [args.build / "limoe", "bench", url, "--json", "--warmup", 1, "--duration", args.seconds, *sent, *how]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-300:])
    return json.loads(done.stdout)


def kept(found: dict, p99_ms: float) -> bool:
    """Whether a rate was served within the bound, all of it and in time."""
    bad = found["refused"] + found["failed"] + found["dropped"]
    p99 = found["latency_ms"]["p99"]
    return bad == 0 and p99 is not None and p99 <= p99_ms and found["achieved_rps"] >= 0.95 * found["offered_rps"]


def search(try_rate, capacity: float, p99_ms: float, steps: int = STEPS) -> tuple[float, dict | None]:
    """The highest rate that is kept, between nothing and what a closed loop reaches, by halving; and what was seen at it."""
    low, high, best = 0.0, 1.1 * capacity, None
    for step in range(steps):
        rate = 0.8 * capacity if step == 0 else (low + high) / 2
        found = try_rate(rate)
        if kept(found, p99_ms):
            low, best = rate, found
        else:
            high = rate
    return low, best


def measure(args, name: str, model: str, folder: Path, body: bytes, sent: list) -> Measured:
    starts, m = [], Measured()
    for _ in range(args.starts):
        server = Server(args, name, model, folder, body)
        starts.append(server.start_s)
        if len(starts) < args.starts:
            server.stop()
    m.start_s = sorted(starts)[len(starts) // 2]
    try:
        m.capacity_rps = max(0.5, load(args, server.url, sent, "--closed", 8)["achieved_rps"])
        at = lambda rate: load(args, server.url, sent, "--rate", f"{max(rate, 0.5):.3f}", "--arrivals", "poisson", "--seed", 3)  # noqa: E731
        m.rate_rps, best = search(at, m.capacity_rps, args.p99_ms)
        if best:
            m.p50_ms, m.p99_ms = best["latency_ms"]["p50"], best["latency_ms"]["p99"]
        m.memory_mb = memory_mb(server.process.pid)
    finally:
        server.stop()
    return m


def quotient(a: float, b: float) -> float:
    return a / b if b else float("inf") if a else 0.0


def ratios(case: str, found: dict[str, Measured], target: float | None) -> list[str]:
    """limoe beside the best peer in each regard, with a verdict where a ratio is aimed at."""
    mine, others = found.get("limoe"), [m for name, m in found.items() if name != "limoe"]
    if not mine or not others:
        return [f"{case}: nothing to compare"]
    lines = []
    for what, ratio, aim in (
        ("requests/s at the bound, times the best peer's", quotient(mine.rate_rps, max(o.rate_rps for o in others)), target),
        ("times less memory than the least of them", min(o.memory_mb for o in others) / mine.memory_mb, MEMORY_TARGET),
        ("times sooner ready than the first of them", min(o.start_s for o in others) / mine.start_s, START_TARGET),
    ):  # fmt: skip
        verdict = "" if aim is None else f", aimed at {aim:g}: {'PASS' if ratio >= aim else 'MISSED'}"
        lines.append(f"{case}: {ratio:.2f} {what}{verdict}")
    return lines


def table(case: str, found: dict[str, Measured], p99_ms: float) -> list[str]:
    lines = [f"| {case} | requests/s at p99 ≤ {p99_ms:g} ms | p50, p99 there (ms) | closed loop, requests/s | memory, MB | first answer, s |"]
    lines.append("|" + "---|" * 6)
    for name, m in found.items():
        lines.append(
            f"| {SERVERS[name]} | {m.rate_rps:.1f} | {m.p50_ms:.1f}, {m.p99_ms:.1f} | {m.capacity_rps:.1f} | {m.memory_mb:.0f} | {m.start_s:.3f} |"
        )
    return lines


def keep(args, case: str, name: str, m: Measured) -> None:
    """A row of the machine's results."""
    path = args.results or models.ROOT / "bench/results" / f"{machine.file_name(machine.cpu_name(), 'http')}.csv"
    stamp = {"date": datetime.date.today().isoformat(), "commit": machine.commit(), "cpu": machine.cpu_name(), "threads": args.threads}
    dtype = args.dtype if name == "limoe" else "float32"
    measured = {field: round(value, 3) for field, value in dataclasses.asdict(m).items()}
    results.append(path, [{**stamp, "case": case, "server": SERVERS[name], "dtype": dtype, "bound_ms": args.p99_ms, **measured}])


def run_case(args, case: str, scratch: Path) -> list[str]:
    import base64

    model, what, servers, target = CASES[case]
    folder = models.folder_of(model, args.models, args.build)
    peers.export(folder, args.models / "onnx" / model, args.threads, args.tokens, 0, 1800)
    files = pictures(scratch, 640, "jpg") if model == "clip-b32" else pictures(scratch, 64, "png")
    item = {"image": base64.b64encode(files[0].read_bytes()).decode()} if what == "image" else "a cat"
    sent = ["--mix", f"{what}=1", *(["--unique-texts"] if what == "text" else [w for f in files for w in ("--image", f)])]
    found = {}
    for name in servers:
        if name == "infinity" and not args.infinity:
            print(f"{case}: infinity-emb is left out; --infinity names a Python that has it", file=sys.stderr)
            continue
        print(f"{case}: {SERVERS[name]} …", file=sys.stderr, flush=True)
        try:
            found[name] = measure(args, name, model, folder, json.dumps({"input": [item]}).encode(), sent)
        except RuntimeError as error:
            print(f"{case}: {SERVERS[name]} is left out: {error}", file=sys.stderr, flush=True)
            continue
        keep(args, case, name, found[name])
    return [*table(case, found, args.p99_ms), "", *ratios(case, found, target), ""]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=models.ROOT / "build")
    parser.add_argument("--models", type=Path, default=Path("/tmp/limoe-bench"), help="where models are kept, as bench/run's")
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--infinity", type=Path, help="a Python that has infinity-emb")
    parser.add_argument("--dtype", default="float32", help="limoe's; the peers compute in float32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tokens", type=int, default=16, help="that the ONNX server pads texts to")
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--starts", type=int, default=3, help="of each server; the middle one counts")
    parser.add_argument("--results", type=Path, help="the CSV file (default bench/results/CPU-http.csv)")
    parser.add_argument("--p99-ms", type=float, default=100)
    args = parser.parse_args()
    args.build = args.build.resolve()
    for case in args.case:
        with tempfile.TemporaryDirectory(prefix="limoe-http-peers-") as scratch:
            found = run_case(args, case, Path(scratch))
        print("\n".join(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
