"""One rival in a process of its own: it is loaded, warmed up, measured, and its vectors are kept.

A rival gets tokens and gives vectors in host memory, each in its best batches; "from strings" are those that take
text alone, and they are measured with their tokenising.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from instructor_onnx import INSTRUCTOR
from instructor_onnx.batches import plan_batches
from instructor_onnx.engines.cuda import SEQUENCE_MULTIPLE, CudaSession
from instructor_onnx.engines.devices import Device
from instructor_onnx.tokens import Tokens
from instructor_onnx_export.checkpoint.names import DENSE
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.graph.half import Half
from instructor_onnx_export.graph.t5 import write_graph
from instructor_onnx_export.oracle import Oracle

from benchmarks.cuda.attention import DEFAULT, WAYS
from benchmarks.cuda.work import Texts, Writer, operations

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Embed = Callable[[Tokens, Int64], Float32]
PADDED_TOKENS = (16384, 65536)  # budgets of one run that each rival is tried with; the better counts
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Step:
    """What one process measures."""

    kind: str  # "onnx", "encode", "torch", "compile" or "sentence-transformers"
    precision: str
    way: str  # of attention, for "onnx"
    checkpoint: str
    bundle: str
    folder: str  # for graphs and vectors
    device: str  # "cuda" or "cpu"
    speed: bool  # False: its vectors alone
    smoke: bool  # few texts, few repetitions

    @property
    def name(self) -> str:
        return f"{self.kind} {self.precision}" + (f" {self.way}" if self.kind == "onnx" else "")


@dataclass(frozen=True)
class Rival:
    embed: Embed | None  # tokens -> vectors
    strings: Callable[[list[str]], Float32] | None = None  # strings -> vectors
    quick: Embed | None = None  # for one short text, where that is another program
    launched: Callable[[], Embed] | None = None  # the same without CUDA graphs, opened when all else was measured
    note: str = ""


def main() -> int:
    step = Step(**json.loads(sys.argv[1]))
    writer = Writer()
    few = step.smoke
    mixed, long = writer.mixed(12 if few else 2000), writer.texts([512] * (2 if few else 256))
    short = writer.texts([32])
    used = _memory(step.device)
    rival = RIVALS[step.kind](step)
    found: dict[str, Any] = {"note": rival.note} if rival.note else {}
    start = time.perf_counter()
    vectors = _pass(rival, mixed, PADDED_TOKENS[0])
    found["first_pass_s"] = time.perf_counter() - start  # with the plans, kernels and programs that it has to make
    np.save(Path(step.folder) / f"{step.name}.npy", vectors)
    if step.speed:
        found["latency_ms"] = 1e3 * _median(lambda: _one(rival, short), warm=1 if few else 20, times=2 if few else 100)
        config = read_checkpoint(step.checkpoint).config
        for name, texts in (("mixed", mixed), ("long", long)):
            budgets = PADDED_TOKENS[:1] if few else PADDED_TOKENS
            seconds = {
                budget: _median(lambda b=budget, t=texts: _pass(rival, t, b), warm=1, times=1 if few else 3)  # type: ignore[misc]
                for budget in budgets
            }
            best = min(seconds, key=lambda budget: seconds[budget])
            found[name] = {
                "texts_per_s": len(texts.strings) / seconds[best],
                "tokens_per_s": int(texts.tokens.lengths.sum()) / seconds[best],
                "tflops": operations(config, texts.tokens) / seconds[best] / 1e12,
                "padded_tokens": best,
            }
        found["memory_gb"] = (_memory(step.device) - used) / 1e9
        if rival.launched is not None:
            launched = Rival(rival.launched())
            found["latency_launched_ms"] = 1e3 * _median(
                lambda: _one(launched, short), warm=1 if few else 20, times=2 if few else 100
            )
    (Path(step.folder) / f"{step.name}.json").write_text(json.dumps(found))
    return 0


def _pass(rival: Rival, texts: Texts, budget: int) -> Float32:
    """All texts, longest first, in batches of `budget` padded tokens; strings in the batches their library makes."""
    if rival.embed is None:
        assert rival.strings is not None
        return rival.strings(texts.strings)
    parts = []
    order = []
    for rows in plan_batches(texts.tokens.lengths, batch_size=1 << 20, token_budget=budget):
        parts.append(rival.embed(texts.tokens, rows))
        order.append(rows)
    vectors = np.concatenate(parts)
    return np.asarray(vectors[np.argsort(np.concatenate(order))])


def _one(rival: Rival, texts: Texts) -> Float32:
    """One short text."""
    embed = rival.quick or rival.embed
    if embed is not None:
        return embed(texts.tokens, np.arange(1))
    assert rival.strings is not None
    return rival.strings(texts.strings)


def _median(run: Callable[[], object], *, warm: int, times: int) -> float:
    """Median seconds; every run ends with its vectors in host memory, so that nothing is left running."""
    for _ in range(warm):
        run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _memory(device: str) -> int:
    """Bytes in use on the GPU beyond what is not ours: weights, activations and workspaces, of any library."""
    if device == "cpu":
        return 0
    torch.zeros(1, device=device)  # with a context, which costs the same for all
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return int(total - free)


def _onnx(step: Step) -> Rival:
    graph = Path(step.bundle) / step.precision / "model.onnx"
    if step.way != DEFAULT:
        graph = Path(step.folder) / f"{step.precision}-{step.way}" / "model.onnx"
        source = read_checkpoint(step.checkpoint)
        exporters = {"fp16": Half.fp16, "bf16": Half.bf16}
        precision = exporters[step.precision](source.config, source.weights)
        precision.attention = WAYS[step.way]()
        write_graph(graph.parent, source.config, source.weights, precision)
        del source
    device = Device(step.device)
    return Rival(
        CudaSession.open(graph, device).sentence_embeddings,
        launched=lambda: CudaSession.open(graph, device, cuda_graphs=False).sentence_embeddings,
    )


def _encode(step: Step) -> Rival:
    model = INSTRUCTOR(step.bundle, variant=step.precision, device=step.device, token_budget=PADDED_TOKENS[-1])
    return Rival(None, lambda strings: np.asarray(model.encode(strings, batch_size=4096)), note="from strings")


def _torch(step: Step) -> Rival:
    encoder, dense = _torch_model(step)
    return Rival(_torch_embed(step, encoder, dense), note=f"attention: {encoder.config._attn_implementation}")


def _compiled(step: Step) -> Rival:
    """Any shape from one program for the texts; CUDA graphs, as `reduce-overhead` makes them, for the one text."""
    encoder, dense = _torch_model(step)
    compiled = _torch_embed(step, torch.compile(encoder, dynamic=True), dense)
    return Rival(
        compiled,
        quick=_torch_embed(step, torch.compile(encoder, mode="reduce-overhead", dynamic=False), dense),
        launched=lambda: compiled,
        note=f"attention: {encoder.config._attn_implementation}",
    )


def _torch_model(step: Step) -> tuple[Any, torch.Tensor | None]:
    """transformers' encoder with SDPA, all of it in one precision (its own fp16 keeps wo in fp32, and is slower)."""
    torch.backends.cuda.matmul.allow_tf32 = False
    source = read_checkpoint(step.checkpoint)
    encoder: Any = Oracle(source).encoder
    encoder = encoder.to(step.device, TYPES[step.precision])
    if hasattr(encoder, "set_attn_implementation"):
        encoder.set_attn_implementation("sdpa")
    return encoder, source.weights[DENSE].float().to(step.device) if source.config.has_dense else None


