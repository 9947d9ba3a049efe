"""Protects the other tests of the documents from finding nothing: what they read is found in a document made for it."""

import pytest
from documents import COMMANDS, OTHERS, Document, commands_of, documents, plain

TEXT = """# A head: with `code`, twice

Words `model/a b`, and [a link](other.md#there), ``a `tick` ``, `one
over two lines`. [![picture](shown.png)](far.md)

```
first --with 'a
line # break'   # said
second \\
  --option

# a comment alone
```

## /v1/classify

```json
{"[not](a-link)": "`nor code`"}
```
"""


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "made.md"
    path.write_text(TEXT)
    return Document(str(path))


def test_what_is_found(document):
    assert [language for language, _ in document.blocks()] == ["", "json"]
    assert document.commands() == ["first --with 'a\nline # break'   # said", "second \\\n  --option"]
    assert document.spans() == ["code", "model/a b", "a `tick`", "one over two lines"]
    assert document.links() == ["other.md#there", "shown.png", "far.md"]
    assert document.anchors() == {"a-head-with-code-twice", "v1classify"}


def test_plain():
    assert plain("first --a 'b c' \\\n   d   # said") == "first --a 'b c' d"
    assert plain('say "a # b"') == 'say "a # b"'


def test_a_command_without_an_end():
    with pytest.raises(AssertionError, match="without an end"):
        commands_of("say 'never")


def test_fences_say_what_they_hold():
    languages = {(d.path, language) for d in documents() for language, _ in d.blocks()}
    assert not {found for found in languages if found[1] not in COMMANDS + OTHERS}


def test_no_code_by_indentation():
    """Commands in such blocks would not be run."""
    wrong = []
    for document in documents():
        lines = document.prose.splitlines()
        for before, line in zip([""] + lines, lines):
            if not before.strip() and line.startswith("    ") and line.strip():
                wrong.append(f"{document.path}: {line}")
    assert not wrong


def test_there_are_documents():
    paths = {document.path for document in documents()}
    assert {"README.md", "CONTRIBUTING.md", "docs/api.md", "models/pictograms/README.md"} <= paths
    assert sum(len(document.commands()) for document in documents()) > 40
