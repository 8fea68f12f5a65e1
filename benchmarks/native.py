"""The native engine against onnxruntime on the same int8 bundle: speed by shape, load time, memory, share of the peak.

Timed: one engine's run over tokens that are ready (no tokenising), runs of the engines alternating, with a pause
between them; medians. Not timed: loading, a first run of each. onnxruntime gets batches as the runtime cuts them, the
native engine all texts at once. torch, with --torch CHECKPOINT, is the fp32 encoder of transformers on the same padded
batches. The peak is that of exact int8 products after a ReLU, the fastest there are.

    python benchmarks/native.py my-bundle --torch my-checkpoint -o benchmarks/results/native.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import instructor_onnx_kernels as kernels
import numpy as np
import numpy.typing as npt
from evaluation.results import machine
from instructor_onnx.batches import plan_batches
from instructor_onnx.bundle import Manifest, Model
from instructor_onnx.native import NativeSession
from instructor_onnx.session import Device, Session, import_onnxruntime
from instructor_onnx.tokens import Tokens

SECONDS = 8.0  # a shape's share, each engine's rounds together
MOST_ROUNDS = 21
PAUSE = 0.05  # seconds, in which the threads of the run before (torch's) stop spinning
SEED = 0

LOAD = """
import sys, time, psutil
from pathlib import Path
from instructor_onnx.bundle import Manifest
from instructor_onnx.session import Device, Session
from instructor_onnx.native import NativeSession
folder, engine = Path(sys.argv[1]), sys.argv[2]
manifest, path = Manifest.read(folder), folder / "int8/model.onnx"
begin = time.perf_counter()
model = NativeSession.open(path, manifest.model) if engine == "native" else Session.open(path, Device("cpu"))
print(time.perf_counter() - begin, psutil.Process().memory_info().rss)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--torch", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()

    model = Manifest.read(args.bundle).model
    path = args.bundle / "int8/model.onnx"
    native = NativeSession.open(path, model, args.threads)
    session = Session.open(path, Device("cpu"), args.threads)
    random = np.random.default_rng(SEED)
    shapes = {
        "1 x 32": [32],
        "8 x 64": [64] * 8,
        "32 x 128": [128] * 32,
        "4 x 512": [512] * 4,
        "mixed": np.clip(random.lognormal(3.6, 0.9, 64), 4, 512).astype(int).tolist(),
    }
    results: dict[str, Any] = {
        "model": model.name,
        "isa": native.isa,
        "threads": native.num_threads,
        "processor": machine()["cpu"],
        "onnxruntime": import_onnxruntime().__version__,
        "kernels": kernels.__version__,
        "peak_gops": round(kernels.measure_peak(native.isa, native.num_threads) / 1e9, 1),
        "load": {engine: loaded(args.bundle, engine) for engine in ("native", "onnxruntime")},
        "shapes": {},
    }
    for name, lengths in shapes.items():
        tokens = random_tokens(lengths, model, random)
        runs = {"native": run_native(native, tokens), "onnxruntime": run_onnxruntime(session, tokens)}
        if args.torch is not None:
            runs["torch fp32"] = run_torch(args.torch, tokens, native.num_threads)
        seconds = alternate(runs)
        # The machine's pace changes while it is shared: the peak is taken beside each shape.
        peak = kernels.measure_peak(native.isa, native.num_threads) / 1e9
        shape = {
            "tokens": sum(lengths),
            "milliseconds": {engine: round(1e3 * value, 2) for engine, value in seconds.items()},
            "times_onnxruntime": round(seconds["onnxruntime"] / seconds["native"], 2),
            "share_of_peak": round(2e-9 * multiplications(model) * sum(lengths) / seconds["native"] / peak, 2),
        }
        results["shapes"][name] = shape
        sys.stdout.write(f"{name:10} {shape}\n")
        sys.stdout.flush()
    if args.output is not None:
        args.output.write_text(json.dumps(results, indent=2) + "\n")
    sys.stdout.write(json.dumps({key: value for key, value in results.items() if key != "shapes"}, indent=2) + "\n")


def multiplications(model: Model) -> int:
    """Of one token in all int8 products; attention is not counted."""
    inner = model.num_heads * model.d_kv
    matrices = 3 if model.feed_forward == "gated-gelu" else 2
    return model.num_layers * (4 * model.d_model * inner + matrices * model.d_model * model.d_ff)


def random_tokens(lengths: list[int], model: Model, random: np.random.Generator) -> Tokens:
    ids = random.integers(2, model.vocab_size, sum(lengths)).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(ids=ids, offsets=offsets, starts=np.full(len(lengths), 2, dtype=np.int64), truncated=0)


def run_native(session: NativeSession, tokens: Tokens) -> Callable[[], object]:
    rows = np.arange(len(tokens.starts))
    return lambda: session.sentence_embeddings(tokens, rows)


def run_onnxruntime(session: Session, tokens: Tokens) -> Callable[[], object]:
    batches = list(_batches(tokens))
    return lambda: [session.sentence_embeddings(tokens, batch) for batch in batches]


def _batches(tokens: Tokens) -> Iterator[npt.NDArray[np.int64]]:
    """Those of `encode()` on onnxruntime."""
    return plan_batches(tokens.lengths, batch_size=32, token_budget=Session.token_budget, run_cost=Session.run_cost)


def run_torch(checkpoint: Path, tokens: Tokens, threads: int) -> Callable[[], object]:
    import torch
    from transformers import T5EncoderModel

    torch.set_num_threads(threads)
    encoder = T5EncoderModel.from_pretrained(checkpoint).eval()
    batches = []
    for rows in _batches(tokens):
        input_ids, attention_mask, _ = tokens.padded(rows)
        batches.append((torch.from_numpy(input_ids), torch.from_numpy(attention_mask)))

    def run() -> None:
        with torch.inference_mode():
            for input_ids, attention_mask in batches:
                encoder(input_ids=input_ids, attention_mask=attention_mask)

    return run


def alternate(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    end = time.perf_counter() + SECONDS
    while (time.perf_counter() < end or len(times["native"]) < 3) and len(times["native"]) < MOST_ROUNDS:
        for name, run in runs.items():
            time.sleep(PAUSE)
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    medians: npt.NDArray[np.float64] = np.median(np.array(list(times.values())), axis=1)
    return dict(zip(times, medians.tolist(), strict=True))


def loaded(bundle: Path, engine: str) -> dict[str, float]:
    """Seconds to open, and resident megabytes then, in a process of its own; the median of three."""
    found = []
    for _ in range(3):
        command = [sys.executable, "-c", LOAD, str(bundle), engine]
        found.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    seconds, resident = np.median(np.array(found, dtype=float), axis=0)
    return {"seconds": round(float(seconds), 3), "resident_megabytes": round(float(resident) / 1e6, 1)}


if __name__ == "__main__":
    main()