def _torch_embed(step: Step, encoder: Any, dense: torch.Tensor | None) -> Embed:
    @torch.inference_mode()
    def embed(tokens: Tokens, rows: Int64) -> Float32:
        arrays = tokens.padded(rows, SEQUENCE_MULTIPLE)
        input_ids, attention_mask, pooling_mask = (torch.from_numpy(array).to(step.device) for array in arrays)
        hidden = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        weights = pooling_mask.float().unsqueeze(2)
        vectors = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        if dense is not None:
            vectors = vectors @ dense.T
        return np.asarray(torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy())

    return embed


def _sentence_transformers(step: Step) -> Rival:
    import sentence_transformers

    model = sentence_transformers.SentenceTransformer(
        step.checkpoint, device=step.device, model_kwargs={"dtype": TYPES[step.precision]}
    )
    return Rival(
        None,
        lambda strings: np.asarray(model.encode(strings, batch_size=256, show_progress_bar=False), dtype=np.float32),
        note=f"from strings; sentence-transformers {sentence_transformers.__version__}",
    )


RIVALS: dict[str, Callable[[Step], Rival]] = {
    "onnx": _onnx,
    "encode": _encode,
    "torch": _torch,
    "compile": _compiled,
    "sentence-transformers": _sentence_transformers,
}

if __name__ == "__main__":
    sys.exit(main())
