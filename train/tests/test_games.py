"""The games' packages: Qt resources, licences by file, names, drawings cut from paper, and the test style kept out."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

import games
from build_data import apart, everyday, named
from pictures import SIZE, fit

COPYRIGHT = """\
Files: *
License: CC0-1.0

Files: src/a/tools/hammer1.jpg
       src/a/tools/saw.png
Copyright: Somebody
License: CC-BY-SA-3.0
Comment: a page

Files: src/a/tools/plane.jpg
License: GFDL-NIV-1.2+

Files: src/a/both.jpg
License: CC-BY-3.0 and Bitstream

Files: src/b/*
License: public-domain
 All of it.
"""


def resource(files: dict[str, tuple[int, bytes]]) -> bytes:
    """A Qt resource, version 3, of files in one folder: name -> (flags, content as stored)."""
    names, offsets = b"", {}
    for name in ("folder", *files):
        offsets[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    payload, at = b"", {}
    for name, (_, content) in files.items():
        at[name] = len(payload)
        payload += struct.pack(">I", len(content)) + content
    tree = struct.pack(">IHIIQ", 0, 2, 1, 1, 0) + struct.pack(">IHIIQ", offsets["folder"], 2, len(files), 2, 0)
    for name, (flags, _) in files.items():
        tree += struct.pack(">IHHHIQ", offsets[name], flags, 0, 0, at[name], 0)
    head = 24
    return (
        struct.pack(">4s5I", b"qres", 3, head, head + len(tree), head + len(tree) + len(payload), 0)
        + tree
        + payload
        + names
    )


def test_qt_resources_are_read_plain_and_zlib(tmp_path):
    packed = struct.pack(">I", 5) + zlib.compress(b"bytes")
    path = tmp_path / "some.rcc"
    path.write_bytes(resource({"plain.txt": (0, b"as it is"), "packed.txt": (1, packed)}))
    assert games.read_rcc(path) == {"/folder/plain.txt": b"as it is", "/folder/packed.txt": b"bytes"}
    path.write_bytes(resource({"packed.txt": (4, b"")}))
    with pytest.raises(ValueError, match="/folder/packed.txt is compressed by zstd"):
        games.read_rcc(path)
    path.write_bytes(b"PK\3\4")
    with pytest.raises(ValueError, match="no Qt resource"):
        games.read_rcc(path)


def test_only_files_named_under_a_free_licence_are_taken():
    assert games.free_files(COPYRIGHT) == ["src/a/tools/hammer1", "src/a/tools/saw", "src/b/*"]


def test_photographs_are_called_by_their_files():
    assert games.photograph_name("/x/images/tools/measuringTape4.webp") == "measuring tape"
    assert games.photograph_name("/x/animals/polar_bear.webp") == "polar bear"
    assert games.photograph_name("fishes/fish13.webp") == "fish"


def test_word_lists_leave_out_what_nobody_translated(tmp_path):
    path = tmp_path / "ca.po"
    path.write_text(
        'msgid ""\nmsgstr ""\n"Language: ca\\n"\n\nmsgid "cow"\nmsgstr "vaca"\n\nmsgid "llama"\nmsgstr "<llama>"\n'
    )
    assert games.read_po(path) == {"cow": "vaca"}


def test_paper_becomes_transparent_and_white_inside_stays():
    picture = Image.new("RGB", (40, 40), (253, 252, 255))
    ImageDraw.Draw(picture).ellipse((10, 10, 30, 30), fill=(255, 255, 255), outline=(0, 0, 0), width=2)
    alpha = np.asarray(games.cut_out(picture))[..., 3]
    assert alpha[0, 0] == alpha[39, 20] == 0 and alpha[20, 20] == alpha[20, 10] == 255


def picture(seed: int, side: int = 120) -> Image.Image:
    rng = np.random.default_rng(seed)
    drawn = Image.new("RGBA", (side, side))
    for _ in range(6):
        x, y, w, h = rng.random(4) * side * 0.6
        ImageDraw.Draw(drawn).ellipse((x, y, x + w, y + h), fill=(*rng.integers(0, 256, 3).tolist(), 255))
    return drawn


def test_the_test_style_is_recognised_at_other_sizes_and_left_out():
    test = games.fingerprints([fit(picture(seed)) for seed in range(20)])
    again = [np.asarray(picture(seed).resize((64, 64), Image.Resampling.BICUBIC)) for seed in range(20)]
    assert games.nearest(games.fingerprints(again), test).max() <= 6
    others = [fit(picture(seed)) for seed in range(100, 140)]
    assert games.nearest(games.fingerprints(others), test).min() > 6
    kept = list(apart([("own", "style", others[0]), ("theirs", "style", again[3])], test))
    assert [name for name, _, _ in kept] == ["own"]


def test_everyday_words_stand_beside_names():
    table = everyday({"🐱": ("cat face", []), "😀": ("grinning face", [])})
    assert table["🐱"] == {"en": ["cat"], "ja": ["ネコ", "猫"]} and "😀" not in table
    assert "car" in table["🚗"]["en"] and "車" in table["🚗"]["ja"]
    words = {"en": {}, "fr": {"polar_bear": ["un ours blanc", "ours polaire"]}, "th": {}}
    assert named("polar bear", words) == {
        "en": ["polar bear", [], []],
        "fr": ["un ours blanc", [], ["ours polaire"]],
    }
    assert fit(picture(0)).shape == (SIZE, SIZE, 4)
