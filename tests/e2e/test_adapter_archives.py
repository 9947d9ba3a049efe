"""Protects examples that come as one zip file: the bytes of limoe tune of the same folders; what is hostile or no such folder is refused
by its entry's name and leaves nothing; a disk that is full, also while PEFT's folders are unpacked, is said and costs nobody else."""

import collections
import io
import os
import stat
import subprocess
import zipfile

import pytest

from conftest import picture, stop_cleanly
from test_adapter_jobs import (SHAPES, SYNTHETIC, client_of, delete, ended, examples, expect_warnings, files, own, pictures,  # noqa: F401
                               stored, teach, tiny, tuned)
from test_adapters import adapter_bytes
from test_adapters_uploaded import packed, peft_zip, put_bytes
from test_http import assert_error

pytestmark = pytest.mark.skipif(not SYNTHETIC.exists(), reason=f"needs {SYNTHETIC}")
PROBE = {"kind": "probe"}


def post(server, name, raw, parts=(), **fields):
    files = [("archive", ("pets.zip", raw, "application/zip")), *((f"examples[{label}]", ("x.png", data)) for label, data in parts)]
    return client_of(server).post(f"/v1/adapters/{name}", files=files, data=fields)


def entries(examples, root=""):  # noqa: F811
    """Named as the pictures' files are: numbers within a label."""
    named, count = [], collections.Counter()
    for label, data in examples:
        named.append((f"{root}{label}/{count[label]}.png", data))
        count[label] += 1
    return named


# ---- what is learnt


def test_an_archive_comes_to_the_bytes_of_limoe_tune(own, examples, tuned):  # noqa: F811
    """In any order, in a folder of its own, beside what archives have besides."""
    beside = [("__MACOSX/pets/block/._0.png", b"\0"), ("pets/", b""), ("pets/block/", b""), ("pets/.DS_Store", b"\0"),
              ("pets/disc/.1.png", b"\0"), ("pets/disc/notes.txt", b"words"), ("pets/README", b"words"), ("LICENCE", b"words")]
    raw = packed([*beside, *reversed(entries(examples, "pets/"))])
    assert post(own, "zip", raw, **PROBE).status_code == 202
    assert ended(own, "zip")["state"] == "ready" and stored(own, "zip") == tuned("--kind", "probe")
    assert files(own) == ["end.json", "job.json"] and own.metric("limoe_adapter_job_bytes") == 0
    delete(own, "zip")


def test_an_archive_goes_with_the_rest_of_the_form(own, examples, tuned):  # noqa: F811
    """With examples in parts, and with labels that have none."""
    loose = [example for example in examples if example[0] == "slash"]
    raw = packed(entries(example for example in examples if example[0] != "slash"))
    assert post(own, "both", raw, loose, **PROBE).status_code == 202
    assert ended(own, "both")["state"] == "ready" and stored(own, "both") == tuned("--kind", "probe")
    assert post(own, "both", raw, loose, labels=[*SHAPES, "猫"], **PROBE).status_code == 202
    assert ended(own, "both")["labels"] == sorted([*SHAPES, "猫"])
    assert_error(post(own, "none", raw, loose, labels="block,disc", **PROBE), 400, "invalid_value", "examples[slash]")
    answer = post(own, "none", raw, loose, labels="block,slash", **PROBE)
    assert_error(answer, 400, "invalid_value", "archive[disc/0.png]")
    delete(own, "both")


def test_a_broken_picture_is_named_by_its_entry(own, examples):  # noqa: F811
    raw = packed([*entries(examples, "猫/"), ("猫/disc/my picture.JPG", b"no picture")])
    assert post(own, "broken", raw, **PROBE).status_code == 202
    done = ended(own, "broken")
    assert done["state"] == "failed" and done["reason"].startswith("archive[猫/disc/my picture.JPG]: "), done
    twice = packed([*entries(examples), ("disc/x.png", examples[0][1])])
    assert post(own, "broken", twice, **PROBE).status_code == 202
    assert ended(own, "broken")["reason"] == ("archive[block/0.png] and archive[disc/x.png] are the same picture in two classes; "
                                             "a picture is of one")
    assert post(own, "broken", raw, options='{"skip_broken":true}', **PROBE).status_code == 202
    assert any(note.startswith("archive[猫/disc/my picture.JPG] is left out: ") for note in ended(own, "broken")["notes"])
    delete(own, "broken")
    expect_warnings(own)


# ---- what cannot be

A, B = ("a/1.png", picture(1)), ("b/1.png", picture(2))
BOMB = packed([A, ("b/1.png", bytes(2 << 20))])
LINK = packed([A, ("b/1.png", b"/etc/passwd")], create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16)
RAW_NAME = packed([A, ("b/XX.png", picture(2))]).replace(b"b/XX.png", b"b/\x94\x4c.png")
ENCRYPTED = bytearray(packed([A, B]))
for mark, flags in (b"PK\x03\x04", 6), (b"PK\x01\x02", 8):
    ENCRYPTED[ENCRYPTED.rindex(mark) + flags] |= 1
DAMAGED = bytearray(packed([A, B], method=zipfile.ZIP_STORED))
DAMAGED[DAMAGED.index(b"b/1.png") + 100] ^= 255


