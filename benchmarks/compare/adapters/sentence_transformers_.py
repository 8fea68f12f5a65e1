"""sentence-transformers with its torch or its OpenVINO backend: `encode` of texts under one prompt.

A local copy of an INSTRUCTOR pools the instruction unless `set_pooling_include_prompt(False)` is said; it is.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.compare.adapters.common import BATCH_SIZES, Encoder, Float32, Row, weight_files
from benchmarks.compare.rivals import Job


class ByRows:
    """A SentenceTransformer; it sorts by length itself and takes a number of rows."""

    batching = "batch_size"
    choices: Sequence[int] = BATCH_SIZES

    def __init__(self, job: Job) -> None:
        from sentence_transformers import SentenceTransformer

        logging.getLogger("transformers").setLevel(logging.ERROR)
        options: dict[str, Any] = {}
        if job.option == "openvino":
            hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job.threads}
            options = {"backend": "openvino", "model_kwargs": {"ov_config": hints}}
        else:
            import torch

            torch.set_num_threads(job.threads)
        source = job.folder if job.option == "openvino" else job.checkpoint
        self._model = SentenceTransformer(str(source), device="cpu", **options)
        self._model.set_pooling_include_prompt(False)
        self._batch_size = BATCH_SIZES[-1]
        self.settings = {"threads": job.threads, **options}
        if job.option == "openvino":
            self.settings["model"] = "exported by torch.export: its own export gives a random decoder's states"
        exported = sorted(source.rglob("openvino_model.*"))
        self.files = [*exported, source / "tokenizer.json"] if exported else weight_files(source)

    def choose(self, value: int) -> None:
        self._batch_size = value

    def encode(self, rows: list[Row]) -> Float32:
        texts = [text for _, text in rows]
        (instruction,) = {instruction for instruction, _ in rows}
        vectors = self._model.encode(texts, prompt=instruction, batch_size=self._batch_size, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


def prepare(job: Job) -> None:
    """Save an OpenVINO model of the encoder where sentence-transformers looks for one.

    Its own export of a T5 is of encoder and decoder, the decoder with random weights, and gives the decoder's states.
    """
    import openvino
    import torch
    from transformers import T5EncoderModel

    shutil.copytree(
        job.checkpoint, job.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.bin", "model.safetensors")
    )
    for dense in job.checkpoint.glob("2_Dense/*"):
        shutil.copy(dense, job.folder / "2_Dense")
    encoder = T5EncoderModel.from_pretrained(job.checkpoint, attn_implementation="eager").eval()
    any_shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    exported = torch.export.export(
        encoder,
        args=(),
        kwargs={
            "input_ids": torch.ones((2, 8), dtype=torch.long),
            "attention_mask": torch.tensor([[1] * 8, [1] * 5 + [0] * 3]),
        },
        dynamic_shapes={"input_ids": any_shape, "attention_mask": any_shape},
    )
    model = openvino.convert_model(exported)
    model.outputs[0].get_tensor().set_names({"last_hidden_state"})
    openvino.save_model(model, job.folder / "openvino" / "openvino_model.xml", compress_to_fp16=False)


def load(job: Job) -> Encoder:
    return ByRows(job)
