#!/usr/bin/env python3
"""What classification costs: by labels the first time, by labels again (cached), by a stored classifier, beside the
embedding of one picture.

    bench/classifier.py URL [--labels 1000] [--templates 10] [--rounds 300]

One connection, one request at a time, the kinds taking turns; medians in milliseconds of the whole request as the client
sees it, and of X-Total-Ms as the server does. The same picture in each. Start the server with nothing else running.
Needs the standard library.
"""

import argparse
import base64
import http.client
import json
import pathlib
import time
import urllib.parse

from turns import print_beside, take_turns

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--templates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(arguments.url).netloc, timeout=120)

    def send(method, path, body):
        began = time.perf_counter()
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        spent = (time.perf_counter() - began) * 1e3
        assert answer.status == 200, text
        return spent, float(answer.headers["X-Total-Ms"]), json.loads(text)

    picture = base64.b64encode((ROOT / "examples" / "cat.png").read_bytes()).decode()
    named = {"labels": [f"label number {i}" for i in range(arguments.labels)]}
    named["templates"] = [f"template {i} of a {{}}" for i in range(arguments.templates)]
    labels = {"image": picture, **named}
    first = send("POST", "/v1/classify", {**labels, "top_k": 5})
    again = send("POST", "/v1/classify", {**labels, "top_k": 5})
    put = send("PUT", "/v1/classifiers/bench", named)
    kinds = {
        "embed one picture": ("/v1/embeddings", {"input": [{"image": picture}], "encoding_format": "base64"}),
        "classify by name, top_k 5": ("/v1/classify", {"image": picture, "classifier": "bench", "top_k": 5}),
        "classify by name, all labels": ("/v1/classify", {"image": picture, "classifier": "bench"}),
    }
    assert send("POST", *kinds["classify by name, top_k 5"])[2]["data"] == first[2]["data"]
    times = take_turns(send, kinds, arguments.rounds)

    print(f"{arguments.labels} labels x {arguments.templates} templates        client ms   server ms   ratio (client)")
    for name, spent in (("by labels, first time", first), ("by labels, again", again), ("PUT as a classifier", put)):
        print(f"{name:<32}{spent[0]:>12.3f}{spent[1]:>12.3f}")
    print_beside(times, "embed one picture")


if __name__ == "__main__":
    main()
