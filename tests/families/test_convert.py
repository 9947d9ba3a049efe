"""Protects: what train/convert.py makes of checkpoints that are not safetensors answers as the original's formulas do, and
a hostile file is refused with the name of what it wanted, without running, hanging or filling memory."""

import json
import resource
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import ROOT
from files import Call, Global, Raw, Writer, nested, save_script, save_stream, save_vmoe, save_zip
from make_limoe2 import save
from originals import LENGTH, SIZE, VOCAB, Clip, VMoE, clip_state, vmoe_tree
from reference import read_safetensors

GOLDEN = ROOT / "tests/golden"


def items(count=8):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    lengths = np.array([1, 2, 5, 19, 20, 21, 25, LENGTH], np.int32)[:count]
    tokens = rng.integers(0, VOCAB - 1, (count, LENGTH)).astype(np.int32)
    tokens[np.arange(count), lengths - 1] = VOCAB - 1
    return pixels, tokens, lengths


def expect_clip(embed, folder, original):
    pixels, tokens, lengths = items()
    want = [original.image(p) for p in pixels] + [original.text(t[:n]) for t, n in zip(tokens, lengths)]
    assert np.abs(embed(folder, pixels, tokens, lengths) - np.stack(want)).max() < 1e-5


def ok(result):
    status, said = result
    assert status == 0, said
    return said


# ---- families


@pytest.mark.parametrize("keep", [save_zip, save_stream])
@pytest.mark.parametrize("moe", [dict(image=[0, 1], text=[0, 1]), dict(image=[1], text=[1]), dict(image=[1])])
def test_clip_moe(tmp_path, command, embed, keep, moe):
    state = clip_state(11, experts=4, moe=moe, long=True)
    keep(tmp_path / "moe.pt", state)
    ok(command("convert.py", tmp_path / "moe.pt", "--out", tmp_path / "out"))
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["name"] == "out"
    assert config["moe"] == {**moe, "experts": 4, "top_k": 2, "renormalize": True}
    expect_clip(embed, tmp_path / "out", Clip(state))


def test_clip_moe_takes_another_top_k(tmp_path, command, embed):
    state = clip_state(12, experts=4, moe=dict(image=[0], text=[0]), long=True)
    save_zip(tmp_path / "moe.pt", state)
    ok(command("convert.py", tmp_path / "moe.pt", "--out", tmp_path / "out", "--top-k", 3, "--name", "three"))
    assert json.loads((tmp_path / "out/config.json").read_text())["name"] == "three"
    expect_clip(embed, tmp_path / "out", Clip(state, top_k=3))


def test_long_clip(tmp_path, command, embed):
    state = clip_state(13, long=True)
    save_zip(tmp_path / "longclip.pt", state)
    ok(command("convert.py", tmp_path / "longclip.pt", "--out", tmp_path / "out"))
    config = json.loads((tmp_path / "out/open_clip_config.json").read_text())["model_cfg"]
    assert config["quick_gelu"] and config["text_cfg"]["context_length"] == LENGTH
    positions = read_safetensors(tmp_path / "out/open_clip_model.safetensors")["positional_embedding"]
    assert (positions[:20] == state["positional_embedding"][:20]).all()
    assert (positions[20:] == state["positional_embedding_res"][20:]).all()


def test_openai(tmp_path, command):
    state = clip_state(14)
    state = {name: v.astype(np.float16) if v.ndim > 1 else v for name, v in state.items()}
    known = {name: np.array(7) for name in ("input_resolution", "context_length", "vocab_size")}
    save_script(tmp_path / "ViT.pt", nested(state | known))
    ok(command("convert.py", tmp_path / "ViT.pt", "--out", tmp_path / "out"))
    config = json.loads((tmp_path / "out/open_clip_config.json").read_text())
    assert config["model_cfg"]["quick_gelu"] and config["model_cfg"]["vision_cfg"]["width"] == 128
    assert config["preprocess_cfg"]["mean"] == [0.48145466, 0.4578275, 0.40821073]
    found = read_safetensors(tmp_path / "out/open_clip_model.safetensors")
    assert found.keys() == state.keys()
    assert all((found[name] == values).all() for name, values in state.items())
    # what is float16 in the archive takes two bytes in the folder
    assert (tmp_path / "out/open_clip_model.safetensors").stat().st_size < 1.1 * sum(
        v.nbytes for v in state.values()
    ) + 20000