@pytest.mark.parametrize("raw, word", [
    (BOMB, "100 times"), (LINK, '"a/1.png" is a link'), (RAW_NAME, '"b/?L.png" has a name that is not UTF-8'),
    (ENCRYPTED, '"b/1.png" is encrypted'), (DAMAGED, '"b/1.png" is damaged'),
    (packed([A, B, ("../c/1.png", b"x")]), '"../c/1.png" has a path'), (packed([A, B, ("/c/1.png", b"x")]), "absolute"),
    (packed([A, B, ("c\\1.png", b"x")]), "a backslash"),
    (packed([A, B]).replace(b"b/1.png", b"a/1.png"), 'two entries "a/1.png"'),
    (packed([A, B, ("1.png", b"x")]), '"1.png" is in no folder'), (packed([A, B, ("b/c/1.png", b"x")]), '"b/c/1.png" is in a folder of'),
    (packed([("x/a/1.png", b"x"), ("y/b/1.png", b"x")]), '"x/a/1.png" is in a folder of'),
    (packed([A, B, ("c/1.svg", b"x"), ("c/.DS_Store", b"x")]), 'folder "c/" has no pictures'),
    (packed([A, B, ("c/1.png", b"")]), "an empty file"), (packed([A, B, (" /1.png", b"x")]), "white space"),
    (packed([("a.txt", b"x"), ("b/.1.png", b"x")]), "has no pictures"), (packed([]), "has no pictures"),
    (packed([(f"{i}/", b"") for i in range(30_001)]), "30001 entries; up to 30000"),
    (packed([A, B], method=zipfile.ZIP_LZMA), "by method 14"), (packed([A, B])[:-30], "cut short"), (b"", "cut short"),
    (packed([A, ("a/2.png", picture(2))]), 'all of "a"'),
], ids=lambda value: value if isinstance(value, str) else "")
def test_archives_that_cannot_be(own, raw, word):  # noqa: F811
    answer = post(own, "x", bytes(raw))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert word in error["message"] and error["code"] in ("invalid_archive", "invalid_image", "empty_labels", "too_few_classes"), error
    assert files(own) == [] and own.metric("limoe_adapter_job_bytes") == 0
    assert_error(client_of(own).get("/v1/adapters/x"), 404, "adapter_not_found", "name")


def test_more_than_may_be(own):  # noqa: F811
    many = packed([(f"{i % 2}/{i}.png", b"x") for i in range(10_001)], method=zipfile.ZIP_STORED)
    assert_error(post(own, "x", many), 400, "too_many_images", "examples")
    twice = [("archive", ("x.zip", packed([A, B])))] * 2
    assert_error(client_of(own).post("/v1/adapters/x", files=twice), 400, "duplicate_field", "archive")


def test_room_is_counted_unpacked(teach):  # noqa: F811
    server = teach("--adapter-job-bytes", "1MiB", "--max-body-bytes", "1MiB")
    packs_well = os.urandom(15_000) * 40
    raw = packed([("a/1.png", packs_well), ("b/1.png", packs_well)])
    assert len(raw) < 50_000
    answer = post(server, "large", raw)
    assert_error(answer, 507, "store_full", "examples")
    assert "1200000 bytes" in answer.text and "--adapter-job-bytes" in answer.text
    answer = post(server, "large", packed([A, ("b/1.png", 2 * packs_well)]))
    assert_error(answer, 400, "invalid_archive", "archive")
    assert '"b/1.png" has 1200000 bytes; up to 1048576' in answer.json()["error"]["message"]
    assert files(server) == [] and server.metric("limoe_adapter_job_bytes") == 0


# ---- a disk that is full


@pytest.fixture
def disk(tmp_path):
    """A small one of its own; fill(left) leaves so many bytes of it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")

    def fill(left):
        (folder / "ballast").unlink(missing_ok=True)
        room = os.statvfs(folder)
        (folder / "ballast").write_bytes(bytes(room.f_bavail * room.f_frsize - left))

    yield folder, fill
    subprocess.run(["umount", "-l", folder], check=True)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_full_disk_takes_no_archive_and_serves_on(teach, disk, examples):  # noqa: F811
    folder, fill = disk
    server = teach(env={"LIMOE_STATE_DIR": folder})
    with server.client() as client:
        asked = client.post("/v1/embeddings", json={"input": "a"}).json()
        noise = packed([A, ("b/1.png", os.urandom(300_000))])
        for left in 0, 40_000, 200_000:  # for a folder, for the first picture, for a part of the second
            fill(left)
            before = tree(folder)
            answer = post(server, "full", noise)
            assert_error(answer, 507, "store_full", "examples")
            assert "the disk is full" in answer.json()["error"]["message"]
            assert tree(folder) == before and server.metric("limoe_adapter_job_bytes") == 0
            assert client.post("/v1/embeddings", json={"input": "a"}).json() == asked
        fill(1_000_000)
        assert post(server, "full", packed(entries(examples)), **PROBE).status_code == 202
        assert ended(server, "full")["state"] == "ready"
    stop_cleanly(server)


def test_a_full_disk_takes_no_adapter(start, disk):
    """Neither a file, nor a folder of PEFT's while it is unpacked, nor while it is converted."""
    folder, fill = disk
    server = start(env={"LIMOE_STATE_DIR": folder})
    raw = peft_zip()
    whole = adapter_bytes(None, {"x": [[0.0] * 20_000]})
    size = max(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(raw)).infolist())
    with server.client() as client:
        kept = put_bytes(client, "kept", raw)
        assert kept.status_code == 200, kept.text
        for left, body in (0, raw), (size // 2, raw), (size + 12_288, raw), (8192, whole):
            fill(left)
            before = tree(folder)
            answer = put_bytes(client, "full", body, kind="application/octet-stream")
            assert_error(answer, 507, "store_full")
            assert "the disk is full" in answer.json()["error"]["message"] and tree(folder) == before, (left, tree(folder))
            asked = client.post("/v1/embeddings", json={"input": "a", "adapter": "kept"})
            assert asked.status_code == 200
        fill(1_000_000)
        assert put_bytes(client, "full", raw).status_code == 200
    stop_cleanly(server)
