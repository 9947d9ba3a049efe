"""OpenVINO: one stream or several, float32 or bfloat16, or int8 by NNCF (weights alone, or all by calibration)."""

import numpy as np
import openvino

from suite.onnx_files import example, exported

CALIBRATED_BY = 16  # batches of two


class Engine:
    version = f"OpenVINO {openvino.__version__.partition('-')[0]}"

    def __init__(self, args):
        self.args, self.options = args, args.options

    def network(self, core: openvino.Core, modality: str) -> openvino.Model:
        plain = exported(self.args, modality)
        kind = self.options["weights"]
        if kind == "plain":
            return core.read_model(str(plain))
        path = plain.with_suffix(f".{kind}.xml")
        if not path.exists():
            import nncf

            network = core.read_model(str(plain))
            if kind == "int8-weights":
                network = nncf.compress_weights(network, mode=nncf.CompressWeightsMode.INT8_SYM)
            else:
                network = nncf.quantize(
                    network, nncf.Dataset(self.calibration(modality)), model_type=nncf.ModelType.TRANSFORMER,
                    subset_size=CALIBRATED_BY,
                )  # fmt: skip
            openvino.save_model(network, str(path), compress_to_fp16=False)
        return core.read_model(str(path))

    def calibration(self, modality: str) -> list[dict]:
        x, rng = example(self.args.folder, modality, self.args.tokens), np.random.default_rng(0)
        if x.dtype == np.float32:
            return [{"x": rng.standard_normal(x.shape, dtype=np.float32)} for _ in range(CALIBRATED_BY)]
        top = 256 if x.dtype == np.uint8 else 1000
        return [{"x": rng.integers(0, top, x.shape).astype(x.dtype)} for _ in range(CALIBRATED_BY)]

    def model(self, modality: str):
        core = openvino.Core()
        hints = {
            "INFERENCE_NUM_THREADS": self.args.threads, "PERFORMANCE_HINT": self.options["hint"],
            "INFERENCE_PRECISION_HINT": "bf16" if self.options["dtype"] == "bfloat16" else "f32",
        }  # fmt: skip
        compiled = core.compile_model(self.network(core, modality), "CPU", hints)
        streams = compiled.get_property("NUM_STREAMS") if self.options["hint"] == "THROUGHPUT" else 1
        requests = [compiled.create_infer_request() for _ in range(max(1, int(streams)))]

        def call(x):
            """A batch is shared by the streams, each with a request of its own."""
            parts = np.array_split(x, min(len(requests), len(x)))
            for request, part in zip(requests, parts):
                request.start_async({"x": part})
            for request, _ in zip(requests, parts):
                request.wait()
            return np.concatenate([request.get_output_tensor(0).data.copy() for request, _ in zip(requests, parts)])

        return call
