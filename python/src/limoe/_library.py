"""limoe.h in ctypes: the structures and functions that this package uses, and a status that becomes an exception.

python/tests/test_header.py holds the layouts against the C compiler's. Calls let other Python threads run.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_bool, c_char, c_char_p, c_float, c_int, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from typing import Any

from . import errors
from ._places import library, version

VERSION = version()

IMAGE, TEXT = 0, 1
DTYPES = {"auto": 0, "float32": 1, "bfloat16": 2, "int8": 3}
SCORES = {0: "softmax", 1: "sigmoid"}


class CError(ctypes.Structure):
    _fields_ = [("status", c_int), ("message", c_char * 512)]


class CItem(ctypes.Structure):
    _fields_ = [
        ("modality", c_int),
        ("length", c_uint32),
        ("pixels", c_void_p),
        ("tokens", c_void_p),
        ("shares", c_void_p),
        ("tails", c_void_p),
        ("n_tails", c_uint32),
        ("trunk", c_void_p),
        ("keep", c_void_p),
    ]


class CTower(ctypes.Structure):
    _fields_ = [("width", c_uint32), ("blocks", c_uint32), ("heads", c_uint32), ("mlp", c_uint32)]


class CScoring(ctypes.Structure):
    _fields_ = [("kind", c_int), ("scale", c_float), ("bias", c_float)]


class CInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("architecture", c_char_p),
        ("towers", c_uint32),
        ("tower", CTower * 2),
        ("blocks", c_uint32),
        ("embed", c_uint32),
        ("image_size", c_uint32),
        ("patch", c_uint32),
        ("image_tokens", c_uint32),
        ("vocab", c_uint32),
        ("text_length", c_uint32),
        ("moe_layers", c_uint32),
        ("experts", c_uint32),
        ("top_k", c_uint32),
        ("moe_blocks", POINTER(c_uint32)),
        ("total_parameters", c_uint64),
        ("active_parameters", c_uint64),
        ("weight_bytes", c_uint64),
        ("scoring", CScoring),
        ("shares", c_int),
        ("decoder", CTower),
        ("caption_length", c_uint32),
    ]


class CImageLimits(ctypes.Structure):
    _fields_ = [("max_bytes", c_size_t), ("max_pixels", c_uint64), ("found_pixels", c_uint64)]


class CPreprocess(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("resize", c_int),
        ("width", c_uint32),
        ("height", c_uint32),
        ("filter", c_int),
        ("middle", c_int),
        ("drop_alpha", c_bool),
        ("background", c_uint8 * 3),
        ("margin", c_uint8 * 3),
    ]


class CImageSettings(ctypes.Structure):
    _fields_ = [("preprocess", CPreprocess), ("limits", CImageLimits)]


class COptions(ctypes.Structure):
    _fields_ = [
        ("device", c_char_p),
        ("dtype", c_int),
        ("threads", c_uint32),
        ("ranks", c_void_p),
        ("load_file", c_char_p),
        ("expert_bytes", c_uint64),
    ]


# The structures by limoe.h's names.
STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "limoe_error": CError,
    "limoe_item": CItem,
    "limoe_tower": CTower,
    "limoe_scoring": CScoring,
    "limoe_info": CInfo,
    "limoe_image_limits": CImageLimits,
    "limoe_preprocess": CPreprocess,
    "limoe_image_settings": CImageSettings,
    "limoe_options": COptions,
}

# name: (result, arguments). A function that returns a status takes a struct limoe_error * last.
_ERROR = POINTER(CError)
_HANDLE = POINTER(c_void_p)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "limoe_status_name": (c_char_p, [c_int]),
    "limoe_version": (c_char_p, []),
    "limoe_dtype_name": (c_char_p, [c_int]),
    "limoe_accepts": (c_int, [POINTER(CInfo), c_int, _ERROR]),
    "limoe_has": (c_bool, [POINTER(CInfo), c_int]),
    "limoe_processor_open": (c_int, [c_char_p, POINTER(CImageLimits), _HANDLE, _ERROR]),
    "limoe_processor_close": (None, [c_void_p]),
    "limoe_processor_image_settings": (CImageSettings, [c_void_p]),
    "limoe_process_image_by": (c_int, [POINTER(CImageSettings), c_char_p, c_size_t, c_void_p, _ERROR]),
    "limoe_process_text": (c_int, [c_void_p, c_char_p, c_size_t, c_void_p, POINTER(c_uint32), _ERROR]),
    "limoe_model_open": (c_int, [c_char_p, POINTER(COptions), _HANDLE, _ERROR]),
    "limoe_model_close": (None, [c_void_p]),
    "limoe_model_info": (POINTER(CInfo), [c_void_p]),
    "limoe_model_dtype": (c_int, [c_void_p]),
    "limoe_model_backend": (c_char_p, [c_void_p]),
    "limoe_model_threads": (c_uint32, [c_void_p]),
    "limoe_model_step_tokens": (c_uint32, [c_void_p]),
    "limoe_model_fingerprint": (c_char_p, [c_void_p]),
    "limoe_model_embed": (c_int, [c_void_p, POINTER(CItem), c_size_t, c_void_p, c_void_p, _ERROR]),
    "limoe_ensemble": (None, [c_void_p, c_size_t, c_size_t, c_void_p]),
    "limoe_scores": (None, [c_void_p, c_void_p, c_size_t, c_size_t, POINTER(CScoring), c_void_p, c_void_p]),
}


def _load() -> ctypes.CDLL:
    path = library()
    loaded = ctypes.CDLL(str(path))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    found = loaded.limoe_version().decode()
    if found != f"limoe {VERSION}":
        raise ImportError(f"{path} is {found}; this package is of limoe {VERSION} and goes with no other")
    return loaded


lib = _load()


def call(function: Any, *arguments: Any, where: str = "") -> None:
    """Calls what returns a status; a failure is raised, with `where` before its message."""
    error = CError()
    status = function(*arguments, ctypes.byref(error))
    if status:
        message = error.message.decode("utf-8", "replace")
        raise errors.make(lib.limoe_status_name(status).decode(), f"{where}: {message}" if where else message)

