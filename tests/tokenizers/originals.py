"""The originals' ids, and what data/ is made of: transformers, tokenizers, sentencepiece, ftfy, open_clip (its wheel is enough:
PyTorch is not needed). make.py writes with it what test_tokenizers.py reads; compare.py compares at once."""

import gzip
import importlib.util
import io
import json
import os
import sys
import tempfile
import types
from pathlib import Path

import ftfy
import ftfy.badness
import sentencepiece
import tokenizers
import transformers

from folders import KINDS, Folders, template, token

MERGES = 49152 - 256 - 2

os.environ["TOKENIZERS_PARALLELISM"] = "false"


def open_clip_tokenizer():
    """open_clip.tokenizer, without the package around it, which needs PyTorch."""
    spec = importlib.util.find_spec("open_clip")
    if "torch" not in sys.modules and importlib.util.find_spec("torch") is None:
        torch = types.ModuleType("torch")
        torch.Tensor = torch.LongTensor = object
        sys.modules["torch"] = torch
    path = Path(spec.submodule_search_locations[0]) / "tokenizer.py"
    found = importlib.util.spec_from_file_location("open_clip_tokenizer", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


class Watch:
    """Whether ftfy saw mojibake in what it was given: there the originals repair what we leave."""

    def __init__(self) -> None:
        self.seen = False
        self.is_bad = ftfy.is_bad

    def __enter__(self):
        def watched(text):
            bad = self.is_bad(text)
            self.seen = self.seen or bad
            return bad

        ftfy.is_bad = watched
        return self

    def __exit__(self, *_) -> None:
        ftfy.is_bad = self.is_bad


def clip_merges() -> list[str]:
    """CLIP's own merges, which open_clip's wheel has."""
    path = importlib.util.find_spec("open_clip").submodule_search_locations[0] + "/bpe_simple_vocab_16e6.txt.gz"
    return gzip.open(path).read().decode().split("\n")[1 : MERGES + 1]


def corpus(texts: list[str]) -> list[str]:
    """To train small vocabularies on: the texts that are words."""
    return [text for text in texts if 20 < len(text) < 200]


def spiece_model(texts: list[str]) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus(texts)), model_writer=model, vocab_size=2000, model_type="unigram", pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, character_coverage=0.99, hard_vocab_limit=False, num_threads=1, minloglevel=2,
        normalization_rule_name="nmt_nfkc",
    )  # fmt: skip
    return model.getvalue()


def gemma(texts: list[str], size: int = 4000, bytes_left_out: int = 0, before: tuple = ()) -> dict:
    """A tokenizer.json of Gemma's kind: BPE over characters, with bytes for those it does not know."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    model.normalizer = tokenizers.normalizers.Replace(" ", "\u2581")
    model.pre_tokenizer = tokenizers.pre_tokenizers.Split("\u2581", "merged_with_next")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] + [f"<0x{b:02X}>" for b in range(256 - bytes_left_out)]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, special_tokens=special, limit_alphabet=900, show_progress=False)
    model.train_from_iterator(corpus(texts), trainer)
    tree = json.loads(model.to_str())
    tree["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    tree["added_tokens"] = [entry for entry in tree["added_tokens"] if not entry["content"].startswith("<0x")]
    vocab = tree["model"]["vocab"]
    tree["post_processor"] = template(vocab, list(before), ["<eos>"])
    for content in ["<start_of_turn>", "<unused1>", "\n\n", "\n\n\n", "\u2581\u2581", "\u2581\u2581\u2581\u2581", "<b>", "</b>"]:
        vocab.setdefault(content, len(vocab))
        entry = {"id": vocab[content], "special": content.startswith("<s"), **token(content, False)}
        tree["added_tokens"].append(entry)
    return tree




def bert(texts: list[str]) -> bytes:
    """A vocab.txt of WordPiece."""
    made = tokenizers.BertWordPieceTokenizer()
    made.train_from_iterator(corpus(texts), vocab_size=3000, limit_alphabet=900, show_progress=False)
    pieces = sorted(made.get_vocab().items(), key=lambda item: item[1])
    return "".join(f"{piece}\n" for piece, _ in pieces).encode()


class Originals:
    """The ids of each folder by who made it; None where the original repaired mojibake."""

    def __init__(self, folders: Folders, texts: list[str]) -> None:
        self.folders, self.texts = folders, texts
        self.open_clip = open_clip_tokenizer()

    def ids(self, name: str) -> list[list[int] | None]:
        folder, length = self.folders.root / name, KINDS[name][1]
        if name.startswith("clip"):
            return self.by_transformers(folder, transformers.CLIPTokenizer, length)
        if name.startswith("bert"):
            return self.by_transformers(folder, transformers.BertTokenizer, length)
        if name == "simple":
            return self.by_simple(folder / "bpe_simple_vocab_16e6.txt.gz", length)
        if name == "simple-whitespace":
            with tempfile.NamedTemporaryFile() as packed:
                packed.write(gzip.compress((folder / "merges.txt").read_bytes()))
                packed.flush()
                return self.by_simple(packed.name, length, clean="whitespace")
        if name.startswith("openclip-siglip") and name != "openclip-siglip2":
            return self.by_canonical(folder, transformers.PreTrainedTokenizerFast, length)
        if name == "openclip-siglip2":
            return self.by_canonical(folder, transformers.GemmaTokenizerFast, length)
        made = transformers.Siglip2Tokenizer if name.startswith("siglip2") else transformers.SiglipTokenizer
        return self.by_transformers(folder, made, length)

    def by_transformers(self, folder: Path, cls, length: int, texts: list[str] | None = None) -> list[list[int]]:
        return cls.from_pretrained(folder)(texts or self.texts, truncation=True, max_length=length)["input_ids"]

    def by_simple(self, path, length: int, **kwargs):
        made = self.open_clip.SimpleTokenizer(str(path), context_length=length, **kwargs)
        ids = []
        for text in self.texts:
            with Watch() as watch:
                tokens = [made.sot_token_id, *made.encode(text), made.eot_token_id]
            if len(tokens) > length:
                tokens = [*tokens[: length - 1], made.eot_token_id]
            ids.append(None if watch.seen else tokens)
        return ids

    def by_canonical(self, folder: Path, cls, length: int):
        clean = self.open_clip.get_clean_fn("canonicalize")
        texts, seen = [], []
        for text in self.texts:
            with Watch() as watch:
                texts.append(clean(text))
            seen.append(watch.seen)
        ids = self.by_transformers(folder, cls, length, texts)
        return [None if bad else run for bad, run in zip(seen, ids, strict=True)]
