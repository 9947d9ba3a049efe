"""Where the wheel's files lie: around this package in its environment, as `meson install` lays them out.

pip writes down where it put each (RECORD), which holds in environments, with --user and with --prefix. With --target it moves the
package afterwards and leaves behind what lies in lib/, so that is no way to install this one.
"""

from __future__ import annotations

import functools
import importlib.metadata
import pathlib

HOW = "it is installed by `pip install .` in the folder python of its sources, into an environment (and not with --target)"


def version() -> str:
    """Of the installed distribution, and so of the library and the program in it."""
    try:
        return importlib.metadata.version("limoe")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(f"limoe is not installed; {HOW}") from None


@functools.cache
def find(tail: str) -> pathlib.Path:
    """The file of the installation whose path ends so: "bin/limoe"."""
    distribution = importlib.metadata.distribution("limoe")
    listed = [file for file in distribution.files or [] if f"/{file.as_posix()}".endswith(f"/{tail}")]
    for file in listed:
        path = pathlib.Path(str(distribution.locate_file(file)))
        if path.is_file():
            return path.resolve()
    raise ImportError(f"limoe is not installed whole: there is no {listed[0].locate() if listed else tail}; {HOW}")


def program() -> pathlib.Path:
    """The program `limoe`, which an environment has on its path, too."""
    return find("bin/limoe")


def bundled_model() -> pathlib.Path:
    """The folder of the bundled model."""
    return find("share/limoe/models/pictograms/config.json").parent


def library() -> pathlib.Path:
    """liblimoe.so, by the name that says which ABI it has."""
    return find("liblimoe.so.0")
