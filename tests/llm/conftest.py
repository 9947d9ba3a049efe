"""Fixtures of the tests with a language model: those of harness.py, and the model."""

import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import *  # noqa: E402, F403
from harness import BUILD, ROOT  # noqa: E402

SERVE = ROOT / "scripts/llm/serve.py"


class LanguageModel:
    """llama.cpp's server with its model, as scripts/serve starts it; its log is a file."""

    def __init__(self, log):
        self.log = log
        with log.open("wb") as file:
            command = [BUILD / "llm/bin/python", SERVE, str(os.getpid())]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        self.url = self.process.stdout.readline().strip()
        self.name = self.process.stdout.readline().strip()
        assert self.name, log.read_text()

    def options(self, *more):
        return ["--llm-url", self.url, "--llm-model", self.name, *more]

    def count(self, words):
        """How often its log says them."""
        return self.log.read_text(errors="replace").count(words)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """One for all tests that leave it as they find it."""
    running = LanguageModel(tmp_path_factory.mktemp("llm") / "log")
    yield running
    running.kill()


@pytest.fixture
def mortal(tmp_path):
    """One to kill."""
    running = LanguageModel(tmp_path / "log")
    yield running
    running.kill()
