"""Protects who pastes: every command of every document is run as it stands, in a tree like the repository, and what asks a
server asks one of the tests' own. What cannot be run here is listed with the reason, and checked as far as it can be.
"""

import json
import os
import re
import shutil
import struct
import subprocess

import httpx
import pytest
from conftest import BUILD, MODEL, ROOT
from documents import documents, plain
from soundness import faults

# What is not run here, and why. A command that no document has any more has no place here.
RUN_BY_OTHERS = "other tests run it"
A_STAGE = "a stage cannot run within a stage"
LASTS = "runs until it is stopped, as the tests' own servers do"
CLIENTS = "tests/clients/test_recipes.py runs it"
MEASURES = "measures for minutes, on an idle machine"
PYTORCH = "needs PyTorch, which the tests do without"
ROOTS = "installs packages"
CAPTIONS = "tests/e2e/test_caption.py and test_captions.py run it; no model with a decoder is bundled"
LANGUAGE_MODEL = "needs a language model; tests/e2e/test_ask.py asks a stand-in"
NOT_RUN = {
    "scripts/build": RUN_BY_OTHERS,
    "scripts/serve": RUN_BY_OTHERS,
    "scripts/serve --with-llm": "fetches a language model, 127 MB; tests/llm/test_llm.py runs it",
    "scripts/test": A_STAGE,
    "scripts/test --list": RUN_BY_OTHERS,
    "scripts/test layout": A_STAGE,
    "scripts/test units queue": A_STAGE,
    'scripts/test units queue "kernels moe"': A_STAGE,
    "scripts/test sanitized queue": A_STAGE,
    "scripts/test e2e tests/e2e/test_http.py": A_STAGE,
    "scripts/test e2e tests/e2e/test_http.py -k keep_alive": A_STAGE,
    "LIMOE_ISA=avx2 scripts/test units": A_STAGE,
    "LIMOE_FUZZ_SECONDS=60 scripts/test fuzz": A_STAGE,
    "meson install -C build --no-rebuild": "installs for the whole machine",
    "deploy/debian/package /tmp/limoe build": RUN_BY_OTHERS,
    "cc -o classify examples/classify.c $(pkg-config --cflags --libs limoe)": RUN_BY_OTHERS,
    "./classify $(pkg-config --variable=model limoe) examples/cat.png cat dog bicycle": RUN_BY_OTHERS,
    "build/limoe serve": LASTS,
    "build/limoe serve --port 8080 --state-dir /tmp/x": LASTS,
    "limoe serve --admin-keys-file keys --loadtest-max-rate 2000 --loadtest-max-requests 200000": LASTS,
    "curl -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' http://127.0.0.1:8080/v1/loadtests "
    "-d '{\"rate\":958.6,\"duration\":60}'": MEASURES,
    "curl -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' http://127.0.0.1:8080/v1/loadtests "
    "-d '{\"rate\":100,\"duration\":60}'": MEASURES,
    "limoe serve --device cuda --ranks 8 --hostfile /etc/limoe.gpus --rank-address 10.0.0.1": "needs several hosts",
    "limoe serve --ranks 8 --hostfile /etc/limoe.hosts --rank-address 10.0.0.1": "needs several hosts",
    "docker run -e LIMOE_HOST=0.0.0.0 -e LIMOE_LOG_FORMAT=json -p 8080:8080 -v limoe-state:/state -e LIMOE_STATE_DIR=/state "
    "limoe": "needs Docker",
    "limoe caption --model runs/captions/model examples/cat.png": CAPTIONS,
    "limoe caption --model runs/captions/model --beams 5 --min-length 5 --n 3 examples/cat.png": CAPTIONS,
    "limoe caption --model runs/captions/model --top-k 50 --n 10 --seed 1 --json examples/cat.png": CAPTIONS,
    "curl -s http://127.0.0.1:8080/v1/captions -H 'Content-Type: application/json' -d '{ \"image\": \"'\"$(base64 -w0 examples/cat.png)\"'\", "
    "\"model\": \"captions\", \"top_k\": 50, \"n\": 2, \"seed\": 1, \"max_tokens\": 5}'": CAPTIONS,
    "limoe serve --llm-url http://127.0.0.1:8000/v1 --llm-model smollm2": LASTS,
    "curl -s http://127.0.0.1:8080/v1/ask -H 'Content-Type: application/json' -d '{ \"image\": \"'\"$(base64 -w0 examples/cat.png)\"'\", "
    "\"question\": \"What animal is it?\", \"choices\": [\"cat\", \"dog\"]}'": LANGUAGE_MODEL,
    "scripts/gpu-check --out gpu.json": "needs a GPU",
    "scripts/gpu-check --out gpu.json --stage right": "needs a GPU",
    "scripts/gpu-check --out gpu.json --resume": "needs a GPU",
    "scripts/gpu-check --bundle": "needs nvcc, and minutes",
    "build/tests/unit/model/test_golden tests/golden": RUN_BY_OTHERS,
    "python bench/beside_pytorch.py --build build --model models/pictograms --threads 2 --seconds 1": PYTORCH,
    "python3 -m venv venv && venv/bin/pip install -r bench/requirements.txt": ROOTS,
    "python3 -m venv venv-infinity && venv-infinity/bin/pip install -r bench/peers/requirements.txt": ROOTS,
    "scripts/build && ninja -C build benchmarks": "compiles what other stages compile too",
    "venv/bin/python bench/run --build build --quick": PYTORCH,
    "venv/bin/python bench/run --build build --model b16-1 --batch 1 8 32 --dtype float32 int8 --items image --rounds 3 --seconds 1.0 --minutes 22": PYTORCH,
    "venv/bin/python bench/run --build build --model b16-8 --batch 1 8 --dtype float32 --items image --rounds 2 --seconds 0.7 --minutes 8.5": PYTORCH,
    "venv/bin/python bench/run --build build --model clip-b32 --tokens 6 --pad --batch 1 32 --items image text --dtype float32 --rounds 3 --seconds 0.7 --minutes 6": PYTORCH,
    "venv/bin/python bench/run --build build --model clip-l14 --tokens 6 --pad --batch 1 32 --items image --peer openvino --dtype float32 --rounds 1 --seconds 0.4 --minutes 6": PYTORCH,
    "venv/bin/python bench/run --build build --model clip-l14 --tokens 6 --pad --batch 1 32 --items image --peer onnxruntime --dtype float32 --rounds 2 --seconds 1 --minutes 9": PYTORCH,
    "venv/bin/python bench/run --build build --model clip-l14 --tokens 6 --pad --batch 1 32 --items image --peer open_clip --dtype float32 --rounds 1 --seconds 0.4 --minutes 8.5": PYTORCH,
    "venv/bin/python bench/run --build build --model clip-l14 --tokens 6 --pad --batch 1 32 --items text --peer open_clip onnxruntime --dtype float32 --rounds 2 --seconds 0.5 --minutes 4": PYTORCH,
    "venv/bin/python bench/run --build build --model clip-l14 --tokens 6 --pad --batch 1 32 --items text --peer openvino --dtype float32 --rounds 2 --seconds 0.5 --minutes 4": PYTORCH,
    "venv/bin/python bench/run --build build --model clip-l14 --tokens 6 --pad --batch 1 32 --items image text --peer torch --dtype float32 --rounds 1 --seconds 0.4 --minutes 6": PYTORCH,
    "venv/bin/python bench/run --build build --model siglip-b16 --batch 1 32 --items text image --peer onnxruntime openvino --dtype float32 --rounds 2 --seconds 1 --minutes 8": PYTORCH,
    "venv/bin/python bench/run --build build --model siglip-b16 --batch 1 32 --items text image --peer open_clip --dtype float32 --rounds 2 --seconds 0.5 --minutes 3": PYTORCH,
    "venv/bin/python bench/run --build build --model siglip-b16 --batch 1 8 32 --items image --peer openvino --dtype bfloat16 int8 --rounds 2 --seconds 0.6 --minutes 8": PYTORCH,
    "venv/bin/python bench/run --build build --tokens 6 --pad --batch 1 32 --dtype float32 --model clip-b32 --items image text --peer openvino --rounds 2 --seconds 0.5 --minutes 4": PYTORCH,
    "venv/bin/python bench/run --build build --tokens 6 --pad --batch 1 32 --dtype float32 --model clip-l14 --items text image --peer openvino --rounds 1 --seconds 0.4 --minutes 7": PYTORCH,
    "venv/bin/python bench/run --build build --batch 1 32 --dtype float32 --model siglip-b16 --items text image --peer openvino --rounds 2 --seconds 0.5 --minutes 5": PYTORCH,
    "venv/bin/python bench/run --build build --out peers.md": PYTORCH,
    "LIMOE_ISA=avx2 venv/bin/python bench/run --build build --model b16-1 --batch 1 8 32 --dtype float32": PYTORCH,
    "venv/bin/python bench/run --build build --sparsity --out sparsity.md": MEASURES,
    "venv/bin/python bench/run --build build --breakdown b16-1 b16-32 --batch 1 32": MEASURES,
    "venv/bin/python bench/http_peers.py --build build --infinity venv-infinity/bin/python": PYTORCH,
    "python tests/families/full.py --build build": PYTORCH,
    "OMP_NUM_THREADS=1 build/bench/gemm_onednn 1 bfloat16": MEASURES,
    "OMP_NUM_THREADS=1 build/bench/gemm_onednn 1 float32": MEASURES,
    "build/bench/kernels linear": MEASURES,
    "build/bench/kernels step": MEASURES,
    "tests/soak/run": MEASURES,
    "tests/soak/endurance.py --requests 1000000": MEASURES,
    "bench/saturation.py --build build": MEASURES,
    "bench/tracing.py --build build --pairs 6 --seconds 4": MEASURES,
    "bench/tracing.py --build build --pairs 6 --seconds 4 --dead": MEASURES,
    "venv/bin/python bench/loadtests.py --build build --page": MEASURES,
    "bench/adapters.py list --rounds 60": MEASURES,
    "bench/adapters.py memory": MEASURES,
    "python bench/pictures.py --build build": MEASURES,
    "bench/training_beside.py --build build --rounds 3": MEASURES,
    "bench/vocabulary.py http://127.0.0.1:8080 --rounds 200": MEASURES,
    "venv/bin/python bench/captions_beside_pytorch.py": PYTORCH,
    "venv/bin/python bench/captions_beside_pytorch.py --embeddings --rounds 3": PYTORCH,
    "bench/classifier.py http://127.0.0.1:8080": MEASURES,
    "bench/recovery.py models/pictograms --ranks 1 2 --kills 5": MEASURES,
    "build/bench/ranks --local --model models/pictograms --threads 2 --batch 32": MEASURES,
    "mpirun --bind-to none -n 2 build/bench/ranks --model models/pictograms --threads 1 --batch 32": MEASURES,
    "LIMOE_BUILD=build LIMOE_CHAOS_STRICT=1 LIMOE_CHAOS_SECONDS=60 build/venv/bin/pytest -s tests/chaos/test_kill.py "
    "tests/chaos/test_overload.py tests/chaos/test_slow.py": MEASURES,
    "LIMOE_BUILD=build LIMOE_CHAOS_STRICT=1 LIMOE_CHAOS_SECONDS=60 build/venv/bin/pytest -s tests/chaos/test_attacks.py": MEASURES,
    "LIMOE_BUILD=build LIMOE_CHAOS_STRICT=1 LIMOE_CHAOS_SECONDS=60 build/venv/bin/pytest -s tests/chaos/test_models.py": MEASURES,
    'LIMOE_BUILD=build LIMOE_CHAOS_STRICT=1 build/venv/bin/pytest -s tests/chaos/test_ranks.py -k "cut_off or reach"': MEASURES,
    "cd train && python evaluate.py --model ../models/pictograms --json ../models/pictograms/evaluation.json": PYTORCH,
    "cd train && python golden.py --out ../tests/golden --cldr /usr/share/unicode/cldr/common": PYTORCH,
    "cd train && python gradients.py --out ../tests/golden/gradients": PYTORCH,
    "cd train && python golden_crops.py --out ../tests/golden": PYTORCH,
    "cd train && python golden_captions.py --out ../tests/golden": PYTORCH,
    "python caption.py --model ../models/pictograms --data cache --run runs/captions": PYTORCH,
    "limoe tune pets --output pets.safetensors": "needs pictures of classes; tests/e2e/test_tune.py runs it on some",
    "cd train && python skip.py PICTURES --kind lskip --output pets.safetensors": PYTORCH,
    "cd train && python sources.py --suite && python skip.py --suite --out runs/skip": PYTORCH,
    "cd train && python scenes.py --seed 1 --count 600 --split style --size 160 --out runs/scenes": "needs packages that are fetched",
    "cd train && python tags.py --scenes runs/scenes": "needs packages that are fetched",
    "cd train && python scenes.py --seed 1 --count 640 --split style --size 160 --out runs/questions": "needs packages that are fetched",
    "cd train && python answers.py --scenes runs/questions": "needs a language model, and scenes",
    "apt-get install librsvg2-bin libjemalloc2": ROOTS,
    "python3 -m venv venv && venv/bin/pip install -r requirements.txt": ROOTS,
    "cd python && pip install .": "python/tests/test_wheel.py installs it into an environment of its own",
    "k6 run script.js": CLIENTS,
    "locust -f locustfile.py --host http://127.0.0.1:8080 --headless --users 8 --run-time 10s": CLIENTS,
    "scripts/test python": "it is a run of tests",
    "LD_PRELOAD=libjemalloc.so.2 MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always,oversize_threshold:0 "
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY=8192 python train.py --minutes 78": PYTORCH,
    **dict.fromkeys(
        (
            "python sources.py --games",
            "python build_data.py --games",
            "python train.py --recipe pictograms-2 --resume",
            "python compare.py --model runs/pictograms-2/model --beside ../models/pictograms",
        ),
        "stages of training: packages are fetched, and PyTorch runs for hours",
    ),
    "python scenes.py --seed 0 --count 1000 --split train --size 96 --out runs/scenes --sheet sheet.png": "needs the stages before it, "
    "which fetch packages",
}

