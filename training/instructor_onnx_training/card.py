"""The README.md of a checkpoint that `train` wrote: from what, on what and how; no score, for none was measured.

Of the start checkpoint's own card nothing is taken over: its scores and its recipe are those of other weights.
"""

from collections.abc import Sequence
from dataclasses import fields

from instructor_onnx_training.medi import MediRow
from instructor_onnx_training.train import Taught, TrainOptions

_CARD = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, sentence-similarity, feature-extraction, text-embedding, t5, instructor]
{front_matter}---
# {name}
A text embedder of the INSTRUCTOR family: an instruction says what a text's vector is for. Fine-tuned from `{start}`, \
whose licence applies, by `python -m instructor_onnx_training train`.

```
instructor-onnx export path/to/this/folder my-bundle
instructor-onnx encode my-bundle texts.jsonl -o vectors.npy --instruction "Represent the Science title: "
```

## Scores
None were measured. Those of `{start}` are of other weights and do not hold here.

## Data
{data}

## Settings
| option | value | meaning |
|---|---|---|
{settings}

Weights are stored as {stored}.
"""


def training_card(
    name: str,
    start: str,
    rows: Sequence[MediRow],
    taught: Taught,
    options: TrainOptions,
    *,
    start_is_on_hub: bool,
    half: bool,
) -> str:
    """The card's text; the same run has the same card, wherever and whenever it is run.

    Args:
        name: of the folder that is written.
        start: the hub id of the start checkpoint, or the name of its folder.
    """
    data = []
    if rows:
        instructions = {row.query[0] for row in rows} | {row.pos[0] for row in rows} | {row.neg[0] for row in rows}
        data.append(
            f"- {len(rows):,} MEDI rows (query, positive, negative) of {len({row.task_id for row in rows}):,} tasks, "
            f"under {len(instructions):,} instructions"
        )
    if taught.texts:
        data.append(f"- {len(taught.texts):,} texts with a teacher's vectors of {taught.vectors.shape[1]:,} numbers")
    values = ((field, getattr(options, field.name)) for field in fields(TrainOptions))
    return _CARD.format(
        front_matter=f"base_model: {start}\n" if start_is_on_hub else "",
        name=name,
        start=start,
        data="\n".join(data),
        settings="\n".join(f"| {field.name} | {value} | {field.metadata['help']} |" for field, value in values),
        stored="float16" if half else "float32",
    )
