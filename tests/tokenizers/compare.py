#!/usr/bin/env python3
"""Compares token ids with the originals', where those are installed (pip install -r requirements.txt, beside this file).

    compare.py BUILD [KIND...]

Each kind is a folder and 20,000 texts; every difference counts, and the first few are printed with their ids.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["LIMOE_BUILD"] = sys.argv[1]

from folders import KINDS, Folders  # noqa: E402
from originals import Originals  # noqa: E402
from strings_of import texts  # noqa: E402
from test_tokenizers import encode  # noqa: E402


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as root:
        folders = Folders(Path(root))
        originals = Originals(folders, texts())
        for name in sys.argv[2:] or KINDS:
            line, ids = encode(folders.make(name), *KINDS[name], originals.texts)
            expected = originals.ids(name)
            differ = [i for i, want in enumerate(expected) if want is not None and tuple(want) != ids[i]]
            skipped = sum(want is None for want in expected)
            print(f"{name}: {line}\n    {len(differ)} of {len(ids)} differ; {skipped} with mojibake left out")
            for i in differ[:5]:
                print(f"    {originals.texts[i]!a:.300}\n        original {expected[i][:40]}\n        ours     {list(ids[i])[:40]}")
            wrong += len(differ)
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
