"""Checkpoints whose configuration, files or paths must be refused. Each error names what is wrong."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from instructor_onnx_export import export
from instructor_onnx_export.checkpoint.read import CheckpointError, read_checkpoint
from sentencepiece import sentencepiece_model_pb2

from tests.checkpoints import make_checkpoint, write_json

HUGE = 10**10


def refuse(folder: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def change(file: Path, **fields: Any) -> None:
    write_json(file, json.loads(file.read_text(encoding="utf-8")) | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "bert"}, "model_type is 'bert'"),
        ({"model_type": "umt5"}, "model_type is 'umt5'"),
        ({"architectures": ["T5ForTokenClassification"]}, "T5ForTokenClassification"),
        ({"feed_forward_proj": "gated-silu"}, "feed_forward_proj is 'gated-silu'"),
        ({"feed_forward_proj": ["relu"]}, "feed_forward_proj is"),
        ({"dense_act_fn": "silu"}, "dense_act_fn is 'silu'"),
        ({"d_model": 0}, "d_model is 0"),
        ({"d_model": 32.5}, "d_model is 32.5"),
        ({"d_ff": "64"}, "d_ff is '64'"),
        ({"num_heads": True}, "num_heads is True"),
        ({"num_layers": HUGE}, "num_layers is 10000000000"),
        ({"num_layers": None}, "num_layers is None"),
        ({"relative_attention_num_buckets": 31}, "num_buckets is 31"),
        ({"relative_attention_num_buckets": 1024}, "num_buckets is 1024"),
        ({"relative_attention_max_distance": "far"}, "max_distance is 'far'"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon is nan"),
        ({"layer_norm_epsilon": 5e-324}, "layer_norm_epsilon is 5e-324; expected a number from 1e-30"),
        ({"eos_token_id": [1]}, r"eos_token_id is \[1\]"),
        ({"pad_token_id": 283}, "pad_token_id is 283"),
        ({"num_layers": 3}, "encoder.block.2.layer.0.layer_norm.weight .and 7 more. is missing"),
        ({"num_layers": 1}, "encoder.block.1.* does not belong"),
        ({"feed_forward_proj": "gated-gelu"}, "wi_0.weight .and 3 more. is missing"),
        ({"d_kv": 16}, re.escape("is [32, 32], config.json makes it [64, 32]")),
        ({"vocab_size": 1 << 22}, "config.json claims at least 268,.* the files hold 10"),
    ],
)
def test_another_configuration(fields: dict[str, Any], message: str, editable: Path) -> None:
    change(editable / "config.json", **fields)
    refuse(editable, message)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not valid JSON"), ("[" * 100_000, "not valid JSON"), ("[]", "expected an object")]
)
def test_a_configuration_that_is_none(text: str, message: str, editable: Path) -> None:
    (editable / "config.json").write_text(text)
    refuse(editable, message)


@pytest.mark.parametrize(
    ("index", "fields", "message"),
    [
        (2, {"type": "sentence_transformers.models.LSTM"}, "unknown type 'sentence_transformers.models.LSTM'"),
        (3, {"type": "sentence_transformers.models.Dense"}, "are Transformer, Pooling, Dense, Dense; expected"),
        (1, {"type": "sentence_transformers.models.Dense"}, "are Transformer, Dense, Dense, Normalize; expected"),
        (1, {"idx": 2}, "module 1: idx is 2"),
        (2, {"path": None}, "module 2: expected an object with the strings"),
        (0, {"path": ".."}, r"modules.json: the path '../config.json' leaves the folder"),
        (2, {"path": "/etc"}, r"modules.json: the path '/etc/config.json' leaves the folder"),
        (2, {"path": "..\\2_Dense"}, "leaves the folder"),
        (2, {"path": "elsewhere"}, "elsewhere/config.json: missing"),
    ],
)
def test_another_chain_of_modules(index: int, fields: dict[str, Any], message: str, editable: Path) -> None:
    modules = json.loads((editable / "modules.json").read_text())
    modules[index] |= fields
    write_json(editable / "modules.json", modules)
    refuse(editable, message)


@pytest.mark.parametrize(("modules", "message"), [({}, "expected a list"), ([], "modules are none"), ([1], "module 0")])
def test_modules_of_another_form(modules: object, message: str, editable: Path) -> None:
    write_json(editable / "modules.json", modules)
    refuse(editable, message)


@pytest.mark.parametrize(
    ("file", "fields", "message"),
    [
        (
            "1_Pooling/config.json",
            {"pooling_mode_max_tokens": True},
            "pools by pooling_mode_m.*pooling_mode_max_tokens",
        ),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "pools by nothing"),
        ("1_Pooling/config.json", {"pooling_mode": "cls"}, "pooling_mode cls"),
        ("2_Dense/config.json", {"bias": True}, "bias is True"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Tanh"}, "activation.Tanh"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "module_input_name is 'token_embeddings'"),
        ("2_Dense/config.json", {"in_features": 768}, "in_features is 768, d_model of the encoder is 32"),
        ("2_Dense/config.json", {"out_features": 25}, re.escape("linear.weight is [24, 32], config.json makes it [25")),
        ("2_Dense/config.json", {"out_features": HUGE}, "out_features is 10000000000"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case is on"),
        ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length is 0"),
    ],
)
def test_another_pooling_dense_or_length(file: str, fields: dict[str, Any], message: str, editable: Path) -> None:
    change(editable / file, **fields)
    refuse(editable, message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("modules.json", "a plain T5 does not say"),
        ("config.json", "config.json: missing"),
        ("1_Pooling/config.json", "1_Pooling/config.json: missing"),
        ("2_Dense/config.json", "2_Dense/config.json: missing"),
        ("model.safetensors", "no weights; expected"),
        ("2_Dense/model.safetensors", "2_Dense: no weights; expected"),
    ],
)
def test_a_missing_file(name: str, message: str, editable: Path) -> None:
    (editable / name).unlink()
    refuse(editable, message)


def test_a_bundle_is_no_checkpoint(editable: Path) -> None:
    (editable / "modules.json").rename(editable / "manifest.json")
    refuse(editable, "is a bundle already")


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_checkpoint(tmp_path / "none")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "2_Dense/model.safetensors"])
def test_a_link_out_of_the_folder(name: str, editable: Path, tmp_path: Path) -> None:
    (editable / name).rename(tmp_path / "outside")
    (editable / name).symlink_to(tmp_path / "outside")
    refuse(editable, f"{name}: a link that leads out of the folder")


def test_a_linked_folder_and_a_loop(editable: Path, tmp_path: Path) -> None:
    (editable / "2_Dense").rename(tmp_path / "outside")
    (editable / "2_Dense").symlink_to(tmp_path / "outside")
    refuse(editable, "2_Dense/config.json: a link that leads out")
    (editable / "2_Dense").unlink()
    (editable / "2_Dense").symlink_to("2_Dense")
    refuse(editable, "2_Dense/config.json(' cannot be looked up|: missing)")


def test_a_tokenizer_that_does_not_fit(editable: Path) -> None:
    tokenizer = json.loads((editable / "tokenizer.json").read_text(encoding="utf-8"))
    write_json(editable / "tokenizer.json", tokenizer | {"post_processor": None})
    refuse(editable, "tokenizer.json: does not end a text with id 1")
    tokenizer["added_tokens"].append(tokenizer["added_tokens"][-1] | {"id": 283, "content": "<more>"})
    tokenizer["model"]["vocab"] += [[f"word{i}", -9.0] for i in range(40)]
    write_json(editable / "tokenizer.json", tokenizer)
    refuse(editable, "tokenizer.json: has token id 29.*, the model has 283 rows")
    (editable / "tokenizer.json").write_text("{}")
    refuse(editable, "tokenizer.json: not a tokenizer that can be read")
    (editable / "tokenizer.json").unlink()
    (editable / "spiece.model").write_bytes(b"\xff not a model")
    refuse(editable, "spiece.model: not a sentencepiece model")
    (editable / "spiece.model").write_bytes(b"")
    refuse(editable, "spiece.model: not a unigram model")
    (editable / "spiece.model").unlink()
    refuse(editable, "no tokenizer; expected tokenizer.json or spiece.model")


def test_extra_ids_beyond_the_table(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "x", tokenizer="spiece")
    change(folder / "tokenizer_config.json", extra_ids=HUGE)
    refuse(folder, "extra_ids is 10000000000")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
@pytest.mark.parametrize("make", ["mkfifo", "mkdir"])
@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", "model.safetensors", "tokenizer.json"])
def test_a_pipe_or_a_folder_in_place_of_a_file(name: str, make: str, editable: Path) -> None:
    (editable / name).unlink()
    getattr(os, make)(editable / name)
    refuse(editable, f"{name}: is no regular file")


@pytest.mark.parametrize("name", ["modules.json", "config.json", "sentence_bert_config.json", "model.safetensors"])
def test_a_link_to_a_name_that_is_too_long(name: str, editable: Path) -> None:
    (editable / name).unlink()
    (editable / name).symlink_to("x" * 4000)
    refuse(editable, f"{name}' cannot be looked up .*too long")


def test_a_file_that_is_too_large(editable: Path) -> None:
    with (editable / "tokenizer.json").open("r+b") as file:
        file.truncate(HUGE)  # without a block on the disk
    refuse(editable, "tokenizer.json: more than 67,108,864 bytes")


DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]


@pytest.mark.parametrize("value", ["x" * 5000, "a\ud800", "a\nb\x1b[2J", DEEP, [["x" * 5000] * 5000]])
@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("config.json", "model_type"),
        ("config.json", "architectures"),
        ("config.json", "feed_forward_proj"),
        ("config.json", "dense_act_fn"),
        ("config.json", "d_model"),
        ("1_Pooling/config.json", "pooling_mode"),
        ("2_Dense/config.json", "bias"),
        ("2_Dense/config.json", "activation_function"),
        ("2_Dense/config.json", "module_input_name"),
        ("sentence_bert_config.json", "max_seq_length"),
    ],
)
def test_a_value_is_named_on_one_printable_line(file: str, key: str, value: object, editable: Path) -> None:
    change(editable / file, **{key: value})
    check_line(editable)


@pytest.mark.parametrize("value", ["x" * 5000, "a\ud800", "a\nb\x1b[2J"])
def test_a_name_is_named_on_one_printable_line(value: str, editable: Path) -> None:
    own = json.loads((editable / "modules.json").read_text())
    for key in ("path", "type", "idx"):
        write_json(editable / "modules.json", [own[0] | {key: value}, *own[1:]])
        check_line(editable)
    write_json(editable / "modules.json", own)
    change(editable / "1_Pooling/config.json", **{f"pooling_mode_{value}": True})
    check_line(editable)


def check_line(folder: Path) -> None:
    """The checkpoint is refused with a line that a terminal shows and a log takes."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_many_modules(editable: Path) -> None:
    modules = json.loads((editable / "modules.json").read_text())
    write_json(editable / "modules.json", modules + [modules[1] | {"idx": 4}] * 20_000)
    refuse(editable, "are Transformer, Pooling, Dense, Normalize, Pooling; expected")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": None}}, "not a tokenizer that can be read"),
        (
            {
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "absent", "type_id": 0}}],
                    "pair": [],
                    "special_tokens": {},
                }
            },
            "cannot be used",
        ),
    ],
)
def test_a_tokenizer_that_makes_its_library_panic(fields: dict[str, Any], message: str, editable: Path) -> None:
    change(editable / "tokenizer.json", **fields)
    refuse(editable, f"tokenizer.json: {message}")


