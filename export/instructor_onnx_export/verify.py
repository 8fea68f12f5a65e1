"""The written bundle against the torch oracle, on probe rows, through the runtime a user will load it with."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from instructor_onnx import INSTRUCTOR, __version__, loading, model
from instructor_onnx.bundle import InstructorOnnxError, Variant, Verification
from instructor_onnx.engines import devices, native, processor
from instructor_onnx.engines.devices import Device, import_onnxruntime
from instructor_onnx.engines.engine import fits
from instructor_onnx.inputs import Row

from instructor_onnx_export.oracle import Float32, Oracle
from instructor_onnx_export.variants import TOLERANCE, Spec

TOKEN_BUDGET = 512  # tokens of one run: with more, the activations of a wide model are the peak of an export
MOST_WORDS = 1024  # of a probe row: a checkpoint may claim to take a million tokens, each attended to by each
ALONE_STEP = 4  # every so many probe rows are also run alone, to be compared with themselves in the batch

_SENTENCES = [
    "3D ActionSLAM: wearable person tracking in multi-floor environments",
    "The Federal Reserve on Wednesday raised its benchmark interest rate.",
    "where do the hippos sleep when the river is low?",
    "def median(xs): return sorted(xs)[len(xs) // 2]",
    "She said 'no', twice — and then, after a pause, \"perhaps\".",
    "1,024 tokens; 3.5 GHz; 2026-11-21; https://example.org/?q=a&b=c#d",
    "Über die Brücke gehen, déjà vu, ½ ﬁ 漢字 🙂 e\u0301 \u00a0nbsp\ttab\nnewline",
    "a",
]
_INSTRUCTIONS = [
    "Represent the Science title: ",
    "Represent the Financial statement: ",
    "Represent the question for retrieving supporting documents: ",
    "Represent the Wikipedia document for retrieval; Input:",
    "",
]


class VerificationError(InstructorOnnxError):
    """Variants that are further from the oracle than allowed, each with its sentence."""


@dataclass(frozen=True)
class Expected:
    """What the oracle computed for each probe row."""

    rows: list[Row]
    vectors: Float32  # [rows, embedding_dim]
    tokens: list[Float32]  # each [length, d_model]


def probe_rows(max_seq_length: int) -> list[Row]:
    """Rows that find mistakes: every length from none to past the limit, unicode, literals, odd instructions."""
    rows = [Row(instruction, text) for instruction in _INSTRUCTIONS for text in _SENTENCES]
    rows += [Row(_INSTRUCTIONS[0], " ".join(_SENTENCES[:count])) for count in (2, 3, 5, 7)]
    # Over max_seq_length tokens in any vocabulary.
    words = " ".join(f"word{number}" for number in range(min(max_seq_length, MOST_WORDS)))
    rows += [
        Row(_INSTRUCTIONS[1], words),
        Row(_INSTRUCTIONS[0], ""),
        Row(_INSTRUCTIONS[0], "   "),
        Row("", ""),
        Row("query", "hi there"),
        Row("a", "b"),
        Row("Represent the", "ory of sets"),
        Row("Represent the text: ", "with </s> inside, <extra_id_0> and <pad>"),
    ]
    return rows


def ask_oracle(oracle: Oracle, rows: list[Row], on_row: Callable[[], object] = lambda: None) -> Expected:
    """The oracle's answers for `rows`."""
    vectors, tokens = [], []
    for row in rows:
        ((vector, token_embeddings),) = oracle.encode([row])
        vectors.append(vector)
        tokens.append(token_embeddings)
        on_row()
    return Expected(rows, np.stack(vectors), tokens)


def engines(variant: Variant) -> dict[str, str]:
    """The engines that run a variant on this machine, each with its device; none for a GPU's where there is none.

    Where there is one, opening the variant tells whether CUDA can be had. The native engine is one where an instruction
    set beyond scalar code passed its self-check.
    """
    if "cpu" not in variant.devices:
        return {"onnxruntime": "cuda"} if devices.visible_gpus() else {}
    fitting = fits(variant.weight_type, Device("cpu"))
    return {name: "cpu" for name in fitting if name != "native" or native.is_verified()}


def measure(
    bundle: Path, variant: str, on: Mapping[str, str], expected: Expected, num_threads: int | None = None
) -> dict[str, Verification]:
    """Hold a variant against the oracle's answers, on engines and their devices as `engines` gives them.

    Returns:
        What was measured, by engine.

    Raises:
        VerificationError: the runtime makes other tokens of a row than the oracle.
        DeviceError, GpuOutOfMemoryError: the GPU cannot be had for it.
    """
    measured = {}
    for engine, device in on.items():
        with suppress(native.UnknownGraphError):  # the runtime leaves it to onnxruntime too
            measured[engine] = _measure_on(engine, device, bundle, variant, expected, num_threads)
    return measured


