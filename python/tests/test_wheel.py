"""Protects the wheel: in an environment with nothing else it brings the program, its manual pages, the library and the bundled model,
which find each other; and it is typed."""

import json
import os
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT

PICTURE = ROOT / "examples" / "cat.png"
ASK = ["classify", "--json", "--labels", "cat,dog", PICTURE]
# Neither this machine's settings nor a test's.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("LIMOE_", "LD_", "PYTHON"))}


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, env={**ENVIRONMENT, **options.pop("env", {})},
                          **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """As `pip wheel .` in python/ makes it of the build that is tested."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT / "python",
        env={"LIMOE_BUILD": str(BUILD)})
    [found] = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory):
    """An environment of its own."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return folder


def test_its_name_says_what_it_runs_on(wheel):
    version = run(BUILD / "limoe", "--version").split()[1]
    assert wheel.name.startswith(f"limoe-{version}-py3-none-linux_")


def test_the_program_is_on_the_path(clean, tmp_path):
    path = {"PATH": f"{clean}/bin:{os.environ['PATH']}"}
    assert run("limoe", "--version", env=path, cwd=tmp_path) == run(BUILD / "limoe", "--version")
    assert not (clean / "bin/limoe").read_bytes().startswith(b"#!")
    assert run("limoe", *ASK, env=path, cwd=tmp_path) == run(BUILD / "limoe", *ASK)
    assert run(clean / "bin/python", "-m", "limoe", "--version", cwd=tmp_path) == run(BUILD / "limoe", "--version")
    assert str(clean) in run("limoe", "inspect", env=path, cwd=tmp_path)


def test_its_server_answers(clean, start):
    server = start(command=[clean / "bin/limoe", "serve"])
    with server.client() as client:
        assert client.get("/v1/models").json()["data"][0]["id"] == "pictograms"


def test_the_package_classifies(clean, tmp_path):
    script = ("import limoe, sys; print(limoe.__version__); "
              "print(*[(one.label, one.score) for one in limoe.Model().classify(sys.argv[1], ['cat', 'dog'])], sep='\\n')")
    version, *rows = run(clean / "bin/python", "-c", script, PICTURE, cwd=tmp_path).splitlines()
    assert version == run(BUILD / "limoe", "--version").split()[1]
    expected = json.loads(run(BUILD / "limoe", *ASK))["data"][0]["predictions"]
    assert [tuple(eval(row)) for row in rows] == [(row["label"], pytest.approx(row["score"], rel=1e-6)) for row in expected]


def test_what_lies_beside_the_program(clean):
    assert (clean / "share/man/man1/limoe-serve.1").exists()
    assert (clean / "share/bash-completion/completions/limoe").exists()
    modules = {path.name for path in BUILD.glob("limoe-*.so")}
    assert {path.name for path in clean.glob("lib/**/limoe/limoe-*.so")} == modules
    package = next(clean.glob("lib/python*/site-packages/limoe"))
    assert {"py.typed", "LICENSE", "__init__.py"} <= {path.name for path in package.iterdir()}


def test_an_installation_that_is_not_whole_says_so(clean, tmp_path):
    library = next(clean.glob("lib/**/liblimoe.so.0"))
    library.rename(tmp_path / "kept")
    try:
        done = subprocess.run([clean / "bin/python", "-c", "import limoe"], capture_output=True, text=True, env=ENVIRONMENT)
    finally:
        (tmp_path / "kept").rename(library)
    assert done.returncode == 1 and "ImportError: limoe is not installed whole: there is no " in done.stderr
    assert "liblimoe.so.0; it is installed by `pip install .`" in done.stderr


def test_a_source_distribution_is_refused():
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist"], capture_output=True, text=True, cwd=ROOT / "python",
                          env=ENVIRONMENT)
    assert done.returncode and "no source distribution is made of python/ alone" in done.stderr


def test_types_are_strict():
    run(sys.executable, "-m", "mypy", "--cache-dir", os.devnull, cwd=ROOT / "python")
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "-c",
                           "import limoe\nlimoe.Model().embed_texts([1])\nreveal_type(limoe.Model().classify('a', ['b'])[0].score)"],
                          capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT)
    assert 'List item 0 has incompatible type "int"; expected "str"' in done.stdout
    assert 'Revealed type is "float"' in done.stdout or "builtins.float" in done.stdout
