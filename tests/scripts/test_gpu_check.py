"""Protects scripts/gpu-check from losing what a borrowed GPU has shown: on a bare machine it says at once what is missing, it
unpacks what was brought, records come as they are found, a run goes on where another was cut off, and what was cut off by
the limit is not held against the GPU. The programs are stand-ins; the real ones run on the emulated device in the units.
"""

import json
import os
import shutil
import signal
import subprocess
import tarfile
import time

import pytest
from harness import ROOT

# What stands in for each program writes its own name, with the libraries' path that it was given.
PROGRAM = """#!/bin/sh
echo "$0 $*" >>"$FAKE_LOG"
echo "libraries $LD_LIBRARY_PATH" >>"$FAKE_LOG"
case "$0 $*" in *synthetic*) while [ "$1" != --out ]; do shift; done; mkdir -p "$2"; exit 0 ;; esac
name=${0##*/}
case "$FAKE_HANGS" in *"$name"*) case "$*" in *--probe*) ;; *) exec sleep 100 ;; esac ;; esac
case "$FAKE_FAILS" in *"$name"*) case "$*" in *--probe*) ;; *) echo "out of order" >&2; exit 3 ;; esac ;; esac
[ "$name" != model ] || echo '{"images_per_s": 9000.5, "median_ms": 1.5, "p90_ms": 1.6, "open_ms": 70}'
[ "$name" != limoe ] || echo limoe
while [ $# -gt 0 ]; do
    [ "$1" != --report ] || printf '{"part": "%s", "verdict": "PASS", "name": "own", "detail": "found"}\\n' "$name" >>"$2"
    shift
done
"""
SERVE = """import os
open(os.environ["FAKE_LOG"], "a").write("serve " + os.environ.get("LD_LIBRARY_PATH", "") + "\\n")
"""
PROGRAMS = [
    "bench/model", "bench/synthetic", "bench/gpu/check", "bench/gpu/forward", "bench/gpu/time", "bench/gpu/card", "bench/gpu/nccl",
    "bench/gpu/ladder/ladder", "limoe", *(f"tests/unit/kernels/test_kernels_{t}" for t in ("attention", "linear", "moe", "rows")),
    "tests/unit/model/test_bits", "tests/unit/model/test_golden",
]  # fmt: skip


class Place:
    """A checkout of the scripts alone, in which nothing was built, on a machine whose tools are those of `tools`."""

    def __init__(self, folder):
        self.folder, self.tools, self.log = folder / "checkout", folder / "tools", folder / "log"
        shutil.copytree(ROOT / "scripts", self.folder / "scripts")
        (self.folder / "bench/gpu").mkdir(parents=True)
        (self.folder / "bench/gpu/serve.py").write_text(SERVE)
        self.tools.mkdir()
        (folder / "python/nvidia/nccl").mkdir(parents=True)
        self.python = folder / "python"
        for tool in ("apt-get", "sudo", "meson", "ninja", "dpkg-query", "nvcc"):
            self.tool(tool, 'echo "called $0" >>"$FAKE_LOG"; exit 1')

    def tool(self, name, body):
        (self.tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.tools / name).chmod(0o755)

    def programs(self, folder, names=PROGRAMS):
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(PROGRAM)
            path.chmod(0o755)
        return folder

    def start(self, *options, **env):
        given = {"FAKE_HANGS": "", "FAKE_FAILS": "", "FAKE_LOG": str(self.log), "PYTHONPATH": str(self.python), **env}
        environment = {k: v for k, v in os.environ.items() if k not in ("LIMOE_MODULES", "LD_LIBRARY_PATH")}
        command = [self.folder / "scripts/gpu-check", "--scratch", self.folder.parent, *map(str, options)]
        path = f"{self.tools}:{os.environ['PATH']}"
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env={**environment, "PATH": path, **given}
        )

    def run(self, *options, **env):
        """Exit status, what was printed, what was said."""
        process = self.start(*options, **env)
        try:
            out, error = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, out, error

    def calls(self, word):
        return [line for line in self.log.read_text().splitlines() if word in line] if self.log.exists() else []


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def verdicts(path, part):
    return [(r["verdict"], r["name"]) for r in records(path) if r["part"] == part]


def test_a_bare_machine_is_told_all_that_is_missing(place):
    (place.tools / "nvcc").unlink()
    status, _, error = place.run()
    assert status == 2 and "build/gpu-check.tar.xz" in error and "scripts/gpu-check --bundle" in error
    assert "for want of" in error and "libmicrohttpd-dev" in error
    assert not place.calls("apt-get") and not place.calls("meson") and not place.calls("sudo")


@pytest.mark.parametrize("python", [False, True], ids=["xz", "python"])
def test_a_bundle_is_unpacked_and_another_in_its_place(place, tmp_path, python):
    if python:  # an xz that is in the way, as none can be
        script = place.folder / "scripts/gpu.sh"
        script.write_text(script.read_text().replace("command -v xz", "command -v no-xz"))
    for turn in ("first", "second"):
        made = place.programs(tmp_path / turn)
        (made / turn).touch()
        (place.folder / "build").mkdir(exist_ok=True)
        with tarfile.open(place.folder / "build/gpu-check.tar.xz", "w:xz") as archive:
            archive.add(made, ".")
        status, out, error = place.run("--stage", "right", "--quick")
        assert status == 0, error
        assert f"PASS     unit     {'kernels rows':56}" in out
        kept = place.folder / "build/gpu-check"
        assert (kept / turn).exists() and (turn == "first" or not (kept / "first").exists())


