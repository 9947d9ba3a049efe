"""A model opened in this process: texts and pictures to vectors, pictures to labels.

A Model owns two handles of liblimoe: a processor, which any number of threads use at once, and the model itself, which one thread
uses at a time. So a Model may be shared by threads: they decode and tokenise side by side, and take turns to compute, which
itself uses every core. A process that is forked has the handles and not the threads behind them; there each call is refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _library as c
from ._library import call, lib
from ._pictures import Picture, encoded
from ._places import bundled_model
from .errors import Error, InvalidError

Vectors = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Info:
    """What a model is. Sizes of a tower that it lacks are 0."""

    name: str
    architecture: str  # "limoe", "clip", "siglip", "chinese_clip", "open_clip"
    embed: int  # numbers in a vector
    image_size: int  # pixels of a side of the square that a picture is brought to
    image_tokens: int
    text_length: int  # most tokens that a text keeps
    moe_layers: int  # 0 in a dense model, and so are the next two
    experts: int
    top_k: int
    total_parameters: int
    active_parameters: int  # for one token
    scores: str  # "softmax": over the labels; "sigmoid": of each label by itself
    logit_scale: float  # a natural logarithm
    logit_bias: float
    takes_images: bool
    takes_texts: bool


@dataclasses.dataclass(frozen=True)
class Prediction:
    """How well a label fits."""

    label: str
    score: float
    cosine: float


class Model:
    """A model's folder, opened.

    path       of a folder that `limoe serve --model` takes; None: the bundled model
    device     "cpu", "cuda", "cuda:N"; None: the first GPU where there is one and a module for it, else the CPU
    dtype      "auto" (bfloat16 where the device multiplies it natively, else float32), "float32", "bfloat16", "int8"
    threads    of the CPU; 0: as many as this process may use
    max_bytes  of an encoded picture, max_pixels of any; 0: 32 MiB, and 12.5 million (a JPEG may have five times as many)
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, device: str | None = None, dtype: str = "auto",
                 threads: int = 0, max_bytes: int = 0, max_pixels: int = 0) -> None:
        if dtype not in c.DTYPES:
            raise InvalidError(f'dtype is "{dtype}"; accepted: {", ".join(c.DTYPES)}')
        for name, value, most in (("threads", threads, 2**32), ("max_bytes", max_bytes, 2**63), ("max_pixels", max_pixels, 2**63)):
            if not 0 <= value < most:
                raise InvalidError(f"{name} is {value}; accepted: 0 for the default, or more")
        folder = os.fsencode(bundled_model() if path is None else path)
        for name, text in (("path", folder), ("device", (device or "").encode())):
            if b"\0" in text:
                raise InvalidError(f"{name} has a NUL byte; none is accepted")
        limits = c.CImageLimits(max_bytes=max_bytes, max_pixels=max_pixels)
        options = c.COptions(device=device.encode() if device else None, dtype=c.DTYPES[dtype], threads=threads)
        processor, model = ctypes.c_void_p(), ctypes.c_void_p()
        call(lib.limoe_processor_open, folder, limits, ctypes.byref(processor))
        try:
            call(lib.limoe_model_open, folder, options, ctypes.byref(model))
        except Error:
            lib.limoe_processor_close(processor)
            raise
        self._processor, self._model = processor, model
        self._info = c.CInfo.from_buffer_copy(lib.limoe_model_info(model).contents)  # its strings are the model's
        self._step_tokens: int = lib.limoe_model_step_tokens(model)
        self._settings = lib.limoe_processor_image_settings(processor)
        self._users = _Users()
        self._computing = threading.Lock()
        # A process that ends leaves memory to the system: threads of its own may still be inside a call.
        self._free = weakref.finalize(self, _close, processor, model, os.getpid())
        self._free.atexit = False
        self.info = _describe(self._info)
        self.dtype: str = lib.limoe_dtype_name(lib.limoe_model_dtype(model)).decode()
        self.backend: str = lib.limoe_model_backend(model).decode()  # "cpu-avx512bf16", "cuda-sm90", …
        self.threads: int = lib.limoe_model_threads(model)
        # 32 hex digits, of config, tokenizer, tensors, dtype and backend: equal ones give equal vectors.
        self.fingerprint: str = lib.limoe_model_fingerprint(model).decode()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f'<limoe.Model "{self.info.name}" {self.dtype} on {self.backend}>'

    def __reduce__(self) -> Any:
        raise TypeError("a limoe.Model cannot be pickled: open the folder in each process")

    def close(self) -> None:
        """Frees the weights, once calls of other threads have ended. Any number of times."""
        self._users.end()
        self._free()

    # ---- vectors

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts [n] → float32 [n, embed], unit vectors, row i for text i. The model keeps a text's first tokens."""
        return self._embed(_texts(texts, "texts"), c.TEXT, self._tokens)

    def embed_images(self, images: Sequence[Picture]) -> Vectors:
        """Pictures [n] → float32 [n, embed], unit vectors, row i for picture i.

        A picture is a path, the bytes of a file (JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF, BMP, PNM, TGA, PSD), an array of uint8
        [height, width], [height, width, 3] (RGB) or [height, width, 4] (RGBA), or a PIL image. They may be mixed.
        """
        if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray)) and getattr(images, "ndim", 0) != 4:
            raise TypeError(f"images is one picture ({type(images).__name__}); accepted: a list of them")
        return self._embed(list(images), c.IMAGE, self._pixels)

    def _embed(self, things: list[Any], modality: int, prepare: Callable[[Any, int], _Item]) -> Vectors:
        """In steps, so that of the pixels no more are there than one step takes."""
        found = np.empty((len(things), self.info.embed), np.float32)
        with self._users.one():
            if things:
                call(lib.limoe_accepts, ctypes.byref(self._info), modality)
            step: list[_Item] = []
            first, tokens = 0, 0
            for i, thing in enumerate(things):
                item = prepare(thing, i)
                if step and tokens + item.length > self._step_tokens:
                    self._compute(modality, step, found[first:i])
                    first, step, tokens = i, [], 0
                step.append(item)
                tokens += item.length
            if step:
                self._compute(modality, step, found[first:])
        return found

    def _compute(self, modality: int, step: list[_Item], out: Vectors) -> None:
        items = (c.CItem * len(step))()
        for item, prepared in zip(items, step):
            item.modality, item.length = modality, prepared.length
            setattr(item, "tokens" if modality == c.TEXT else "pixels", prepared.data.ctypes.data)
        with self._computing:
            call(lib.limoe_model_embed, self._model, items, len(step), out.ctypes.data, None)

    def _tokens(self, text: bytes, i: int) -> _Item:
        ids, length = np.empty(self.info.text_length, np.int32), ctypes.c_uint32()
        call(lib.limoe_process_text, self._processor, text, len(text), ids.ctypes.data, ctypes.byref(length), where=f"texts[{i}]")
        return _Item(ids, length.value)

    def _pixels(self, picture: Any, i: int) -> _Item:
        where, side = f"images[{i}]", self.info.image_size
        limits = self._settings.limits
        file, most = encoded(picture, limits.max_bytes, where)
        settings = c.CImageSettings(self._settings.preprocess, c.CImageLimits(most, limits.max_pixels, 0))
        pixels = np.empty((side, side, 3), np.uint8)
        call(lib.limoe_process_image_by, ctypes.byref(settings), file, len(file), pixels.ctypes.data, where=where)
        return _Item(pixels, self.info.image_tokens)

    # ---- labels

    def classifier(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> Classifier:
        """Labels embedded once, to classify many pictures by: as `PUT /v1/classifiers` of the server.

        templates: prompts, each with exactly one "{}" for the label; None: the label itself. The prompts of a label are ensembled.
        """
        names, forms = _labels(labels), _templates(templates)
        prompts = self.embed_texts([form.replace("{}", name) for name in names for form in forms])
        vectors = prompts
        if len(forms) > 1:  # one prompt's bits are its embedding's
            vectors = np.empty((len(names), self.info.embed), np.float32)
            for i, out in enumerate(vectors):
                mine = prompts[i * len(forms):(i + 1) * len(forms)]
                lib.limoe_ensemble(mine.ctypes.data, len(forms), self.info.embed, out.ctypes.data)
        return Classifier(self, names, vectors)

    def classify(self, image: Picture, labels: Sequence[str], templates: Sequence[str] | None = None) -> list[Prediction]:
        """Which of the labels fits a picture: all of them, by descending score. Of many pictures, see `classifier`."""
        return self.classifier(labels, templates).classify(image)


class Classifier:
    """Labels of a model, embedded: `vectors` float32 [n, embed], row i for label i. Any thread."""

    def __init__(self, model: Model, labels: list[str], vectors: Vectors) -> None:
        self.model, self.labels, self.vectors = model, labels, vectors

    def classify(self, image: Picture) -> list[Prediction]:
        """The labels by descending score; equal ones by cosine, then in their order."""
        return self.classify_many([image])[0]

    def classify_many(self, images: Sequence[Picture]) -> list[list[Prediction]]:
        """The same of each picture."""
        return [self._rank(vector) for vector in self.model.embed_images(images)]

    def _rank(self, image: Vectors) -> list[Prediction]:
        n = len(self.labels)
        cosine, score = np.empty(n, np.float32), np.empty(n, np.float32)
        lib.limoe_scores(image.ctypes.data, self.vectors.ctypes.data, n, len(image), ctypes.byref(self.model._info.scoring),
                         cosine.ctypes.data, score.ctypes.data)
        order = np.lexsort((-cosine, -score))
        return [Prediction(self.labels[i], float(score[i]), float(cosine[i])) for i in order]


# ---- what the above is made of


@dataclasses.dataclass(frozen=True)
class _Item:
    data: npt.NDArray[Any]  # token ids or pixels; kept until the step is computed
    length: int


class _Users:
    """Who is inside a call, so that nothing is freed under one."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.n = 0
        self.ended = False
        self.process = os.getpid()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        if os.getpid() != self.process:
            raise Error(f"the model was opened by process {self.process}, of which this is a fork without its threads; "
                        "open it in each process")
        with self.changed:
            if self.ended:
                raise InvalidError("the model is closed")
            self.n += 1
        try:
            yield
        finally:
            with self.changed:
                self.n -= 1
                self.changed.notify_all()

    def end(self) -> None:
        if os.getpid() != self.process:
            return
        with self.changed:
            self.ended = True
            self.changed.wait_for(lambda: self.n == 0)


def _close(processor: ctypes.c_void_p, model: ctypes.c_void_p, process: int) -> None:
    """Not in a fork, where closing would wait for threads that are not there."""
    if os.getpid() == process:
        lib.limoe_model_close(model)
        lib.limoe_processor_close(processor)


def _describe(info: c.CInfo) -> Info:
    return Info(
        name=info.name.decode(), architecture=info.architecture.decode(), embed=info.embed, image_size=info.image_size,
        image_tokens=info.image_tokens, text_length=info.text_length, moe_layers=info.moe_layers, experts=info.experts,
        top_k=info.top_k, total_parameters=info.total_parameters, active_parameters=info.active_parameters,
        scores=c.SCORES[info.scoring.kind], logit_scale=info.scoring.scale, logit_bias=info.scoring.bias,
        takes_images=lib.limoe_has(ctypes.byref(info), c.IMAGE), takes_texts=lib.limoe_has(ctypes.byref(info), c.TEXT))


def _strings(values: Any, name: str) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"{name} is a str; accepted: a list of them")
    found = list(values)
    for i, value in enumerate(found):
        if not isinstance(value, str):
            raise TypeError(f"{name}[{i}] is of type {type(value).__name__}; accepted: str")
    return found


def _texts(texts: Any, name: str) -> list[bytes]:
    found = []
    for i, text in enumerate(_strings(texts, name)):
        if not text:
            raise InvalidError(f"{name}[{i}] is empty")
        try:
            found.append(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidError(f"{name}[{i}] is no Unicode text: half of a pair of surrogates at {error.start}") from None
    return found


def _visible(values: Any, name: str) -> list[str]:
    """Answers are told apart by their labels: one that nobody sees is a slip."""
    found = _strings(values, name)
    if not found:
        raise InvalidError(f"there are no {name}; 1 or more are accepted")
    for i, value in enumerate(found):
        if not value.strip():
            raise InvalidError(f"{name}[{i}] is {'nothing but white space' if value else 'empty'}")
    return found


def _labels(labels: Any) -> list[str]:
    return _visible(labels, "labels")


def _templates(templates: Any) -> list[str]:
    found = ["{}"] if templates is None else _visible(templates, "templates")
    for i, form in enumerate(found):
        holes = form.count("{}")
        if holes != 1:
            raise InvalidError(f'templates[{i}] ("{form}") has {holes} "{{}}"; exactly one is accepted, where the label goes')
    return found
