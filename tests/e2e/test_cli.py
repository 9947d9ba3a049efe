"""Protects the command line: what it answers, where it says what went wrong, and its exit status. Its --json must be
the HTTP routes' own objects."""

import json
import os
import re
import shutil
import subprocess
import unicodedata

import numpy as np
import pytest

from conftest import BUILD, MODEL, b64, data_uri, picture

OK, INPUT, USAGE = 0, 1, 2


def limoe(*arguments, stdin=b"", model=True, env=None, program=BUILD / "limoe", stdout=subprocess.PIPE):
    """Runs the program on the test's model, which is the environment's business unless `model` is False."""
    environment = {**os.environ, **(env or {})}
    environment.pop("LIMOE_MODEL", None)
    if model:
        environment["LIMOE_MODEL"] = str(MODEL)
    done = subprocess.run([program, *arguments], input=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment,
                          timeout=600)
    done.stderr = done.stderr.decode()
    if done.stdout is not None:
        done.stdout = done.stdout.decode()
    for line in done.stderr.splitlines():
        assert line.startswith(("limoe: ", "usage: ", "  ")) or not line, done.stderr
    return done


def answer(*arguments, **options):
    done = limoe(*arguments, **options)
    assert done.returncode == OK, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three pictures in files of different types."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / "one.png", folder / "two.jpg", folder / "三.webp"]
    for seed, (path, kind) in enumerate(zip(paths, ["PNG", "JPEG", "WEBP"])):
        path.write_bytes(picture(seed, kind=kind))
    return paths


# ---- help, version, wrong command lines


def test_version():
    assert re.fullmatch(r"limoe \d+\.\d+\.\d+\n", answer("--version"))


@pytest.mark.parametrize("asking", ["--help", "-h", "help"])
def test_help_lists_the_commands(asking):
    listed = answer(asking)
    for command in ["serve", "classify", "describe", "embed", "explain", "inspect", "quantize"]:
        assert f"  {command} " in listed


@pytest.mark.parametrize("command, options", [
    ("serve", ["--model", "--host", "--port", "--dtype", "--threads"]),
    ("classify", ["--model", "--labels", "--label", "--template", "--top-k", "--json", "--dtype", "--threads"]),
    ("describe", ["--tags", "--attributes", "--captions", "--most", "--threshold", "--mode", "--question", "--ocr", "--json"]),
    ("embed", ["--model", "--text", "--image", "--json", "--dtype", "--threads"]),
    ("explain", ["-o, --out", "--model", "--json", "--dtype"]),
    ("inspect", ["--json", "--ranks", "--load", "--expert-bytes", "--dtype", "--compare", "--digest"]),
    ("quantize", ["--quiet"]),
    ("caption", ["--n", "--beams", "--top-k", "--temperature", "--seed", "--min-length", "--max-length", "--model", "--json"]),
    ("tune", ["-o, --output", "--kind", "--start-block", "--epochs", "--learning-rate", "--seed", "--template", "--label", "--flip",
              "--skip-broken", "--threads", "--quiet", "--json"]),
    ("adapters", ["--json", "--strength"]),
])
def test_each_command_explains_its_options(command, options):
    explained = answer(command, "--help")
    assert explained.startswith(f"usage: limoe {command} ")
    for option in options:
        assert f"  {option}" in explained


