#!/usr/bin/env python3
"""What many adapters of one model cost: time beside as many merged models, and memory beside what is computed.

    bench/adapters.py list [--adapters 10] [--start-block 4] [--rounds 200]
    bench/adapters.py memory [--adapters 100] [--start-block 6]

    --build build  --model models/pictograms

Adapters are tails of the model whose weights differ from it in their last bits: all of the blocks from --start-block on, final
norm and projections.

list: a server with the adapters, and one with the models that merging them gives. One picture is classified in turns: by all
adapters in one request, the same again, by each merged model in a request of its own, one after the other on one connection; each
round has a picture that nobody has seen. What the answers say must be the same. In milliseconds, as the client sees it: medians,
and the median of the rounds' ratios.

memory: as many adapters are put and asked, of one picture in lists of up to 16; the engine's resident memory before and after, beside
the sum that the server computes, and how many blocks of the trunk a picture's rows have passed for all, and would have for each
adapter anew.

Needs an idle machine and the standard library.
"""

import argparse
import base64
import http.client
import json
import pathlib
import random
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse

from drawings import drawing
from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[1]
LABELS = ["cat", "dog", "bird", "house", "tree", "car", "boat", "flower"]
MOST_IN_A_LIST = 16
NOISE = b"\x03\x00"  # bits of a bfloat16 that change


