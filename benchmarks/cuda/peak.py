"""What this GPU's matrix units reach: one large product through torch, on random data (zeros run faster)."""

from __future__ import annotations

import json
import statistics
import sys
import time

import torch

SIDE = 8192


def main() -> int:
    device = sys.argv[1]
    side = SIDE if device == "cuda" else 512
    torch.backends.cuda.matmul.allow_tf32 = False
    found = {}
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(13):
            start = time.perf_counter()
            a @ b
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        found[name] = round(2 * side**3 / statistics.median(seconds[3:]) / 1e12, 3)
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