def judge(spec: Spec, measured: Mapping[str, Verification], min_cosine: float | None = None) -> list[str]:
    """Refuse what is wrong on every machine; what is wrong only here is told.

    Args:
        measured: by engine; one at least.
        min_cosine: the smallest cosine to torch of a variant that is not exact; None: its own.

    Returns:
        A sentence for each engine that is wrong here while another is right.

    Raises:
        VerificationError: a number that is not finite; an exact variant past TOLERANCE; cosines below the limit on
            every engine; or vectors of the native engine that depend on their batch.
    """
    for figures in measured.values():
        if not all(math.isfinite(value) for value in vars(figures).values() if isinstance(value, float)):
            raise VerificationError(
                f"{spec.name}: {_where(figures)} gives numbers that are not finite. If the checkpoint has none such, "
                "please report it."
            )
    # it computes every text by itself, each number of it in one order
    if "native" in measured and not measured["native"].batch_invariant:
        raise VerificationError(
            f"{spec.name}: a row's vector alone and in a batch differ, with {_where(measured['native'])}. "
            "Please report it; without the native kernels, the export takes onnxruntime's word."
        )
    if spec.min_cosine is None:
        worst = max(max(figures.max_abs_diff, figures.token_max_abs_diff) for figures in measured.values())
        if worst > TOLERANCE:
            raise VerificationError(
                f"{spec.name}: differs from torch by {worst:.2g}, allowed is {TOLERANCE:g}. If it is this checkpoint's "
                "bundle, please report it."
            )
        return []
    allowed = spec.min_cosine if min_cosine is None else min_cosine
    best = max(measured.values(), key=lambda figures: figures.cosine_min)
    if best.cosine_min < allowed:
        raise VerificationError(
            f"{spec.name}: the smallest cosine to torch is {best.cosine_min:.5f}, allowed is {allowed:g} "
            "(--min-cosine). This checkpoint does not survive this variant: do without it, or lower the limit."
        )
    return [
        f"{spec.name}: with {_where(figures)} the smallest cosine to torch is {figures.cosine_min:.5f}, allowed is "
        f"{allowed:g}; {best.engine} is right ({best.cosine_min:.5f}). Use engine={best.engine.split()[0]!r} here."
        for figures in measured.values()
        if figures.cosine_min < allowed
    ]


def _measure_on(
    engine: str, device: str, bundle: Path, variant: str, expected: Expected, num_threads: int | None
) -> Verification:
    """Load one variant as a user does, on one engine, and compare it."""
    with _no_warnings():  # of the probe rows that are cut or all masked, and that nothing is verified yet
        model = INSTRUCTOR(
            bundle,
            variant=variant,
            device=device,
            engine=engine,
            num_threads=num_threads,
            token_budget=TOKEN_BUDGET,
        )
        details = model.encode(expected.rows, output_value=None)
        alone = np.stack([model.encode([row])[0] for row in expected.rows[::ALONE_STEP]])
    vectors = np.stack([detail["sentence_embedding"] for detail in details])
    tokens = [detail["token_embeddings"] for detail in details]
    for row, ours, theirs in zip(expected.rows, tokens, expected.tokens, strict=True):
        if ours.shape != theirs.shape:
            raise VerificationError(
                f"{variant}: {row!r:.80} has {len(ours)} tokens in the runtime and {len(theirs)} in the oracle; "
                "the tokenizer files of the checkpoint disagree."
            )
    similarity = cosines(vectors, expected.vectors)
    version = __version__ if engine == "native" else import_onnxruntime().__version__
    return Verification(
        engine=f"{model.engine_name} {version}",
        processor=processor.name(),
        device=model.device,
        rows=len(expected.rows),
        max_abs_diff=_worst([vectors], [expected.vectors]),
        token_max_abs_diff=_worst(tokens, expected.tokens),
        cosine_mean=float(similarity.mean()),
        cosine_p1=float(np.percentile(similarity, 1)),
        cosine_min=float(similarity.min()),
        batch_invariant=bool(np.array_equal(alone, vectors[::ALONE_STEP])),
    )


def _where(figures: Verification) -> str:
    return f"{figures.engine} on {figures.processor}"


def cosines(a: Float32, b: Float32) -> npt.NDArray[np.float64]:
    """Row by row: float64 [rows]. Two zero vectors count as equal (1), a zero and another as unrelated (0)."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a64, axis=1) * np.linalg.norm(b64, axis=1)
    both_zero = ~a64.any(axis=1) & ~b64.any(axis=1)
    products = (a64 * b64).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return np.where(both_zero, 1.0, products)


@contextmanager
def _no_warnings() -> Iterator[None]:
    logs = [logging.getLogger(module) for module in (loading.__name__, model.__name__)]
    errors_only: Callable[[logging.LogRecord], bool] = lambda record: record.levelno >= logging.ERROR  # noqa: E731
    for log in logs:
        log.addFilter(errors_only)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(errors_only)


def _worst(ours: Sequence[Float32], theirs: Sequence[Float32]) -> float:
    """Largest difference of any two numbers; for numbers past 1 (no Normalize), as a share of the largest."""
    largest = max(1.0, max(float(np.abs(array).max()) for array in theirs))
    # np.max, as max() forgets a NaN that is not the first
    return float(np.max([np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)])) / largest
