"""Protects the comparison with PyTorch from what its options may leave out: a dtype, a variant that could not be computed.
The engine and PyTorch are stood in for by programs that print figures.
"""

import json
import subprocess
import sys

import pytest
from harness import ROOT

ENGINE = """#!/bin/sh
case "$*" in *bfloat16*) ms=2 ;; *) ms=4 ;; esac
echo "{\\"median_ms\\": $ms}"
"""
PEER = """
import argparse, json
parser = argparse.ArgumentParser()
parser.add_argument("--batch", nargs="+", type=int)
parser.add_argument("--dtype", nargs="+")
args, _ = parser.parse_known_args()
print(json.dumps({"variants": [
    {"batch": b, "dtype": d, "mode": m, "moe": "grouped", "median_ms": 8 if m == "eager" else 6}
    for b in args.batch for d in args.dtype if d not in MISSING for m in ("eager", "compiled")
]}))
"""


@pytest.fixture
def tree(tmp_path):
    """The script in a tree of its own, beside programs that stand in for what it runs."""
    for folder in ("bench", "train", "build/bench"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bench/beside_pytorch.py").write_text((ROOT / "bench/beside_pytorch.py").read_text())
    (tmp_path / "build/bench/model").write_text(ENGINE)
    (tmp_path / "build/bench/model").chmod(0o755)

    def run(*options, missing=()):
        (tmp_path / "train/peer.py").write_text(PEER.replace("MISSING", repr(missing)))
        report = tmp_path / "report"
        command = [sys.executable, tmp_path / "bench/beside_pytorch.py", "--report", report, *map(str, options)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout, [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []

    return run


@pytest.mark.parametrize(
    "dtypes, fastest, ratio",
    [(["float32", "bfloat16"], "bfloat16", 3), (["float32"], "float32", 1.5), (["bfloat16"], "bfloat16", 3)],
)
def test_any_dtypes(tree, dtypes, fastest, ratio):
    out, report = tree("--dtype", *dtypes, "--batch", 1, 64)
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith(("| 1 ", "| 64 "))]
    assert [row[1] for row in rows] == dtypes * 2
    assert f"batch 64: {fastest} is {ratio:.2f} times as fast as PyTorch's best of all variants" in out
    assert [line["value"] for line in report] == [ratio, ratio]
    assert [line["verdict"] for line in report] == ["PASS" if ratio >= 2 else "MISSED"] * 2


def test_a_variant_that_pytorch_could_not_compute(tree):
    out, _ = tree("--batch", 1, missing=("bfloat16",))
    assert "| 1 | bfloat16 | 2.000, 2.000 | n.a. | n.a. | 500 |" in out
    assert "batch 1: bfloat16 is 3.00 times as fast" in out


def test_none_at_all(tree):
    out, report = tree("--batch", 1, missing=("float32", "bfloat16"))
    assert "batch 1: PyTorch computed no variant" in out and not report
