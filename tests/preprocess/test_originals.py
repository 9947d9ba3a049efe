"""Descriptions of Hugging Face and OpenCLIP folders: pixels bit for bit as Pillow makes them, numbers bit for bit as numpy does,
both as the libraries have them; and what is refused."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import PIL
import pytest

import original_reference
import pillow_reference
from originals import CLIP, HUGGING_FACE, OPEN_CLIP, odd_pictures, of_open_clip

TOOL = Path(os.environ.get("LIMOE_BUILD", "build")) / "tests" / "preprocess" / "preprocess_tool"
PICTURES = odd_pictures()
FILES = {"hugging_face": "preprocessor_config.json", "open_clip": "open_clip_config.json"}
DESCRIPTIONS = [("hugging_face", name) for name in HUGGING_FACE] + [("open_clip", name) for name in OPEN_CLIP]

passes = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="Pillow 13 changed the order of the passes")


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    for i, data in enumerate(PICTURES.values()):
        (folder / f"{i:03}").write_bytes(data)
    return sorted(folder.iterdir())


def run(kind: str, folder: Path, paths: list[Path] = []) -> subprocess.CompletedProcess:
    return subprocess.run([TOOL, kind, folder, *paths], capture_output=True, timeout=60)


def prepare(kind: str, config: dict, folder: Path, paths: list[Path]) -> list[np.ndarray]:
    """[size, size, 3] float32 of each picture."""
    (folder / FILES[kind]).write_text(json.dumps(config))
    done = run(kind, folder, paths)
    assert done.returncode == 0, done.stderr.decode()
    head, _, data = done.stdout.partition(b"\n")
    size = int(head)
    each = size * size * 3 * 5
    assert len(data) == each * len(paths)
    parts = [data[i : i + each] for i in range(0, len(data), each)]
    return [np.frombuffer(part, np.float32, offset=each // 5).reshape(size, size, 3) for part in parts]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for name, a, b in zip(PICTURES, found, expected, strict=True):
        assert a.shape == b.shape, name
        assert a.dtype == b.dtype == np.float32
        assert np.array_equal(a, b), f"{name}: {(a != b).sum()} of {a.size} values differ, by up to {abs(a - b).max()}"


def test_there_are_many_pictures():
    assert len(PICTURES) >= 200


@passes
@pytest.mark.parametrize("kind, name", DESCRIPTIONS)
def test_numbers_are_those_of_pillow_and_numpy(kind, name, paths, tmp_path):
    config = (HUGGING_FACE if kind == "hugging_face" else OPEN_CLIP)[name]
    reference = getattr(original_reference, kind)
    expected = [reference(config, pillow_reference.decode(data)) for data in PICTURES.values()]
    assert_same(prepare(kind, config, tmp_path, paths), expected)
