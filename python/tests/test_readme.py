"""Protects python/README.md and the package's own first words: their examples run as they stand."""

import re
import textwrap

import limoe
from conftest import ROOT


def test_the_readme(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "python/README.md").read_text(), re.M | re.S)
    assert len(blocks) == 1
    left = {}
    exec(blocks[0], left)
    assert left["texts"].shape == (2, left["images"].shape[1]) and left["found"].label == "dog"
    assert capsys.readouterr().out.count("Prediction(") == 4


def test_the_packages_first_words(monkeypatch, capsys):
    monkeypatch.chdir(ROOT / "examples")
    [example] = re.findall(r"(    import limoe\n.*?)\n\n(?=It is)", limoe.__doc__, re.S)
    exec(textwrap.dedent(example), {})
    assert "Prediction(label='cat', score=" in capsys.readouterr().out
