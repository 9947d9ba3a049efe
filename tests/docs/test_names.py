"""Protects the documents from naming what is not there: paths, options, variables, other documents and their headings."""

import fnmatch
import functools
import pathlib
import re

import pytest
from conftest import ROOT
from documents import Document, documents, folders, tracked
from minutes import fill
from soundness import faults, stages, targets

BY_PATH = [pytest.param(document, id=document.path) for document in documents()]
SOURCE = re.compile(r"\.(c|h|cpp|cu|cuh|py|sh|md|build)$")
PATH = re.compile(r"[\w.\-*]+(/[\w.\-*]+)*/?")
# Folders that the stages make in build/, and what others make.
MADE = {"build", "build/reports", "build/venv", "build/gpu-check", "build/gpu-check.tar.xz"} | {
    "build/" + name for name in re.findall(r"\$build/(\w+)\b", (ROOT / "scripts/test").read_text())
}
# Names that are not ours.
FOREIGN = {"--mca", "gelu_pytorch_tanh", "CUDA_VISIBLE_DEVICES"}


@functools.cache
def sources():
    """All text that is no document, for what is named somewhere in it."""
    kinds = (".c", ".h", ".cpp", ".cu", ".cuh", ".py", ".build", ".yaml", ".yml", ".conf", ".service", "Dockerfile")
    named = [path for path in tracked() if path.endswith(kinds) or path.startswith(("scripts/", "tests/soak/run", "bench/run"))]
    kept = [path for path in named if "/corpus/" not in path and not path.startswith("tests/docs/")]
    return "\n".join((ROOT / path).read_text(encoding="utf-8") for path in kept)


@functools.cache
def words():
    return frozenset(re.findall(r"\w+_\w+", sources()))


@functools.cache
def tails():
    """Each path and each end of one: server/api/answer.c, api/answer.c, answer.c; folders, too."""
    whole = [path.split("/") for path in tracked() | folders()]
    return frozenset("/".join(parts[n:]) for parts in whole for n in range(len(parts)))


def is_path(span):
    """Whether a span of code means a file or a folder of the repository."""
    if not PATH.fullmatch(span) or span.startswith("."):
        return False
    first, slash, _ = span.partition("/")
    return bool(SOURCE.search(span)) or (slash and (first in folders() or first == "build"))


def is_there(path):
    path = path.rstrip("/").replace("NAME", "*")
    if "*" in path:
        return any(fnmatch.fnmatchcase(tail, path) for tail in tails())
    if path.startswith("build/"):
        return path in targets() or "/".join(path.split("/")[:2]) in MADE or any(t.startswith(path + "/") for t in targets())
    return path in tails()


@pytest.mark.parametrize("document", BY_PATH)
def test_paths(document):
    named = {span for span in document.spans() if is_path(span)}
    assert not sorted(path for path in named if not is_there(path))


@pytest.mark.parametrize("document", BY_PATH)
def test_identifiers(document):
    """`limoe_model_embed`, `queue_full`, `KERNELS_MODULE_VERSION`: what has an underscore is a name in the sources."""
    named = {span.rstrip("()") for span in document.spans() if re.fullmatch(r"[A-Za-z]\w*_\w*\w(\(\))?", span)}
    gone = {name for name in named - FOREIGN if not fnmatch.filter(words(), name.replace("NAME", "*"))}
    assert not gone or document.path == "CHANGELOG.md"  # which speaks of names that are no more


@pytest.mark.parametrize("document", BY_PATH)
def test_commands_in_sentences(document):
    """`limoe serve --print-config`: the program has these options."""
    ours = re.compile(r"([A-Z_]+=\S+ )*(limoe (serve|classify|embed|inspect|bench) |(build|scripts|bench|tests)/\S+ |python \w)")
    asked = {span: document.in_its_folder(span) for span in document.spans() if ours.match(span)}
    wrong = {span: faults(command) for span, command in asked.items()}
    assert not {span: found for span, found in wrong.items() if found}


@pytest.mark.parametrize("document", BY_PATH)
def test_functions_are_where_it_says(document):
    """`queue_admit` (`front/schedule/queue.c`): the file has such a name."""
    said = re.findall(r"`(\w+)`\s+\(`([\w/]+\.(?:c|h|cpp))`", document.prose)
    wrong = []
    for name, tail in said:
        texts = [(ROOT / path).read_text() for path in tracked() if f"/{path}".endswith(f"/{tail}")]
        if not any(re.search(rf"\b{name}\b", text) for text in texts):
            wrong.append(f"{tail} has no {name}")
    assert not wrong
    assert said or document.path != "docs/development.md"


