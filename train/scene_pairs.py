"""Scenes as training pairs: a picture, a sentence of it, and the same with one fact changed, which is untrue."""

from pathlib import Path

import numpy as np

from scenes import negatives, open_library, references, stream
from scenes.draws import Draws
from tokenizer import Tokenizer

ENGLISH = 60  # per cent; the rest is Japanese
SENTENCES = 3  # made for a scene, one of which is taken


class ScenePairs:
    def __init__(self, data: Path, tokenizer: Tokenizer, seed: int, size: int):
        self.library = open_library(data, "train")
        self.tokenizer, self.seed, self.size = tokenizer, seed, size

    def draw(self, start: int, step: int, count: int) -> tuple[np.ndarray, list[str], list[str]]:
        """Of the scenes start, start + step, …: pixels uint8 [count, size, size, 3], sentences, and untrue ones.

        The same indexes give the same pairs. Few sentences have no fact to change: theirs is the empty text."""
        pixels, sentences, wrong = [], [], []
        for scene in stream(self.library, "train", self.seed, start, count, self.size, step):
            draws = Draws("pair", self.seed, scene.index)
            language = "en" if draws.chance(ENGLISH) else "ja"
            sentence = draws.pick(references(scene, language, SENTENCES))
            changed = negatives(scene, sentence, language)
            pixels.append(scene.pixels)
            sentences.append(sentence.text)
            wrong.append(draws.pick(changed)[1].text if changed else "")
        return np.stack(pixels), sentences, wrong