COMMANDS = [(document, command) for document in documents() for command in document.commands()]
RUN = [(document, command) for document, command in COMMANDS if plain(command) not in NOT_RUN]
LISTED = [(document, plain(command)) for document, command in COMMANDS if plain(command) in NOT_RUN]


def shown(commands):
    return [f"{document.path}: {plain(command)[:60]}" for document, command in commands]


def pets():
    """The least of an adapter: a tail of the bundled model."""
    base = subprocess.run([BUILD / "limoe", "inspect", MODEL, "--digest"], capture_output=True, text=True, check=True).stdout.strip()
    about = {"format": "limoe-adapter-1", "kind": "tail", "base": base, "start_block": 7, "labels": ["cat", "dog"]}
    header = json.dumps({"__metadata__": {"limoe-adapter": json.dumps(about)},
                         "ln.bias": {"dtype": "F32", "shape": [192], "data_offsets": [0, 768]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(768)


def pets_lora(folder):
    """The least of a folder that PEFT has saved: a LoRA of rank 1 of the bundled model's projection."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1, "lora_alpha": 1}))
    header = json.dumps({f"base_model.model.image.proj.lora_{half}.weight": {"dtype": "F32", "shape": shape, "data_offsets": place}
                         for half, shape, place in (("A", [1, 192], [0, 768]), ("B", [192, 1], [768, 1536]))}).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(1536))


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """What the documents take for granted: the repository's top, with the build that is tested; cat.png; an adapter; a configuration."""
    top = tmp_path_factory.mktemp("tree")
    for entry in ROOT.iterdir():
        if not entry.name.startswith((".", "build")):
            (top / entry.name).symlink_to(entry)
    (top / "build").symlink_to(BUILD)
    shutil.copy(ROOT / "examples/cat.png", top)
    (top / "pets.safetensors").write_bytes(pets())
    pets_lora(top / "pets-lora")
    for name in "cat", "dog":
        (top / "pets" / name).mkdir(parents=True)
        shutil.copy(ROOT / f"examples/{name}.png", top / "pets" / name)
    (top / "limoe.conf").write_text("queue-items = 4096\n")
    # curl's exit status tells of answers that are errors, too.
    (top / ".curlrc").write_text("fail-with-body\nshow-error\nsilent\nmax-time = 60\n")
    return top


@pytest.fixture(scope="session")
def shell(tree, server):
    """Runs a command of a document: on this server, with this configuration, and for a second where it measures."""
    httpx.put(server.url + "/v1/adapters/pets", content=pets()).raise_for_status()  # whichever command comes first
    environment = {**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}", "CURL_HOME": str(tree), "KEY": "none-is-asked-for"}

    def run(command):
        command = command.replace("http://127.0.0.1:8080", server.url).replace("/etc/limoe.conf", "limoe.conf")
        command = re.sub(r"--(duration|seconds) \d+", r"--\1 1", command)
        arguments = ["bash", "-euo", "pipefail", "-c", command]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=60, cwd=tree, env=environment)

    return run


@pytest.mark.parametrize("document, command", RUN, ids=shown(RUN))
def test_a_command(shell, document, command):
    done = shell(document.in_its_folder(command))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nwhat cannot be run in a test has its place in NOT_RUN"
    assert ">" in command or done.stdout, "it said nothing"
    picture = re.search(r"image=@(?:examples/)?(\w+)\.|--data-binary @(?:examples/)?(\w+)\.|examples/(\w+)\.png\)", command)
    if picture and "/v1/classify" in command:  # the picture is named after what it shows
        assert json.loads(done.stdout)["data"][0]["predictions"][0]["label"] in picture.groups()


@pytest.mark.parametrize("document, command", LISTED, ids=shown(LISTED))
def test_a_command_that_is_not_run(document, command):
    assert not faults(document.in_its_folder(command))


def test_nothing_is_listed_in_vain():
    assert set(NOT_RUN) == {command for _, command in LISTED}


def test_a_command_that_fails_is_seen(shell):
    for command in ["curl http://127.0.0.1:8080/v1/no-such", "limoe inspect no-such-model", "limoe inspect --no-such | cat"]:
        assert shell(command).returncode != 0, command


@pytest.mark.parametrize(
    "command, fault",
    [
        ("build/limoe serve --no-such 1", "build/limoe has no --no-such"),
        ("A=1 limoe bench URL --rat 3", "build/limoe has no --rat"),
        ("build/bench/no-such linear", "build/bench/no-such: the build makes no such thing"),
        ("cd train && python peer.py --model ../models/other", "models/other: no such file"),
        ("cd train && python peer.py --no-such 1", "train/peer.py has no --no-such"),
        ("mpirun -n 2 build/bench/ranks --no-such", "build/bench/ranks has no --no-such"),
        ("scripts/test no-such", "no-such: no stage of scripts/test"),
        ("scripts/test units queue no-such", "no-such: no unit"),
        ("tests/no-such/run", "tests/no-such/run: no such file"),
    ],
)
def test_a_fault_is_seen(command, fault):
    assert faults(command) == [fault]
