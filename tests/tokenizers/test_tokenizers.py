"""Token ids are the originals', on 20,000 texts a kind of tokenizer, whose digests are in data/ (make.py)."""

import hashlib
import os
import struct
import subprocess
from pathlib import Path

import pytest
from folders import KINDS, Folders
from strings_of import packed, texts, unpacked

ENCODE = Path(os.environ.get("LIMOE_BUILD", "build")) / "tests/tokenizers/encode"


def digest(ids) -> bytes:
    """A byte a text, 0 where none is expected; then a digest of all that are."""
    every, each = hashlib.sha256(), bytearray()
    for run in ids:
        if run is None:
            each.append(0)
            continue
        data = struct.pack(f"<{len(run) + 1}i", len(run), *run)
        each.append(1 + hashlib.sha256(data).digest()[0] % 255)
        every.update(data)
    return bytes(each) + every.digest()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return Folders(tmp_path_factory.mktemp("tokenizers"))


def encode(folder: Path, origin: str, length: int, strings: list[str]):
    done = subprocess.run([ENCODE, folder, origin, str(length)], input=packed(strings), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return unpacked(done.stdout, len(strings))


@pytest.mark.parametrize("kind", KINDS)
def test_ids(folders, kind):
    strings = texts()
    expected = (Path(__file__).parent / "data" / f"{kind}.ids").read_bytes()
    _, ids = encode(folders.make(kind), *KINDS[kind], strings)
    found = digest([run if expected[i] else None for i, run in enumerate(ids)])
    wrong = [f"{text!a:.100}: {ids[i]}" for i, text in enumerate(strings) if found[i] != expected[i]]
    assert not wrong, f"{len(wrong)} of {len(strings)} differ, first\n" + "\n".join(wrong[:5])
    assert found == expected
