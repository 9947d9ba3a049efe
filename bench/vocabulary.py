#!/usr/bin/env python3
"""What a description by a large vocabulary costs, beside the embedding of its picture; and what others notice while the
vocabulary is embedded.

    bench/vocabulary.py URL [--terms 100000] [--rounds 300] [--name bench]

One connection, one request at a time, the kinds taking turns; medians in milliseconds of the whole request as the client
sees it, and of X-Total-Ms as the server does. The same picture in each. The vocabulary is deleted at the end. Start the
server with nothing else running. Needs the standard library.
"""

import argparse
import base64
import http.client
import json
import pathlib
import statistics
import time
import urllib.parse

from turns import print_beside, take_turns

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--terms", type=int, default=100000)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--name", default="bench")
    arguments = parser.parse_args()
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(arguments.url).netloc, timeout=120)
    vocabulary = f"/v1/vocabularies/{arguments.name}"

    def send(method, path, body=None):
        began = time.perf_counter()
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        spent = (time.perf_counter() - began) * 1e3
        assert answer.status in (200, 202), text
        return spent, float(answer.headers["X-Total-Ms"]), json.loads(text)

    picture = base64.b64encode((ROOT / "examples" / "cat.png").read_bytes()).decode()
    embed = ("/v1/embeddings", {"input": [{"image": picture}], "encoding_format": "base64"})

    def describe(threshold, **fields):
        tags = {"vocabulary": arguments.name, "threshold": threshold}
        return ("/v1/describe", {"image": picture, "tags": tags, "attributes": {"k": 0}, **fields})

    idle = [send("POST", *embed)[0] for _ in range(arguments.rounds)]
    put = send("PUT", vocabulary, {"terms": [f"thing number {i}" for i in range(arguments.terms)]})
    began, beside = time.perf_counter(), []
    while (model := send("GET", vocabulary)[2]["models"][0])["state"] != "ready":
        assert model["state"] != "failed", model["reason"]
        beside.append(send("POST", *embed)[0])
        time.sleep(0.05)
    seconds = time.perf_counter() - began

    kinds = {
        "embed one picture": embed,
        "describe it, threshold 0.2": describe(0.2),
        "describe it, threshold auto": describe("auto"),
    }
    times = take_turns(send, kinds, arguments.rounds)
    send("DELETE", vocabulary)

    print(f"{arguments.terms} terms: PUT {put[0]:.1f} ms, embedded in {seconds:.1f} s")
    for name, spent in (("idle", idle), ("while they are embedded", beside)):
        if spent:
            print(f"embed one picture, {name}: median {statistics.median(spent):.3f} ms, highest {max(spent):.3f} ms")
    print(f"{'':<32}   client ms   server ms   ratio (client)")
    print_beside(times, "embed one picture")


if __name__ == "__main__":
    main()