WRONG = [
    (["clasify"], 'there is no command "clasify"; did you mean "classify"?'),
    (["frobnicate"], 'there is no command "frobnicate" (see limoe --help)'),
    (["--verbose"], 'there is no command "--verbose"'),
    (["classify"], 'no labels; say --labels "cat,dog"'),
    (["classify", "--labels", "cat"], "no image"),
    (["classify", "--lables", "cat", "x.png"], 'has no option "--lables"; did you mean --labels?'),
    (["classify", "--labels"], "--labels needs a value"),
    (["classify", "--labels", "cat,,dog", "x.png"], "labels[1] is empty"),
    (["classify", "--labels", "", "x.png"], "labels[0] is empty"),
    (["classify", "--label", " \u3000", "x.png"], "labels[0] is nothing but white space"),
    (["classify", "--label", "c" * 1025, "x.png"], "labels[0] has 1025 bytes; up to 1024 are accepted"),
    (["classify", "--label", b"caf\xe9", "x.png"], "label 1 is not UTF-8"),
    (["classify", "--labels", "a" + ",a" * 10000, "x.png"], "10001 labels; up to 10000 are accepted"),
    (["classify", "--labels", "cat", "--template", "a cat", "x.png"], 'has 0 "{}"; exactly one is accepted'),
    (["classify", "--labels", "cat", "--template", "{}{}", "x.png"], 'has 2 "{}"'),
    (["classify", "--labels", "cat", "--top-k", "0", "x.png"], '--top-k is "0"; accepted: a whole number from 1'),
    (["classify", "--labels", "cat", "--top-k", "2x", "x.png"], '--top-k is "2x"'),
    (["classify", "--labels", "cat", "--dtype", "int4", "x.png"], "accepted: auto, float32, bfloat16, int8"),
    (["classify", "--labels", "cat", "--threads", "-1", "x.png"], '--threads is "-1"'),
    (["classify", "--labels", "cat", "--json=yes", "x.png"], "--json takes no value"),
    (["classify", "-z"], 'has no option "-z"'),
    (["embed"], 'nothing to embed; say --text "a cat" or --image cat.png'),
    (["embed", "cat.png"], '"cat.png" is neither --text nor --image'),
    (["embed", "--text", ""], "--text is empty"),
    (["embed", "--text", "x" * 65537], "--text has 65537 bytes; up to 65536 are accepted"),
    (["describe"], "no image"),
    (["describe", "--threshold", "high", "cat.png"], '--threshold is "high"; accepted: auto or a cosine'),
    (["describe", "--most", "51", "cat.png"], '--most is "51"'),
    (["describe", "--mode", "hm", "--question", "?", "cat.png"], "mode hm has a question of its own"),
    (["describe", "--ocr", "SALE", "cat.png"], "a prompt of mode paper alone has a place for ocr"),
    (["explain"], "no image"),
    (["explain", "cat.png"], "no text to explain the picture by"),
    (["explain", "cat.png", "a", ""], "text 2 is empty"),
    (["explain", "cat.png", b"caf\xe9"], "text 1 is not UTF-8"),
    (["explain", "-o", "map.png", "cat.png", "a", "b"], "--out writes the map of one text, and there are 2"),
    (["explain", "-o", "map.png", "--json", "cat.png", "a"], "--out and --json are given"),
    (["inspect", "a", "b"], 'one directory at a time; found "b" after "a"'),
    (["inspect", "--jsn"], "did you mean --json?"),
    (["inspect", "--ranks", "0"], '--ranks is "0"; accepted: a whole number from 1 to 1024'),
    (["inspect", "--load", "load.json"], "--load goes with --ranks"),
    (["inspect", "--ranks", "2", "--expert-bytes", "1MiB"], "--expert-bytes goes with --load"),
    (["inspect", "--compare", "auto"], '--compare is "auto"; accepted: float32, bfloat16, int8'),
    (["quantize"], "0 directories; a model's and one to write are needed"),
    (["quantize", "a"], "1 directory; a model's and one to write are needed"),
    (["tune"], "0 folders; one with a folder of pictures for each class is needed"),
    (["tune", "a"], "no --output; the adapter's file is needed"),
    (["tune", "a", "-o", "b", "--kind", "lora"], "--kind"),
    (["adapters"], '"" is not known; show, list, merge and export are'),
    (["adapters", "show"], "show takes one file; found 0"),
    (["adapters", "merge", "a", "b"], "merge takes a model's directory, an adapter's file and a directory to write; found 2"),
    (["serve", "--prot", "1"], "--prot"),
]


@pytest.mark.parametrize("arguments, message", WRONG, ids=range(len(WRONG)))
def test_a_wrong_command_line_is_explained_and_exits_with_2(arguments, message):
    done = limoe(*arguments)
    assert done.returncode == USAGE
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and "--help" in done.stderr


def test_no_command_at_all():
    done = limoe()
    assert done.returncode == USAGE and done.stdout == ""
    assert done.stderr.startswith("usage: limoe COMMAND")


# ---- the same objects as over HTTP


