"""Fixtures and helpers of the document's tests: those of harness.py."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import *  # noqa: E402, F403
