"""Protects --device: which backend it gets, what is said where there is no GPU or no module for GPUs, in which words, and
that a server's log names what it fell back to. GPUs are made up (tests/unit/kernels/gpus_module.c)."""

import json
import os
import subprocess

import httpx
import pytest

from conftest import BUILD, MODEL

OK, INPUT, USAGE = 0, 1, 2
GPUS = BUILD / "tests" / "unit" / "kernels" / "libgpus.so"


@pytest.fixture
def gpus(tmp_path):
    """The environment of a program that finds a module with so many GPUs; None: no module."""

    def environment(n):
        folder = tmp_path / str(n)
        folder.mkdir(exist_ok=True)
        if n is not None:
            if not GPUS.exists():
                pytest.skip(f"needs {GPUS}")
            (folder / "limoe-cuda.so").symlink_to(GPUS)
        return {"LIMOE_MODULES": str(folder), "LIMOE_TEST_GPUS": str(n or 0)}

    return environment


def limoe(*arguments, env=None):
    return subprocess.run([BUILD / "limoe", *map(str, arguments)], capture_output=True, text=True, timeout=600,
                          env={**os.environ, "LIMOE_MODEL": str(MODEL), **(env or {})})


NO_MODULE = "limoe: no module for GPUs: there is no {}/limoe-cuda.so (LIMOE_MODULES may name another directory)"


def first_line(done):
    return done.stderr.splitlines()[0]


@pytest.mark.parametrize("command", [["embed", "--text", "cat"], ["serve", "--port", "0"]])
def test_a_gpu_that_is_asked_for_must_be_there(gpus, command, tmp_path):
    nowhere, none, two = gpus(None), gpus(0), gpus(2)
    state = {"LIMOE_STATE_DIR": str(tmp_path / "state")} if command[0] == "serve" else {}
    done = limoe(*command, "--device", "cuda", env={**nowhere, **state})
    assert (done.returncode, first_line(done)) == (INPUT, NO_MODULE.format(nowhere["LIMOE_MODULES"]))
    done = limoe(*command, "--device", "cuda:0", env={**none, **state})
    assert (done.returncode, first_line(done)) == (INPUT, "limoe: no GPU was found: the driver counts 0")
    done = limoe(*command, "--device", "cuda:2", env={**two, **state})
    message = 'limoe: device "cuda:2"; this machine has 2 GPUs, cuda:0 to cuda:1'
    assert (done.returncode, first_line(done)) == (INPUT, message)


@pytest.mark.parametrize("command", ["serve", "embed", "classify", "engine", "inspect"])
def test_a_device_that_is_none_is_refused(command):
    done = limoe(command, "--device", "cuda:")
    assert done.returncode == USAGE
    assert '--device is "cuda:"; accepted: auto, cpu, cuda, cuda:N' in done.stderr


@pytest.mark.parametrize("options, message", [
    (["--device", "cuda:1"], "device is cuda:1 and ranks is 2; accepted: cuda, of which each rank gets a GPU"),
    (["--device", "cuda", "--hostfile", "hosts"], "hostfile is set and rank-address is not"),
    (["--device", "cuda", "--rank-address", "localhost"], "rank-address is set, device is cuda, and hostfile is not"),
    (["--device", "cuda", "--rank-agent", " "], 'rank-agent is " "; accepted: a program, perhaps with arguments'),
    (["--device", "cuda", "--mpi-arguments", "-q"], "mpi-arguments is set and device is cuda"),
])
def test_options_of_ranks_on_gpus(options, message):
    done = limoe("serve", "--ranks", "2", *options)
    assert done.returncode == USAGE
    assert message in done.stderr


def test_ranks_on_gpus_say_what_is_missing(gpus, tmp_path):
    def refusal(env):
        done = limoe("serve", "--port", "0", "--ranks", "2", "--device", "cuda", env={**env, "LIMOE_STATE_DIR": str(tmp_path / "state")})
        assert done.returncode == INPUT
        return first_line(done)

    assert refusal(gpus(2)).startswith('limoe: ranks of kind "nccl": there is no ')


def test_the_environment_chooses_too(gpus):
    done = limoe("embed", "--text", "cat", env={**gpus(None), "LIMOE_DEVICE": "cuda"})
    assert done.returncode == INPUT and "no module for GPUs" in done.stderr


def test_the_log_says_that_it_is_the_cpu(start, gpus):
    def said(server):
        return [line for line in server.log if "computing on the CPU" in line]

    server = start("--device", "auto", env=gpus(0))
    assert len(said(server)) == 1 and "no GPU was found (the driver counts 0), computing on the CPU" in said(server)[0]
    server = start(env=gpus(None))
    assert len(said(server)) == 1 and "no GPU was found (no module for GPUs: there is no " in said(server)[0]
    server = start("--device", "cpu", env=gpus(1))
    assert not said(server)
    assert httpx.get(server.url + "/v1/models").json()["data"][0]["backend"].startswith("cpu-")


@pytest.mark.parametrize("device, backend", [(None, "made-up-0"), ("cuda", "made-up-0"), ("cuda:1", "made-up-1")])
def test_a_gpu_is_used_and_named(start, gpus, device, backend):
    server = start(*(["--device", device] if device else []), env=gpus(2))
    model = httpx.get(server.url + "/v1/models").json()["data"][0]
    assert (model["backend"], model["dtype"]) == (backend, "bfloat16")
    assert any(line.startswith(f"compute    bfloat16 on {backend}") for line in server.out)
    assert not [line for line in server.log if "computing on the CPU" in line]


def test_inspect_tells_a_gpus_memory_without_one(gpus):
    def told(*arguments):
        done = limoe("inspect", "--json", "--ranks", "2", *arguments, env=gpus(None))
        assert done.returncode == OK, done.stderr
        return json.loads(done.stdout)

    model = told("--device", "cuda")
    assert model["dtype"] == "bfloat16"
    width, mlp = model["width"], model["mlp"]
    assert width % 16 == 0 and mlp % 16 == 0  # so that nothing is rounded up
    assert model["expert_bytes"] == 2 * 2 * width * mlp + 4 * (width + mlp)