@pytest.mark.parametrize("keep", [save_zip, save_stream])
@pytest.mark.parametrize("wrapped", [False, True])
def test_open_clip(tmp_path, command, embed, keep, wrapped):
    """The same bits as from the safetensors of the same model; a checkpoint of training has more around it."""
    golden = GOLDEN / "open_clip"
    state = {n: v.astype(np.float32) for n, v in read_safetensors(golden / "open_clip_model.safetensors").items()}
    tree = {f"module.{n}": v for n, v in state.items()} if wrapped else state
    keep(
        tmp_path / "open_clip_pytorch_model.bin",
        {"epoch": 3, "name": "run", "state_dict": tree, "optimizer": {"state": {0: {"step": 1.0}}}}
        if wrapped
        else tree,
    )
    (tmp_path / "open_clip_config.json").write_bytes((golden / "open_clip_config.json").read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")
    ok(command("convert.py", tmp_path, "--out", tmp_path / "out"))
    assert (tmp_path / "out/tokenizer.json").is_file()
    loaded = read_safetensors(golden / "items.safetensors")
    arrays = [loaded[k] for k in ("pixels", "tokens", "lengths")]
    assert (embed(tmp_path / "out", *arrays) == embed(golden, *arrays)).all()


@pytest.mark.parametrize(
    "name, weights", [("clip", 1), ("siglip", 2), ("chinese_clip", 1), ("clip-vision", 1), ("clip-text", 1)]
)
def test_hugging_face(tmp_path, command, embed, name, weights):
    golden = GOLDEN / name
    state = {n: v.astype(np.float32) for n, v in read_safetensors(golden / "model.safetensors").items()}
    half = "vision_model" if name == "clip-vision" else "text_model"
    state[half + ".embeddings.position_ids"] = np.arange(12)[None]  # as older files have it
    if weights == 1:
        save_stream(tmp_path / "pytorch_model.bin", state)
    else:
        shards = {f"pytorch_model-0000{i + 1}-of-00002.bin": list(state)[i::2] for i in range(2)}
        for shard, names in shards.items():
            save_zip(tmp_path / shard, {n: state[n] for n in names})
        of = {n: shard for shard, names in shards.items() for n in names}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": of}))
    said = [file for file in ("config.json", "preprocessor_config.json") if (golden / file).is_file()]
    for file in said:
        (tmp_path / file).write_bytes((golden / file).read_bytes())
    (tmp_path / "vocab.txt").write_text("")  # a tokenizer's file goes with what takes texts
    ok(command("convert.py", tmp_path, "--out", tmp_path / "out"))
    assert all((tmp_path / "out" / file).is_file() for file in said)
    assert (tmp_path / "out/vocab.txt").is_file() == (name != "clip-vision")
    loaded = read_safetensors(golden / "items.safetensors")
    arrays = [loaded[k] for k in ("pixels", "tokens", "lengths")]
    assert (embed(tmp_path / "out", *arrays) == embed(golden, *arrays)).all()


@pytest.mark.parametrize(
    "how",
    [
        dict(),
        dict(classifier="gap"),
        dict(classifier="map"),
        dict(qk_norm=True),
        dict(moe=()),
        dict(blocks=12, moe=(1, 10)),
    ],
)
def test_v_moe(tmp_path, command, embed, how):
    tree = vmoe_tree(21, **how)
    moments = {"params": tree, "opt_state": {"0": {"mu": vmoe_tree(22, **how)}}, "step": np.array(5, np.int32)}
    save_vmoe(tmp_path / "ckpt_1", moments)
    ok(command("convert.py", tmp_path / "ckpt_1", "--out", tmp_path / "out", "--no-text"))
    config = json.loads((tmp_path / "out/config.json").read_text())
    if how.get("moe", (1,)):
        assert config["moe"] == dict(image=list(how.get("moe", (1,))), experts=4, top_k=2, renormalize=False)
    pixels = items()[0]
    found = embed(tmp_path / "out", pixels, np.zeros((0, 1), np.int32), np.zeros(0, np.int32))
    want = np.stack([VMoE(tree).image(p) for p in pixels])
    assert np.abs(found - want).max() < 1e-5
    assert "text" not in config and not list((tmp_path / "out").glob("tokenizer*"))
    assert "no text tower" in (tmp_path / "out/README.md").read_text()


def test_v_moe_with_a_text_tower_of_another(tmp_path, command, embed):
    golden, tree = GOLDEN / "limoe2-v-moe", vmoe_tree(23)
    save_vmoe(tmp_path / "ckpt_1", {"params": tree}, shards=1, version=None)
    ok(command("convert.py", tmp_path / "ckpt_1.index", "--out", tmp_path / "out", "--text-tower", golden))
    loaded = read_safetensors(golden / "items.safetensors")
    found = embed(tmp_path / "out", *(loaded[k] for k in ("pixels", "tokens", "lengths")))
    pictures = len(loaded["pixels"])
    assert np.abs(found[:pictures] - np.stack([VMoE(tree).image(p) for p in loaded["pixels"]])).max() < 1e-5
    assert np.abs(found[pictures:] - loaded["embedding"][pictures:]).max() < 1e-5


# ---- refusals


def refused(result, *words):
    status, said = result
    assert status == 1
    for word in words:
        assert word in said, said


def test_places(tmp_path, command):
    save_zip(tmp_path / "l.pt", clip_state(15, long=True))
    refused(command("convert.py", tmp_path / "none.pt", "--out", tmp_path / "out"), "none.pt: No such file")
    refused(command("convert.py", tmp_path / "l.pt", "--out", tmp_path / "no/out"), "no: no such folder")
    ok(command("convert.py", tmp_path / "l.pt", "--out", tmp_path / "out"))
    refused(command("convert.py", tmp_path / "l.pt", "--out", tmp_path / "out"), "out: is there; --force replaces it")
    (tmp_path / "out/mine").write_text("")
    ok(command("convert.py", tmp_path / "l.pt", "--out", tmp_path / "out", "--force"))
    assert not (tmp_path / "out/mine").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter").write_text("dear")
    refused(command("convert.py", tmp_path / "l.pt", "--out", tmp_path / "home", "--force"), "holds no model")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "l.pt", "out"]  # nothing half made is left


