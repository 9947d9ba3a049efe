"""Servers on GPUs: answers of `limoe serve --device cuda` beside the CPU's, and the same bits from any number of ranks.

One server with one rank always; with 2, 3 … ranks where there are as many GPUs and NCCL. Standard library only:

    python3 bench/gpu/serve.py --build build --gpus 2 [--report FILE]

Exit status 1 if a check fails.
"""

import argparse
import base64
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["a picture of a cat", "dog", "a red circle beside a blue square", "自転車", "one more text, longer than the others"]
START_SECONDS = 120


class Server:
    """A running `limoe serve` on a port of its own choice; a context, stopped at its end."""

    def __init__(self, build: Path, model: Path, *options: str):
        self.state = tempfile.TemporaryDirectory(prefix="limoe-state-")
        libraries = [str(build / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        self.process = subprocess.Popen(
            [build / "limoe", "serve", "--port", "0", "--model", model, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={
                **os.environ,
                "LIMOE_STATE_DIR": self.state.name,
                "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
            },
        )
        self.lines, self.log = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def wait_for(self, word: str) -> str:
        """The first line from now on that begins with the word."""
        while True:
            try:
                line = self.lines.get(timeout=START_SECONDS)
            except queue.Empty:
                line = None
            if line is None:
                raise RuntimeError(f"the server did not get to {word}: {' | '.join(self.log[-5:])}")
            self.log.append(line)
            if line.startswith(word):
                return line

    def __enter__(self) -> "Server":
        try:
            self.url = self.wait_for("listening").split()[1]
            self.wait_for("ready")
        except RuntimeError:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.state.cleanup()

    def embed(self, items: list[dict]) -> list[list[float]]:
        body = json.dumps({"input": items}).encode()
        request = urllib.request.Request(
            self.url + "/v1/embeddings", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [row["embedding"] for row in json.load(answer)["data"]]


def items() -> list[dict]:
    pictures = sorted((ROOT / "examples").glob("*.png"))[:6]
    encoded = [{"image": base64.b64encode(path.read_bytes()).decode()} for path in pictures]
    return encoded + [{"text": f"{text} {i}"} for i, text in enumerate(4 * TEXTS)]


class Report:
    def __init__(self, path: Path | None):
        self.path, self.failed = path, False

    def line(self, verdict: str, name: str, detail: str) -> None:
        detail = detail.replace('"', "'")
        print(f"{verdict:8} {'serve':8} {name:56} {detail}", flush=True)
        self.failed |= verdict == "FAIL"
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps({"part": "serve", "verdict": verdict, "name": name, "detail": detail}) + "\n")

    def check(self, passed: bool, name: str, detail: str) -> None:
        self.line("PASS" if passed else "FAIL", name, detail)


def answers(args, report: Report, name: str, *options: str) -> list[list[float]] | None:
    try:
        with Server(args.build, args.model, *options) as server:
            return server.embed(items())
    except (RuntimeError, OSError) as error:
        report.check(False, name, str(error)[:300])
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--model", type=Path, default=ROOT / "models/pictograms")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--most-ranks", type=int, default=4)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    args.build = args.build.resolve()
    report = Report(args.report)
    cpu = answers(args, report, "a server on the CPU", "--device", "cpu", "--dtype", "float32")
    one = answers(args, report, "a server on a GPU", "--device", "cuda")
    if cpu and one:
        # Rows are unit vectors: their products are their cosines.
        least = min(sum(a * b for a, b in zip(x, y)) for x, y in zip(cpu, one))
        report.check(least >= 0.98, "a server on a GPU", f"{len(one)} items, least cosine to the CPU's {least:.6f}")
    ranks = min(args.gpus, args.most_ranks)
    if not (args.build / "limoe-nccl.so").exists():
        report.line("n.a.", "ranks over NCCL", "this build has no limoe-nccl.so")
    elif ranks < 2:
        report.line("n.a.", "ranks over NCCL", "there is one GPU, and a rank takes one of its own")
    else:
        for n in range(2, ranks + 1):
            name = f"{n} ranks over NCCL"
            many = answers(args, report, name, "--device", "cuda", "--ranks", str(n))
            if many and one:
                report.check(many == one, name, f"{len(many)} items; the same bits as one rank: {many == one}")
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
