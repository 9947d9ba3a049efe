"""Fixtures of the package's tests, which run where the wheel is installed: those of harness.py, and the package itself."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))

from harness import *  # noqa: E402, F403

import limoe  # noqa: E402


@pytest.fixture(scope="session")
def model():
    with limoe.Model() as model:
        yield model
