"""The machine at hand: its name, and what it can do at most, by bench/peak."""

import datetime
import json
import os
import re
import subprocess
from pathlib import Path

from suite.shapes import Rates


def cpu_name() -> str:
    """As the system names it, with family and model, since a virtual machine may say no more than whose it is."""
    fields = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    name = fields.get("model name", os.uname().machine)
    return f"{name} ({fields['cpu family']}/{fields['model']})" if "cpu family" in fields else name


def file_name(cpu: str, isa: str) -> str:
    """Of the results that a machine has: amd-epyc-25-17-avx512bf16."""
    return re.sub(r"[^a-z0-9]+", "-", f"{cpu} {isa}".lower()).strip("-")


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip()


def available_bytes() -> int:
    return int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024


class Machine:
    def __init__(self, build: Path, threads: int, seconds: float):
        command = [build / "bench/peak", "--threads", str(threads), "--seconds", str(seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit("bench/peak could not measure the machine")
        self.peak = json.loads(done.stdout)
        self.cpu, self.isa, self.threads = cpu_name(), self.peak["isa"], threads

    def stamp(self) -> dict:
        """What each figure is kept with: when, of which sources, on what."""
        today = datetime.date.today().isoformat()
        return {"date": today, "commit": commit(), "cpu": self.cpu, "isa": self.isa, "threads": self.threads}

    def rates(self, dtype: str) -> Rates:
        """Of all cores."""
        return Rates(self.peak[dtype]["all_gflops"] * 1e9, self.peak["read"]["all_gb_s"] * 1e9, self.peak["cache_bytes"])

    def gflops(self, dtype: str) -> float:
        return self.peak[dtype]["all_gflops"]

    def lines(self) -> list[str]:
        """A table of the peaks."""
        head = [f"{self.cpu}, {self.isa}, {self.threads} threads", ""]
        head += ["| what | one core | all | by |", "|---|---|---|---|"]
        for dtype in ("float32", "bfloat16", "int8"):
            if found := self.peak.get(dtype):
                head.append(
                    f"| {dtype}, GFLOP/s | {found['one_gflops']:.1f} | {found['all_gflops']:.1f} | {found['instruction']} |"
                )
        read = self.peak["read"]
        return [*head, f"| memory read, GB/s | {read['one_gb_s']:.1f} | {read['all_gb_s']:.1f} | |"]