def test_a_failed_conversion_leaves_what_was_there(tmp_path, command):
    state = clip_state(15, long=True)
    save_zip(tmp_path / "l.pt", state)
    ok(command("convert.py", tmp_path / "l.pt", "--out", tmp_path / "out"))
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    save_zip(tmp_path / "l.pt", {n: v for n, v in state.items() if n != "visual.proj"})
    refused(command("convert.py", tmp_path / "l.pt", "--out", tmp_path / "out", "--force"), '"visual.proj" is missing')
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def change(state, **of):
    return {name: of.get(name.replace(".", "_"), values) for name, values in state.items()}


@pytest.mark.parametrize(
    "state, words",
    [
        (clip_state(1), ["--config names", "ViT-B-32", "ViT-bigG-14"]),
        ({"a": np.zeros(3)}, ['none is "visual.…"']),
        ({"visual.layer1.0.conv1.weight": np.zeros(3)}, ["--config names"]),
        (
            change(clip_state(1, long=True), visual_conv1_weight=np.zeros((3, 3, 4, 5), np.float32)),
            ["no square of patches"],
        ),
        (
            change(clip_state(1, long=True), positional_embedding=np.zeros((9, 64), np.float32)),
            ["positional_embedding has"],
        ),
        (change(clip_state(1, long=True), ln_final_bias=np.zeros(64, np.int64)), ['"ln_final.bias" is I64']),
        (clip_state(1, 4, dict(image=[0])) | {"visual.extra": np.zeros(3)}, ['"visual.extra" is none of a CLIP-MoE']),
        (
            change(clip_state(1, 4, dict(text=[0])), transformer_resblocks_0_gate_weight=np.zeros((3, 64), np.float32)),
            ["has 3 rows, there are 4 experts"],
        ),
        ({"vision_model.x": np.zeros(3)}, ["config.json: No such file"]),
    ],
)
def test_state_that_is_not_understood(tmp_path, command, state, words):
    save_zip(tmp_path / "x.pt", state)
    refused(
        command("convert.py", tmp_path / "x.pt", "--out", tmp_path / "out"),
        "x.pt" if "config" not in words[0] else "",
        *words,
    )


