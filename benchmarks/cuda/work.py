"""What is measured on: checkpoints of the published shapes with random weights, and texts of known lengths."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from instructor_onnx.bundle import TOKENIZER
from instructor_onnx.tokens import Tokenizer, Tokens
from instructor_onnx_export.checkpoint.config import Config
from safetensors.torch import save_file

from benchmarks.common import PROJECT, texts

MINI = PROJECT / "checkpoints/instructor-mini"  # trained; its vocabulary serves for the others too
VOCAB_SIZE = 32128


@dataclass(frozen=True)
class Shape:
    """The sizes of a checkpoint, as T5's config.json names them."""

    d_model: int
    d_kv: int
    num_heads: int
    num_layers: int
    d_ff: int
    outliers: float = 0  # how far a few residual channels are planted above the rest, as trained T5 has them


SHAPES = {
    "base": Shape(768, 64, 12, 12, 3072),
    "large": Shape(1024, 64, 16, 24, 4096),
    "xl": Shape(1024, 128, 32, 24, 16384),
    "base-outliers-30": Shape(768, 64, 12, 12, 3072, outliers=30),
    "base-outliers-300": Shape(768, 64, 12, 12, 3072, outliers=300),
}
# Measured for their vectors alone: they are as fast as their shape, and mini is too small to say anything about a GPU.
QUALITY_ONLY = ("mini", "base-outliers-30", "base-outliers-300")


def make_checkpoint(name: str, folder: Path) -> Path:
    """The folder of the checkpoint `name`; written to `folder` unless it is there or comes with the project."""
    if name == "mini":
        return MINI
    if (folder / "modules.json").is_file():  # the last file written
        return folder
    shape = SHAPES[name]
    (folder / "2_Dense").mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentence_bert_config.json"):
        shutil.copy(MINI / file, folder / file)
    for file in ("1_Pooling", "3_Normalize"):
        shutil.copytree(MINI / file, folder / file, dirs_exist_ok=True)
    sizes = {key: value for key, value in vars(shape).items() if key != "outliers"}
    config = json.loads((MINI / "config.json").read_text()) | sizes | {"vocab_size": VOCAB_SIZE}
    _write_json(folder / "config.json", config)
    generator = torch.Generator().manual_seed(0)
    save_file(_weights(shape, config["relative_attention_num_buckets"], generator), folder / "model.safetensors")
    dense = json.loads((MINI / "2_Dense/config.json").read_text())
    _write_json(folder / "2_Dense/config.json", dense | {"in_features": shape.d_model, "out_features": 768})
    weight = torch.randn(768, shape.d_model, generator=generator) * shape.d_model**-0.5
    save_file({"linear.weight": weight}, folder / "2_Dense/model.safetensors")
    shutil.copy(MINI / "modules.json", folder / "modules.json")
    return folder


def _weights(shape: Shape, buckets: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Random, of the magnitudes that T5 starts from, with attention and norms that do more than at the start."""
    d_model, inner = shape.d_model, shape.num_heads * shape.d_kv

    def normal(rows: int, columns: int, spread: float) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * spread

    def gain() -> torch.Tensor:
        return torch.rand(d_model, generator=generator) * 0.6 + 0.2

    weights = {"shared.weight": normal(VOCAB_SIZE, d_model, 1.0), "encoder.final_layer_norm.weight": gain()}
    loud = torch.randperm(d_model, generator=generator)[: max(2, d_model // 256)]
    for index in range(shape.num_layers):
        attention = f"encoder.block.{index}.layer.0.SelfAttention"
        for part, spread in (("q", 3 * (d_model * shape.d_kv) ** -0.5), ("k", d_model**-0.5), ("v", d_model**-0.5)):
            weights[f"{attention}.{part}.weight"] = normal(inner, d_model, spread)
        weights[f"{attention}.o.weight"] = normal(d_model, inner, inner**-0.5)
        weights[f"encoder.block.{index}.layer.0.layer_norm.weight"] = gain()
        dense = f"encoder.block.{index}.layer.1.DenseReluDense"
        wi, wo = normal(shape.d_ff, d_model, d_model**-0.5), normal(d_model, shape.d_ff, shape.d_ff**-0.5)
        if shape.outliers and index >= shape.num_layers // 3:
            wo[loud] *= shape.outliers
            wi[: shape.d_ff // 64] *= 4
        weights |= {f"{dense}.wi.weight": wi, f"{dense}.wo.weight": wo}
        weights[f"encoder.block.{index}.layer.1.layer_norm.weight"] = gain()
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    return weights | {bias: normal(buckets, shape.num_heads, 1.5)}


@dataclass(frozen=True)
class Texts:
    """The same texts as strings and as tokens, so that what tokenises and what does not get the same work."""

    strings: list[str]
    tokens: Tokens


class Writer:
    """Texts without an instruction, in instructor-mini's tokens."""

    def __init__(self) -> None:
        config = json.loads((MINI / "config.json").read_text())
        self._tokenizer = Tokenizer.load(MINI / TOKENIZER, vocab_size=config["vocab_size"], eos_token_id=1)
        self._writer = texts.Writer(self._tokenizer, instruction="")

    def texts(self, lengths: list[int]) -> Texts:
        """One text for each length in tokens, `</s>` included."""
        rows = self._writer.rows(lengths)
        return Texts([row.text for row in rows], self._tokenizer(rows, texts.LONGEST))

    def mixed(self, count: int) -> Texts:
        """Of mixed lengths, 2,000 at most."""
        return self.texts(texts.mixed_lengths()[:count])


def operations(config: Config, tokens: Tokens) -> float:
    """Floating-point operations of the encoder on these texts; padding does not count."""
    inner = config.num_heads * config.d_kv
    products = 1 + (config.feed_forward != "relu") + 1
    by_token = 2 * config.d_model * (4 * inner + products * config.d_ff)
    lengths = tokens.lengths.astype(float)
    return float(config.num_layers * (by_token * lengths.sum() + 4 * inner * (lengths**2).sum()))


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
