"""Protects the README's two commands: what scripts/build makes is all of the product that this machine can build, and what
scripts/serve starts computes on several ranks what one computes. On a fresh clone this runs before anything else is built.
"""

import os
import pathlib
import re
import shutil
import subprocess

import httpx
import pytest
from harness import ROOT, b64, picture, stop_cleanly

BUILD = ROOT / "build"
MODULES = {"limoe-mpi.so", "limoe-cuda.so", "limoe-nccl.so"}


def output(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_the_product_has_each_module_that_can_be_built():
    targets = output("ninja", "-C", BUILD, "-t", "targets", "all")[0]
    buildable = {name for name in MODULES if f"\n{name}: " in targets}
    product = set(re.findall(r"^    \| (\S+)$", output("ninja", "-C", BUILD, "-t", "query", "product")[0], re.M))
    assert product == {"limoe"} | buildable
    assert all((BUILD / name).is_file() for name in product)
    assert ("limoe-mpi.so" in buildable) == bool(shutil.which("mpicc"))
    nvcc = shutil.which("nvcc") or pathlib.Path("/usr/local/cuda/bin/nvcc").exists()
    assert ("limoe-cuda.so" in buildable) == bool(nvcc)


@pytest.mark.parametrize(
    "modules, said",
    [
        (["limoe-mpi.so"], ["no nvcc: built for CPUs only"]),
        (["limoe-mpi.so", "limoe-cuda.so"], ["no nccl.h: built for one GPU, without --ranks on several"]),
        (["limoe-mpi.so", "limoe-cuda.so", "limoe-nccl.so"], []),
        ([], ["no nvcc: built for CPUs only", "no MPI: built without --ranks on CPUs"]),
    ],
)
def test_a_lack_is_said_once(tmp_path, modules, said):
    for name in modules:
        (tmp_path / name).touch()
    script = f'set -euo pipefail; root={ROOT}; . "$root/scripts/lib.sh"; say_lacks {tmp_path}'
    lines = re.findall(r"==> (.*?)\x1b", output("bash", "-c", script)[1])
    assert lines == said
    assert output("bash", "-c", script)[1] == ""
    for name in MODULES:
        (tmp_path / name).touch()
    assert output("bash", "-c", script)[1] == ""  # there is nothing any more that it lacks


@pytest.mark.parametrize(
    "machine, programs, said",
    [
        ("x86_64", ["aarch64-linux-gnu-gcc", "qemu-aarch64"], ""),
        ("x86_64", ["aarch64-linux-gnu-gcc"], "there is no qemu-aarch64"),
        ("x86_64", [], "there is no aarch64-linux-gnu-gcc"),
        ("aarch64", [], "this is an aarch64 processor, on which the units have run it"),
    ],
)
def test_why_neon_is_left_out(tmp_path, machine, programs, said):
    for name, body in [("uname", f"echo {machine}"), *((name, ":") for name in programs)]:
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = f'set -euo pipefail; root={ROOT}; . "$root/scripts/lib.sh"; lacks_neon'
    assert output("/bin/bash", "-c", script, env={"PATH": str(tmp_path)})[0].strip() == said


@pytest.mark.parametrize(
    "log, said",
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "no space on the disk"),
        ("connection broken by 'NewConnectionError('<HTTPConnection>: Failed to", "the package index cannot be reached"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "what came is not what scripts/llm/requirements.txt names"),
        ("ERROR: No matching distribution found for a==1", "see above, and {log}"),
    ],
)
def test_why_there_is_no_language_model(tmp_path, log, said):
    """`scripts/serve --with-llm` where it cannot be fetched: pip's last words, in plain ones. tests/llm has one that is there."""
    words, pip = tmp_path / "words", tmp_path / "llm/bin/pip"
    words.write_text(log)
    pip.parent.mkdir(parents=True)
    pip.write_text("#!/bin/sh\n" 'while [ "$1" != --log ]; do shift; done\n' f'cat {words} >"$2"\nexit 1\n')
    pip.chmod(0o755)
    script = f'set -euo pipefail; root={ROOT}; . "$root/scripts/lib.sh"; need_packages() {{ :; }}; need_language_model {tmp_path}/llm'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, env={**os.environ, "TMPDIR": str(tmp_path)})
    (kept,) = tmp_path.glob("tmp.*")
    assert done.returncode == 1 and done.stderr.endswith(f"could not fetch the language model: {said.format(log=kept)}\n")
    assert not (tmp_path / "llm/.installed").exists()


def test_a_language_model_that_does_not_start(tmp_path):
    """`scripts/serve --with-llm` says why, and starts no server."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    python = tmp_path / "build/llm/bin/python"
    python.parent.mkdir(parents=True)
    for program, does in ((python, "echo no weights >&2; exit 1"), (tmp_path / "scripts/build", "exit 0")):
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
    (tmp_path / "build/llm/.installed").touch()
    done = subprocess.run([tmp_path / "scripts/serve", "--with-llm"], capture_output=True, text=True, timeout=60)
    why = f"no weights\nserve: the language model has not started; above is the end of {tmp_path}/build/llm/server.log\n"
    assert done.returncode == 1 and done.stderr.endswith(why) and "Once it says" not in done.stderr


def test_help_of_serve():
    """Its own, and then that of `limoe serve`."""
    said, _ = output(ROOT / "scripts/serve", "--help")
    assert "scripts/serve --with-llm" in said and "usage: limoe serve" in said


def test_a_build_says_its_version_and_nothing_of_lacks_again():
    output(ROOT / "scripts/build")
    out, error = output(ROOT / "scripts/build")
    assert out.startswith("limoe ") and "built for" not in error and "built without" not in error


def test_gpu_checks_bundle_needs_nvcc(tmp_path):
    """What it says where there is none; where there is, it makes one, which takes minutes: not here."""
    if (BUILD / "limoe-cuda.so").exists():
        pytest.skip("there is nvcc")
    done = subprocess.run([ROOT / "scripts/gpu-check", "--bundle"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and "this build has no limoe-cuda.so: there is no nvcc" in done.stderr


def answers(server):
    items = [{"image": b64(picture(i))} if i % 3 == 0 else {"text": f"text {i}"} for i in range(20)]
    asked = {"input": items, "encoding_format": "base64"}
    response = httpx.post(server.url + "/v1/embeddings", json=asked, timeout=60)
    assert response.status_code == 200, response.text
    return response.content


@pytest.mark.skipif(not shutil.which("mpirun"), reason="needs mpirun")
def test_serve_on_two_ranks_answers_with_the_bits_of_one(start):
    one = answers(start("--cache-bytes", 0, "--device", "cpu"))
    server = start("--cache-bytes", 0, "--ranks", 2, "--device", "cpu", command=[ROOT / "scripts/serve"])
    assert answers(server) == one
    model = httpx.get(server.url + "/v1/models", timeout=60).json()["data"][0]
    assert model["ranks"] == 2
    stop_cleanly(server)
    # Nothing but the script's own words and lines of the log: mpirun has nothing to say of its own.
    said = [line for line in server.log if line and not re.match(r"\d{4}-\d\d-\d\dT\S+ (info|warning) ", line)]
    others = [line for line in said if not re.search(r"==> |^limoe \d|Once it says|curl -s|or look at http", line)]
    assert not others, server.log