def test_every_stage_has_its_checks(place, tmp_path):
    built, out = place.programs(tmp_path / "built"), tmp_path / "out.json"
    status, said, error = place.run("--build", built, "--out", out, "--limit", 300)
    assert status == 0, error + said
    done = [(r["part"], r["name"]) for r in records(tmp_path / "out.json.jsonl") if r["verdict"] == "DONE"]
    assert ("check", "kernels, tiny shapes") in done and ("card", "the card") in done and ("nccl", "NCCL, one rank") in done
    assert [name for part, name in done if part == "model"][:5] == [f"b16, batch {n}" for n in (1, 8, 32, 128, 160)]
    assert ("model", "h14, batch 128") in done and ("serve", "servers") in done and ("forward", "b16") in done
    assert json.loads(out.read_text()) == records(tmp_path / "out.json.jsonl")
    assert "9000.5 images/s, 1.5 ms" in said and not list(tmp_path.glob("limoe-gpu-check-*"))


def test_records_outlive_a_run_that_is_ended_and_another_goes_on_behind_them(place, tmp_path):
    built, out = place.programs(tmp_path / "built"), tmp_path / "out.json"
    kept = tmp_path / "out.json.jsonl"
    process = place.start("--build", built, "--out", out, "--stage", "right", FAKE_HANGS="test_kernels_moe")
    deadline = time.monotonic() + 60
    while not place.calls("test_kernels_moe") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=60)
    found = [name for verdict, name in verdicts(kept, "unit") if verdict == "DONE"]
    assert found == ["kernels attention", "kernels linear"] and ("PASS", "own") in verdicts(kept, "check")
    assert not out.exists() and not list(tmp_path.glob("limoe-gpu-check-*"))
    place.log.unlink()
    status, _, error = place.run("--build", built, "--out", out, "--stage", "right", "--resume")
    assert status == 0, error
    assert not place.calls("test_kernels_linear") and place.calls("test_kernels_moe") and place.calls("test_bits")
    assert [name for verdict, name in verdicts(kept, "unit") if verdict == "DONE"].count("kernels linear") == 1
    assert json.loads(out.read_text()) == records(kept)


def test_what_the_limit_cut_off_is_not_held_against_the_gpu(place, tmp_path):
    built, kept = place.programs(tmp_path / "built"), tmp_path / "out.jsonl"
    status, out, error = place.run("--build", built, "--out", tmp_path / "out", "--stage", "ceilings", "--limit", 8, FAKE_HANGS="time")
    assert status == 0, error + out
    assert ("n.a.", "kernels") in verdicts(kept, "time") and ("DONE", "kernels") not in verdicts(kept, "time")
    assert "no time is left for it" in out


def test_what_fails_is_said_and_is_found_again_by_a_run_that_goes_on(place, tmp_path):
    built = place.programs(tmp_path / "built")
    options = ["--build", built, "--out", tmp_path / "out", "--stage", "right"]
    status, out, _ = place.run(*options, FAKE_FAILS="test_kernels_rows")
    assert status == 1 and "FAIL unit: kernels rows: exit status 3: out of order" in out
    assert place.run(*options, "--resume")[0] == 1
    assert place.run(*options)[0] == 0  # anew, behind the others


def test_sanitizers_that_find_something_fail(place, tmp_path):
    built = place.programs(tmp_path / "built")
    place.tool("compute-sanitizer", 'case "$*" in *memcheck*) exit 86 ;; esac; echo "========= ERROR SUMMARY: 0 errors"')
    status, out, _ = place.run("--build", built, "--out", tmp_path / "out", "--stage", "whole")
    assert status == 1 and "FAIL sanitize: memcheck: exit status 86" in out
    assert f"PASS     sanitize {'racecheck':56} ERROR SUMMARY: 0 errors" in out


def test_libraries_are_added_to_those_that_the_machine_names(place, tmp_path):
    """The driver's may be found by LD_LIBRARY_PATH alone."""
    built = place.programs(tmp_path / "built")
    assert place.run("--build", built, "--stage", "whole", LD_LIBRARY_PATH="/the/driver")[0] == 0
    paths = [line.split()[1].split(":") for line in place.calls("libraries ") + place.calls("serve ")]
    assert len(paths) > 4 and all(path[-1] == "/the/driver" for path in paths)
    assert all(str(place.python / "nvidia/nccl/lib") in path for path in paths)
    assert any(line.startswith("serve ") for line in place.calls("serve "))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stage", "wrong"], "there is no stage 'wrong', but right ceilings models whole large"),
        (["--limit", "0"], "--limit takes whole seconds (found '0')"),
        (["--limit", "1h"], "--limit takes whole seconds (found '1h')"),
        (["--resume"], "--resume goes on from the records of --out, which is missing"),
    ],
)
def test_options_that_are_wrong(place, options, said):
    status, _, error = place.run(*options)
    assert status == 2 and f"gpu-check: {said}" in error


def test_records_that_cannot_be_written(place, tmp_path):
    status, _, error = place.run("--build", place.programs(tmp_path / "built"), "--out", "/none/out")
    assert status == 2 and "/none/out.jsonl cannot be written" in error
