"""limoe: sparse mixture-of-experts image-text models, in this process.

    import limoe

    with limoe.Model() as model:                                 # the bundled one, or the path of a model's folder
        texts = model.embed_texts(["a cat", "a rocket"])         # float32 [2, embed], unit vectors
        images = model.embed_images(["cat.png"])                 # float32 [1, embed]
        print(images @ texts.T)                                  # cosines
        print(model.classify("cat.png", ["cat", "dog"])[0])      # Prediction(label='cat', score=…, cosine=…)

It is a binding over liblimoe.so, the engine of `limoe serve`, without a network or another process: for a given model, dtype and
machine, the vectors are those of the server, bit for bit. Pictures are decoded in the caller's process. The server decodes each in a
sandbox of its own; here a fault in a decoder is a fault in your program. For pictures that strangers send, run the server.
"""

from ._model import Classifier, Info, Model, Prediction
from ._places import bundled_model, program
from .errors import (
    BadImageError,
    CorruptError,
    Error,
    InvalidError,
    LostError,
    NotFoundError,
    NoMemoryError,
    ReadError,
    TooLargeError,
    UnsupportedError,
)
from ._library import VERSION as __version__

__all__ = [
    "BadImageError",
    "Classifier",
    "CorruptError",
    "Error",
    "Info",
    "InvalidError",
    "LostError",
    "Model",
    "NoMemoryError",
    "NotFoundError",
    "Prediction",
    "ReadError",
    "TooLargeError",
    "UnsupportedError",
    "__version__",
    "bundled_model",
    "program",
]
