"""Small checkpoints in the real layout, made in-process: random weights, a vocabulary of our own.

Knows nothing about the code under test, but for the conversion of `spiece.model` (tests/data/golden has a
tokenizer.json that transformers converted). Runs with the reference's old libraries too.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from safetensors.torch import save_file
from sentencepiece import sentencepiece_model_pb2

EXTRA_IDS = 8
PIECES = 140  # what a text as short as TEXT gives
WORD_SCORE = -7.0  # log probability: better than the two pieces it would be otherwise
UNUSED_ROWS = 28  # T5's table has 32,128 rows for 32,100 tokens
TEXT = """
Represent the Science title: Represent the Science sentence: Represent the Financial statement:
Represent the Medicine sentence for retrieving a duplicate sentence:
Represent the Wikipedia document for retrieval: Represent the Wikipedia question for retrieving supporting documents:
Represent the sentence: represent a comment: represent the caption:
The river rises in the hills, turns east at the old mill and reaches the sea after ninety kilometres.
A query asks for the theory of sets, for their theorem, and for the order of the theories.
Every winter the harbour freezes; every spring the boats go out again to look for herring and cod.
Bread needs flour, water, salt and time. The oven needs wood, and the baker needs sleep.
Interest rates rose by 0.25 per cent on Wednesday, and the shares of 3 banks fell below 17 euros.
How do plants store energy? What is the capital of a country that has moved its capital twice?
The environment of a cell changes what it can become: a nerve, a muscle, a drop of blood.
"""
# A little of the normalisation of the real vocabulary (whose table alone has 240 kB): code points in, code points out.
NORMALISATION = {
    "9": "20",  # tab, line feed, no-break and ideographic space: a space
    "A": "20",
    "A0": "20",
    "3000": "20",
    "65 301": "E9",  # e + combining acute: é
    "BD": "31 2044 32",  # one half: 1, fraction slash, 2
    "FB01": "66 69",  # the ligature fi: f, i
}


def make_tokenizer(folder: Path, *, kind: str = "both") -> int:
    """Write a vocabulary of T5's layout (<pad> 0, </s> 1, <unk> 2, <extra_id_N> last).

    Args:
        folder: where `spiece.model`, `tokenizer.json` and `tokenizer_config.json` go.
        kind: "both", "json" or "spiece": which of the two vocabulary files are written.

    Returns:
        The rows of the embedding table.
    """
    model = train_spiece(folder)
    if kind != "json":
        (folder / "spiece.model").write_bytes(model)
    if kind != "spiece":
        from instructor_onnx_export.checkpoint.spiece import tokenizer_json

        text = tokenizer_json(model, eos_token_id=1, extra_ids=EXTRA_IDS)
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": EXTRA_IDS})
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
    return int(pieces) + EXTRA_IDS + UNUSED_ROWS


def train_spiece(folder: Path) -> bytes:
    """A `spiece.model`: pieces of words as trained on TEXT, and its words whole. `folder` is for a moment's file."""
    rules = folder / "rules.tsv"
    rules.write_text("".join(f"{a}\t{b}\n" for a, b in NORMALISATION.items()), encoding="utf-8")
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.strip().splitlines()),
        model_writer=trained,
        model_type="unigram",
        vocab_size=PIECES,
        character_coverage=1.0,
        normalization_rule_tsv=str(rules),
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,  # the same vocabulary every time
        minloglevel=2,  # errors only
    )
    rules.unlink()
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(trained.getvalue())
    known = {piece.piece for piece in model.pieces}
    for word in sorted({f"▁{word}" for word in re.findall(r"\w+", TEXT)} - known):
        model.pieces.add(piece=word, score=WORD_SCORE)
    model.normalizer_spec.ClearField("normalization_rule_tsv")  # the path of the moment's file
    return bytes(model.SerializeToString(deterministic=True))


