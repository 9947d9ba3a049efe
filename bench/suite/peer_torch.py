"""PyTorch: eager or compiled, float32, bfloat16, or its dynamic int8."""

import torch

from suite.half import half


class Engine:
    version = f"PyTorch {torch.__version__.partition('+')[0]}"

    def __init__(self, args):
        self.args, self.options = args, args.options
        torch.set_num_threads(args.threads)

    def module(self, modality: str, dtype: torch.dtype) -> torch.nn.Module:
        return half(self.args.folder, modality, self.options["way"], dtype)

    def model(self, modality: str):
        dtype = torch.bfloat16 if self.options["dtype"] == "bfloat16" else torch.float32
        module = self.module(modality, dtype).eval()
        if self.options["dtype"] == "int8":
            module = torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8)
        if self.options["mode"] == "compiled":
            module = torch.compile(module, dynamic=False)

        def call(x):
            with torch.inference_mode():
                return module(torch.from_numpy(x)).numpy()

        return call
