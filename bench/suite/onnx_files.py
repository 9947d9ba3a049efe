"""Models as ONNX files, made once and kept: exported by PyTorch, with any batch, then as an engine's own tools leave them."""

import json
from pathlib import Path

import numpy as np


def example(folder: Path, modality: str, tokens: int) -> np.ndarray:
    """Two items of the shape and type that the model takes."""
    config = json.loads((folder / "config.json").read_text())
    if modality == "text":
        return np.ones((2, tokens), dtype=np.int64)
    if "format" in config:
        size = config["image"]["size"]
        return np.zeros((2, size, size, 3), dtype=np.uint8)
    size = config["vision_config"]["image_size"]
    return np.zeros((2, 3, size, size), dtype=np.float32)


def exported(args, modality: str) -> Path:
    """The plain file: float32, one modality, experts by args.options["way"]. Texts have a fixed number of tokens."""
    way = args.options["way"]
    path = args.onnx / f"{modality}-{way}{f'-{max(args.tokens, args.padded)}' if modality == 'text' else ''}.onnx"
    if path.exists():
        return path
    import torch  # takes seconds, and only exporting needs it

    from suite.half import half

    args.onnx.mkdir(parents=True, exist_ok=True)
    x = torch.from_numpy(example(args.folder, modality, max(args.tokens, args.padded)))
    batch = torch.export.Dim("batch", min=1, max=1024)
    # "eager": attention as products and a softmax, which the engines' own fusions know.
    module = half(args.folder, modality, way, attention="eager").eval()
    scratch = path.with_suffix(".part.onnx")
    torch.onnx.export(
        module, (x,), str(scratch), input_names=["x"], output_names=["z"], dynamic_shapes={"x": {0: batch}}, dynamo=True,
        external_data=False if sum(p.numel() for p in module.parameters()) < 4e8 else True,
    )  # fmt: skip
    if (data := Path(f"{scratch}.data")).exists():
        inline_name(scratch, data, path)
    else:
        scratch.rename(path)
    return path


def inline_name(scratch: Path, data: Path, path: Path) -> None:
    """Gives a file whose weights lie beside it, and them, their final names."""
    import onnx

    model = onnx.load(str(scratch), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = f"{path.name}.data"
    data.rename(f"{path}.data")
    onnx.save(model, str(path))
    scratch.unlink()
