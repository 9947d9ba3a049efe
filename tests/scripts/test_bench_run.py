"""Protects the figures of bench/run from its own arithmetic: operations and floors of known models, what is kept and shown
of measurements, and a whole run over programs that stand in for the engine, where no peer is installed.
"""

import csv
import dataclasses
import json
import subprocess
import sys

import pytest
from harness import ROOT

sys.path.insert(0, str(ROOT / "bench"))

from suite import breakdown, machine, models, results, shapes  # noqa: E402
from suite.peers import settings  # noqa: E402
from suite.shapes import Rates, Step, floor_seconds  # noqa: E402

B16 = {
    "format": "limoe-1", "width": 768, "blocks": 12, "heads": 12, "mlp": 3072, "embed": 768,
    "image": {"size": 224, "patch": 16}, "text": {"vocab": 32000, "length": 16, "eos_id": 2},
}  # fmt: skip
CLIP_B32 = {
    "model_type": "clip", "projection_dim": 512,
    "vision_config": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "image_size": 224, "patch_size": 32, "projection_dim": 512,
    },
    "text_config": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "vocab_size": 49408},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    def make(config, **changed):
        (tmp_path / "config.json").write_text(json.dumps({**config, **changed}))
        return tmp_path

    return make


# ---- what a forward pass has to do


def test_operations_of_a_dense_model(folder):
    rows, d, mlp = 196, 768, 3072
    block = 2 * rows * d * (3 * d) + 2 * rows * d * d + 2 * 2 * rows * d * mlp + 2 * 2 * rows * rows * d
    expected = 12 * block + 2 * 196 * 768 * d + 2 * d * 768
    assert shapes.operations(folder(B16), Step(1, 0), 16) == expected
    assert shapes.operations(folder(B16), Step(8, 0), 16) == 8 * expected


def test_operations_of_published_models_are_the_published_ones(folder):
    """4.4 billion multiplications a picture for B/32, 2.98 for CLIP's text tower of 77 tokens (attention to all pairs)."""
    assert shapes.operations(folder(CLIP_B32), Step(1, 0), 77) / 2 == pytest.approx(4.4e9, rel=0.02)
    assert shapes.operations(folder(CLIP_B32), Step(0, 1), 77) / 2 == pytest.approx(2.98e9, rel=0.02)


def test_experts_cost_a_router_and_no_more(folder):
    dense = shapes.operations(folder(B16), Step(2, 3), 16)
    moe = {"blocks": [1, 3, 5, 7, 9, 11], "experts": 32, "top_k": 1}
    rows = 2 * 196 + 3 * 16
    assert shapes.operations(folder(B16, moe=moe), Step(2, 3), 16) == dense + 6 * 2 * rows * 768 * 32
    twice = shapes.operations(folder(B16, moe={**moe, "top_k": 2}), Step(2, 3), 16)
    assert twice == dense + 6 * 2 * rows * 768 * 32 + 6 * 4 * rows * 768 * 3072


def test_only_experts_that_can_be_reached_are_read(folder):
    moe = {"blocks": [1], "experts": 128, "top_k": 1}
    expert = 2 * 768 * 3072 * 2
    by_four_tokens = shapes.weights(folder(B16, moe=moe), Step(0, 1), 4, "bfloat16")
    by_all = shapes.weights(folder(B16, moe=moe), Step(1, 0), 4, "bfloat16")
    patch = 768 * 768 * 2
    assert by_all - by_four_tokens - patch == (128 - 4) * expert


def test_towers_apart_are_read_both(folder):
    where = folder(CLIP_B32)
    both = shapes.weights(where, Step(1, 1), 77, "float32")
    assert both == shapes.weights(where, Step(1, 0), 77, "float32") + shapes.weights(where, Step(0, 1), 77, "float32")
    shared = folder(B16)
    assert shapes.weights(shared, Step(1, 1), 16, "float32") == shapes.weights(shared, Step(1, 0), 16, "float32")


