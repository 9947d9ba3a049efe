#!/usr/bin/env python3
"""The shape of the sources: who includes whom, how headers are named, how long files are, which names are of before.

Compares what each folder includes with the table in docs/architecture.md, in both directions: an include that the table does
not have is an arrow that should not be, a row that no include needs is a table that is no longer true.
Prints what is wrong, a line each; the exit status is 1 if there is anything.
"""

import io
import keyword
import pathlib
import re
import subprocess
import sys
import tokenize

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRODUCT = ("include/", "base/", "kernels/", "router/", "experts/", "model/", "server/")
SOURCE = re.compile(r"\.(c|h|cpp|cu|cuh)$")
SCRIPT = re.compile(r"\.(py|sh)$")
INCLUDE = re.compile(r'^\s*#\s*include "([^"]+)"', re.M)
PUBLIC = {"limoe.h", "limoe_caption.h", "limoe_shortlist.h", "limoe_tune.h"}
ELSEWHERE = PUBLIC | {"nccl.h", "cuda_runtime.h"}  # by their names alone: ours are public, the others are not ours
MOST_LINES = 600
# Comments and literals of C: what is left when they are taken out is identifiers, numbers and punctuation.
C_PROSE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def table() -> dict[str, set[str]]:
    """folder -> the folders that it may include, by the first table of docs/architecture.md with such a head."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = text.split("| folder | may include |\n|---|---|\n", 1)[1].split("\n\n", 1)[0].splitlines()
    found = {}
    for row in rows:
        folder, allowed = (re.findall(r"`([^`]+)`", cell) for cell in row.strip("| ").split("|"))
        found[folder[0]] = set(allowed)
    return found


def guard(path: str) -> str:
    name = re.sub(r"[^A-Z0-9]", "_", path.upper())
    return name if name.startswith("LIMOE_") else f"LIMOE_{name}"


def check_file(path: str, text: str, files: set[str]) -> list[str]:
    wrong = []
    for name in INCLUDE.findall(text):
        if name not in files and name not in ELSEWHERE:
            wrong.append(f'{path}: includes "{name}", which is no path from the top')
    if path.endswith((".h", ".cuh")) and path.removeprefix("include/") not in PUBLIC:
        expected = guard(path)
        if f"#ifndef {expected}\n#define {expected}\n" not in text:
            wrong.append(f"{path}: its guard is not {expected}")
    return wrong


def check_product(path: str, text: str) -> list[str]:
    """The tests put other files in the place of some; the product knows nothing of it."""
    wrong = re.search(r"emulat\w*", text, re.I) if path.startswith(PRODUCT) else None
    return [f'{path}: speaks of "{wrong[0]}", which is the tests\''] if wrong else []


def check_length(path: str, text: str) -> list[str]:
    lines = text.count("\n")
    return [f"{path}: {lines} lines; at most {MOST_LINES}"] if lines > MOST_LINES else []


def folder_of(path: str) -> str:
    return "include" if path in PUBLIC else path.rsplit("/", 1)[0]


def check_arrows(sources: dict[str, str]) -> list[str]:
    allowed = table()
    used: dict[str, set[str]] = {}
    wrong = []
    for path, text in sources.items():
        folder = folder_of(path)
        for name in INCLUDE.findall(text):
            to = folder_of(name) if "/" in name or name in PUBLIC else folder
            if to == folder:
                continue
            used.setdefault(folder, set()).add(to)
            if to not in allowed.get(folder, set()):
                wrong.append(f"{path}: includes {name}, but {folder} may not include {to} (docs/architecture.md)")
    for folder, others in allowed.items():
        for to in sorted(others - used.get(folder, set())):
            wrong.append(f"docs/architecture.md: {folder} may include {to}, and does not")
    return wrong + check_cycles(allowed)


def check_cycles(allowed: dict[str, set[str]]) -> list[str]:
    below: set[str] = set()
    left = {folder: set(others) for folder, others in allowed.items()}
    for folder in {to for others in left.values() for to in others} - set(left):
        below.add(folder)
    while left:
        free = [folder for folder, others in left.items() if others <= below]
        if not free:
            return [f"docs/architecture.md: folders that include each other in a circle: {', '.join(sorted(left))}"]
        for folder in free:
            below.add(folder)
            del left[folder]
    return []


def retired() -> dict[str, str]:
    """A name of before -> what stands in its stead."""
    text = (ROOT / "tests/layout/retired.txt").read_text(encoding="utf-8")
    return dict(line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#"))


def identifiers(path: str, text: str) -> set[str]:
    if path.endswith(".py"):
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        return {token.string for token in tokens if token.type == tokenize.NAME} - set(keyword.kwlist)
    return set(re.findall(r"\b[A-Za-z_]\w*", C_PROSE.sub(" ", text))) if SOURCE.search(path) else set()


def check_names(path: str, text: str, old: dict[str, str]) -> list[str]:
    named = identifiers(path, text) | {pathlib.PurePath(path).stem}
    found = {(name, word) for name in named for word in re.split(r"[_\W]+", name.lower()) if word in old}
    return [f'{path}: "{name}" is of before; now: {old[word]}' for name, word in sorted(found)]


def is_script(path: pathlib.Path) -> bool:
    """Python and shell, by the name or by the first line of what has none."""
    if SCRIPT.search(path.name):
        return True
    with path.open("rb") as file:
        return "." not in path.name and file.read(2) == b"#!"


def main() -> int:
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    listed = sorted(path for path in listed if (ROOT / path).is_file())
    files = {path for path in listed if SOURCE.search(path)}
    scripts = {path for path in listed if path not in files and is_script(ROOT / path)}
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in listed if path in files | scripts}
    wrong = []
    old = retired()
    for path, text in texts.items():
        wrong += check_names(path, text, old)
        wrong += check_file(path, text, files) if path in files else []
        wrong += check_product(path, text) + check_length(path, text)
    wrong += check_arrows({path: text for path, text in texts.items() if path in files and path.startswith(PRODUCT)})
    print("\n".join(wrong) or f"{len(texts)} files")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
