#!/usr/bin/env python3
"""What traces cost: a server that exports spans of every request beside one that does not.

    bench/tracing.py [--build build] [--model models/pictograms] [--pairs 10] [--seconds 5] [--dead]

Two servers of the same build, and a collector that takes what comes (--dead: nobody listens). They are asked in turns, as fast as they
answer; which of a pair goes first changes from pair to pair, so that a machine which grows slower favours neither. The figure is the
median of the pairs' ratios, of two loads: texts that the cache has, where the front alone works and traces weigh most, and
pictures and texts that are computed. Needs an idle machine and the standard library; collector and load take their share of it.
"""

import argparse
import http.server
import multiprocessing
import os
import pathlib
import re
import statistics
import sys

from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOADS = {"texts, cached": ["--mix", "text=1"], "pictures and texts": ["--unique-texts"]}


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def collect(port):
    os.nice(19)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        port.send(server.server_port)
        server.serve_forever()


def start(arguments, *options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return Server(arguments.build, arguments.model, *options, environment=environment)


def spans(server):
    found = re.findall(r'^limoe_otlp_spans_total\{outcome="(\w+)"\} (\d+)$', server.metrics(), re.M)
    return {outcome: int(n) for outcome, n in found}


def rate(arguments, server, options, seed):
    done = server.bench("--closed", 64, "--duration", arguments.seconds, "--warmup", 1, "--seed", seed, *options)
    if done["failed"] or done["refused"]:
        sys.exit(f"requests failed: {done}")
    return done["achieved_rps"]


def measure(arguments, servers, name, options):
    rates = {"off": [], "on": []}
    for pair in range(arguments.pairs):
        for which in ("off", "on") if pair % 2 == 0 else ("on", "off"):
            rates[which].append(rate(arguments, servers[which], options, pair + 1))
    ratios = sorted(on / off for on, off in zip(rates["on"], rates["off"]))
    quarter = len(ratios) // 4
    print(
        f"{name:20} off {statistics.median(rates['off']):9.1f}/s   on {statistics.median(rates['on']):9.1f}/s   "
        f"on/off {statistics.median(ratios):.4f} (middle half {ratios[quarter]:.4f} to {ratios[-1 - quarter]:.4f})",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictograms")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--dead", action="store_true", help="nobody listens where spans are sent")
    arguments = parser.parse_args()

    ours, theirs = multiprocessing.Pipe()
    collector = multiprocessing.Process(target=collect, args=(theirs,), daemon=True)
    collector.start()
    port = ours.recv()
    endpoint = "http://127.0.0.1:9" if arguments.dead else f"http://127.0.0.1:{port}"
    servers = {"off": start(arguments), "on": start(arguments, "--otlp-endpoint", f"{endpoint}/v1/traces")}
    for name, options in LOADS.items():
        measure(arguments, servers, name, options)
    print("spans", spans(servers["on"]))
    for server in servers.values():
        server.stop()
    collector.terminate()


if __name__ == "__main__":
    main()