def test_config_of_another_model(tmp_path, command):
    save_zip(tmp_path / "x.pt", clip_state(1))
    run = lambda config: command("convert.py", tmp_path / "x.pt", "--out", tmp_path / "out", "--config", config)  # noqa: E731
    refused(run("ViT-B-32"), '"embed_dim" is 512, the tensors of', "say 24")
    refused(run("ViT-B-33"), 'no architecture "ViT-B-33" is known', "ViT-L-14-336")


def test_v_moe_that_is_not_understood(tmp_path, command):
    run = lambda *words: command("convert.py", tmp_path / "c.index", "--out", tmp_path / "out", *words)  # noqa: E731
    tree = vmoe_tree(1)
    save_vmoe(tmp_path / "c", tree)
    refused(run(), "V-MoE has no text tower", "--no-text")
    refused(run("--no-text", "--top-k", 5), "--top-k is 5; 1 to 4")
    data = tmp_path / "c.data-00001-of-00002"
    whole = data.read_bytes()
    for size in (0, 40, len(whole) - 1):
        data.write_bytes(whole[:size])
        refused(run("--no-text"), "c.data-00001-of-00002", "at byte")
    data.unlink()
    refused(run("--no-text"), "c.data-00001-of-00002: No such file")
    save_vmoe(tmp_path / "c", tree | {"extra": np.zeros(3, np.float32)})
    refused(run("--no-text"), '"extra" is none of a V-MoE')
    save_vmoe(tmp_path / "c", tree, version="20300101")
    refused(run("--no-text"), '"version" is', "20220622")
    save_vmoe(tmp_path / "c", {"params": tree, "step": np.array(1, np.int32)}, version=None)
    refused(run("--no-text"), "its parameters alone are accepted")
    (tmp_path / "c.index").write_bytes(b"\x91" * 100000)
    refused(run("--no-text"), "nested without end")
    (tmp_path / "c.index").write_bytes(b"\xdd\xff\xff\xff\xff")
    refused(run("--no-text"), "an array of 4294967295")


# ---- hostile files

