"""The bundle's README.md: where it comes from, how to load it, what was verified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructor_onnx.bundle import Manifest

_CARD = """\
---
library_name: instructor-onnx
pipeline_tag: feature-extraction
tags: [sentence-embeddings, instructor, onnx]
---

# {name}, as an instructor-onnx bundle

Text embeddings under an instruction (Su et al. 2023, "One Embedder, Any Task"), as ONNX models that compute the
whole path from token ids to vectors: T5 encoder, mean over the tokens after the instruction{modules}.
Made from the checkpoint `{name}` by {exporter}; the checkpoint's licence applies.

```python
from instructor_onnx import INSTRUCTOR  # pip install instructor-onnx

model = INSTRUCTOR("path/to/this/folder", variant="{first}")
vectors = model.encode([["Represent the Science title:", "3D ActionSLAM"]])  # float32 [1, {embedding_dim}]
```

{num_layers} layers, d_model {d_model}, d_ff {d_ff} ({feed_forward}), {num_heads} heads of {d_kv};
vectors of {embedding_dim}, texts of up to {max_seq_length} tokens (instruction included; can be raised).
Prompts by name: {prompts}. int8 embeddings (`precision="int8"`): steps of {int8_scale:.6g}, by calibration.

## Variants and what was verified

Against the same checkpoint in PyTorch (fp32), on probe rows: ragged, long, unicode, empty, instruction only. These are
the figures of the machine named; `instructor-onnx check FOLDER --against CHECKPOINT` gives those of yours. A vector
that is not the same in any batch depends, a little, on what else is in the run.

{variants}

## Without Python

Each `model.onnx` takes `input_ids`, `attention_mask` (1 for every real token) and `pooling_mask` (1 for every real
token after the instruction), int64 `[batch, sequence]`, and gives `sentence_embedding` `[batch, {embedding_dim}]` and
`token_embeddings` `[batch, sequence, {d_model}]`. Keep `model.onnx.data` beside it.{without_python}
"""
_COLUMNS = (
    *("variant", "weights", "size", "devices", "engine", "processor"),
    *("max abs diff", "cosine mean", "1st percentile", "minimum", "same in any batch"),
)
_INT8 = """

int8: on some processors onnxruntime adds pairs of uint8 x int8 products in 16 bits that saturate, and vectors come out
wrong. Ask yours, once: MatMulInteger of A = [[255, 255]] (uint8) and B = [[127], [127]] (int8) must give 64770. Where
it gives less (32767), open the model with the session option `session.x64quantprecision` = `1`; elsewhere leave it
out, as it makes the products slower. The Python runtime asks by itself."""
_INT4 = """

int4: run an even number of tokens (batch x sequence, padding counted). On some processors onnxruntime computes them in
pairs and rounds a last one without a partner otherwise: its vector would depend on its batch. The Python runtime pads
by itself."""


def model_card(manifest: Manifest) -> str:
    """The text of the card."""
    model = manifest.model
    modules = "".join(f", {module}" for module in ("Dense", "Normalize") if getattr(model, module.lower()))
    return _CARD.format(
        **vars(model),
        modules=modules,
        prompts=", ".join(f"`{name}`" for name in manifest.prompts) or "none",
        int8_scale=manifest.int8_scale or 0,
        exporter=manifest.exporter,
        first=next(iter(manifest.variants)),
        variants="\n".join(_table(manifest)),
        without_python="".join(text for name, text in (("int8", _INT8), ("int4", _INT4)) if name in manifest.variants),
    )


def _table(manifest: Manifest) -> Iterator[str]:
    """A line for each variant and engine that was measured."""
    yield _line(_COLUMNS)
    yield _line(["---"] * len(_COLUMNS))
    for name, variant in manifest.variants.items():
        size = f"{sum(file.bytes for file in variant.files) / 1e6:,.1f} MB"
        start = [name, variant.weight_type, size, ", ".join(variant.devices)]
        for figures in variant.verification.values():
            cosines = (f"{cosine:.5f}" for cosine in (figures.cosine_mean, figures.cosine_p1, figures.cosine_min))
            same = "yes" if figures.batch_invariant else "no"
            yield _line([*start, figures.engine, figures.processor, f"{figures.max_abs_diff:.1e}", *cosines, same])
        if not variant.verification:
            yield _line([*start, "not verified on this device"])


def _line(cells: Sequence[str]) -> str:
    """One line of a Markdown table, which may end early."""
    return f"| {' | '.join(cells)} |"
