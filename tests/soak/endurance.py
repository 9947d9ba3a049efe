#!/usr/bin/env python3
"""A long mixed load, and the memory of every process of the server while it lasts.

    tests/soak/endurance.py [--requests 1000000] [--build build] [--model models/pictograms]

The load is `limoe bench --closed 16 --check`: pictures classified and embedded, texts embedded, each answer compared byte
for byte with the first to the same request; in rounds, until so many requests are answered. Resident memory is read every
two seconds. Fails if a request fails, an answer differs, a process was replaced, or a process holds more in the last
quarter than it did at most in the second (the first fills caches), plus --growth bytes. Needs the standard library only.
"""

import argparse
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def processes(front):
    """pid → name, of the front and its children."""
    found = {front: "front"}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (path / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == front and len(command) > 1:
            found[int(path.name)] = command[1].decode()
    return found


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictograms")
    parser.add_argument("--growth", type=int, default=4 << 20)
    arguments = parser.parse_args()
    state = tempfile.TemporaryDirectory()
    server = subprocess.Popen(
        [arguments.build / "limoe", "serve", "--model", arguments.model, "--port", "0", "--state-dir", state.name, "--log-level", "error"],
        stdout=subprocess.PIPE,
        text=True,
    )
    url = next(line.split()[1].rstrip(",") for line in server.stdout if line.startswith("ready"))
    named = processes(server.pid)
    samples, answered, rounds, began = {pid: [] for pid in named}, 0, 0, time.monotonic()
    while answered < arguments.requests:
        rounds += 1
        command = [arguments.build / "limoe", "bench", url, "--closed", "16", "--duration", "20", "--check", "--json"]
        command += ["--mix", "classify=1,image=1,text=4", "--seed", str(rounds)]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        while load.poll() is None:
            time.sleep(2)
            for pid in named:
                samples[pid].append(resident(pid))
        done = json.loads(load.stdout.read())
        if load.returncode or done["failed"] or done["wrong"] or done["refused"]:
            sys.exit(f"round {rounds}: {done}")
        answered += done["ok"]
        print(f"{answered:>9} requests, {time.monotonic() - began:6.0f} s, {done['achieved_rps']:.0f}/s", flush=True)
    failed = processes(server.pid) != named
    for pid, name in named.items():
        quarter = len(samples[pid]) // 4
        early, late = max(samples[pid][quarter : 2 * quarter]), max(samples[pid][-quarter:])
        failed |= late > early + arguments.growth
        print(f"{name:<8} {pid:>7}  second quarter {early / 2**20:7.2f} MiB   last quarter {late / 2**20:7.2f} MiB")
    server.send_signal(signal.SIGTERM)
    failed |= server.wait(60) != 0
    sys.exit("memory grew, or a process was replaced, or the end was not clean" if failed else 0)


if __name__ == "__main__":
    main()
