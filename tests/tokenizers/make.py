#!/usr/bin/env python3
"""Makes data/ by the originals (pip install -r requirements.txt): vocabularies, and what test_tokenizers.py expects.

    make.py [--keep]      with --keep only the expected ids, by the vocabularies that are there

merges.txt is CLIP's own list (MIT, OpenAI), from open_clip's wheel; the others are trained on the texts.
"""

import json
import lzma
import sys
import tempfile
from pathlib import Path

import transformers
from folders import DATA, KINDS, Folders, clip_config, clip_vocab, read, write
from originals import Originals, bert, clip_merges, gemma, spiece_model
from strings_of import texts
from test_tokenizers import digest


def pack(name: str, content: bytes) -> None:
    (DATA / f"{name}.xz").write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def vocabularies() -> None:
    merges = clip_merges()
    pack("merges.txt", "\n".join(merges).encode())
    pack("spiece.model", spiece_model(texts()))
    pack("gemma.json", json.dumps(gemma(texts()), ensure_ascii=False).encode())
    pack("vocab.txt", bert(texts()))
    unknown = gemma(texts(), 1500, 80, ("<bos>",))
    pack("gemma-unknown.json", json.dumps(unknown, ensure_ascii=False).encode())
    with tempfile.TemporaryDirectory() as root:
        write(Path(root), spiece__model=read("spiece.model"))
        kwargs = {"pad_token": "</s>", "extra_ids": 0}
        transformers.T5Tokenizer.from_pretrained(root, **kwargs).save_pretrained(root)
        pack("t5.json", (Path(root) / "tokenizer.json").read_bytes())
    with tempfile.TemporaryDirectory() as root:
        write(Path(root), vocab__json=clip_vocab(merges[:1]), merges__txt=merges[0], tokenizer_config__json=clip_config())
        transformers.CLIPTokenizer.from_pretrained(root).save_pretrained(root)
        tree = json.loads((Path(root) / "tokenizer.json").read_text())
    for entry in tree["added_tokens"]:
        entry["id"] += len(merges) - 1
    for side in ["sep", "cls"]:
        tree["post_processor"][side][1] += len(merges) - 1
    tree["model"]["vocab"] = tree["model"]["merges"] = None
    (DATA / "clip.json").write_text(json.dumps(tree, indent=1) + "\n")


def main() -> None:
    DATA.mkdir(exist_ok=True)
    if "--keep" not in sys.argv:
        vocabularies()
    with tempfile.TemporaryDirectory() as root:
        folders = Folders(Path(root))
        originals = Originals(folders, texts())
        for name in KINDS:
            folders.make(name)
            (DATA / f"{name}.ids").write_bytes(digest(originals.ids(name)))
            print(name)


main()
