"""Engines and decoders are killed under load: nobody gets an error, and every answer keeps its bits."""

import os
import signal
import time

from conftest import SECONDS, Load, assert_all_answered, capacity, figures_of

MIX = "classify=1,image=1,text=2"
KILL_EVERY = 3 if SECONDS > 30 else 1


def kill_all(server):
    killed = 0
    for kind in ("engine", "decoder"):
        for pid in server.children(kind):
            try:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass  # it was lost and replaced meanwhile
    return killed


def test_no_request_fails_while_processes_are_killed(start, report):
    server = start()
    best = capacity(server, mix=MIX)
    rate = max(1, int(best * 0.7))
    load = Load(server, rate=rate, duration=SECONDS, arrivals="poisson", mix=MIX, check=True)
    killed, next_kill = 0, time.monotonic() + KILL_EVERY
    while load.busy():
        time.sleep(0.01)
        if time.monotonic() >= next_kill:
            killed += kill_all(server)
            next_kill += KILL_EVERY
    done = load.result()
    decoders = server.metric("limoe_decoder_restarts_total")
    report(capacity_rps=best, rate=rate, killed=killed, decoder_restarts=decoders, **figures_of(server, done))
    assert killed > 0
    assert_all_answered(done)
    assert server.metric("limoe_engine_restarts_total") > 0
    assert decoders > 0
    server.log[:] = [line for line in server.log if " error " not in line]  # losses are told as errors