def make_checkpoint(
    folder: Path,
    *,
    d_model: int = 32,
    d_kv: int = 8,
    num_heads: int = 4,
    num_layers: int = 2,
    d_ff: int = 64,
    dense_dim: int | None = 24,  # None: no Dense module
    normalize: bool = True,
    gated: bool = False,
    weight_format: str = "safetensors",  # "sharded", "bin" or "sharded-bin"
    dtype: torch.dtype = torch.float32,
    tokenizer: str = "both",
    max_seq_length: int = 512,
    seed: int = 0,
) -> Path:
    """Write a checkpoint as hkunlp/instructor-* lie on the hub; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["T5EncoderModel"],
        "d_ff": d_ff,
        "d_kv": d_kv,
        "d_model": d_model,
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
        "is_encoder_decoder": True,
        "layer_norm_epsilon": 1e-06,
        "model_type": "t5",
        "num_heads": num_heads,
        "num_layers": num_layers,
        "pad_token_id": 0,
        "relative_attention_max_distance": 128,
        "relative_attention_num_buckets": 32,
        "vocab_size": make_tokenizer(folder, kind=tokenizer),
    }
    write_json(folder / "config.json", config)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": False})

    generator = torch.Generator().manual_seed(seed)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    save_weights(folder, weight_format, lively_weights(config, dtype, generator))
    (folder / "1_Pooling").mkdir()
    modes = ("cls_token", "max_tokens", "mean_sqrt_len_tokens")
    pooling = {"word_embedding_dimension": 768, "pooling_mode_mean_tokens": True}  # 768: as published, on every size
    write_json(folder / "1_Pooling/config.json", pooling | {f"pooling_mode_{mode}": False for mode in modes})
    if dense_dim is not None:
        modules.append(("2_Dense", "Dense"))
        (folder / "2_Dense").mkdir()
        dense = {"in_features": d_model, "out_features": dense_dim, "bias": False}
        identity = {"activation_function": "torch.nn.modules.linear.Identity"}
        write_json(folder / "2_Dense/config.json", dense | identity)
        weight = torch.randn(dense_dim, d_model, generator=generator) / d_model**0.5
        single = weight_format.removeprefix("sharded-").replace("sharded", "safetensors")
        save_weights(folder / "2_Dense", single, {"linear.weight": weight.to(dtype)})
    if normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
        (folder / modules[-1][0]).mkdir()
    write_json(
        folder / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for index, (path, kind) in enumerate(modules)
        ],
    )
    return folder


def lively_weights(
    config: Mapping[str, Any], dtype: torch.dtype, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Random weights under transformers' own names; attention and norms do more than at initialisation."""
    with torch.device("meta"):
        names = transformers.T5EncoderModel(transformers.T5Config(**config)).state_dict()
    weights = {}
    for name, empty in names.items():
        if name == "encoder.embed_tokens.weight":
            continue
        values = torch.randn(empty.shape, generator=generator)
        if name.endswith("layer_norm.weight"):
            values = torch.rand(empty.shape, generator=generator) * 0.6 + 0.2
        elif name.endswith("relative_attention_bias.weight"):
            values *= 1.5
        elif name.endswith("SelfAttention.q.weight"):  # no 1 / sqrt(d_kv) in T5's attention: it is in q
            values *= 3 / (config["d_model"] * config["d_kv"]) ** 0.5
        elif name != "shared.weight":
            values /= empty.shape[1] ** 0.5
        weights[name] = values.to(dtype)
    return weights


def save_weights(folder: Path, weight_format: str, weights: dict[str, torch.Tensor]) -> None:
    """Write weights as transformers does; a pickle holds the embedding table under both its names."""
    name = "pytorch_model.bin" if weight_format.endswith("bin") else "model.safetensors"
    if name == "pytorch_model.bin" and "shared.weight" in weights:
        weights = weights | {"encoder.embed_tokens.weight": weights["shared.weight"]}
    if not weight_format.startswith("sharded"):
        _save(weights, folder / name)
        return
    stem, _, suffix = name.partition(".")
    shards = [f"{stem}-{i:05}-of-00002.{suffix}" for i in (1, 2)]
    # Both names of the table land in the first shard, as ties do.
    tensors = sorted(weights, key=lambda n: "shared" not in n and "embed_tokens" not in n)
    parts = [tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]]
    for shard, part in zip(shards, parts, strict=True):
        _save({n: weights[n] for n in part}, folder / shard)
    weight_map = {n: shard for shard, part in zip(shards, parts, strict=True) for n in part}
    write_json(folder / f"{name}.index.json", {"metadata": {}, "weight_map": weight_map})


def write_json(path: Path, data: object) -> None:
    """Write JSON as it is written on the hub."""
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _save(weights: dict[str, torch.Tensor], file: Path) -> None:
    if file.suffix == ".bin":
        torch.save(weights, file)
    else:
        save_file(weights, file, metadata={"format": "pt"})
