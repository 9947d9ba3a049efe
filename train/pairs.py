"""Draws batches of pairs: distinct concepts, and for each one picture and one caption."""

import json
import re
from pathlib import Path

import numpy as np

from names import LANGUAGES
from pictures import development
from tokenizer import Tokenizer

# How often a style is drawn, among those a concept has. Line drawings teach shape, but the world is coloured.
STYLE_WEIGHT = {"noto-mono": 0.15, "noto-mono-bold": 0.15, "symbola": 0.2, "photograph": 0.2}
OTHER_CONCEPTS = 0.15  # a clip-art concept is drawn this often beside an emoji's 1: it has one picture, mostly
ENGLISH, JAPANESE = 0.62, 0.18  # the other languages share the rest
NAME, KEYWORD, TEMPLATE = 0.78, 0.08, 0.14
TEMPLATES = {
    "en": [
        "a picture of a {}",
        "an emoji of {}",
        "a drawing of a {}",
        "an icon of {}",
        "a photo of a {}",
        "clip art of a {}",
        "{} emoji",
    ],
    "ja": ["{}の絵", "{}の絵文字", "{}のイラスト"],
}
# A mirrored picture is another thing where direction or writing matters.
DIRECTED = re.compile(
    r"left|right|arrow|button|keycap|flag|clock|letter|number|symbol|square|mark|sign|abc|o.clock|hand|point|fist|"
    r"wise|input|bracket|zodiac|aries|taurus|gemini|cancer|leo|virgo|libra|scorp|sagit|capric|aquari|pisces|moon|"
    r"play|track|reverse|forward|calendar|banknote|text|word|note|clef|latin|japanese",
    re.I,
)


class Pairs:
    def __init__(self, data: Path, tokenizer: Tokenizer, seed: int):
        table = json.loads((data / "captions.json").read_text())
        self.pictures = np.load(data / "pictures.npy", mmap_mode="r")
        self.rng = np.random.default_rng(seed)
        self.concepts: list[str] = table["concepts"]
        self.names = [c["en"][0] for c in table["captions"]]
        self.is_emoji = np.array(table["emoji"])
        concept, style = np.array(table["picture_concept"]), np.array(table["picture_style"])
        self.concept, self.style = concept, style
        self.mono = np.isin(style, ["noto-mono", "noto-mono-bold", "symbola"])
        self.flag = np.array([bool(re.match("flag: ", n)) for n in self.names])[concept]
        self.mirror = np.array([not DIRECTED.search(n) for n in self.names])[concept]

        self.dev = development(table["picture_style"])
        train = np.ones(len(concept), bool)
        train[self.dev] = False
        weight = np.array([STYLE_WEIGHT.get(s, 1.0) for s in style])
        self.pictures_of = [np.flatnonzero((concept == c) & train) for c in range(len(self.concepts))]
        self.picture_cdf = [np.cumsum(weight[p]) / weight[p].sum() for p in self.pictures_of]
        self.log_weight = np.log(np.where(self.is_emoji, 1.0, OTHER_CONCEPTS))
        self._tokenise(table["captions"], tokenizer)

    def _tokenise(self, captions: list[dict], tokenizer: Tokenizer) -> None:
        texts: list[str] = []
        self.captions_of, self.caption_cdf = [], []
        for concept in captions:
            first, weights = len(texts), []
            others = [l for l in LANGUAGES if l in concept and l not in ("en", "ja")]
            for language, (name, keywords, *synonyms) in concept.items():
                named = [name, *(synonyms[0] if synonyms else [])]
                share = {"en": ENGLISH, "ja": JAPANESE}.get(language, (1 - ENGLISH - JAPANESE) / max(1, len(others)))
                kinds = [
                    (NAME, named),
                    (KEYWORD, keywords),
                    (TEMPLATE, [t.format(n) for n in named for t in TEMPLATES.get(language, [])]),
                ]
                kinds = [(kind, options) for kind, options in kinds if options]
                present = sum(kind for kind, _ in kinds)
                for kind, options in kinds:
                    texts += options
                    weights += [share * kind / present / len(options)] * len(options)
            self.captions_of.append(first)
            self.caption_cdf.append(np.cumsum(weights) / np.sum(weights))
        self.tokens, self.lengths = tokenizer.encode_padded(texts)
        self.texts = texts

    def draw(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture numbers [size] and caption numbers [size] of distinct concepts (Gumbel top-k: no replacement)."""
        keys = self.log_weight + self.rng.gumbel(size=len(self.log_weight))
        chosen = np.argpartition(-keys, size)[:size]
        u = self.rng.random((2, size))
        pictures = [self.pictures_of[c][np.searchsorted(self.picture_cdf[c], a)] for c, a in zip(chosen, u[0])]
        captions = [self.captions_of[c] + np.searchsorted(self.caption_cdf[c], b) for c, b in zip(chosen, u[1])]
        return np.array(pictures), np.array(captions)