def test_a_pass_of_siglip_has_its_pooling(folder):
    tower = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    config = {"model_type": "siglip", "vision_config": {**tower, "image_size": 224, "patch_size": 16}, "text_config": tower}
    pool = 4 * 196 * 768 * 768 + 4 * 196 * 768 + 4 * 768 * 768 + 4 * 768 * 3072
    without_ends = shapes.operations(folder(B16), Step(1, 0), 16) - 2 * 768 * 768
    assert shapes.operations(folder(config), Step(1, 0), 64) == without_ends + pool


def test_floors():
    rates = Rates(operations=1e12, bytes=1e10, cache=1e6)
    assert floor_seconds(2e12, 1e7, rates) == 2
    assert floor_seconds(0, 3e10, rates) == 3
    assert floor_seconds(1e9, 0.9e6, rates) == 1e-3  # a cache holds it


# ---- what is tried, kept, shown


def test_settings_are_those_that_can_win():
    assert settings("onnxruntime", "bfloat16", 1) == []
    ways = {dict(s.options)["way"] for s in settings("torch", "float32", 32)}
    assert "dense" not in ways and "dense" in {dict(s.options)["way"] for s in settings("torch", "float32", 8)}
    for engine in ("torch", "onnxruntime", "openvino"):
        assert len(settings(engine, "float32", 8, quick=True)) == 1


def row(**changed):
    values = {
        "date": "2026-11-27", "commit": "abc", "cpu": "some CPU", "isa": "avx2", "threads": 2, "model": "b16-1", "items": "image", "batch": 8, "tokens": 16, "padded": 0,
        "dtype": "float32", "engine": "limoe", "version": "", "setting": "", "rounds": 3, "median_ms": 10.0, "least_ms": 9.5, "most_ms": 11.0,
        "items_per_s": 800.0, "gflop": 1.5, "peak_gflops": 200.0, "share_of_peak": 0.75, "floor_ms": 7.5, "cosine": 1.0, "resident_mb": 100,
    }  # fmt: skip
    return results.Row(**{**values, **changed})


def test_results_stand_beside_those_of_before(tmp_path):
    path = tmp_path / "results/cpu.csv"
    results.append(path, [dataclasses.asdict(row())])
    others = [row(batch=1), row(engine="openvino", setting="latency", median_ms=12.5)]
    results.append(path, [dataclasses.asdict(other) for other in others])
    assert path.read_text().count("date,commit") == 1
    assert [(r.engine, r.batch, r.median_ms) for r in results.read(path)] == [("limoe", 8, 10.0), ("limoe", 1, 10.0), ("openvino", 8, 12.5)]


