"""Protects the check of the sources' shape: what it must find, it finds, in a small tree of its own."""

import subprocess
import sys

import pytest
from harness import ROOT

# Folders of the small tree, whose files are none of this one's.
BASE, SERVER, TESTS, SCRIPTS = "base", "server", "tests", "scripts"
TABLE = "| folder | may include |\n|---|---|\n| `server` | `base` |\n\n"
HEADER = "#ifndef LIMOE_BASE_A_H\n#define LIMOE_BASE_A_H\n#endif\n"
INCLUDE = f'#include "{BASE}/a.h"\n'
SOUND = {
    "docs/architecture.md": TABLE,
    f"{BASE}/a.h": HEADER,
    f"{SERVER}/s.h": HEADER.replace("BASE_A", "SERVER_S"),
    f"{SERVER}/s.c": INCLUDE + '/* A crew is a word. */\nconst char *set = "crew";\n',
    f"{TESTS}/t.py": '"""Of a crew."""\nset_of_ranks = "crew"  # crew\n',
}
WRONG = [
    (f"{SERVER}/s.c", INCLUDE + "int crew_size;\n", '"crew_size" is of before; now: membership'),
    (f"{TESTS}/t.py", "keeper = 1\n", '"keeper" is of before; now: supervisor'),
    (f"{TESTS}/test_crew.py", "", '"test_crew" is of before; now: membership'),
    (f"{TESTS}/t.c", "\n" * 601, "601 lines; at most 600"),
    (f"{SCRIPTS}/run", "#!/bin/sh\n" + ":\n" * 600, "601 lines; at most 600"),
    (f"{BASE}/a.h", HEADER.replace("BASE_A", "A"), "its guard is not LIMOE_BASE_A_H"),
    (f"{BASE}/b.c", '#include "a.h"\n', 'includes "a.h", which is no path from the top'),
    (f"{BASE}/b.c", f'#include "{SERVER}/s.h"\n', "base may not include server"),
    (f"{BASE}/b.c", "#ifdef EMULATED\n#endif\n", 'speaks of "EMULATED", which is the tests\''),
    (f"{SERVER}/s.c", "int x;\n", "server may include base, and does not"),
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
    status, said = check(SOUND | {path: text})
    assert status == 1 and message in said, said
