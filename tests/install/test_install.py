"""Protects what `meson install` leaves: a program that answers as the build's does and finds its model and modules wherever it is
moved to, a library that others can build with, and that shows what its headers declare and nothing else."""

import itertools
import json
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, COMMANDS, ENVIRONMENT, ROOT, b64, run

PICTURE = ROOT / "examples" / "cat.png"
LABELS = ["cat", "dog", "bicycle"]
CLASSIFY = ["classify", "--json", "--labels", ",".join(LABELS), "--template", "{}", "--template", "a picture of a {}", PICTURE]


def test_all_is_there(installed):
    found = {str(path.relative_to(installed.prefix)) for path in installed.prefix.rglob("*") if not path.is_dir()}
    libraries = installed.libraries.relative_to(installed.prefix)
    modules = {f"{libraries}/limoe/{path.name}" for path in BUILD.glob("limoe-*.so")}
    model = {f"share/limoe/models/pictograms/{path.name}" for path in (ROOT / "models" / "pictograms").iterdir()}
    version = installed.limoe("--version").split()[1]
    expected = {"bin/limoe", "include/limoe.h", "include/limoe_caption.h", "include/limoe_shortlist.h", "include/limoe_tune.h", f"{libraries}/pkgconfig/limoe.pc", *modules, *model}
    expected |= {f"{libraries}/liblimoe.so{tail}" for tail in ("", ".0", f".{version}")}
    expected |= {f"share/man/man1/limoe{command and '-'}{command}.1" for command in ["", *COMMANDS]}
    expected |= {"share/bash-completion/completions/limoe", "share/zsh/site-functions/_limoe",
                 "share/fish/vendor_completions.d/limoe.fish"}
    expected |= {f"share/doc/limoe/{name}" for name in
                 ("adapters.md", "api.md", "configuration.md", "describe.md", "format.md", "metrics.md", "models.md", "operations.md", "page.md", "LICENSE")}
    assert found == expected


def test_it_answers_as_the_build_does(installed, tmp_path):
    assert installed.limoe(*CLASSIFY, cwd=tmp_path) == run(BUILD / "limoe", *CLASSIFY)
    said = installed.limoe("inspect", cwd=tmp_path)
    assert re.search(rf"^directory +{re.escape(str(installed.model))}$", said, re.MULTILINE)


def test_it_serves(installed, start):
    server = start(command=[installed.program, "serve"])
    request = {"image": b64(PICTURE.read_bytes()), "labels": LABELS, "templates": ["{}", "a picture of a {}"]}
    body = run("curl", "-sS", "-H", "Content-Type: application/json", "--data-binary", "@-", server.url + "/v1/classify",
               input=json.dumps(request))
    assert body == installed.limoe(*CLASSIFY)


# ---- modules


@pytest.fixture(scope="module")
def copy(installed, tmp_path_factory):
    """Another, whose modules are there to be changed."""
    folder = tmp_path_factory.mktemp("copy") / "limoe"
    shutil.copytree(installed.prefix, folder, symlinks=True)
    return type(installed)(folder)


@pytest.fixture(scope="module")
def asks_for_gpus(copy, tmp_path_factory):
    """A program of somebody else's that asks the library for the GPUs."""
    folder = tmp_path_factory.mktemp("gpus")
    (folder / "gpus.c").write_text('#include <limoe.h>\n#include <stdio.h>\n'
                                   'int main(void) { char why[512]; limoe_gpus(why, sizeof why); puts(why); }\n')
    run("cc", "-o", folder / "gpus", folder / "gpus.c", *copy.pkg_config("--cflags", "--libs"))
    return lambda: run(folder / "gpus", env={"LD_LIBRARY_PATH": str(copy.libraries)})


def complaint(copy):
    done = subprocess.run([copy.program, "embed", "--device", "cuda", "--text", "x"], capture_output=True, text=True, timeout=60,
                          env=ENVIRONMENT)
    assert done.returncode == 1
    return done.stderr


