"""What can go wrong. A message says what was found, where, and what is accepted."""

from __future__ import annotations


class Error(Exception):
    """Any failure of limoe, and by itself a fault of its own or of the device (`status` "internal", "broken").

    status: limoe.h's name for what it is ("bad_image").
    """

    status = "internal"


class InvalidError(Error, ValueError):
    """An argument is not acceptable."""

    status = "invalid"


class NotFoundError(Error, FileNotFoundError):
    """A model's folder, or a file of it, is not there."""

    status = "not_found"


class ReadError(Error, OSError):
    """The system refused or broke a read."""

    status = "io"


class CorruptError(Error, ValueError):
    """A model's file contradicts itself or its config."""

    status = "corrupt"


class BadImageError(Error, ValueError):
    """A picture that does not decode."""

    status = "bad_image"


class TooLargeError(Error, ValueError):
    """Over a limit: bytes or pixels of a picture."""

    status = "too_large"


class UnsupportedError(Error, ValueError):
    """Well formed, but nothing that this build or this model does."""

    status = "unsupported"


class NoMemoryError(Error, MemoryError):
    """There is no memory for it."""

    status = "no_memory"


class LostError(Error):
    """Another rank of a model was lost."""

    status = "lost"


KINDS: dict[str, type[Error]] = {
    kind.status: kind
    for kind in (InvalidError, NotFoundError, ReadError, CorruptError, BadImageError, TooLargeError, UnsupportedError,
                 NoMemoryError, LostError)
}


def make(status: str, message: str) -> Error:
    """The error of a status by limoe.h's name."""
    error = KINDS.get(status, Error)(message)
    error.status = status
    return error