EVIL = {
    "os.system": (Call(Global("os", "system"), "touch ran"), "os.system"),
    "posix.system": (Call(Global("posix", "system"), "touch ran"), "posix.system"),
    "eval": (Call(Global("builtins", "eval"), "open('ran','w')"), "builtins.eval"),
    "nested": ({"a": {"b": [({"c": Call(Global("subprocess", "Popen"), ["touch", "ran"])},)]}}, "subprocess.Popen"),
    "torch.load": (Call(Global("torch", "load"), "ran"), "torch.load"),
    "by its stack": (
        Raw(b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93X\x09\x00\x00\x00touch ran\x85R"),
        "os.system",
    ),
    "by INST": (Raw(b"(X\x09\x00\x00\x00touch ranios\nsystem\n"), "INST"),
    "by an extension": (Raw(b"\x82\x01"), "EXT1"),
    "a class": (Raw(b"cpathlib\nPath\n)\x81"), "pathlib.Path"),
    "a script's name": (Call(Global("__torch__.os", "system"), "touch ran"), "__torch__.os.system is called"),
    "setattr": ({"a": Raw(b"]}X\x01\x00\x00\x00xK\x01sb")}, "attributes are set of what is no dictionary"),
    "a hook": (Raw(b"ctorch._utils\n_rebuild_parameter\n(K\x01K\x02K\x03tR"), "_rebuild_parameter is called"),
    "a view outside": (
        Raw(
            b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00"
            b"\x00\x00cpuK\x02tQK\x00(J\x00\x00\x00\x01J\x00\x00\x00\x01t(K\x00K\x00t\x89}tR"
        ),
        "outside its storage",
    ),
    "a list in itself": ({"a": Raw(b"]q\x00h\x00a")}, "tensors"),
    "a dictionary in itself": (Raw(b"}q\x00X\x01\x00\x00\x00ah\x00s"), "nested without end"),
    "tuples as keys": (Raw(b"}" + b")" + b"\x85" * 200000 + b"K\x01s"), "a key of a dictionary is a tuple"),
    "tuples that double": (Raw(b")" + b"\x86".join([b"q\x00h\x00"] * 60) + b"R"), "no function is called"),
    "dictionaries that double": (
        Raw(b"}" + b"".join(b"q\x00}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00u" for _ in range(60))),
        "nested without end",
    ),
    "a far memo": (Raw(b"}r\xff\xff\xff\x7f"), "tensors"),
    "a large dictionary, copied often": (
        Raw(
            b"}("
            + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(50000))
            + b"uq\x00"
            + b"c__torch__.a\nB\n)\x81h\x00b0" * 50000
        ),
        "more than",
    ),
    "no end": (Raw(b"}" * 3000000), "more than"),
    "a long text": (Raw(b"\x8d" + struct.pack("<Q", 1 << 60)), "broken"),
    "an empty stack": (Raw(b"0"), "broken"),
    "a get of nothing": (Raw(b"h\x09"), "broken"),
    "an odd dictionary": (Raw(b"}(K\x01K\x02K\x03u"), "broken"),
}


def convert_bounded(path, folder):
    """In 2 GB of memory and 60 s of processor, so that what fills either fails here and nowhere else."""

    def bound():
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    done = subprocess.run(
        [sys.executable, ROOT / "train/convert.py", path, "--out", folder / "out"],
        capture_output=True,
        text=True,
        cwd=folder,
        preexec_fn=bound,
        env={"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin"},
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert not (folder / "ran").exists() and not (folder / "out").exists()
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", EVIL)
def test_hostile_pickle(tmp_path, name):
    tree, word = EVIL[name]
    save_zip(tmp_path / "evil.pt", tree)
    refused(convert_bounded(tmp_path / "evil.pt", tmp_path), "evil.pt", word)
    if name == "no end":  # which takes seconds
        return
    save_stream(tmp_path / "evil.bin", tree)
    refused(convert_bounded(tmp_path / "evil.bin", tmp_path), "evil.bin", word)


def test_the_pickles_would_have_run(tmp_path):
    """Python's own unpickler does what these ask for: they are no dummies."""
    data = Writer().pickle(EVIL["os.system"][0])
    (tmp_path / "evil").write_bytes(data)
    subprocess.run([sys.executable, "-c", "import pickle; pickle.load(open('evil', 'rb'))"], cwd=tmp_path, check=True)
    assert (tmp_path / "ran").exists()


def test_hostile_archives(tmp_path):
    path, state = tmp_path / "x.pt", clip_state(1, long=True)

    def expect(*words):
        refused(convert_bounded(path, tmp_path), "x.pt", *words)

    save_zip(path, state)
    whole = path.read_bytes()
    for size in (0, 3, 4000, len(whole) - 1):
        path.write_bytes(whole[:size])
        expect()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # a bomb: 256 MB of zeros in 256 kB
        with archive.open("archive/data.pkl", "w", force_zip64=True) as entry:
            for _ in range(64):
                entry.write(bytes(4 << 20))
    assert path.stat().st_size < 1 << 20
    expect("compressed")
    save_zip(path, state, compression=zipfile.ZIP_DEFLATED)
    expect("compressed")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nothing", b"")
    expect("0 entries data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"")
        archive.writestr("b/data.pkl", b"")
    expect("2 entries data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", Writer().pickle({"x": np.zeros(3, np.float32)}))
    expect('no entry "a/data/0"')
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", Writer().pickle({"x": np.zeros(3, np.float32)}))
        archive.writestr("a/data/0", bytes(11))
    expect("has 11 bytes, 3 values of F32 are 12")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/byteorder", b"big")
    expect("not little-endian")
    path.write_bytes(b"GGUF" + bytes(100))
    expect("neither an archive nor a pickle")


def test_tensors_that_share_their_bytes(tmp_path):
    """Two may, as tied weights do; a thousand would make a disk full of a small file."""
    values = Writer()
    tensor = Raw(values.emit(np.zeros(1000, np.float32)))
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", Writer().pickle({str(i): tensor for i in range(1000)}))
        archive.writestr("a/data/0", bytes(4000))
    refused(convert_bounded(path, tmp_path), "1000 tensors of 4000000 bytes in a file of")
    entry = '"%d":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}'
    header = ("{" + ",".join(entry % i for i in range(1000)) + "}").encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4000))
    refused(convert_bounded(path, tmp_path), "1000 tensors of 4000000 bytes in a file of")


