"""What the chaos tests use: those of harness.py, the load generator, and a place to report figures.

LIMOE_CHAOS_SECONDS is how long each disturbance lasts (default 6). What depends on how fast the machine is, is judged
only when LIMOE_CHAOS_STRICT is set, on a machine that does nothing else; everything else is judged always. Figures are
printed (pytest -s) and, when LIMOE_CHAOS_REPORT names a file, appended to it as JSON lines.
LIMOE_HOOKS_BUILD is a build with -Dtest_hooks=true (default build/hooks).
"""

import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import *  # noqa: E402, F403
from harness import BUILD, ROOT  # noqa: E402

SECONDS = float(os.environ.get("LIMOE_CHAOS_SECONDS", 6))
STRICT = bool(os.environ.get("LIMOE_CHAOS_STRICT"))
HOOKS = pathlib.Path(os.environ.get("LIMOE_HOOKS_BUILD", ROOT / "build" / "hooks")).resolve()


def others_processor():
    """The processor of all but engines, where these are kept apart: a list, as taskset has it."""
    return sorted(os.sched_getaffinity(0))[-1:]


def keep_apart(server):
    """The engine computes on the first processor; the front and its decoders run on another, with the load (Load's
    `apart`): so that what refusing costs is not taken from what computes. Start the server with --threads 1."""
    processors = sorted(os.sched_getaffinity(0))
    for pid in [server.process.pid] + server.children("engine") + server.children("decoder"):
        engine = pid in server.children("engine")
        for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), processors[:1] if engine else others_processor())


class Load(threading.Thread):
    """`limoe bench` in the background; result() waits for it and gives what it measured."""

    def __init__(self, server, apart=False, **options):
        super().__init__(daemon=True)
        command = [BUILD / "limoe", "bench", server.url, "--json"]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        if apart:
            os.sched_setaffinity(self.process.pid, others_processor())
        self.start()

    def run(self):
        self.out, self.err = self.process.communicate()

    def busy(self):
        return self.process.poll() is None

    def result(self):
        self.join()
        assert self.process.returncode == 0, self.err[-2000:]
        return json.loads(self.out)


def capacity(server, seconds=3, **options):
    """Requests a second that the server answers when it is never left waiting."""
    done = Load(server, closed=options.pop("closed", 16), duration=seconds, **options).result()
    assert done["failed"] == 0 and done["ok"] > 0, done
    return done["achieved_rps"]


def figures_of(server, done):
    """What a report has of a load beside which processes were lost."""
    return {
        "engine_restarts": server.metric("limoe_engine_restarts_total"),
        "replayed_steps": server.metric("limoe_steps_replayed_total"),
        **{name: done[name] for name in ("longest_stall_ms", "ok", "failed", "wrong", "latency_ms")},
    }


def assert_all_answered(done):
    assert done["failed"] == 0 and done["wrong"] == 0 and done["refused"] == 0 and done["dropped"] == 0, done
    assert done["ok"] == done["sent"] > 0


@pytest.fixture
def report(request):
    """report(figure=value, ...): what a test has measured."""

    def say(**figures):
        line = {"test": request.node.name, "seconds": SECONDS, **figures}
        print("\n" + json.dumps(line))
        if os.environ.get("LIMOE_CHAOS_REPORT"):
            with open(os.environ["LIMOE_CHAOS_REPORT"], "a") as out:
                out.write(json.dumps(line) + "\n")

    return say
