"""Three models under load, of which one is killed and one is reloaded, again and again: the third knows nothing of it,
and neither do the clients of the other two."""

import os
import pathlib
import signal
import time

import httpx
from conftest import SECONDS, Load, capacity, key_file
from harness import MODEL
from test_reload import with_other_weights

MIX = "classify=1,image=1,text=2"
EVERY = 5 if SECONDS > 30 else 1
NAMES = ("killed", "reloaded", "third")
ADMIN = "an-admin-key-of-enough-bytes"


def engine_of(server, folder):
    """The pid of the engine that has this model open; None: it is being started just now."""
    for pid in server.children("engine"):
        try:
            arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in arguments:
            return pid
    return None


def test_models_are_killed_and_reloaded_beside_each_other(start, tmp_path, report):
    folders = {name: tmp_path / name for name in NAMES}
    for name in NAMES[:2]:
        folders[name].symlink_to(MODEL)
    with_other_weights(MODEL, folders["third"])
    keys = key_file(tmp_path / "keys", ADMIN)
    listed = ",".join(f"{name}={folder}" for name, folder in folders.items())
    server = start("--model", listed, "--admin-keys-file", keys)
    best = capacity(server, mix=MIX, model="third")
    # A sixth of what one alone could take for each: half of the machine, the rest is for engines that are started.
    rate = max(1, int(best / 6))
    loads = {
        name: Load(server, rate=rate, duration=SECONDS, arrivals="poisson", mix=MIX, check=True, model=name, seed=i)
        for i, name in enumerate(NAMES, 1)
    }
    third = engine_of(server, folders["third"])
    killed = reloaded = 0
    next_at = time.monotonic() + EVERY
    with httpx.Client(base_url=server.url, timeout=60, headers={"Authorization": f"Bearer {ADMIN}"}) as admin:
        while any(load.busy() for load in loads.values()):
            time.sleep(0.01)
            if time.monotonic() < next_at:
                continue
            next_at += EVERY
            pid = engine_of(server, folders["killed"])
            if pid:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            answer = admin.post("/v1/models/reload", json={"model": "reloaded"})
            assert answer.status_code == 200, answer.text
            reloaded += 1
    done = {name: load.result() for name, load in loads.items()}
    restarts = {name: server.metric(f'limoe_engine_restarts_total{{model="{name}"}}') for name in NAMES}
    reloads = {name: server.metric(f'limoe_model_reloads_total{{model="{name}",result="ok"}}') for name in NAMES}
    report(
        capacity_rps=best,
        rate=rate,
        kills=killed,
        reloads=reloaded,
        models={
            name: {figure: one[figure] for figure in ("sent", "ok", "failed", "wrong", "refused", "dropped", "longest_stall_ms", "latency_ms")}
            for name, one in done.items()
        },
    )
    assert killed > 0 and reloaded > 0
    for name, one in done.items():
        assert one["failed"] == 0 and one["wrong"] == 0 and one["refused"] == 0 and one["dropped"] == 0, (name, one)
        assert one["ok"] == one["sent"] > 0, name
    assert restarts == {"killed": killed, "reloaded": 0, "third": 0}
    assert reloads == {"killed": 0, "reloaded": reloaded, "third": 0}
    assert engine_of(server, folders["third"]) == third
    assert len(server.children("engine")) == 3, "an old engine is still there"
    server.log[:] = [line for line in server.log if " error " not in line]  # losses are told as errors
