"""The folders of these tests, made of what lies in data/: no library is needed. originals.py says how data/ was made."""

import functools
import gzip
import json
import lzma
from pathlib import Path

DATA = Path(__file__).parent / "data"
LENGTH = 77


def read(name: str) -> bytes:
    return lzma.decompress((DATA / f"{name}.xz").read_bytes())


def byte_letters() -> list[str]:
    """GPT-2's alphabet, in the order in which CLIP numbers it."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(0x100 + i) for i in range(len(rest))]


def clip_vocab(merges: list[str], ends=("<|startoftext|>", "<|endoftext|>")) -> dict[str, int]:
    letters = byte_letters()
    pieces = letters + [letter + "</w>" for letter in letters] + [merge.replace(" ", "") for merge in merges] + list(ends)
    return {piece: i for i, piece in enumerate(pieces)}


def write(folder: Path, **files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        name = name.replace("__", ".")
        text = content if isinstance(content, (str, bytes)) else json.dumps(content, ensure_ascii=False)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def clip_config(**more) -> dict:
    return {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True, **more}


def token(content: str, normalized: bool) -> dict:
    return {"content": content, "lstrip": False, "rstrip": False, "single_word": False, "normalized": normalized}


def template(vocab: dict[str, int], before: list[str], behind: list[str]) -> dict:
    """A post-processor that puts tokens around a text."""

    def special(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}

    a = {"Sequence": {"id": "A", "type_id": 0}}
    single = [*map(special, before), a, *map(special, behind)]
    ids = {name: {"id": name, "ids": [vocab[name]], "tokens": [name]} for name in before + behind}
    return {"type": "TemplateProcessing", "single": single, "pair": [a, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": ids}  # fmt: skip


def gemma_config(**more) -> dict:
    return {"tokenizer_class": "Siglip2Tokenizer", "add_bos_token": False, "add_eos_token": True, "bos_token": "<bos>",
            "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>", "padding_side": "right", "model_max_length": 64,
            **more}  # fmt: skip


def open_clip_config(**text) -> dict:
    return {"model_cfg": {"embed_dim": 8, "text_cfg": text}, "preprocess_cfg": {}}


CANONICALIZE = {"context_length": 64, "hf_tokenizer_name": "x", "tokenizer_kwargs": {"clean": "canonicalize"}}


# name -> (whose folder, the model's length)
KINDS = {
    "clip-files": ("hf", 77), "clip-json": ("hf", 77), "clip-json-old": ("hf", 32), "clip-small": ("hf", 77),
    "simple": ("openclip", 77), "simple-whitespace": ("openclip", 32), "siglip": ("hf", 64), "siglip-cased": ("hf", 16),
    "siglip2": ("hf", 64), "siglip2-unknown": ("hf", 64), "openclip-siglip2": ("openclip", 64),
    "bert": ("hf", 52), "bert-json": ("hf", 52), "openclip-siglip": ("openclip", 64), "openclip-siglip-old": ("openclip", 16),
}  # fmt: skip


class Folders:
    """Makes each folder in `root` when it is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @functools.cached_property
    def merges(self) -> list[str]:
        return read("merges.txt").decode().split("\n")

    def make(self, name: str) -> Path:
        folder = self.root / name
        getattr(self, name.replace("-", "_"))(folder)
        return folder

    def clip_files(self, folder: Path) -> None:
        write(folder, vocab__json=clip_vocab(self.merges), merges__txt="#version: 0.2\n" + "\n".join(self.merges) + "\n",
              tokenizer_config__json=clip_config())  # fmt: skip

    def clip_tree(self) -> dict:
        """A tokenizer.json as CLIPTokenizer saves it."""
        tree = json.loads((DATA / "clip.json").read_text())
        tree["model"]["vocab"] = clip_vocab(self.merges)
        tree["model"]["merges"] = [merge.split(" ") for merge in self.merges]
        return tree

    def clip_json(self, folder: Path) -> None:
        write(folder, tokenizer__json=self.clip_tree(), tokenizer_config__json=clip_config())

    def clip_json_old(self, folder: Path) -> None:
        """As the published files are: merges as strings, tokens that are matched after the normaliser, no type."""
        tree = self.clip_tree()
        tree["model"]["merges"] = self.merges
        for key in ["type", "byte_fallback", "ignore_merges"]:
            del tree["model"][key]
        tree["added_tokens"][0]["normalized"] = True
        named = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
        write(folder, tokenizer__json=tree, tokenizer_config__json=clip_config(**named, pad_token="<|endoftext|>"),
              special_tokens_map__json={"bos_token": token("<|startoftext|>", True), "eos_token": token("<|endoftext|>", False),
                                        "unk_token": token("<|endoftext|>", False), "pad_token": "<|endoftext|>"})  # fmt: skip

    def clip_small(self, folder: Path) -> None:
        """Bytes that have no piece, and few merges."""
        missing = byte_letters()[100:230]
        kept = [piece for piece in clip_vocab(self.merges[:500]) if piece.removesuffix("</w>") not in missing]
        known = set(kept)
        merges = [m for m in self.merges[:500] if all(p in known for p in (*m.split(), m.replace(" ", "")))]
        write(folder, vocab__json={piece: i for i, piece in enumerate(kept)}, merges__txt="\n".join(merges),
              tokenizer_config__json=clip_config(unk_token={**token("a", True), "__type": "AddedToken"}))  # fmt: skip

    def simple(self, folder: Path) -> None:
        text = "heading\n" + "\n".join(self.merges)
        write(folder, open_clip_config__json=open_clip_config(context_length=77, vocab_size=49408),
              bpe_simple_vocab_16e6__txt__gz=gzip.compress(text.encode(), mtime=0))  # fmt: skip

    def simple_whitespace(self, folder: Path) -> None:
        """Few merges, in a file with a newline at its end, and no lower case."""
        write(folder, open_clip_config__json=open_clip_config(context_length=32, tokenizer_kwargs={"clean": "whitespace"}),
              merges__txt="#version: 0.2\n" + "\n".join(self.merges[:2000]) + "\n")  # fmt: skip

    def siglip(self, folder: Path, **config) -> None:
        write(folder, spiece__model=read("spiece.model"),
              tokenizer_config__json={"tokenizer_class": "SiglipTokenizer", "model_max_length": 64, "do_lower_case": True,
                                      "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>", **config})  # fmt: skip

    def siglip_cased(self, folder: Path) -> None:
        self.siglip(folder, do_lower_case=False, model_max_length=16)

    def siglip2(self, folder: Path) -> None:
        write(folder, tokenizer__json=read("gemma.json"), tokenizer_config__json=gemma_config())

    def siglip2_unknown(self, folder: Path) -> None:
        """Bytes without a piece: some characters are unknown. A start, too."""
        config = gemma_config()
        del config["add_bos_token"], config["add_eos_token"]
        write(folder, tokenizer__json=read("gemma-unknown.json"), tokenizer_config__json=config)

    def bert(self, folder: Path) -> None:
        """ChineseCLIP's kind."""
        write(folder, vocab__txt=read("vocab.txt"), tokenizer_config__json={"tokenizer_class": "BertTokenizer",
              "do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None, "model_max_length": 512})  # fmt: skip

    def bert_json(self, folder: Path) -> None:
        """Capitals and accents stay."""
        vocab = {piece: i for i, piece in enumerate(read("vocab.txt").decode().split("\n")[:-1])}
        tree = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [
            {"id": vocab[name], "special": True, **token(name, False)} for name in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]],
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                           "lowercase": False}, "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": template(vocab, ["[CLS]"], ["[SEP]"]), "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                      "vocab": vocab}}  # fmt: skip
        write(folder, tokenizer__json=tree, tokenizer_config__json={"tokenizer_class": "BertTokenizer", "do_lower_case": False})

    def openclip_siglip(self, folder: Path) -> None:
        """Unigram, as T5Tokenizer saves it."""
        write(folder, tokenizer__json=read("t5.json"), open_clip_config__json=open_clip_config(**CANONICALIZE),
              tokenizer_config__json={"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "unk_token": "<unk>",
                                      "pad_token": "</s>", "extra_ids": 0, "model_max_length": 64})  # fmt: skip

    def openclip_siglip_old(self, folder: Path) -> None:
        """The same, as it was saved before."""
        self.openclip_siglip(folder)
        tree = json.loads((folder / "tokenizer.json").read_text())
        strip = {"type": "Strip", "strip_left": False, "strip_right": True}
        squeeze = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}
        tree["normalizer"] = {"type": "Sequence", "normalizers": [tree["normalizer"], strip, squeeze]}
        tree["pre_tokenizer"] = tree["pre_tokenizer"]["pretokenizers"][1]
        write(folder, tokenizer__json=tree, open_clip_config__json=open_clip_config(**{**CANONICALIZE, "context_length": 16}))

    def openclip_siglip2(self, folder: Path) -> None:
        write(folder, tokenizer__json=read("gemma.json"), open_clip_config__json=open_clip_config(**CANONICALIZE),
              tokenizer_config__json=gemma_config(tokenizer_class="GemmaTokenizer"))  # fmt: skip