def test_classify_prints_what_the_route_answers(client, files):
    request = {"images": [b64(path.read_bytes()) for path in files], "labels": ["cat", "犬", 'a "tree"', "cat"],
               "templates": ["{}", "a picture of a {}"], "top_k": 3}
    over_http = client.post("/v1/classify", json=request)
    assert over_http.status_code == 200
    printed = answer("classify", "--json", "--labels", "cat, 犬", "--label", 'a "tree"', "--labels", "cat",
                     "--template", "{}", "--template", "a picture of a {}", "--top-k", "3", *files)
    assert printed == over_http.text


def test_embed_prints_what_the_route_answers(client, files):
    request = ["a cat", {"image": data_uri(files[0].read_bytes())}, {"text": "木"}, {"image": b64(files[1].read_bytes())}]
    over_http = client.post("/v1/embeddings", json={"input": request})
    assert over_http.status_code == 200
    printed = answer("embed", "--text", "a cat", "--image", files[0], "--text", "木", "--image", files[1], "--json")
    assert printed == over_http.text


def test_inspect_prints_the_figures_of_the_models_route(client):
    served = client.get("/v1/models").json()["data"][0]
    inspected = json.loads(answer("inspect", MODEL, "--json"))
    shared = set(served) & set(inspected) - {"object"}
    assert {"id", "width", "blocks", "embed", "moe", "parameters", "weight_bytes", "logit_scale"} <= shared
    for name in shared:
        assert served[name] == inspected[name]


# ---- ranks


def inspect_ranks(*arguments):
    return json.loads(answer("inspect", MODEL, "--json", "--ranks", *arguments))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
def test_inspect_places_every_expert_once(n):
    found = inspect_ranks(str(n))
    layers, experts = len(found["moe"]["blocks"]), found["moe"]["experts"]
    assert [len(layer) for layer in found["placement"]] == [experts] * layers
    assert [rank["rank"] for rank in found["ranks"]] == list(range(n))
    assert sum(rank["experts"] for rank in found["ranks"]) == layers * experts
    assert all(len(owners) == 1 for layer in found["placement"] for owners in layer)
    for rank in found["ranks"]:
        assert rank["experts"] == sum(rank["rank"] in owners for layer in found["placement"] for owners in layer)
        assert rank["expert_bytes"] == rank["experts"] * found["expert_bytes"]
        assert layers * (experts // n) <= rank["experts"] <= layers * -(-experts // n)
    # Packed as bfloat16, a bfloat16 checkpoint takes about its own size.
    whole = inspect_ranks("1", "--dtype", "bfloat16")["ranks"][0]
    assert whole["dense_bytes"] + whole["expert_bytes"] == pytest.approx(found["weight_bytes"], rel=0.05)


def test_inspect_spreads_a_measured_load(tmp_path):
    plain = inspect_ranks("4")
    layers, experts = len(plain["placement"]), len(plain["placement"][0])
    load = tmp_path / "load.json"
    load.write_text(json.dumps({"format": "limoe-load-1", "load": [[1000] + [10] * (experts - 1)] * layers}))
    tight = inspect_ranks("4", "--load", str(load))
    room = 2 * max(rank["expert_bytes"] for rank in plain["ranks"])
    wide = inspect_ranks("4", "--load", str(load), "--expert-bytes", str(room))
    assert all(len(layer[0]) == 4 for layer in wide["placement"])  # the hot expert is everywhere
    assert max(wide["imbalance"]) < min(tight["imbalance"])
    assert all(rank["expert_bytes"] <= room for rank in wide["ranks"])
    assert "The busiest rank would get" in answer("inspect", MODEL, "--ranks", "4", "--load", str(load))

    done = limoe("inspect", MODEL, "--ranks", "4", "--load", str(load), "--expert-bytes", "1KiB")
    assert done.returncode == INPUT and "1024 bytes of experts on a rank" in done.stderr
    load.write_text('{"format": "limoe-load-1", "load": [[-1]]}')
    done = limoe("inspect", MODEL, "--ranks", "4", "--load", str(load))
    assert done.returncode == INPUT and "load.json" in done.stderr and done.stdout == ""


def test_inspect_prints_ranks_for_people():
    printed = answer("inspect", MODEL, "--ranks", "2", "--dtype", "float32").splitlines()
    at = next(i for i, line in enumerate(printed) if line.startswith("weights in memory on 2 ranks, as float32"))
    assert printed[at + 1].split()[:2] == ["rank", "experts"]
    assert [line.split()[0] for line in printed[at + 2:at + 4]] == ["0", "1"]
    assert printed[at + 2].split()[1].startswith("0-")


# ---- classify


def test_the_table_is_aligned_whatever_the_script(files):
    def columns(text):
        return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)

    printed = answer("classify", "--labels", "a,自動車,long label of many words,ねこ", files[0], files[2])
    pictures = printed.split("\n\n")
    assert len(pictures) == 2
    for path, table in zip([files[0], files[2]], pictures):
        name, head, *rows = table.rstrip("\n").split("\n")
        assert name == str(path)
        assert head.split() == ["label", "score", "cosine"]
        assert len(rows) == 4
        assert len({columns(line) for line in [head, *rows]}) == 1
        assert len({columns(line[: line.index("%")]) for line in rows}) == 1
        scores = [float(re.search(r"([\d.]+) %", line).group(1)) for line in rows]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(100, abs=0.03)


