"""Protects limoe caption: its captions and their form, what it refuses, and that a model with a decoder is otherwise as any other."""

import json
import shutil

import pytest

from conftest import MODEL, ROOT, copy_captioner, picture_files
from test_int8 import answer, limoe

CAT = ROOT / "examples" / "cat.png"


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    return copy_captioner(tmp_path_factory.mktemp("captions") / "model")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return picture_files(tmp_path_factory.mktemp("pictures"), 3)


def captions(captioner, *arguments):
    done = json.loads(answer("caption", "--model", captioner, "--json", *arguments))
    assert done["object"] == "list" and done["model"] == "captions"
    assert [item["index"] for item in done["data"]] == list(range(len(done["data"])))
    return [item["captions"] for item in done["data"]]


def test_the_commands_of_the_documents(captioner):
    line, = answer("caption", "--model", captioner, CAT).splitlines()
    (greedy,), = captions(captioner, CAT)
    assert line == f"{greedy['logprob']:8.2f}  {greedy['text']}{'' if greedy['ended'] else ' …'}"
    assert len(answer("caption", "--model", captioner, "--beams", 5, "--min-length", 5, "--n", 3, CAT).splitlines()) == 3
    drawn, = captions(captioner, "--top-k", 50, "--n", 10, "--seed", 1, CAT)
    assert len(drawn) == 10 and len({one["text"] for one in drawn}) > 5
    assert all(one["logprob"] < 0 and 0 < one["tokens"] <= 12 for one in drawn)


@pytest.mark.parametrize("options", [[], ["--beams", 4, "--n", 2], ["--top-k", 1600, "--n", 3, "--seed", 5, "--temperature", 0.7]])
def test_a_caption_is_the_same_alone_and_in_any_batch_at_any_threads(captioner, pictures, options):
    alone = [captions(captioner, *options, "--threads", 1, path)[0] for path in pictures]
    assert captions(captioner, *options, "--threads", 3, *pictures) == alone
    assert captions(captioner, *options, *reversed(pictures)) == alone[::-1]


def test_a_picture_that_cannot_be_read_leaves_the_others_their_captions(captioner, pictures):
    done = limoe("caption", "--model", captioner, pictures[0], captioner / "config.json", pictures[1])
    assert done.returncode == 1 and "config.json" in done.stderr
    assert str(pictures[0]) in done.stdout and str(pictures[1]) in done.stdout


WRONG = [
    ([], "no image"),
    (["--beams", 2, "--top-k", 5, CAT], "--beams and --top-k are given"),
    (["--seed", 2, CAT], "--temperature and --seed go with --top-k"),
    (["--n", 2, CAT], "n is 2; 1 to 1 is accepted"),
    (["--max-length", 13, CAT], "max_length is 13; 1 to 12 is accepted"),
    (["--top-k", 1601, CAT], "top_k is 1601; 0 to 1600 is accepted"),
    (["--beams", 17, CAT], '--beams is "17"; accepted: a whole number from 1 to 16'),
]


@pytest.mark.parametrize("arguments, message", WRONG)
def test_what_the_command_line_gets_wrong(captioner, arguments, message):
    done = limoe("caption", "--model", captioner, *arguments)
    assert done.returncode == 2 and done.stdout == "" and message in done.stderr


def test_a_model_without_a_decoder_says_so():
    done = limoe("caption", "--model", MODEL, CAT)
    assert done.returncode == 1 and '"pictograms" has no decoder' in done.stderr


def test_a_decoder_without_a_tokenizer_is_refused(captioner, tmp_path):
    shutil.copytree(captioner, tmp_path / "model")
    (tmp_path / "model/tokenizer.model").unlink()
    done = limoe("caption", "--model", tmp_path / "model", CAT)
    assert done.returncode == 1 and 'config.json has "decoder"' in done.stderr and "tokenizer.model" in done.stderr


def test_it_is_inspected_quantised_and_embeds(captioner, tmp_path):
    assert "captions of up to 12 tokens" in answer("inspect", captioner)
    shape = json.loads(answer("inspect", captioner, "--json"))["decoder"]
    assert shape == {"length": 12, "width": 24, "blocks": 2, "heads": 2, "mlp": 40}
    assert "decoder" not in json.loads(answer("inspect", MODEL, "--json"))
    answer("quantize", captioner, tmp_path / "small", "--quiet")
    assert captions(tmp_path / "small", "--beams", 3, CAT) == captions(captioner, "--dtype", "int8", "--beams", 3, CAT)
    assert answer("embed", "--model", captioner, "--text", "a cat", "--image", CAT)
