"""limoe's engine: bench/model for its times, tests/families/embed_bits for its answers."""

import json
import os
import subprocess
from pathlib import Path

from suite.shapes import Step


class Refused(Exception):
    """The build does not compute this, in its words."""


class Engine:
    def __init__(self, build: Path, threads: int):
        self.build, self.threads = build, threads

    def command(self, folder: Path, dtype: str, step: Step, tokens: int, seconds: float) -> list[str]:
        command = [self.build / "bench/model", "--model", folder, "--dtype", dtype, "--threads", self.threads]
        command += ["--batch", step.pictures + step.texts, "--seconds", seconds]
        command += ["--tokens", tokens] if step.texts else []
        command += ["--mixed"] if step.texts and step.pictures else []
        return list(map(str, command))

    def time(self, folder: Path, dtype: str, step: Step, tokens: int, seconds: float, profile: Path | None = None) -> dict:
        """What bench/model prints, and "resident": the most that its process took."""
        command = self.command(folder, dtype, step, tokens, seconds) + (["--profile", str(profile)] if profile else [])
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, error = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise Refused(error.strip().splitlines()[0] if error.strip() else f"exit status {process.returncode}")
        return {**json.loads(out), "resident": usage.ru_maxrss * 1024}

    def embed(self, folder: Path, dtype: str, items: Path, out: Path) -> None:
        """float32 [items, embed], pictures first."""
        command = [self.build / "tests/families/embed_bits", folder, items, out, dtype]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            raise Refused(done.stderr.strip())