def is_known(name):
    """Whether an option (--ranks) or a variable (LIMOE_RANKS) is in the sources, or in a table of options ("ranks")."""
    option = name.removeprefix("--").removeprefix("LIMOE_").lower().replace("_", "-")
    return f'"{option}"' in sources() or re.search(rf"{re.escape(name)}(?![\w-])", sources())


@pytest.mark.parametrize("document", BY_PATH)
def test_options_and_variables(document):
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]|\bLIMOE_[A-Z_]*[A-Z]\b", " ".join(document.spans())))
    named |= set(re.findall(r"\bLIMOE_[A-Z_]*[A-Z]\b", "".join(text for _, text in document.blocks())))
    assert not sorted(name for name in named - FOREIGN if not is_known(name))


def broken(link, path):
    """What is wrong with a link of a document; None: nothing."""
    if re.match(r"[a-z]+:", link):
        return None
    file, _, anchor = link.partition("#")
    parts = []
    for part in (pathlib.PurePosixPath(path).parent / file).parts if file else pathlib.PurePosixPath(path).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    target = "/".join(parts)
    if target not in tracked() | folders():
        return f"{link}: no such file"
    return None if not anchor or anchor in Document(target).anchors() else f"{link}: no such heading"


@pytest.mark.parametrize("document", BY_PATH)
def test_links(document):
    assert not [fault for link in document.links() if (fault := broken(link, document.path))]


def test_documents_named_in_the_sources():
    """`runbook: docs/operations.md#limoedown`."""
    named = set(re.findall(r"\b(?:docs|bench|train|tests|models)/[\w/]*\w+\.md(?:#[\w-]+)?", sources()))
    assert len(named) > 10
    assert not [fault for link in named if (fault := broken(link, "README.md"))]


def test_paths_named_in_the_sources():
    """In comments, that is: docker compose -f deploy/compose.yaml."""
    tops = "|".join(sorted(folder for folder in folders() if "/" not in folder))
    suffixes = "c|h|cpp|cu|cuh|py|sh|md|build|ya?ml"
    text = re.sub(r"^\s*#\s*include .*$", "", sources(), flags=re.M)
    named = set(re.findall(rf"(?<![\w/.-])((?:{tops})/[\w/.-]*\w\.(?:{suffixes}))\b(?!\w|\.\w)", text))
    assert len(named) > 50
    assert not sorted(path for path in named if not is_there(path))


def test_the_table_of_stages():
    """docs/development.md has a row for each stage of scripts/test, in their order."""
    text = Document("docs/development.md").text
    table = text.split("| stage | minutes |", 1)[1].split("\n\n", 1)[0]
    listed = (ROOT / "scripts/test").read_text()
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == [
        name for line in re.findall(r"^(?:stages|alone)=\((.*)\)", listed, re.M) for name in line.split()
    ]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == stages()[0]


def test_minutes_are_filled_in():
    text = "| `layout` | MINUTES | a |\n| `units` | 7.0 | b |\n| `e2e` | 1 | c |\n"
    assert fill(text, {"layout": 3, "units": 725}) == "| `layout` | 0.1 | a |\n| `units` | 12 | b |\n| `e2e` | 1 | c |\n"
    assert fill(text, {"units": 65}).splitlines()[1] == "| `units` | 1.1 | b |"


@pytest.mark.parametrize(
    "path, there",
    [
        ("model/forward/encoder.c", True),
        ("encoder.c", True),
        ("forward/", True),
        ("model/encoder.c", False),
        ("coder.c", False),
        ("model/image/NAME.c", True),
        ("request*.c", True),
        ("requests*.c", False),
        ("build/limoe", True),
        ("build/no-such", False),
    ],
)
def test_is_there(path, there):
    assert is_there(path) == there


def test_is_known():
    assert all(map(is_known, ["--ranks", "--print-config", "--expert-bytes", "LIMOE_QUEUE_ITEMS", "LIMOE_ISA"]))
    assert not any(map(is_known, ["--rank-addres", "--api-key", "LIMOE_QUEUE_ITEM", "LIMOE_ISAS"]))


def test_is_path():
    assert all(map(is_path, ["server/api", "router/", "gate.c", "build/limoe", "tests/golden/README.md"]))
    assert not any(map(is_path, ["/v1/models", "image/png", "cat.png", "a.b", "limoe serve", "text/plain", "config.json"]))


@pytest.mark.parametrize(
    "link, fault",
    [
        ("docs/api.md#errors", None),
        ("https://example.com/x", None),
        ("docs/none.md", "docs/none.md: no such file"),
        ("docs/api.md#none", "docs/api.md#none: no such heading"),
    ],
)
def test_broken(link, fault):
    assert broken(link, "README.md") == fault
