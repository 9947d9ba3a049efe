"""A server that a benchmark starts, asks and stops."""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request


class Server:
    """`limoe serve` on a port of its own choice, ready. `under`: what it is started by, as ["taskset", "-c", "1"]."""

    def __init__(self, build, model, *options, under=(), environment=os.environ, log_level="warning"):
        self.program, self.state = build / "limoe", tempfile.TemporaryDirectory()
        command = [*under, self.program, "serve", "--model", model, "--port", "0", "--log-level", log_level]
        command += ["--state-dir", self.state.name, *options]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment)
        atexit.register(self.process.kill)  # a benchmark that fails leaves no server behind
        self.ready = next((line for line in self.process.stdout if line.startswith("ready")), None)
        if not self.ready:
            sys.exit("the server did not start")
        self.url = self.ready.split()[1].rstrip(",")

    def metrics(self):
        return urllib.request.urlopen(self.url + "/metrics").read().decode()

    def bench(self, *options, under=()):
        """What `limoe bench --json` says of it."""
        command = [*under, self.program, "bench", self.url, "--json", *options]
        return json.loads(subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            sys.exit("the server did not stop cleanly")