def test_pictures_that_fail_are_named_and_the_others_answered(files, tmp_path):
    broken, empty = tmp_path / "broken.png", tmp_path / "empty.png"
    broken.write_bytes(files[0].read_bytes()[:60])
    empty.write_bytes(b"")
    missing = tmp_path / "missing.png"
    done = limoe("classify", "--json", "--labels", "cat,dog", missing, files[0], broken, empty, tmp_path, files[1])
    assert done.returncode == INPUT
    assert [row["index"] for row in json.loads(done.stdout)["data"]] == [1, 5]
    complaints = done.stderr.splitlines()
    assert len(complaints) == 4
    assert complaints[0] == f"limoe: {missing}: No such file or directory"
    assert complaints[1].startswith(f"limoe: {broken}: ")
    assert complaints[2] == f"limoe: {empty}: empty"
    assert complaints[3] == f"limoe: {tmp_path}: Is a directory"
    alone = json.loads(answer("classify", "--json", "--labels", "cat,dog", files[1]))
    assert json.loads(done.stdout)["data"][1]["predictions"] == alone["data"][0]["predictions"]


def test_nothing_is_printed_when_no_picture_is_left(tmp_path):
    done = limoe("classify", "--json", "--labels", "cat,dog", tmp_path / "missing.png")
    assert done.returncode == INPUT and done.stdout == ""


def test_a_dash_is_standard_input(files):
    from_file = answer("classify", "--json", "--labels", "cat,dog", files[0])
    assert answer("classify", "--json", "--labels", "cat,dog", "-", stdin=files[0].read_bytes()) == from_file
    done = limoe("classify", "--labels", "cat,dog", "-", stdin=b"not a picture")
    assert done.returncode == INPUT
    assert done.stderr.startswith("limoe: standard input: ")


