"""Protects the check of the sources' shape: what it must find, it finds, in a small tree of its own."""

import subprocess
import sys

import pytest
from harness import ROOT

TABLE = "| folder | may include |\n|---|---|\n| `server` | `base` |\n\n"
HEADER = "#ifndef LIMOE_BASE_A_H\n#define LIMOE_BASE_A_H\n#endif\n"
SOUND = {
    "docs/architecture.md": TABLE,
    "base/a.h": HEADER,
    "server/s.c": '#include "base/a.h"\n/* A crew is a word. */\nconst char *set = "crew";\n',
    "tests/t.py": '"""Of a crew."""\nset_of_ranks = "crew"  # crew\n',
}
WRONG = [
    ("server/s.c", '#include "base/a.h"\nint crew_size;\n', '"crew_size" is of before; now: membership'),
    ("tests/t.py", "keeper = 1\n", '"keeper" is of before; now: supervisor'),
    ("tests/test_crew.py", "", '"test_crew" is of before; now: membership'),
    ("tests/t.c", "\n" * 601, "tests/t.c: 601 lines; at most 600"),
    ("scripts/run", "#!/bin/sh\n" + ":\n" * 600, "scripts/run: 601 lines; at most 600"),
    ("base/a.h", HEADER.replace("BASE_A", "A"), "its guard is not LIMOE_BASE_A_H"),
    ("base/b.c", '#include "a.h"\n', 'includes "a.h", which is no path from the top'),
    ("base/b.c", '#include "server/s.h"\n', "base may not include server"),
    ("server/s.c", "int x;\n", "server may include base, and does not"),
]


@pytest.fixture
def check(tmp_path):
    """Runs the check on a tree of these files; its exit status and what it says."""

    def run(files):
        own = {f"tests/layout/{name}": (ROOT / "tests/layout" / name).read_text() for name in ("check.py", "retired.txt")}
        for name, text in (own | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
        done = subprocess.run([sys.executable, "tests/layout/check.py"], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout

    return run


def test_a_sound_tree_passes(check):
    status, said = check(SOUND)
    assert status == 0, said


@pytest.mark.parametrize("path, text, message", WRONG, ids=[message for _, _, message in WRONG])
def test_what_is_wrong_is_named(check, path, text, message):
    status, said = check(SOUND | {path: text} | ({"server/s.h": ""} if "server/s.h" in text else {}))
    assert status == 1 and message in said, said
