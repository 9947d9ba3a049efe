"""Trains the SentencePiece model on every caption of the training set, and encodes text as the engine does.

python tokenizer.py --data DIR
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import sentencepiece

VOCAB, PAD_ID, UNK_ID, EOS_ID = 12000, 0, 1, 2


def train(sentences, prefix: Path, vocab: int) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(prefix),
        model_type="unigram",
        vocab_size=vocab,
        normalization_rule_name="nmt_nfkc_cf",  # case folding and full-width forms are the tokenizer's business
        character_coverage=0.9998,
        byte_fallback=True,  # no character of any script becomes "unknown"
        pad_id=PAD_ID,
        unk_id=UNK_ID,
        eos_id=EOS_ID,
        bos_id=-1,
        num_threads=2,
        minloglevel=1,
    )


class Tokenizer:
    def __init__(self, path: Path, length: int):
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.length = length

    def encode(self, text: str) -> list[int]:
        """At most length - 1 pieces, then EOS."""
        return self.pieces.encode(text)[: self.length - 1] + [EOS_ID]

    def encode_padded(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """ids int32 [texts, length], padded with PAD_ID, and lengths int32 [texts]."""
        ids = np.full((len(texts), self.length), PAD_ID, np.int32)
        lengths = np.zeros(len(texts), np.int32)
        for row, text in enumerate(texts):
            tokens = self.encode(text)
            ids[row, : len(tokens)], lengths[row] = tokens, len(tokens)
        return ids, lengths


def corpus(data: Path) -> list[str]:
    """Every caption once; English and Japanese short names more often, so that their words become pieces."""
    sentences = []
    for captions in json.loads((data / "captions.json").read_text())["captions"]:
        for language, (name, keywords, *synonyms) in captions.items():
            sentences += [name] * {"en": 6, "ja": 4}.get(language, 1) + keywords + sum(synonyms, [])
    sentences += [
        "a picture of a",
        "an emoji of",
        "a drawing of",
        "an icon of",
        "clip art of",
        "の絵",
        "の絵文字",
        "のイラスト",
    ] * 200
    random.Random(0).shuffle(sentences)
    return sentences


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("cache"))
    parser.add_argument("--vocab", type=int, default=VOCAB)
    args = parser.parse_args()
    train(corpus(args.data), args.data / "tokenizer", args.vocab)
    print(f"{args.data / 'tokenizer.model'}: {args.vocab} pieces")
