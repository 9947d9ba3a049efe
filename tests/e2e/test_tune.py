"""Protects: limoe tune, on the bundled model: an adapter that is merged and answers; killed at any moment it goes on to the same
bytes; stopped, it says what is kept; what is at fault is named, and nothing is left half."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from conftest import BUILD, MODEL, draw_classes

SHAPES = {"block": "rectangle", "disc": "ellipse", "slash": "line"}
# A short tail: the last block and what follows it.
TAIL = ("--model", MODEL, "--kind", "tail", "--start-block", "7", "--epochs", "3", "--threads", "1")


def command(*arguments):
    return [BUILD / "limoe", "tune", *map(str, arguments)]


def tune(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)


def answer(*arguments):
    done = subprocess.run([BUILD / "limoe", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    draw_classes(folder, SHAPES)
    return folder


@pytest.fixture(scope="module")
def undisturbed(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapter") / "shapes.safetensors"
    done = tune(pictures, "--output", out, *TAIL, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["kind"] == "tail" and shown["start_block"] == 7 and shown["labels"] == sorted(SHAPES)
    assert shown["training"]["pictures"] == 12 and shown["training"]["held_out"]["pictures"] == 3
    assert re.findall(r"^tail: epoch 3 of 3, loss [0-9.]+, 0 s left$", done.stderr, re.M)
    assert os.listdir(out.parent) == [out.name]
    return out


def test_the_adapter_merges_and_answers(undisturbed, pictures, tmp_path):
    answer("adapters", "merge", MODEL, undisturbed, tmp_path / "merged", "--strength", "1")
    said = ["classify", "--labels", ",".join(sorted(SHAPES)), "--json", "--dtype", "float32", *sorted(pictures.glob("*/*.png"))]
    data = json.loads(answer(*said, "--model", tmp_path / "merged"))["data"]
    assert len(data) == 12 and json.loads(answer(*said, "--model", MODEL))["data"] != data


def test_threads_change_no_byte(undisturbed, pictures, tmp_path):
    done = tune(pictures, "-o", tmp_path / "two", *TAIL[:-1], "2", "--quiet")
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "two").read_bytes() == undisturbed.read_bytes()


def test_killed_it_goes_on_to_the_same_bytes(undisturbed, pictures, tmp_path):
    out, state = tmp_path / "parts", tmp_path / "parts.partial"
    for lines in range(1, 7):  # after each epoch, of the trial and of the end
        child = subprocess.Popen(command(pictures, "-o", out, *TAIL), stderr=subprocess.PIPE, text=True)
        for line in child.stderr:
            if "epoch" in line:
                break
        time.sleep(0.003 * lines)
        child.kill()
        child.wait()
        child.stderr.close()
        assert state.exists() or out.exists()
    done = tune(pictures, "-o", out, *TAIL)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == undisturbed.read_bytes()
    assert os.listdir(tmp_path) == [out.name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_what_is_kept(undisturbed, pictures, tmp_path, number):
    out = tmp_path / "stopped"
    child = subprocess.Popen(command(pictures, "-o", out, *TAIL[:-4], "--epochs", "1000"), stderr=subprocess.PIPE, text=True)
    for line in child.stderr:
        if "epoch 1 of" in line:
            break
    child.send_signal(number)
    said = child.stderr.read()
    assert child.wait(60) == 1
    child.stderr.close()
    assert said.endswith(f"{out}.partial is kept: the same command goes on from there\n")
    assert os.listdir(tmp_path) == ["stopped.partial"]


def test_a_probe_is_learnt_and_is_nobodys_model(pictures, tmp_path):
    done = tune(pictures, "-o", tmp_path / "probe", "--model", MODEL, "--kind", "probe", "--label", "disc=a ring", "--json",
                "--held-out", "0.5")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["training"]["held_out"]["pictures"] == 6  # two of four, of three classes
    assert shown["kind"] == "probe" and shown["labels"] == ["block", "a ring", "slash"]


def test_what_is_at_fault_is_named_and_nothing_is_left(pictures, tmp_path):
    broken = tmp_path / "pictures"
    for label in ("a", "b"):
        (broken / label).mkdir(parents=True)
        (broken / label / "1.png").write_bytes((pictures / "disc" / f"{'ab'.index(label)}.png").read_bytes())
    (broken / "a" / "2.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    done = tune(broken, "-o", out, "--model", MODEL, "--kind", "probe")
    assert done.returncode == 1
    assert f"{broken}/a/2.png: " in done.stderr and done.stderr.endswith("(--skip-broken leaves such files out)\n")
    done = tune(broken, "-o", out, "--model", MODEL, "--kind", "tail", "--start-block", "9")
    assert done.returncode == 1 and "start block 9; 0 to 8 are accepted" in done.stderr
    (broken / "b" / "2.png").write_bytes((broken / "a" / "1.png").read_bytes())
    done = tune(broken, "-o", out, "--model", MODEL, "--skip-broken")
    assert done.returncode == 1 and "a/1.png and " in done.stderr and "are the same picture in two classes" in done.stderr
    assert f"limoe: {broken}/a/2.png is left out: " in done.stderr
    done = tune(broken / "a", "-o", out, "--model", MODEL)
    assert done.returncode == 1 and "has no folders; 2 to 1000 folders of pictures" in done.stderr
    assert os.listdir(tmp_path) == ["pictures"]


def test_a_full_disk_is_said(undisturbed, pictures, tmp_path):
    """A limit of a file's size stands for the disk: less than a state, and less than an adapter."""
    done = subprocess.run(["bash", "-c", 'ulimit -f 64; trap "" XFSZ; exec "$@"', "-", *command(pictures, "-o", tmp_path / "out", *TAIL)],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and f"cannot write {tmp_path}/out.partial: File too large" in done.stderr
    assert os.listdir(tmp_path) == []
