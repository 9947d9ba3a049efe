"""Protects the layouts of _library.py: they are those that the C compiler makes of limoe.h."""

import ctypes
import subprocess

import pytest
from conftest import ROOT

from limoe import _library

PROBE = """
#include <stddef.h>
#include <stdio.h>
#include <limoe.h>
int main(void) {
%s
}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """"limoe_item" → its size, "limoe_item.length" → offset and size; "LIMOE_INT8" → its number."""
    lines = []
    for name, structure in _library.STRUCTURES.items():
        lines.append(f'printf("{name} 0 %zu\\n", sizeof(struct {name}));')
        lines += [f'printf("{name}.{field} %zu %zu\\n", offsetof(struct {name}, {field}), sizeof(((struct {name} *)0)->{field}));'
                  for field, _ in structure._fields_]
    lines += [f'printf("{word} 0 %d\\n", (int){word});' for word in
              ("LIMOE_DTYPE_AUTO", "LIMOE_FLOAT32", "LIMOE_BFLOAT16", "LIMOE_INT8", "LIMOE_IMAGE", "LIMOE_TEXT", "LIMOE_SOFTMAX",
               "LIMOE_SIGMOID")]
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.c").write_text(PROBE % "\n".join(lines))
    subprocess.run(["cc", "-I", ROOT / "include", "-o", folder / "probe", folder / "probe.c"], check=True)
    printed = subprocess.run([folder / "probe"], check=True, capture_output=True, text=True).stdout
    return {name: (int(offset), int(size)) for name, offset, size in map(str.split, printed.splitlines())}


@pytest.mark.parametrize("name", _library.STRUCTURES)
def test_a_structure_is_the_headers(compiled, name):
    structure = _library.STRUCTURES[name]
    assert (0, ctypes.sizeof(structure)) == compiled[name]
    fields = {field: (getattr(structure, field).offset, getattr(structure, field).size) for field, _ in structure._fields_}
    assert fields == {field: compiled[f"{name}.{field}"] for field in fields}


def test_numbers_are_the_headers(compiled):
    for dtype, word in (("auto", "DTYPE_AUTO"), ("float32", "FLOAT32"), ("bfloat16", "BFLOAT16"), ("int8", "INT8")):
        assert _library.DTYPES[dtype] == compiled[f"LIMOE_{word}"][1]
    assert (_library.IMAGE, _library.TEXT) == (compiled["LIMOE_IMAGE"][1], compiled["LIMOE_TEXT"][1])
    assert _library.SCORES == {compiled["LIMOE_SOFTMAX"][1]: "softmax", compiled["LIMOE_SIGMOID"][1]: "sigmoid"}
