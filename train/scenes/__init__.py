"""Scenes of pictograms with exact truth: train/README.md says what they hold. `python scenes.py` is the command.

library = open_library(Path("cache"), "train")
for scene in stream(library, "train", seed=0):
    scene.pixels, scene.ids, record(scene)
"""

from .library import SPLITS, Library, MissingSources, fingerprint, open_library
from .parse import parse
from .questions import question
from .record import groups_of, mask_of, record, runs, stream, texts, write_scene
from .scene import Scene, make_scene
from .score import Score
from .sentences import LANGUAGES, negatives, references

__all__ = [
    "LANGUAGES", "SPLITS", "Library", "MissingSources", "Scene", "Score", "fingerprint", "groups_of", "make_scene", "mask_of",
    "negatives", "open_library", "parse", "question", "record", "references", "runs", "stream", "texts", "write_scene",
]  # fmt: skip
