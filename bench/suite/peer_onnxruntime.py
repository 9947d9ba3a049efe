"""ONNX Runtime: its own graph optimisation, its transformers' optimiser before it, or its dynamic int8."""

import json
from pathlib import Path

import onnxruntime

from suite.onnx_files import exported


class Engine:
    version = f"ONNX Runtime {onnxruntime.__version__}"

    def __init__(self, args):
        self.args, self.options = args, args.options

    def path(self, modality: str) -> Path:
        plain = exported(self.args, modality)
        kind = self.options["graph"]
        path = plain.with_suffix(f".{kind}.onnx")
        if kind == "plain" or path.exists():
            return plain if kind == "plain" else path
        if kind == "fused":
            return self.fused(plain, modality, path)
        from onnxruntime.quantization import QuantType, quantize_dynamic

        large = plain.stat().st_size + sum(p.stat().st_size for p in plain.parent.glob(f"{plain.name}.data")) > 1.5e9
        quantize_dynamic(plain, path, per_channel=True, weight_type=QuantType.QInt8, use_external_data_format=large)
        return path

    def fused(self, plain: Path, modality: str, path: Path) -> Path:
        from onnxruntime.transformers import optimizer

        config = json.loads((self.args.folder / "config.json").read_text())
        if "format" in config:
            kind, heads, width = "vit", config["heads"], config["width"]
        else:
            tower = config["vision_config" if modality == "image" else "text_config"]
            kind = "vit" if modality == "image" else "clip"
            heads, width = tower["num_attention_heads"], tower["hidden_size"]
        model = optimizer.optimize_model(str(plain), model_type=kind, num_heads=heads, hidden_size=width, use_gpu=False)
        model.save_model_to_file(str(path), use_external_data_format=Path(f"{plain}.data").exists())
        return path

    def model(self, modality: str):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.args.threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(self.path(modality)), options, providers=["CPUExecutionProvider"])
        return lambda x: session.run(None, {"x": x})[0]
