"""The peers as the harness sees them: which are installed, in which settings they are tried, and each as a process in turns.

While a peer is not measured its process is stopped (SIGSTOP), so that no thread of it spins beside the others.
"""

import dataclasses
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from suite import models
from suite.children import dies_with_parent
from suite.shapes import Step

HERE = Path(__file__).resolve().parent
NEEDS = {
    "torch": ["torch", "transformers", "safetensors", "numpy"],
    "open_clip": ["open_clip", "timm", "torch", "safetensors"],
    "onnxruntime": ["onnxruntime", "onnx", "onnxscript", "torch"],
    "openvino": ["openvino", "onnx", "onnxscript", "torch"],
}
MOST_DENSE = 8  # experts that are worth computing all for every row


@dataclasses.dataclass(frozen=True)
class Setting:
    engine: str
    dtype: str
    options: tuple  # of (name, value), sorted

    @staticmethod
    def of(engine: str, dtype: str, **options) -> "Setting":
        return Setting(engine, dtype, tuple(sorted(options.items())))

    def __str__(self) -> str:
        return ", ".join(value.lower() for _, value in self.options if value != "plain")

    def json(self) -> str:
        return json.dumps({"dtype": self.dtype, **dict(self.options)})


def missing(engine: str) -> list[str]:
    """The packages that it lacks here."""
    return [name for name in NEEDS[engine] if importlib.util.find_spec(name) is None]


def has_nncf() -> bool:
    """What quantises for OpenVINO."""
    return importlib.util.find_spec("nncf") is not None


def settings(engine: str, dtype: str, experts: int, quick: bool = False) -> list[Setting]:
    """What is tried of an engine; the best counts. Quick: what is usually the best."""
    dense = ["dense"] if 1 < experts <= MOST_DENSE else []
    if engine == "open_clip":
        if dtype == "int8":
            return []
        return [Setting.of(engine, dtype, mode=mode) for mode in ("eager", "compiled")[: 1 if quick else 2]]
    if engine == "torch":
        if dtype == "int8":
            return [Setting.of(engine, dtype, mode="eager", way="gathered" if experts > 1 else "grouped")]
        ways = [("eager", "grouped"), ("compiled", "grouped"), *(("compiled", way) for way in dense)]
        return [Setting.of(engine, dtype, mode=mode, way=way) for mode, way in (ways[:1] if quick else ways)]
    ways = ["gathered", *dense] if experts > 1 and not quick else ["gathered"]
    if engine == "onnxruntime":
        graphs = {"float32": ["plain", "fused"], "int8": ["int8"]}.get(dtype, [])  # it has no bfloat16 on a CPU
        return [Setting.of(engine, dtype, graph=g, way=w) for w in ways for g in (graphs[:1] if quick else graphs)]
    kinds = ["int8-weights", "int8"] if dtype == "int8" else ["plain"]
    if dtype == "int8" and not has_nncf():
        return []
    hints = ["LATENCY"] if quick else ["LATENCY", "THROUGHPUT"]
    return [Setting.of(engine, dtype, weights=k, way=w, hint=h) for w in ways for k in (kinds[:1] if quick else kinds) for h in hints]


class PeerError(Exception):
    pass


class Peer:
    """A running peer. It reads `folder`, keeps what it exports in `onnx`, and is gone with close()."""

    def __init__(self, setting: Setting, folder: Path, onnx: Path, threads: int, tokens: int, padded: int = 0):
        command = [sys.executable, HERE / "peer_process.py", "--engine", setting.engine, "--options", setting.json()]
        command += ["--folder", folder, "--onnx", onnx, "--threads", threads, "--tokens", tokens, "--padded", padded]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
        self.setting, self.version, self.resident = setting, "", 0
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment, preexec_fn=dies_with_parent,
        )  # fmt: skip

    def ask(self, limit: float, **question) -> dict:
        """Its answer; PeerError where it has none within `limit` seconds."""
        os.kill(self.process.pid, signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            ready = select.select([self.process.stdout], [], [], max(1.0, limit))[0]
            line = self.process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = True, ""
        if not line:
            self.close()
            raise PeerError("ended" if ready else f"gave no answer within {limit:.0f} s")
        os.kill(self.process.pid, signal.SIGSTOP)
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def time(self, step: Step, seconds: float, limit: float) -> list[float]:
        answer = self.ask(limit, do="time", pictures=step.pictures, texts=step.texts, seconds=seconds)
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.resident = int(status.partition("VmRSS:")[2].split()[0]) * 1024
        return answer["ms"]

    def export(self, limit: float) -> None:
        self.ask(limit, do="export")

    def embed(self, items: Path, out: Path, limit: float) -> None:
        self.version = self.ask(limit, do="embed", items=str(items), out=str(out))["version"]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


def knows(engine: str, folder: Path) -> bool:
    """Whether the engine has the model at all: open_clip has no experts."""
    return engine != "open_clip" or models.open_clip_name(folder) is not None


def export(folder: Path, onnx: Path, threads: int, tokens: int, padded: int, limit: float) -> None:
    """Makes the ONNX files that every setting begins with, experts gathered; nothing where they are there."""
    peer = Peer(Setting.of("onnxruntime", "float32", graph="plain", way="gathered"), folder, onnx, threads, tokens, padded)
    try:
        peer.export(limit)
    finally:
        peer.close()
