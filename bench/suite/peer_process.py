"""One peer in one setting, in a process of its own: asked over standard input, answering over standard output, a JSON object a line.

    {"do": "embed", "items": FILE, "out": FILE}                     embeddings of the items, pictures first, as .npy
    {"do": "export"}                                                both modalities as ONNX files, where they are missing
    {"do": "time", "pictures": N, "texts": N, "seconds": S}         -> {"ms": [of each call]}

Started by suite/peers.py, which has the settings. What cannot be done is answered {"error": why}.
"""

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

SETS = 3  # of inputs, used in turns
WARM_UP = 3


def preprocess(folder: Path, pixels: np.ndarray) -> np.ndarray:
    """What the model is given for pixels [n, size, size, 3]: they themselves, or as a library's processor leaves them."""
    if "format" in json.loads((folder / "config.json").read_text()):
        return pixels
    path = folder / "preprocessor_config.json"
    said = json.loads(path.read_text()) if path.exists() else {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    values = (pixels / 255.0 - said["image_mean"]) / said["image_std"]
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


class Peer:
    """Inputs, and what an engine (suite/peer_*.py) makes of them. The engine has model(modality), which returns a function
    from a batch to its embeddings, a row each."""

    def __init__(self, args):
        self.args, self.models, self.inputs = args, {}, {}
        self.engine = importlib.import_module(f"suite.peer_{args.engine}").Engine(args)
        self.config = json.loads((args.folder / "config.json").read_text())

    def call(self, modality: str):
        if modality not in self.models:
            self.models[modality] = self.engine.model(modality)
        return self.models[modality]

    def noise(self, modality: str, n: int) -> list[np.ndarray]:
        rng = np.random.default_rng(n)
        if modality == "text":
            vocabulary = self.config["text"]["vocab"] if "text" in self.config else self.config["text_config"]["vocab_size"]
            return [self.padded(rng.integers(3, vocabulary - 2, (n, self.args.tokens), dtype=np.int64)) for _ in range(SETS)]
        size = self.config["image"]["size"] if "image" in self.config else self.config["vision_config"]["image_size"]
        pixels = [rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8) for _ in range(SETS)]
        return [preprocess(self.args.folder, p) for p in pixels]

    def padded(self, ids: np.ndarray) -> np.ndarray:
        """To --padded tokens with a text's last one, which is where CLIP looks for its end first."""
        return np.pad(ids, ((0, 0), (0, max(0, self.args.padded - ids.shape[1]))), mode="edge")

    def time(self, pictures: int, texts: int, seconds: float) -> list[float]:
        """Milliseconds of each call within so many seconds, one at least; the first ones of a shape count for nothing."""
        parts = [(self.call(m), m, n) for m, n in (("image", pictures), ("text", texts)) if n]
        new = [(m, n) for _, m, n in parts if (m, n) not in self.inputs]
        for key in new:
            self.inputs[key] = self.noise(*key)

        def step(i: int) -> float:
            start = time.perf_counter()
            for call, m, n in parts:
                call(self.inputs[m, n][i % SETS])
            return 1e3 * (time.perf_counter() - start)

        end = time.perf_counter() + seconds
        for i in range(WARM_UP if new else 1):
            step(i)
            if time.perf_counter() > end:
                break
        times, end = [], time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            times.append(step(len(times)))
        return times

    def embed(self, items: str, out: str) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(items)
        z = [self.call("image")(preprocess(self.args.folder, tensors["pixels"]))]
        if len(tensors["tokens"]):
            z.append(self.call("text")(self.padded(tensors["tokens"].astype(np.int64))))
        z = np.concatenate([np.asarray(part, dtype=np.float64) for part in z])
        np.save(out, z / np.linalg.norm(z, axis=1, keepdims=True))


def do(asked: dict, args, peer: Peer | None) -> dict:
    if asked["do"] == "export":
        from suite.onnx_files import exported

        return {"files": [str(exported(args, modality)) for modality in ("image", "text")]}
    if asked["do"] == "embed":
        peer.embed(asked["items"], asked["out"])
        return {"version": peer.engine.version}
    return {"ms": peer.time(asked["pictures"], asked["texts"], asked["seconds"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=["torch", "open_clip", "onnxruntime", "openvino"], required=True)
    parser.add_argument("--options", type=json.loads, required=True, help="as suite/peers.py has them")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, required=True, help="where exported models are kept")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--padded", type=int, default=0, help="to how many tokens a text is padded")
    args = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "train"))

    peer = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["do"] != "export":
                peer = peer or Peer(args)
            answer = do(asked, args, peer)
        except Exception as error:  # noqa: BLE001 - whatever a library cannot do, the others are measured
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