def limoe(arguments, *words):
    return subprocess.run([str(arguments.build / "limoe"), *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def write_tail(path, model, base, start_block, seed):
    """The model's own tensors, in bfloat16, with other last bits."""
    data = (model / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    tensors, bodies, at = {}, [], 0
    for name, tensor in json.loads(data[8 : 8 + size]).items():
        block = re.match(r"blocks\.(\d+)\.", name)
        if int(block[1]) < start_block if block else not re.match(r"ln\.|\w+\.proj\.", name):
            continue
        if tensor["dtype"] != "BF16":
            sys.exit(f"{model} has a tensor of {tensor['dtype']}; a model in bfloat16 is accepted")
        begin, end = tensor["data_offsets"]
        n = end - begin
        bits = int.from_bytes(random.Random(f"{seed} {name}").randbytes(n)) & int.from_bytes(NOISE * (n // 2))
        bodies.append((int.from_bytes(data[8 + size + begin : 8 + size + end]) ^ bits).to_bytes(n))
        tensors[name] = {**tensor, "data_offsets": [at, at + n]}
        at += n
    about = {"format": "limoe-adapter-1", "kind": "tail", "base": base, "start_block": start_block, "labels": LABELS}
    header = json.dumps({"__metadata__": {"limoe-adapter": json.dumps(about)}, **tensors}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(bodies))


def write_tails(arguments, folder):
    base = limoe(arguments, "inspect", arguments.model, "--digest").strip()
    paths = [folder / f"tail{i}" for i in range(arguments.adapters)]
    for seed, path in enumerate(paths):
        write_tail(path, arguments.model, base, arguments.start_block, seed)
    return paths


class Asked(Server):
    """A server and one connection to it."""

    def __init__(self, arguments, model, *options):
        super().__init__(arguments.build, model, *options)
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=120)

    def send(self, method, path, body, kind="application/json"):
        self.connection.request(method, path, body, {"Content-Type": kind})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)

    def put(self, paths):
        for path in paths:
            self.send("PUT", f"/v1/adapters/{path.name}", path.read_bytes(), "application/octet-stream")

    def classify(self, picture, **fields):
        return self.send("POST", "/v1/classify", json.dumps({"image": picture, "labels": LABELS, **fields}))

    def metric(self, name, label=""):
        return int(re.search(rf"^{name}\{{.*{label}.*\}} (\d+)$", self.metrics(), re.M)[1])


def unseen(i):
    return base64.b64encode(drawing(i)).decode()


def compare_times(arguments, folder):
    if arguments.adapters > MOST_IN_A_LIST:
        sys.exit(f"{arguments.adapters} adapters; a list has up to {MOST_IN_A_LIST}")
    paths = write_tails(arguments, folder)
    names = [path.name for path in paths]
    merged = [folder / f"merged{i}" for i in range(len(paths))]
    for path, to in zip(paths, merged):
        limoe(arguments, "adapters", "merge", arguments.model, path, to)
    tails = Asked(arguments, arguments.model)
    tails.put(paths)
    models = Asked(arguments, f"{names[0]}={merged[0]}", *[word for name, to in zip(names[1:], merged[1:]) for word in ("--model", f"{name}={to}")])

    def by_list(picture):
        return [variant["data"] for variant in tails.classify(picture, adapter=names)["variants"]]

    def by_models(picture):
        return [models.classify(picture, model=name)["data"] for name in names]

    ways = {"a list of adapters": by_list, "the same picture again": by_list, "merged models, one by one": by_models}
    times = {way: [] for way in ways}
    for i in range(-5, arguments.rounds):  # the first read the adapters and fill the caches of texts
        picture, answers = unseen(5 + i), []
        for way, ask in ways.items():
            began = time.perf_counter()
            answers.append(ask(picture))
            if i >= 0:
                times[way].append((time.perf_counter() - began) * 1e3)
        if answers[0] != answers[2] or answers[1] != answers[2]:
            sys.exit("an adapter's answer is not its merged model's")
    tails.stop()
    models.stop()
    beside = times["merged models, one by one"]
    print(f"{len(names)} adapters of {arguments.model.name} from block {arguments.start_block} on, {arguments.rounds} pictures      ms   ratio")
    for way, spent in times.items():
        ratio = statistics.median(one / other for one, other in zip(spent, beside))
        print(f"{way:<50}{statistics.median(spent):>10.3f}{ratio:>8.3f}")


def resident(server):
    return server.metric("limoe_process_resident_memory_bytes", 'process="engine"')


def compare_memory(arguments, folder):
    paths = write_tails(arguments, folder)
    names = [path.name for path in paths]
    server = Asked(arguments, arguments.model, "--adapter-memory", "16GiB", "--adapter-bytes", "16GiB", "--memory-check", "off")

    def ask_all(picture):
        """The trunk's rows times blocks that each list took."""
        taken, trunk = [], ("limoe_adapter_rows_total", 'part="trunk"')
        for first in range(0, len(names), MOST_IN_A_LIST):
            before = server.metric(*trunk)
            server.classify(picture, adapter=names[first : first + MOST_IN_A_LIST])
            taken.append(server.metric(*trunk) - before)
        return taken

    server.put(paths[:1])  # the first brings buffers that are not its own
    server.classify(unseen(0), adapter=names[:1])
    before, computed = resident(server), server.metric("limoe_adapter_memory_bytes")
    server.put(paths[1:])
    ask_all(unseen(1))  # fills the caches of texts
    trunk = ask_all(unseen(2))
    grown, computed = resident(server) - before, server.metric("limoe_adapter_memory_bytes") - computed
    print(f"{len(names)} adapters of {arguments.model.name} from block {arguments.start_block} on; loaded: {server.metric('limoe_adapters_loaded')}")
    print(f"all but the first: computed {computed / 2**20:.1f} MiB, resident {grown / 2**20:.1f} MiB more, ratio {grown / computed:.3f}")
    print(f"one picture by all: rows times blocks of the trunk {sum(trunk)}, of each list {trunk}; for each adapter anew {trunk[0] * len(names)}")
    server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["list", "memory"])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictograms")
    parser.add_argument("--adapters", type=int)
    parser.add_argument("--start-block", type=int)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    run, adapters, start_block = (compare_times, 10, 4) if arguments.what == "list" else (compare_memory, 100, 6)
    arguments.adapters = arguments.adapters or adapters
    arguments.start_block = start_block if arguments.start_block is None else arguments.start_block
    with tempfile.TemporaryDirectory() as folder:
        run(arguments, pathlib.Path(folder))


if __name__ == "__main__":
    main()
