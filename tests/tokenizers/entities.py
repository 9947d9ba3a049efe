#!/usr/bin/env python3
"""Writes model/text/entities_table.c: HTML's named character references, from Python's html.entities.html5."""

import html.entities
import pathlib

HEAD = """/* entities_table.c - the named character references of HTML (WHATWG, 13.5), in the order of strcmp. Written by
 * tests/tokenizers/entities.py. */
#include "model/text/entities.h"

// clang-format off
const struct entity entities_table[] = {
"""


def main() -> None:
    table = html.entities.html5
    names = sorted(name[:-1] for name in table if name.endswith(";"))
    lines, line = [], ""
    for name in names:
        c = [ord(c) for c in table[name + ";"]] + [0]
        entry = f'{{"{name}", {c[0] | c[1] << 21 | (name in table) << 42:#x}}},'
        if len(line) + len(entry) + 1 > 110:
            lines.append(line)
            line = ""
        line += (" " if line else "") + entry
    lines.append(line)
    text = HEAD + "\n".join(lines) + "\n};\n// clang-format on\n\n"
    text += "const size_t entities_count = sizeof entities_table / sizeof *entities_table;\n"
    out = pathlib.Path(__file__).resolve().parents[2] / "model/text/entities_table.c"
    out.write_text(text, encoding="ascii")


main()
