"""Fixtures of the tests of train/convert.py and train/upcycle.py: the commands, and what the engine answers."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from make_limoe2 import save

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import *  # noqa: E402, F403
from harness import BUILD, ROOT  # noqa: E402

TOOL = BUILD / "tests/families/embed_bits"


@pytest.fixture
def command():
    """command("convert.py", …): the exit status, and what was said on stderr."""

    def run(script, *words):
        done = subprocess.run(
            [sys.executable, ROOT / "train" / script, *map(str, words)], capture_output=True, text=True, timeout=300
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stderr

    return run


@pytest.fixture
def embed(tmp_path):
    """embed(model, pixels, tokens, lengths): the engine's float32 embeddings, pictures first."""

    def run(model, pixels, tokens, lengths):
        assert TOOL.exists(), f"{TOOL} is not built: ninja -C {BUILD} tests/families/embed_bits"
        save(tmp_path / "items", dict(pixels=pixels, tokens=tokens, lengths=lengths))
        done = subprocess.run(
            [TOOL, model, tmp_path / "items", tmp_path / "embeddings"], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return np.fromfile(tmp_path / "embeddings", np.float32).reshape(len(pixels) + len(tokens), -1)

    return run