@pytest.mark.parametrize(
    "fields",
    [
        {"truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 5}},
        {"model": {"type": "WordLevel", "vocab": {"</s>": 1}, "unk_token": "absent"}, "added_tokens": []},
    ],
    ids=["truncation", "no unknown word"],
)
def test_a_tokenizer_that_fails_on_a_text(fields: dict[str, Any], editable: Path, tmp_path: Path) -> None:
    change(editable / "tokenizer.json", **fields)
    with pytest.raises(CheckpointError, match="instructor-base: its tokenizer cannot be used"):
        export(editable, tmp_path / "b", variants=["fp32"], show_progress=False)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("charsmap", [b"x", b"\xff\xff\xff\xff", b"\0\4\0\0"])
def test_a_sentencepiece_model_whose_normalisation_is_damaged(charsmap: bytes, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "x", tokenizer="spiece")
    model = sentencepiece_model_pb2.ModelProto.FromString((folder / "spiece.model").read_bytes())
    model.normalizer_spec.precompiled_charsmap = charsmap
    (folder / "spiece.model").write_bytes(model.SerializeToString())
    refuse(folder, "spiece.model: not a vocabulary that can be used .*Use the file that came with")


def test_a_sentencepiece_model_of_no_utf8(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "x", tokenizer="spiece")
    contents = (folder / "spiece.model").read_bytes()
    (folder / "spiece.model").write_bytes(contents.replace("▁".encode(), b"\xff\xfe\xfd"))
    refuse(folder, "spiece.model: (not a sentencepiece model|has a piece that is not UTF-8)")
