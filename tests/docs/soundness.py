"""What can be said of a command without running it: its program is there and knows its options, files are where it says.

Programs that are not ours (apt-get, docker, curl) are taken as they are.
"""

import functools
import pathlib
import re
import shlex
import subprocess

from conftest import BUILD, ROOT
from documents import folders, tracked

ASSIGNMENT = re.compile(r"[A-Z_]+=")
RUNNERS = {"python", "python3", "mpirun"}  # what they run is the first of their words that is ours


@functools.cache
def targets():
    """What the build makes, by its path from the top: build/limoe."""
    listed = subprocess.check_output(["ninja", "-C", BUILD, "-t", "targets", "all"], text=True)
    return frozenset("build/" + line.partition(":")[0] for line in listed.splitlines())


@functools.cache
def stages():
    """The names of scripts/test's stages, and of units."""
    listed = subprocess.check_output([ROOT / "scripts/test", "--list"], text=True)
    of_stages, _, of_units = listed.partition("\nunits:\n")
    return {line.split()[0] for line in of_stages.splitlines()}, {line.partition(" / ")[2] for line in of_units.splitlines()}


@functools.cache
def text_of(program, subcommand):
    """Where a program's options are named: limoe's help, else its sources."""
    if program == "build/limoe":
        asked = [BUILD / "limoe", *re.findall("^[a-z]+$", subcommand), "--help"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=30).stdout
    if program.startswith("build/"):
        name = program.removeprefix("build/")
        shared = f"{pathlib.Path(name).parent}/arguments.c"
        sources = [path for path in tracked() if path.rpartition(".")[0] == name or path == shared]
    else:
        sources = [program]
    return "".join((ROOT / path).read_text(encoding="utf-8") for path in sources)


def is_ours(word, folder):
    """Whether a word of a command names something in the repository, or in its build."""
    first = word.split("/")[0]
    return "/" in word and not word.startswith(("/", "http", "-")) and (first == "build" or first in folders() or first == "..")


def missing(word, folder=""):
    """What is wrong with a path, as a word of a command that runs in `folder`; None: nothing."""
    path = pathlib.PurePosixPath(folder, word)
    parts = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    path = "/".join(parts)
    if path.startswith("build/venv/"):  # made by scripts/test
        return None
    if path.startswith("build/"):
        return None if path in targets() else f"{path}: the build makes no such thing"
    return None if path in tracked() or path in folders() else f"{path}: no such file"


def check_program(words, folder):
    """One command, as the shell would split it, its variables set aside."""
    program, arguments = words[0], words[1:]
    wrong = [missing(word, folder) for word in words if is_ours(word, folder)]
    if program in RUNNERS:
        own = next((word for word in arguments if is_ours(word, folder) or f"{folder}{word}" in tracked()), None)
        return wrong + (check_program(arguments[arguments.index(own) :], folder) if own else [])
    program = "build/limoe" if program == "limoe" else f"{folder}{program}"
    if program == "scripts/test":
        names, units = stages()
        if arguments and arguments[0] not in names | {"STAGE", "--list", "--help"}:
            wrong.append(f"{arguments[0]}: no stage of scripts/test")
        if arguments and arguments[0] in ("units", "sanitized"):
            wrong += [f"{name}: no unit" for name in arguments[1:] if name not in units]
    elif program in targets() or program in tracked():
        known = text_of(program, arguments[0] if program == "build/limoe" and arguments else "")
        options = {word.partition("=")[0] for word in arguments if word.startswith("--")}
        wrong += [f"{program} has no {option}" for option in options if not re.search(re.escape(option) + r"(?![\w-])", known)]
    return wrong


def faults(command):
    """All that is wrong with a command, in words."""
    wrong, folder = [], ""
    for part in re.split(r"&&|\|\||[;|]", command):
        words = shlex.split(part, comments=True)
        while words and ASSIGNMENT.match(words[0]):
            words.pop(0)
        if words[:1] == ["cd"]:
            wrong.append(missing(words[1]))
            folder = words[1].rstrip("/") + "/"
        elif words:
            wrong += check_program(words, folder)
    return list(dict.fromkeys(fault for fault in wrong if fault))