def test_a_file_that_begins_with_a_dash_can_be_named(files, tmp_path):
    shutil.copy(files[0], tmp_path / "-x.png")
    done = subprocess.run([BUILD / "limoe", "classify", "--model", MODEL, "--labels", "cat", "--", "-x.png"],
                          cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == OK, done.stderr


# ---- embed


def test_items_keep_their_order_and_their_places(files, tmp_path):
    done = limoe("embed", "--json", "--text", "first", "--image", tmp_path / "missing.png", "--image", files[0],
                 "--text", "last")
    assert done.returncode == INPUT
    answered = json.loads(done.stdout)
    assert [row["index"] for row in answered["data"]] == [0, 2, 3]
    last = json.loads(answer("embed", "--json", "--text", "last"))
    assert answered["data"][2]["embedding"] == last["data"][0]["embedding"]


def test_the_table_shows_cosines_of_what_json_prints(files):
    arguments = ["--text", "a cat", "--image", str(files[0]), "--text", "猫"]
    vectors = np.array([row["embedding"] for row in json.loads(answer("embed", "--json", *arguments))["data"]])
    printed = answer("embed", *arguments)
    items, cosines = printed.rstrip("\n").split("\n\n")
    assert len(items.split("\n")) == 4 and f"({vectors.shape[1]} numbers)" in items
    shown = np.array([[float(cell) for cell in line.split()[1:]] for line in cosines.split("\n")[1:]])
    assert np.abs(shown - vectors @ vectors.T).max() < 1e-4


def test_threads_do_not_change_a_bit_and_dtypes_hardly(files):
    items = ["--text", "a cat", "--image", files[0], "--image", files[2], "--text", "自動車"]
    one = answer("embed", "--json", "--threads", "1", *items)
    assert answer("embed", "--json", "--threads", "2", *items) == one
    float32, bfloat16 = (
        np.array([row["embedding"] for row in json.loads(answer("embed", "--json", "--dtype", dtype, *items))["data"]])
        for dtype in ["float32", "bfloat16"])
    assert np.abs((float32**2).sum(1) - 1).max() < 1e-5
    cosine = (float32 * bfloat16).sum(1)
    assert cosine.min() >= 0.999
    assert (float32 != bfloat16).any()


# ---- inspect, models, output


def test_inspect_adds_up():
    inspected = json.loads(answer("inspect", MODEL, "--json"))
    config = json.loads((MODEL / "config.json").read_text())
    assert inspected["id"] == config["name"]
    assert inspected["moe"]["blocks"] == config["moe"]["blocks"]
    assert [block["kind"] == "moe" for block in inspected["by_block"]] == [
        index in config["moe"]["blocks"] for index in range(config["blocks"])]
    expert = 2 * config["width"] * config["mlp"] + config["mlp"] + config["width"]
    idle = config["moe"]["experts"] - config["moe"]["top_k"]
    for block in inspected["by_block"]:
        idle_here = idle if block["kind"] == "moe" else 0
        assert block["mlp_parameters"] - block["active_mlp_parameters"] == idle_here * expert
    assert inspected["parameters"]["total"] - inspected["parameters"]["active"] >= idle * expert * len(
        config["moe"]["blocks"])
    in_blocks = sum(block["attention_parameters"] + block["router_parameters"] + block["mlp_parameters"]
                    for block in inspected["by_block"])
    assert in_blocks < inspected["parameters"]["total"]

    table = answer("inspect", MODEL)
    assert f"{inspected['parameters']['total']:,}" in table
    assert f"{inspected['parameters']['active']:,} for one token" in table
    assert len(re.findall(r"^ +\d+  (dense|\d+ experts) ", table, re.M)) == config["blocks"]


@pytest.mark.parametrize("command", [["classify", "--labels", "cat", "x.png"], ["embed", "--text", "x"], ["inspect"]])
def test_a_model_that_is_not_there_is_named(command, tmp_path):
    where = ["inspect", tmp_path] if command == ["inspect"] else [*command, "--model", tmp_path]
    done = limoe(*where)
    assert done.returncode == INPUT and done.stdout == ""
    assert str(tmp_path / "config.json") in done.stderr


def test_the_bundled_model_is_found_from_the_program(files, tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "models").mkdir()
    program = tmp_path / "build" / "limoe"
    shutil.copy(BUILD / "limoe", program)
    missing = limoe("embed", "--text", "x", model=False, program=program)
    assert missing.returncode == INPUT
    assert "--model" in missing.stderr and "LIMOE_MODEL" in missing.stderr
    (tmp_path / "models" / "pictograms").symlink_to(MODEL)
    assert answer("embed", "--json", "--text", "x", model=False, program=program) == answer(
        "embed", "--json", "--text", "x")
    named = limoe("embed", "--text", "x", "--model", tmp_path, program=program)
    assert named.returncode == INPUT, "--model goes before what else is found"


def test_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "wb") as full:
        done = limoe("embed", "--json", "--text", "x", stdout=full)
    assert done.returncode == INPUT
    assert done.stderr == "limoe: standard output: No space left on device\n"


def test_a_job_of_many_steps_is_answered_as_its_parts(files):
    """1,000 labels in two templates do not fit one step; which step a prompt is in must not show."""
    labels = [f"label {i}" for i in range(1000)]
    templates = ["--template", "{}", "--template", "a {}"]
    many = json.loads(answer("classify", "--json", "--labels", ",".join(labels), *templates, files[0]))
    cosines = {row["label"]: row["cosine"] for row in many["data"][0]["predictions"]}
    assert len(cosines) == 1000
    few = json.loads(answer("classify", "--json", "--labels", ",".join(labels[::250]), *templates, files[0]))
    for row in few["data"][0]["predictions"]:
        assert cosines[row["label"]] == row["cosine"]
