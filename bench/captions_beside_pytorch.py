#!/usr/bin/env python3
"""Captions a second through POST /v1/captions beside PyTorch, and what requests for embeddings notice of captions.

    venv/bin/python bench/captions_beside_pytorch.py [--build build] [--waiting 1,8,64] [--seconds 8] [--rounds 2] [--embeddings]

A decoder of train/caption.py's size with random weights is put on the bundled model, and both write captions of --tokens tokens, the
most probable each time, in float32. limoe is asked by so many clients at once, a picture a request, over HTTP, PNG and all; their load
takes its share of the cores. PyTorch has as many decoded pictures in a batch, keys and values kept between tokens, and no server before
it: as it comes, and compiled, of which the faster one counts. They take turns. Texts of both are compared. --embeddings: p50 and p99 of
embeddings at a quarter of their capacity, alone and with captions at a quarter of theirs. Needs an idle machine and the Python of
train/requirements.txt.
"""

import argparse
import base64
import http.client
import io
import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from drawings import drawing
from PIL import Image
from server import Server

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "train"))

from decoder import Decoder, DecoderConfig, export, load, picture_rows  # noqa: E402
from export import load as load_model  # noqa: E402
from tokenizer import EOS_ID, PAD_ID, Tokenizer  # noqa: E402

PICTURES = 64


def write_model(out, tokens):
    torch.manual_seed(0)
    model = load_model(ROOT / "models" / "pictograms")
    config = DecoderConfig(width=192, blocks=4, heads=3, mlp=768, length=tokens, begin_id=PAD_ID, end_id=EOS_ID)
    export(model, Decoder(config, model.config.text["vocab"], model.config.width), ROOT / "models/pictograms/tokenizer.model", out)


# ---- PyTorch


