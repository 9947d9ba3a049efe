#!/usr/bin/env python3
"""How much of what the engine can do arrives over HTTP, and what takes the rest.

    bench/saturation.py [--build build] [--model models/pictograms] [--seconds 8]

The engine computes on one core (--threads 1). It is timed alone first (bench/model, full steps), then behind the server:
the front, its decoders and the load generator share the other core. Pictures of two sizes come in three forms, and are
classified by a stored classifier, so that each request costs one picture. Texts are embedded one a request, with and without the
cache. Beside each rate: how busy each process was, in cores. Needs two idle cores and the standard library.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

from drawings import drawing
from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
LABELS = ["cat", "dog", "bird", "house", "tree", "car", "boat", "flower"]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children(parent, command):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rsplit(")", 1)[1].split()
            arguments = (path / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat[1]) == parent and len(arguments) > 1 and arguments[1] == command.encode():
            found.append(int(path.name))
    return found


class Pinned(Server):
    """The engine on one core, all else on another; it has a classifier."""

    def __init__(self, arguments, engine_core, front_core, *options):
        super().__init__(arguments.build, arguments.model, *options, under=["taskset", "-c", front_core])
        self.engine = children(self.process.pid, "engine")[0]
        subprocess.run(["taskset", "-a", "-cp", engine_core, str(self.engine)], check=True, stdout=subprocess.DEVNULL)
        body = json.dumps({"labels": LABELS}).encode()
        request = urllib.request.Request(self.url + "/v1/classifiers/bench", body, {"Content-Type": "application/json"}, method="PUT")
        urllib.request.urlopen(request).read()

    def busy(self):
        decoders = children(self.process.pid, "decoder")
        return {
            "front": cpu_seconds(self.process.pid),
            "engine": cpu_seconds(self.engine),
            "decoders": sum(map(cpu_seconds, decoders)),
        }

    def stages(self):
        """Seconds spent in each stage, and steps and their items, since the start."""
        found = dict(re.findall(r'^(limoe_(?:stage_duration_seconds_sum\{stage="\w+"\}|step_items_(?:sum|count))) (\S+)', self.metrics(), re.M))
        return {name: float(value) for name, value in found.items()}


def load(arguments, server, core, *options):
    before, began, stages = server.busy(), time.monotonic(), server.stages()
    own = os.times()
    done = server.bench("--closed", 256, "--duration", arguments.seconds, *options, under=["taskset", "-c", core])
    spent, after, now = time.monotonic() - began, server.busy(), os.times()
    if done["failed"] or done["refused"]:
        sys.exit(f"requests failed: {done}")
    cores = {name: round((after[name] - before[name]) / spent, 2) for name in after}
    cores["client"] = round((now.children_user - own.children_user + now.children_system - own.children_system) / spent, 2)
    changed = {name: value - stages.get(name, 0) for name, value in server.stages().items()}
    step = changed.get("limoe_step_items_sum", 0) / max(1, changed.get("limoe_step_items_count", 0))
    return {"rps": done["achieved_rps"], "p50_ms": done["latency_ms"]["p50"], "cores": cores, "items_a_step": round(step, 1)}


def small_pictures(folder, n=16):
    paths = [pathlib.Path(folder) / f"{i}.png" for i in range(n)]
    for i, path in enumerate(paths):
        path.write_bytes(drawing(i))
    return [word for path in paths for word in ("--image", path)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictograms")
    parser.add_argument("--seconds", type=int, default=8)
    arguments = parser.parse_args()
    engine_core, front_core = "0", "1"

    command = ["taskset", "-c", engine_core, arguments.build / "bench" / "model", "--model", arguments.model]
    command += ["--threads", "1", "--batch", "80", "--seconds", str(arguments.seconds), "--observe"]
    alone = json.loads(subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE).stdout)
    print(f"engine alone, 80 pictures a step   {alone['images_per_s']:9.0f} pictures/s")

    server = Pinned(arguments, engine_core, front_core, "--threads", "1", "--workers", "2")
    folder = tempfile.TemporaryDirectory()
    for size, pictures in (("64 px", small_pictures(folder.name)), ("48-320 px", [])):
        for form in ("raw", "multipart", "json"):
            mix = ["--mix", "classify=1", "--encoding", form, "--classifier", "bench", *pictures]
            got = load(arguments, server, front_core, *mix)
            share = got["rps"] / alone["images_per_s"]
            print(f"pictures, {size:<9} {form:<9}      {got['rps']:9.0f} /s   {share:.3f} of the engine   {got}")
    texts = load(arguments, server, front_core, "--mix", "text=1")
    print(f"texts, cached                      {texts['rps']:9.0f} /s   {texts}")
    server.stop()
    server = Pinned(arguments, engine_core, front_core, "--threads", "1", "--workers", "2", "--cache-bytes", "0")
    texts = load(arguments, server, front_core, "--mix", "text=1")
    print(f"texts, no cache                    {texts['rps']:9.0f} /s   {texts}")
    server.stop()


if __name__ == "__main__":
    main()