def test_a_file_of_other_columns_is_left_alone(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("batch,ms\n1,2\n")
    with pytest.raises(SystemExit, match="columns"):
        results.append(path, [dataclasses.asdict(row())])
    assert path.read_text() == "batch,ms\n1,2\n"


def test_the_table_holds_the_engine_to_the_best_peer():
    rows = [row(), row(engine="torch", median_ms=20.0), row(engine="openvino", median_ms=15.0, setting="latency", cosine=0.999)]
    line = results.table(rows)[2]
    assert "| 10 (9.5 to 11) | 75 % |" in line and line.endswith("| 1.50 | 0.99900 |")
    assert "15 (9.5 to 11, latency)" in line
    assert "n.a." in results.table([row()])[2]  # no peer


def test_the_best_at_all_is_over_dtypes():
    rows = [row(), row(dtype="bfloat16", median_ms=4.0), row(engine="torch", median_ms=20.0), row(engine="torch", dtype="int8", median_ms=6.0)]
    assert results.best_at_all(rows) == ["- b16-1, 8 image: bfloat16 is 1.50 times as fast as the best of all, PyTorch's int8"]


def test_names():
    assert machine.file_name("AMD EPYC (25/17)", "avx512bf16") == "amd-epyc-25-17-avx512bf16"
    for name in [*models.ALL, "s16-128"]:
        assert models.is_name(name)
    for name in ["b16", "b16-", "b16-0", "x16-1", "clip"]:
        assert not models.is_name(name)


# ---- a whole run

PEAK = """#!/bin/sh
echo '{"isa": "avx2", "threads": 2, "float32": {"instruction": "fma", "one_gflops": 50, "all_gflops": 100},
 "bfloat16": {"instruction": "fma", "one_gflops": 50, "all_gflops": 100}, "int8": {"instruction": "madd", "one_gflops": 100,
 "all_gflops": 200}, "cache_bytes": 1000000, "read": {"one_gb_s": 10, "all_gb_s": 20}}'
"""
MODEL = """#!/bin/sh
case "$*" in *int8*) echo "usage: bench/model ..., and no int8" >&2; exit 2 ;; *bfloat16*) ms=2 ;; *) ms=4 ;; esac
echo "{\\"median_ms\\": $ms, \\"weights_bytes\\": 1000}"
"""
EMBED = f"""#!{sys.executable}
import array, sys
if sys.argv[4] == "int8":
    sys.exit("embed_bits: there is no such dtype")
array.array("f", [1.0, 2.0, 3.0] * 8).tofile(open(sys.argv[3], "wb"))
"""


@pytest.fixture
def build(tmp_path):
    for name, text in (("bench/peak", PEAK), ("bench/model", MODEL), ("tests/families/embed_bits", EMBED)):
        path = tmp_path / "build" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path / "build"


def bench(build, *options):
    command = [sys.executable, ROOT / "bench/run", "--build", build, "--peer", "--threads", "2", *map(str, options)]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def test_a_run_without_peers(build, tmp_path):
    kept, out = tmp_path / "kept.csv", tmp_path / "out.md"
    done = bench(build, "--model", "pictograms", "--batch", 1, 8, "--results", kept, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "int8: embed_bits: there is no such dtype" in done.stderr
    with kept.open() as file:
        rows = list(csv.DictReader(file))
    cases = [(r["dtype"], r["items"], r["batch"]) for r in rows]
    of_a_dtype = [("image", "1"), ("text", "1"), ("image", "8"), ("text", "8"), ("mixed", "8")]
    assert cases == [(dtype, *case) for dtype in ("float32", "bfloat16") for case in of_a_dtype]
    assert all(r["peak_gflops"] == "100" and r["cosine"] == "1.0" and r["rounds"] == "3" for r in rows)
    eight = next(r for r in rows if r["items"] == "image" and r["batch"] == "8" and r["dtype"] == "float32")
    assert float(eight["share_of_peak"]) == pytest.approx(float(eight["gflop"]) / 0.004 / 100, rel=1e-2)
    assert "| pictograms | 8 image | float32 | 4 (4 to 4) |" in done.stdout and out.read_text() in done.stdout + "\n"


def test_a_run_whose_time_is_over_says_what_it_left_out(build, tmp_path):
    done = bench(build, "--model", "pictograms", "--minutes", 0, "--results", tmp_path / "kept.csv")
    assert done.returncode == 0 and "pictograms: left out, for want of time" in done.stderr
    assert not (tmp_path / "kept.csv").exists()


def test_sparsity(build, tmp_path):
    """The folders are there already: nothing is made."""
    for experts in (1, 8, 32, 128):
        folder = tmp_path / f"models/s16-{experts}"
        folder.mkdir(parents=True)
        moe = {"moe": {"blocks": [1], "experts": experts, "top_k": 1}} if experts > 1 else {}
        (folder / "config.json").write_text(json.dumps({**B16, **moe}))
    options = ["--sparsity", "--models", tmp_path / "models", "--model", "s16-1", "--dtype", "float32", "--results", tmp_path / "kept.csv"]
    done = bench(build, *options)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| s16")]
    assert [(r[2], r[3], r[5]) for r in rows] == [(batch, experts, "1.00") for batch in ("1", "32") for experts in ("1", "8", "32", "128")]
    assert (tmp_path / "kept-sparsity.csv").read_text().count("s16") == 8
    reading = [float(r[6]) for r in rows[:4]]
    assert reading == sorted(reading) and reading[3] > reading[0]


def test_a_model_that_is_none(build):
    done = bench(build, "--model", "b17-1")
    assert done.returncode == 2 and '"b17-1"; there are pictograms' in done.stderr


# ---- a breakdown

def trace(times=1):
    """As bench/profile.c writes it: microseconds, and a number that an operation has not is 0."""
    said = [
        ("layernorm", 40, 196, 768, 768, 0), ("linear", 5000, 196, 768, 2304, 1), ("linear", 7000, 196, 768, 2304, 1),
        ("grouped_linear", 20000, 196, 768, 3072, 32), ("attention", 1000, 196, 196, 768, 0),
    ]  # fmt: skip
    events = [
        {"name": name, "ph": "X", "pid": 1, "tid": 1, "ts": 0.0, "dur": us, "args": {"rows": rows, "in": n, "out": m, "groups": groups}}
        for name, us, rows, n, m, groups in said * times
    ]
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events})