def test_modules_are_found_from_the_program_and_from_the_library(copy, asks_for_gpus):
    """One that is no module of limoe's: the message says which file was loaded."""
    module = copy.libraries / "limoe" / "limoe-cuda.so"
    module.parent.mkdir(exist_ok=True)
    run("cc", "-shared", "-o", module, "-x", "c", "/dev/null")
    wrong = f"{module} is not of this version of limoe"
    assert wrong in complaint(copy) and wrong in asks_for_gpus()
    module.unlink()
    missing = f"there is no {module} (LIMOE_MODULES may name another directory)"
    assert missing in complaint(copy) and missing in asks_for_gpus()


@pytest.mark.skipif(not (BUILD / "limoe-mpi.so").exists() or not shutil.which("mpirun"), reason="needs Open MPI")
def test_ranks_find_their_module(installed, start):
    server = start("--ranks", 2, "--device", "cpu", command=[installed.program, "serve"])
    assert json.loads(run("curl", "-sS", server.url + "/v1/models"))["data"][0]["ranks"] == 2


# ---- the library


def test_the_library_shows_what_the_headers_declare_and_nothing_else(installed, tmp_path):
    """The compiler's own list of what they declare; the others include limoe.h."""
    declared = set()
    for name in ("limoe_caption.h", "limoe_shortlist.h", "limoe_tune.h"):
        run("gcc", "-fsyntax-only", "-aux-info", tmp_path / "declared", "-x", "c", installed.prefix / "include" / name)
        declared |= set(re.findall(r"limoe(?:_\w+)?\.h:\d+:\w+ \*/ extern .*?\b(limoe_\w+) \(", (tmp_path / "declared").read_text()))
    assert {"limoe_model_open", "limoe_status_name", "limoe_tune", "limoe_model_caption"} < declared
    shown = run("nm", "-D", "--defined-only", "--format=posix", installed.libraries / "liblimoe.so").splitlines()
    assert {line.split()[0] for line in shown} == {f"{name}@@LIMOE_0" for name in declared} | {"LIMOE_0"}
    assert "Library soname: [liblimoe.so.0]" in run("readelf", "-d", installed.libraries / "liblimoe.so")


def test_each_header_is_whole_by_itself_in_c_and_in_c_plus_plus(installed):
    for header, (compiler, language) in itertools.product(("limoe.h", "limoe_caption.h", "limoe_shortlist.h", "limoe_tune.h"), (("cc", "c"), ("c++", "c++"))):
        run(compiler, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-x", language, "-",
            *installed.pkg_config("--cflags"), input=f"#include <{header}>\n")


@pytest.fixture(scope="module")
def example(installed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")

    def build_and_run(name, *arguments):
        source = ROOT / "examples" / f"{name}.c"
        run("cc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-o", folder / name, source, *installed.pkg_config("--cflags", "--libs"))
        [model] = installed.pkg_config("--variable=model")
        return run(folder / name, model, PICTURE, *arguments, env={"LD_LIBRARY_PATH": str(installed.libraries)})

    return build_and_run


def test_the_classify_example_prints_the_programs_scores(installed, example):
    rows = json.loads(installed.limoe(*CLASSIFY))["data"][0]["predictions"]
    scores = {row["label"]: row["score"] for row in rows}
    assert example("classify", *LABELS) == "".join(f"{100 * scores[label]:6.2f} %  {label}\n" for label in LABELS)


def test_the_embed_example_prints_the_programs_cosines(installed, example):
    texts = ["a cat", "a rocket"]
    items = [word for text in texts for word in ("--text", text)]
    picture, *others = [row["embedding"] for row in json.loads(installed.limoe("embed", "--json", "--image", PICTURE, *items))["data"]]
    cosines = [sum(a * b for a, b in zip(picture, other)) for other in others]
    assert example("embed", *texts) == "".join(f"{cosine:6.3f}  {text}\n" for cosine, text in zip(cosines, texts))
