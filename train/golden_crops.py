"""Makes the golden vectors of tests/golden/crops.safetensors: what fewshot/crops.py makes of random pictures by given
numbers. tests/golden/README.md describes the file.

    python golden_crops.py --out ../tests/golden
"""

import argparse
from pathlib import Path

import torch
from fewshot.crops import DRAWS, crop, recolour
from safetensors.torch import save_file

SIDE, SIZE, PICTURES = 16, 12, 24


def smooth(n: int, g: torch.Generator) -> torch.Tensor:
    """Soft spots, some of them white: noise alone would hide a crop that is off by a part of a pixel."""
    small = torch.rand((n, 3, 5, 5), generator=g) * 255
    small[::3] = small[::3].clamp(min=200) * 1.2
    large = torch.nn.functional.interpolate(small, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return large.round().clamp(0, 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    g = torch.Generator().manual_seed(0)
    pixels, u = smooth(PICTURES, g), torch.rand((PICTURES, DRAWS), generator=g)
    u[0], u[1] = 0.0, 1 - 2**-24
    flip = torch.arange(PICTURES) % 2 == 1
    crops = torch.cat([crop(pixels[i : i + 1], SIZE, bool(flip[i]), u[i : i + 1]) for i in range(PICTURES)])
    crops = recolour(crops, u).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
    file = parser.parse_args().out / "crops.safetensors"
    pixels = pixels.byte().permute(0, 2, 3, 1).contiguous()
    save_file({"pixels": pixels, "u": u, "flip": flip.byte(), "crops": crops}, file)
    file.chmod(0o644)


if __name__ == "__main__":
    main()
