"""The engine beside transformers, ONNX Runtime and OpenVINO on CLIP and SigLIP of published shapes: one run, one table.

Weights are random, the same for all, float32. Pictures and texts, batches of --batch; a text has --tokens tokens, begin
and end included, which the libraries pad to the model's length as their processors do. Each engine is timed in turns,
--rounds times, in a process of its own on the same processors; the table has medians over the rounds. That
outputs agree, tests/families/full.py shows.

    python bench/beside_libraries.py --build build --model clip-vit-base-patch32 clip-vit-large-patch14 siglip-base-patch16-224

Needs torch, transformers, open_clip_torch (for tests/families/full.py, which makes the folders), onnxruntime, openvino,
onnxscript.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ["transformers", "onnxruntime", "openvino"]


def export(folder: Path) -> None:
    """Both halves as ONNX, with any batch, beside the folder's weights."""
    import torch
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    model.set_attn_implementation("eager")
    size, length = model.config.vision_config.image_size, model.config.text_config.max_position_embeddings

    class Half(torch.nn.Module):
        def __init__(self, image: bool):
            super().__init__()
            self.model, self.image = model, image

        def forward(self, x):
            z = self.model.get_image_features(pixel_values=x) if self.image else self.model.get_text_features(input_ids=x)
            return z if isinstance(z, torch.Tensor) else z.pooler_output

    for image, example in ((True, torch.zeros(2, 3, size, size)), (False, torch.ones(2, length, dtype=torch.long))):
        path = folder / ("image.onnx" if image else "text.onnx")
        if not path.exists():
            torch.onnx.export(
                Half(image).eval(), (example,), str(path), input_names=["x"], output_names=["z"],
                dynamic_shapes={"x": {0: torch.export.Dim("batch", min=1, max=64)}}, dynamo=True,
            )  # fmt: skip


def peer(name: str, folder: Path, image: bool, batch: int, threads: int, seconds: float) -> float:
    """Median milliseconds of one call, in this process."""
    import numpy as np

    config = json.loads((folder / "config.json").read_text())
    size = config["vision_config"]["image_size"]
    length = config["text_config"].get("max_position_embeddings", 77)
    rng = np.random.default_rng(1)
    x = (
        rng.standard_normal((batch, 3, size, size), dtype=np.float32)
        if image
        else rng.integers(3, 20000, (batch, length), dtype=np.int64)
    )
    path = str(folder / ("image.onnx" if image else "text.onnx"))
    if name == "transformers":
        import torch
        import transformers

        torch.set_num_threads(threads)
        model = transformers.AutoModel.from_pretrained(folder).eval()
        tensor = torch.from_numpy(x)

        def call():
            with torch.inference_mode():
                model.get_image_features(pixel_values=tensor) if image else model.get_text_features(input_ids=tensor)

    elif name == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def call():
            session.run(None, {"x": x})

    else:
        import openvino

        hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(path, "CPU", hints)

        def call():
            compiled([x])

    for _ in range(3):
        call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def run_peer(args, name: str, folder: Path, image: bool, batch: int) -> float:
    command = [sys.executable, __file__, "--peer", name, "--folder", folder, "--half", "image" if image else "text"]
    command += ["--batch", str(batch), "--threads", str(args.threads), "--seconds", str(args.seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "TRANSFORMERS_VERBOSITY": "error"}
    run = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(run.stdout.splitlines()[-1])


def run_limoe(args, folder: Path, image: bool, batch: int) -> float:
    siglip = json.loads((folder / "config.json").read_text())["model_type"] == "siglip"
    command = [args.build / "bench/model", "--model", folder, "--dtype", args.dtype, "--threads", str(args.threads)]
    command += ["--batch", str(batch), "--seconds", str(args.seconds)]
    if not image:
        command += ["--tokens", "64" if siglip else str(args.tokens)]  # SigLIP attends to its padding
    run = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return json.loads(run.stdout)["median_ms"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--folders", type=Path, default=Path("/tmp/limoe-families"), help="where models are kept (GBs)")
    parser.add_argument("--model", nargs="+", default=["clip-vit-base-patch32"], help="as tests/families/full.py names them")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tokens", type=int, default=6, help="of a text (default 6, a label's)")
    parser.add_argument("--dtype", default="float32", help="limoe's")
    parser.add_argument("--seconds", type=float, default=3, help="of each timing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--half", choices=["image", "text"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        print(peer(args.peer, args.folder, args.half == "image", args.batch[0], args.threads, args.seconds))
        return 0
    print(f"| model | items | limoe ({args.dtype}) | {' | '.join(PEERS)} | limoe / best of them |", flush=True)
    print("|" + "---|" * (len(PEERS) + 4))
    for name in args.model:
        folder = args.folders / name
        if not (folder / "items.safetensors").exists():
            making = [sys.executable, ROOT / "tests/families/full.py", "--build", args.build, "--keep", args.folders, name]
            subprocess.run(list(map(str, making)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        export(folder)
        for image in (True, False):
            for batch in args.batch:
                rates = {engine: [] for engine in ["limoe", *PEERS]}
                for _ in range(args.rounds):
                    for engine, found in rates.items():
                        ms = run_limoe(args, folder, image, batch) if engine == "limoe" else run_peer(args, engine, folder, image, batch)
                        found.append(1e3 * batch / ms)
                mid = {engine: statistics.median(found) for engine, found in rates.items()}
                best = max(mid[p] for p in PEERS)
                what = f"{batch} {'picture' if image else 'text'}{'s' if batch > 1 else ''}"
                cells = " | ".join(f"{mid[p]:.1f}/s" for p in PEERS)
                print(f"| {name} | {what} | {mid['limoe']:.1f}/s | {cells} | {mid['limoe'] / best:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
