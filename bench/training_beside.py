#!/usr/bin/env python3
"""What requests notice of an adapter that is learnt meanwhile: latencies under half the server's load, calm and beside the trainer.

    bench/training_beside.py [--build build] [--model models/pictograms] [--classes 10] [--shots 16] [--seconds 20] [--rounds 3]

The capacity is found first, by `limoe bench --closed 16`. Then come rounds of `limoe bench` at half of it, in pairs: one with nothing
else, one while `limoe trainer` works on a job that was POSTed for it, a PNG of 64 pixels for each of --shots times --classes. The job
has so many epochs that it outlasts the load, and is deleted afterwards; --epochs 10 is what a server does by itself. Last is
how long a job of 10 epochs takes under no load. Needs an idle machine and the standard library.
"""

import argparse
import base64
import json
import pathlib
import statistics
import sys
import time
import urllib.request

from drawings import drawing
from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[1]


def ask(server, method, body=None):
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(server.url + "/v1/adapters/bench", data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def post_job(arguments, server, epochs):
    pictures = [(f"class {i % arguments.classes}", drawing(i)) for i in range(arguments.classes * arguments.shots)]
    examples = [{"label": label, "image": base64.b64encode(picture).decode()} for label, picture in pictures]
    ask(server, "POST", {"examples": examples, "options": {"epochs": epochs}})


def await_state(server, states):
    while (state := ask(server, "GET")["state"]) not in states:
        time.sleep(0.05)
    return state


def load(arguments, server, rate):
    got = server.bench("--rate", f"{rate:.0f}", "--duration", arguments.seconds, "--warmup", 1)
    return got["latency_ms"]["p50"], got["latency_ms"]["p99"], got["failed"] + got["refused"]


def load_beside_trainer(arguments, server, rate):
    post_job(arguments, server, arguments.epochs)
    await_state(server, ["training"])
    got = load(arguments, server, rate)
    if (state := ask(server, "GET")["state"]) != "training":
        print(f"  the job was {state} before the load's end: more --epochs")
    ask(server, "DELETE")
    return got


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictograms")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    server = Server(arguments.build, arguments.model)
    capacity = server.bench("--closed", 16, "--duration", 8, "--warmup", 1)["achieved_rps"]
    print(f"capacity {capacity:.0f} requests/s; half of it, {arguments.seconds} s a round    p50 ms    p99 ms    failed or refused")
    ways, rows = {"calm": load, "beside the trainer": load_beside_trainer}, {"calm": [], "beside the trainer": []}
    for _ in range(arguments.rounds):
        for way, run in ways.items():
            rows[way].append(run(arguments, server, capacity / 2))
            p50, p99, failed = rows[way][-1]
            print(f"{way:<54}{p50:>10.3f}{p99:>10.3f}{failed:>10}", flush=True)
    ratios = [beside[1] / calm[1] for calm, beside in zip(rows["calm"], rows["beside the trainer"])]
    print(f"p99 beside the trainer, over the calm one's of its round: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    began = time.monotonic()
    post_job(arguments, server, 10)
    if (state := await_state(server, ["ready", "failed"])) != "ready":
        sys.exit(f"the job is {state}")
    print(f"a job of 10 epochs, from the POST to the adapter that is kept: {time.monotonic() - began:.1f} s")
    server.stop()


if __name__ == "__main__":
    main()
