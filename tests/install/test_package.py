"""Protects the Debian packages: lintian has nothing against them, and installed in a bare Debian, which has what they depend on
and no more, program, service and library answer as the build does."""

import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import time

import httpx
import pytest

from conftest import BUILD, ENVIRONMENT, ROOT, b64, run
from test_install import CLASSIFY, LABELS, PICTURE

PACKAGES = ["limoe", "liblimoe0", "liblimoe-dev"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a bare Debian takes root")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    quick = {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
    run(ROOT / "deploy" / "debian" / "package", folder, BUILD, env=quick)
    return folder


@pytest.fixture(scope="module")
def lintian(packages):
    """It takes its time, in which the bare Debian is made."""
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", next(packages.glob("*.changes"))]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT)


class Bare:
    """A Debian of what is essential there, with packages and what they depend on."""

    def __init__(self, root, packages):
        self.root = root
        files = [next(packages.glob(f"{name}_*.deb")) for name in PACKAGES]
        # The one that a machine without systemd takes: apt would take systemd.
        wanted = ",".join(["systemd-standalone-sysusers", *map(str, files)])
        run("mmdebstrap", "--mode=root", "--variant=essential", "--dpkgopt=force-unsafe-io", f"--include={wanted}",
            "--hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount", "bookworm", root)

    def start(self, *command, user="root", env=None, **options):
        """A command within, with a /proc and a /dev that end with it."""
        inner = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot --userspec="$1" "$0" sh -c "$2"'
        return subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inner, self.root, f"{user}:{user}",
                                 f"cd / && exec {shlex.join(map(str, command))}"], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(env or {})}, **options)

    def run(self, *command, **options):
        started = self.start(*command, **options)
        out, error = started.communicate(timeout=300)
        assert started.returncode == 0, f"{command}: {out}{error}"
        return out

    def put(self, path):
        """A file of this machine's; its path within."""
        inside = pathlib.Path("/tmp") / path.name
        (self.root / inside.relative_to("/")).write_bytes(path.read_bytes())
        (self.root / inside.relative_to("/")).chmod(0o755)
        return inside


@pytest.fixture(scope="module")
def bare(packages, lintian, tmp_path_factory):
    return Bare(tmp_path_factory.mktemp("bare") / "root", packages)


def test_what_a_package_is_built_with_is_what_the_build_installs():
    control = (ROOT / "deploy" / "debian" / "control").read_text()
    needed = set(re.findall(r"^ ([a-z0-9.+-]+),?$", control.split("Build-Depends:")[1].split("Standards-Version")[0], re.M))
    installed = run("bash", "-c", f'set -eu; root=x; . {ROOT}/scripts/lib.sh; echo "${{build_packages[@]}}"').split()
    assert needed == set(installed) - {"build-essential", "ca-certificates", "curl"}


def test_they_are_installed_and_the_service_with_its_user(bare):
    status = bare.run("dpkg-query", "-W", "-f", "${Package} ${Status}\n", *PACKAGES).splitlines()
    assert status == [f"{name} install ok installed" for name in sorted(PACKAGES)]
    assert bare.run("id", "-un", "limoe") == "limoe\n"
    assert (bare.root / "etc/systemd/system/multi-user.target.wants/limoe.service").is_symlink()
    unit = bare.root / "lib/systemd/system/limoe.service"
    assert unit.read_text() == (ROOT / "deploy/systemd/limoe.service").read_text()
    for named in re.findall(r"file://(\S+)", unit.read_text()):
        assert (bare.root / named[1:]).is_file(), named
    assert not (bare.root / "usr/bin/gcc").exists() and not (bare.root / "usr/bin/mpirun").exists(), "this is no bare Debian"


def test_the_program_answers_as_the_build_does(bare):
    command = [*CLASSIFY[:-1], bare.put(PICTURE)]
    assert bare.run("limoe", *command) == run(BUILD / "limoe", *CLASSIFY)


def test_the_service_s_command_answers_as_its_user(bare):
    """ExecStart, with a free port for 8080."""
    unit = (bare.root / "lib/systemd/system/limoe.service").read_text()
    assert "User=limoe\n" in unit
    command = re.search(r"^ExecStart=(.*)$", unit, re.M).group(1).split()
    bare.run("install", "-d", "-o", "limoe", "-m", "0700", "/var/lib/limoe")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = bare.start(*command, user="limoe", env={"STATE_DIRECTORY": "/var/lib/limoe", "LIMOE_PORT": str(port)})
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            assert server.poll() is None and time.monotonic() < deadline, server.communicate()
            try:
                if httpx.get(url + "/health", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        request = {"image": b64(PICTURE.read_bytes()), "labels": LABELS, "templates": ["{}", "a picture of a {}"]}
        answered = httpx.post(url + "/v1/classify", json=request, timeout=60)
        assert answered.status_code == 200 and answered.text == run(BUILD / "limoe", *CLASSIFY)
        stored = httpx.put(url + "/v1/classifiers/pets", json={"labels": ["cat", "dog"]}, timeout=60)
        assert stored.status_code in (200, 201) and (bare.root / "var/lib/limoe/classifiers.db").is_file()
        front = int(pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
        os.kill(front, signal.SIGTERM)
        assert server.wait(timeout=60) == 0
    finally:
        server.kill()  # unshare ends with what it started
        server.communicate()


def test_an_example_built_with_the_development_package_answers(bare, tmp_path):
    """Built outside, by the header and the library of the package alone, since a bare Debian has no compiler."""
    folders = {"PKG_CONFIG_SYSROOT_DIR": str(bare.root), "PKG_CONFIG_LIBDIR": str(next(bare.root.glob("usr/lib/*/pkgconfig")))}
    flags = run("pkg-config", "--cflags", "--libs", "limoe", env=folders).split()
    assert f"-I{bare.root}/usr/include" in flags or flags == ["-llimoe"], flags
    libraries = next(bare.root.glob("usr/lib/*/liblimoe.so")).parent
    source = bare.root / "usr/share/doc/liblimoe-dev/examples/classify.c"
    run("cc", "-o", tmp_path / "classify", source, f"-I{bare.root}/usr/include", f"-L{libraries}", *flags,
        f"-Wl,-rpath-link,{libraries}")
    printed = bare.run(bare.put(tmp_path / "classify"), "/usr/share/limoe/models/pictograms", bare.put(PICTURE), *LABELS)
    rows = json.loads(run(BUILD / "limoe", *CLASSIFY))["data"][0]["predictions"]
    scores = {row["label"]: row["score"] for row in rows}
    assert printed == "".join(f"{100 * scores[label]:6.2f} %  {label}\n" for label in LABELS)


def test_lintian_has_nothing_against_them(lintian):
    said, _ = lintian.communicate(timeout=300)
    assert lintian.returncode == 0, said


def test_a_purge_leaves_nothing(bare):
    """The last here: it ends the installation."""
    bare.run("dpkg", "--purge", *reversed(PACKAGES))
    left = [path for folder in ("etc/limoe", "var/lib/limoe", "usr/share/limoe", "usr/bin/limoe") if (path := bare.root / folder).exists()]
    assert left == []
