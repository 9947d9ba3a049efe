"""Protects scripts/test: each stage has a name to run it by, and what it does not know it says before it builds anything."""

import re
import subprocess

from harness import ROOT

SCRIPT = ROOT / "scripts/test"


def run(*arguments):
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=60)


def test_each_stage_is_listed():
    stages = re.findall(r"^stage_(\w+)\(\)", SCRIPT.read_text(), re.M)
    listed = run("--list").stdout.partition("\nunits:\n")[0]
    assert sorted(line.split()[0] for line in listed.splitlines()) == sorted(stages)
    assert len(stages) > 8


def test_units_are_listed():
    assert re.search(r" / queue$", run("--list").stdout.partition("\nunits:\n")[2], re.M)


def test_an_unknown_stage():
    done = run("no-such-stage")
    assert done.returncode == 1
    assert done.stderr.startswith("test: there is no stage 'no-such-stage': one of layout tidy ")


def test_help():
    assert "scripts/test STAGE" in run("--help").stdout
