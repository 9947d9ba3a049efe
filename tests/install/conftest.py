"""An installation, moved away from where it was installed, so that nothing can lean on the build or on its prefix."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import *  # noqa: E402, F403
from harness import BUILD, ROOT  # noqa: E402

COMMANDS = ["serve", "classify", "describe", "embed", "explain", "caption", "inspect", "quantize", "tune", "adapters", "bench", "openapi", "completion", "manual"]
# Neither this machine's settings nor a test's.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not re.match(r"LIMOE_|LD_|PKG_CONFIG", name)}


def run(*command, env=None, **options):
    """A command that must succeed; what it printed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, env={**ENVIRONMENT, **(env or {})},
                          **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class Installation:
    def __init__(self, prefix):
        self.prefix = prefix
        self.program = prefix / "bin" / "limoe"
        self.share = prefix / "share"
        self.libraries = next(prefix.glob("lib/**/pkgconfig")).parent
        self.model = self.share / "limoe" / "models" / "pictograms"

    def limoe(self, *arguments, **options):
        return run(self.program, *arguments, **options)

    def pkg_config(self, *arguments):
        return run("pkg-config", *arguments, "limoe", env={"PKG_CONFIG_PATH": str(self.libraries / "pkgconfig")}).split()


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", folder / "staged")
    options = {option["name"]: option["value"] for option in json.loads(run("meson", "introspect", "--buildoptions", BUILD))}
    (folder / "staged" / options["prefix"].lstrip("/")).rename(folder / "elsewhere")
    return Installation(folder / "elsewhere")
