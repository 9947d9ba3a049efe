"""The dense bfloat16 rate of a card, by PyTorch: prints TFLOP/s of a product of random square matrices, the median of
15, or nothing where PyTorch sees no GPU. `card --rate` takes it."""

import argparse
import statistics

import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=8192)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        return
    a, b = (torch.randn(args.side, args.side, device=args.device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(18):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        a @ b.T
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    print(2e-9 * args.side**3 / statistics.median(times[3:]))


if __name__ == "__main__":
    main()