def test_operations_beside_their_floors():
    rates = Rates(operations=1e11, bytes=1e10, cache=8e6)
    found = breakdown.lines(breakdown.read_profile(trace()), 1, 35.0, "float32", rates)
    by_name = {line.operation.name: line for line in found}
    assert list(by_name) == ["grouped_linear", "linear", "attention", "layernorm", breakdown.OTHERS]
    linear, grouped = by_name["linear"], by_name["grouped_linear"]
    assert linear.count == 2 and linear.ms == pytest.approx(12) and linear.floor_ms == pytest.approx(2e3 * 2 * 196 * 768 * 2304 / 1e11)
    assert grouped.floor_ms == pytest.approx(1e3 * 32 * 768 * 3072 * 4 / 1e10)  # the experts' weights, from memory
    assert by_name["attention"].floor_ms == pytest.approx(1e3 * 4 * 196 * 196 * 768 / 1e11)
    assert by_name["layernorm"].floor_ms == 0  # its rows stay in a cache
    assert by_name[breakdown.OTHERS].ms == pytest.approx(35 - 12 - 20 - 1 - 0.04)
    last = breakdown.table("b16-32", found, 35.0)[-2]
    assert last.startswith("| all | | | 35 | 100 % |")


def test_weights_are_read_from_memory_where_no_cache_holds_those_of_all_products():
    events = [(breakdown.Operation("linear", 1, 1000, 1000, 1), 1e-3)] * 3
    apart = breakdown.lines(events, 1, 3.0, "float32", Rates(1e12, 1e10, cache=11e6))
    near = breakdown.lines(events, 1, 3.0, "float32", Rates(1e12, 1e10, cache=12e6))
    assert apart[0].floor_ms == pytest.approx(1e3 * 3 * 4e6 / 1e10) and near[0].floor_ms == pytest.approx(1e3 * 3 * 2e6 / 1e12)


def test_the_pooling_query_costs_two_products_a_row():
    assert breakdown.Operation("attention_pool", 196, 2 * 768, 768).work() == 4 * 196 * 768


def test_a_breakdown_of_several_calls_is_of_one():
    rates = Rates(operations=1e11, bytes=1e10, cache=8e6)
    once = breakdown.lines(breakdown.read_profile(trace()), 1, 35.0, "float32", rates)
    thrice = breakdown.lines(breakdown.read_profile(trace(3)), 3, 35.0, "float32", rates)
    assert [(line.operation, line.count) for line in once] == [(line.operation, line.count) for line in thrice]
    assert [line.ms for line in once] == pytest.approx([line.ms for line in thrice])
