"""Descriptions of Hugging Face and OpenCLIP folders: the numbers that pictures become are bit for bit those of the libraries."""

import functools
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import PIL
import pytest

import make_originals
import original_reference
import pillow_reference
from originals import KINDS, descriptions, digest, is_folded, is_the_same_everywhere, odd_pictures, some_of

TOOL = Path(os.environ.get("LIMOE_BUILD", "build")) / "tests" / "preprocess" / "preprocess_tool"
FILES = {"hugging_face": "preprocessor_config.json", "open_clip": "open_clip_config.json"}
PICTURES = odd_pictures()

each_description = pytest.mark.parametrize("kind, name", descriptions())
as_pillow_13 = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="Pillow 13 changed the order of the passes")


@functools.cache
def decoded(name: str) -> PIL.Image.Image:
    return pillow_reference.decode(PICTURES[name])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name, data in PICTURES.items():
        (folder / name).write_bytes(data)
    return folder


def prepare(kind: str, config: dict, model: Path, paths: list[Path]) -> list[np.ndarray]:
    """[size, size, 3] float32 of each picture."""
    (model / FILES[kind]).write_text(json.dumps(config))
    done = subprocess.run([TOOL, kind, model, *paths], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    head, _, data = done.stdout.partition(b"\n")
    size, pixels = int(head), 3 * int(head) ** 2
    assert len(data) == 5 * pixels * len(paths)
    starts = range(pixels, len(data), 5 * pixels)  # behind the bytes that the numbers are made of
    return [np.frombuffer(data, np.float32, pixels, start).reshape(size, size, 3) for start in starts]


def test_there_are_many_pictures():
    assert len(PICTURES) >= 200
    assert len(descriptions()) >= 30


@as_pillow_13
@each_description
def test_numbers_are_those_of_the_reference(kind, name, folder, tmp_path):
    config, reference = KINDS[kind][name], getattr(original_reference, kind)
    pictures = some_of(PICTURES, name)
    found = prepare(kind, config, tmp_path, [folder / picture for picture in pictures])
    for picture, numbers in zip(pictures, found, strict=True):
        expected = reference(config, decoded(picture))
        assert numbers.shape == expected.shape, picture
        assert numbers.dtype == expected.dtype == np.float32
        off = np.abs(numbers - expected)
        most = 2e-6 * np.abs(expected).max() if is_folded(name) else 0
        assert off.max() <= most, f"{picture}: {(off > most).sum()} of {off.size} numbers differ, by up to {off.max()}"


@pytest.mark.parametrize("kind, name", [(kind, name) for kind, name in descriptions() if not is_folded(name)])
def test_numbers_are_those_of_the_libraries(kind, name, folder, tmp_path):
    """By the digests of what they made once."""
    kept = [picture for picture in some_of(PICTURES, name) if is_the_same_everywhere(picture)]
    found = prepare(kind, KINDS[kind][name], tmp_path, [folder / picture for picture in kept])
    golden = json.loads(make_originals.GOLDEN.read_text())["digests"]
    assert digest(found) == golden[f"{kind}: {name}"]


@as_pillow_13
@each_description
def test_the_reference_is_the_library(kind, name):
    pytest.importorskip("transformers" if kind == "hugging_face" else "open_clip")
    assert make_originals.differing(kind, KINDS[kind][name], some_of(PICTURES, name)) == []
