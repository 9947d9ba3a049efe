"""Hatchling's hook: what `meson install` leaves of the repository around this folder becomes the rest of the wheel.

    bin/limoe               → the environment's bin, the program itself and no script that starts it
    lib/**/liblimoe.so.0    → the environment's lib: what the package loads
    lib/**/limoe/*.so       → beside it, where both of them look for modules
    share/                  → the environment's share: the bundled model, manual pages, completions

These lie to each other as in any installation, which finds what belongs to it wherever it is moved.

LIMOE_BUILD names a build directory that is taken as it is; otherwise `build` is configured if it is not, and brought up to date.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sysconfig
import tempfile

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = pathlib.Path(__file__).resolve().parents[1]
SONAME = "liblimoe.so.0"
LEFT_OUT = ("include/", "share/doc/")  # for who builds programs in C: `meson install`, or the Debian packages

# Of the library that is inside the program, linked statically (README.md).
LIBRARY_LICENCE = pathlib.Path("/usr/share/doc/libmicrohttpd-dev/copyright")


def run(*command):
    """A command of the system's: pip's environment of a build would be in the way of a meson that is a Python program."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([*map(str, command)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed; {ROOT}/scripts/build installs what it needs on Debian 12.\n"
                           + done.stdout)
    return done.stdout


def built():
    """The build directory, up to date."""
    named = os.environ.get("LIMOE_BUILD")
    if named:
        return pathlib.Path(named).resolve()
    for program in ("meson", "ninja"):
        if not shutil.which(program):
            raise RuntimeError(f"there is no {program}; {ROOT}/scripts/build installs what it takes to build limoe on Debian 12")
    build = ROOT / "build"
    if not (build / "build.ninja").exists():
        run("meson", "setup", build, ROOT, "--buildtype=release", "-Db_ndebug=false")
    run("ninja", "-C", build, "installed")
    return build


def installation(build, folder):
    """What `meson install` leaves, below the prefix."""
    run("meson", "install", "-C", build, "--no-rebuild", "--destdir", folder)
    options = json.loads(run("meson", "introspect", "--buildoptions", build))
    prefix = next(option["value"] for option in options if option["name"] == "prefix")
    return folder / prefix.lstrip("/")


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version, build_data):
        if self.target_name == "sdist":
            raise RuntimeError("no source distribution is made of python/ alone, which is built from the repository around it: "
                               "pip install .")
        self.folder = tempfile.TemporaryDirectory(prefix="limoe-wheel-")
        prefix = installation(built(), pathlib.Path(self.folder.name))
        for path in sorted(prefix.rglob("*")):
            self.add(path, path.relative_to(prefix).as_posix(), build_data)
        build_data["force_include"][str(ROOT / "LICENSE")] = "limoe/LICENSE"
        if LIBRARY_LICENCE.exists():
            build_data["force_include"][str(LIBRARY_LICENCE)] = "limoe/libmicrohttpd.copyright"
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")

    def add(self, path, place, build_data):
        """A wheel has no symbolic links: of the library's three names the one remains that programs load it by."""
        if path.is_dir() or place.startswith(LEFT_OUT):
            return
        if place.startswith("bin/"):
            build_data["shared_scripts"][str(path)] = path.name
        elif path.name == SONAME:
            build_data["shared_data"][str(path.resolve())] = place
        elif not path.is_symlink() and not path.name.startswith("liblimoe.so") and path.suffix != ".pc":
            build_data["shared_data"][str(path)] = place

    def finalize(self, version, build_data, artifact_path):
        self.folder.cleanup()