def test_hostile_indexes(tmp_path):
    index = tmp_path / "pytorch_model.bin.index.json"
    for content, word in (
        ("", "not an index"),
        ("[" * 100000, "not an index"),
        ('{"weight_map": {"a": "../../etc/passwd"}}', "is not a file of this folder"),
        ('{"weight_map": {"a": 7}}', "is not a file of this folder"),
        ('{"weight_map": {"a": "gone.bin"}}', "gone.bin: No such file"),
        ('{"weight_map": []}', "not an index"),
    ):
        index.write_text(content)
        refused(convert_bounded(tmp_path, tmp_path), word)


def test_damaged_at_random(tmp_path):
    """Bits flipped anywhere in the program: a message, never a traceback. In one process, for time."""
    sys.path.insert(0, str(ROOT / "train"))
    from checkpoints import Refused
    from checkpoints.pickles import read_torch

    rng, path = np.random.default_rng(5), tmp_path / "x.bin"
    save_stream(path, {f"t.{i}": np.arange(6, dtype=np.float32).reshape(2, 3) for i in range(4)})
    whole, sound = np.frombuffer(path.read_bytes(), np.uint8), 0
    for _ in range(500):
        damaged = whole.copy()
        for at in rng.integers(0, len(whole) - 128, rng.integers(1, 4)):
            damaged[at] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged.tobytes())
        try:
            read_torch(path)
            sound += 1
        except Refused as refusal:
            assert str(refusal).startswith(str(path))
    assert 0 < sound < 400


def test_safetensors_that_lie(tmp_path, command):
    path = tmp_path / "x.safetensors"
    for header, word in (
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,99]}}', "does not fit the file"),
        (b'{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}', "does not fit the file"),
        (b'{"a":{"dtype":"F32","shape":[-2,-1],"data_offsets":[0,8]}}', "does not fit the file"),
        (b'{"a":7}', "does not fit the file"),
    ):
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
        refused(command("convert.py", path, "--out", tmp_path / "out"), "x.safetensors", word)
    save(path, {"visual.x": np.zeros(3, np.float32)})
    path.write_bytes(b"\xff" * 8 + path.read_bytes())
    refused(command("convert.py", path, "--out", tmp_path / "out"), "not a safetensors file")