class Cached:
    """The decoder a token at a time, for a batch: keys and values of what was read stay, those of the pictures are made once."""

    def __init__(self, decoder, compiled):
        self.decoder, self.config = decoder, decoder.config
        self.run = torch.compile(self.step, dynamic=False) if compiled else self.step

    def split(self, y):
        return y.unflatten(-1, (self.config.heads, -1)).transpose(1, 2)

    def step(self, tokens, at, cross, keys, values):
        """tokens [B] at position `at`, a tensor; the most probable next ones [B]."""
        d = self.decoder
        x = F.embedding(tokens[:, None], d.token) + d.pos[at]
        seen = (torch.arange(self.config.length) <= at)[None, None, None]
        for i, block in enumerate(d.blocks):
            h = block.ln1(x)
            k, v = map(self.split, block.attn.kv(h).chunk(2, -1))
            keys[i].index_copy_(2, at, k)
            values[i].index_copy_(2, at, v)
            mixed = F.scaled_dot_product_attention(self.split(block.attn.q(h)), keys[i], values[i], seen)
            x = x + block.attn.out(mixed.transpose(1, 2).flatten(2))
            mixed = F.scaled_dot_product_attention(self.split(block.cross.q(block.ln2(x))), *cross[i])
            x = x + block.cross.out(mixed.transpose(1, 2).flatten(2))
            x = x + block.mlp(block.ln3(x))
        logits = d.ln(x[:, 0]) @ d.token.T
        logits[:, self.config.begin_id] = logits[:, self.config.end_id] = -torch.inf
        return logits.argmax(-1)

    @torch.inference_mode()
    def captions(self, rows):
        """rows [B, n, t] of pictures -> ids [B, length]."""
        c, n = self.config, len(rows)
        picture = self.decoder.rows_ln(rows)
        cross = [tuple(self.split(part).contiguous() for part in block.cross.kv(picture).chunk(2, -1)) for block in self.decoder.blocks]
        room = [torch.zeros(n, c.heads, c.length, c.width // c.heads) for _ in range(2 * c.blocks)]
        tokens, written = torch.full((n,), c.begin_id), []
        for at in range(c.length):
            tokens = self.run(tokens, torch.tensor([at]), cross, room[: c.blocks], room[c.blocks :])
            written.append(tokens)
        return torch.stack(written, 1)


class Peer:
    def __init__(self, model, pictures):
        self.model, decoder = load(model)
        self.pixels = torch.from_numpy(np.stack([np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")) for picture in pictures]))
        self.ways = {"eager": Cached(decoder, False), "compiled": Cached(decoder, True)}

    @torch.inference_mode()
    def write(self, way, first, n):
        pixels = self.pixels[[(first + i) % len(self.pixels) for i in range(n)]]
        return self.ways[way].captions(picture_rows(self.model, pixels))

    def rate(self, way, n, seconds):
        """Captions a second, n at a time."""
        self.write(way, 0, n)
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            self.write(way, done, n)
            done += n
        return done / (time.perf_counter() - began)


# ---- limoe


class Clients:
    """So many that ask for a caption, each for its next when it has one; with a rate, when that says so."""

    def __init__(self, url, pictures, tokens):
        self.host = urllib.parse.urlsplit(url).netloc
        self.bodies = [json.dumps({"image": base64.b64encode(picture).decode(), "min_tokens": tokens}).encode() for picture in pictures]

    def ask(self, connection, i):
        connection.request("POST", "/v1/captions", self.bodies[i % len(self.bodies)], {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"POST /v1/captions: {answer.status} {text.decode()}")
        return json.loads(text)["data"][0]["captions"][0]["text"]

    def texts(self):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        return [self.ask(connection, i) for i in range(len(self.bodies))]

    def go_on(self, number, n, rate, began, until, done):
        connection, turn = http.client.HTTPConnection(self.host, timeout=60), number
        while time.perf_counter() < until:
            time.sleep(max(0, began + turn / rate - time.perf_counter()) if rate else 0)
            self.ask(connection, turn)
            done[number] += time.perf_counter() < until
            turn += n

    def rate(self, n, seconds, rate=0):
        """Captions a second, of n clients."""
        began, done = time.perf_counter(), [0] * n
        threads = [threading.Thread(target=self.go_on, args=(i, n, rate, began, began + seconds, done)) for i in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / seconds


# ---- what is told


def compare_rates(arguments, clients, peer):
    print("waiting   limoe, captions/s         PyTorch, captions/s                  limoe to it")
    for n in arguments.waiting:
        rates = {"limoe": [], "eager": [], "compiled": []}
        clients.rate(n, 1)
        for _ in range(arguments.rounds):
            rates["limoe"].append(clients.rate(n, arguments.seconds))
            for way in peer.ways:
                rates[way].append(peer.rate(way, n, arguments.seconds))
        median = {name: statistics.median(found) for name, found in rates.items()}
        best = max(peer.ways, key=median.get)
        told = {name: f"{median[name]:.1f} ({min(found):.1f} to {max(found):.1f})" for name, found in rates.items()}
        print(f"{n:<10}{told['limoe']:<26}{told[best] + ', ' + best:<37}{median['limoe'] / median[best]:.2f}", flush=True)


def compare_latencies(arguments, server, clients):
    mix = ("--mix", "image=1", "--warmup", 1)
    quarter = server.bench("--closed", 16, "--duration", 6, *mix)["achieved_rps"] / 4
    captions = clients.rate(8, 6) / 4
    print(f"embeddings of pictures at {quarter:.0f}/s, a quarter of their capacity; captions at {captions:.0f}/s, a quarter of theirs")
    ratios = []
    for _ in range(arguments.rounds):
        found = []
        for rate in (0, captions):
            beside = threading.Thread(target=clients.rate, args=(16, arguments.seconds + 2, rate)) if rate else None
            if beside:
                beside.start()
            got = server.bench("--rate", f"{quarter:.0f}", "--duration", arguments.seconds, *mix)
            if beside:
                beside.join()
            found.append(got["latency_ms"])
            name = "with captions" if rate else "alone"
            print(f"{name:<16}p50 {got['latency_ms']['p50']:.2f} ms, p99 {got['latency_ms']['p99']:.2f} ms, failed {got['failed'] + got['refused']}", flush=True)
        ratios.append(found[1]["p99"] / found[0]["p99"])
    print(f"p99 with captions, over that alone: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--waiting", type=lambda text: [int(word) for word in text.split(",")], default=[1, 8, 64])
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--embeddings", action="store_true", help="what embeddings notice, in place of captions a second")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pictures = [drawing(i, 60) for i in range(PICTURES)]
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), arguments.tokens)
        server = Server(arguments.build, folder, "--dtype", "float32", "--threads", arguments.threads)
        clients = Clients(server.url, pictures, arguments.tokens)
        if arguments.embeddings:
            compare_latencies(arguments, server, clients)
        else:
            peer = Peer(Path(folder), pictures)
            ids, tokenizer = peer.write("eager", 0, PICTURES), Tokenizer(ROOT / "models/pictograms/tokenizer.model", arguments.tokens)
            same = sum(tokenizer.pieces.decode(row) == text for row, text in zip(ids.tolist(), clients.texts()))
            print(f"{same} of {PICTURES} captions are the same in both")
            compare_rates(arguments, clients, peer)
        server.stop()


if __name__ == "__main__":
    main()
