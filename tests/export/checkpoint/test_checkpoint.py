"""Reading checkpoints of the family in every layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from instructor_onnx import hub
from instructor_onnx.bundle import sha256
from instructor_onnx_export.checkpoint.read import CheckpointError, read_checkpoint
from instructor_onnx_export.checkpoint.spiece import tokenizer_json
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from tests.checkpoints import make_checkpoint, save_weights, write_json

TEXTS = [
    "",
    "   ",
    "</s>",
    "<extra_id_0>",
    "salt </s>and<extra_id_0> <pad>water <unk>",
    "déjà vu de\u0301ja\u0300 vu — ½ ﬁ 漢字 🙂 \u200b zero\u200dwidth\u00a0nbsp\ttab\nline",
    "  leading,  inner   and trailing spaces  ",
    "▁under▁score ▁",
    "ｆｕｌｌ\u3000ｗｉｄｔｈ \x00\x01",
]


def test_every_member_of_the_family_is_read(family: Path) -> None:
    checkpoint = read_checkpoint(family)
    config = checkpoint.config
    assert checkpoint.name == family.name
    assert (config.d_model, config.num_layers, config.max_seq_length) == (32, 2, 512)
    assert config.embedding_dim == (24 if config.has_dense else 32)
    assert ("dense.linear.weight" in checkpoint.weights) == config.has_dense
    assert "encoder.embed_tokens.weight" not in checkpoint.weights
    assert checkpoint.weights["shared.weight"].shape == (config.vocab_size, 32)


def test_config_says_what_the_files_say(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "x", d_kv=16, gated=True, normalize=False, max_seq_length=256)
    config = read_checkpoint(folder).config
    assert (config.num_heads, config.d_kv, config.d_ff) == (4, 16, 64)
    assert (config.feed_forward, config.normalize, config.has_dense) == ("gated-gelu", False, True)
    assert (config.max_seq_length, config.pad_token_id, config.eos_token_id) == (256, 0, 1)
    assert config.layer_norm_epsilon == 1e-6
    assert (config.relative_attention_num_buckets, config.relative_attention_max_distance) == (32, 128)


@pytest.mark.parametrize("weight_format", ["sharded", "bin", "sharded-bin"])
def test_every_weight_format_holds_the_same(weight_format: str, tmp_path: Path, base_checkpoint: Path) -> None:
    expected = read_checkpoint(base_checkpoint).weights
    found = read_checkpoint(make_checkpoint(tmp_path / "x", weight_format=weight_format)).weights
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept_as_stored(dtype: torch.dtype, tmp_path: Path) -> None:
    weights = read_checkpoint(make_checkpoint(tmp_path / "x", dtype=dtype)).weights
    assert {tensor.dtype for tensor in weights.values()} == {dtype}


def test_safetensors_is_preferred_to_a_pickle(editable: Path) -> None:
    (editable / "pytorch_model.bin").write_bytes(b"not looked at")
    assert "pytorch_model.bin" not in read_checkpoint(editable).source_sha256


def test_hashes_of_every_file_used(base_checkpoint: Path) -> None:
    hashes = read_checkpoint(base_checkpoint).source_sha256
    weights = {"model.safetensors", "2_Dense/model.safetensors"}
    assert weights | {"config.json", "modules.json", "1_Pooling/config.json", "tokenizer.json"} <= hashes.keys()
    assert all(hashes[name] == sha256(base_checkpoint / name) for name in hashes)


def test_full_t5_is_read_without_its_decoder(editable: Path) -> None:
    weights = load_file(editable / "model.safetensors")
    weights["decoder.final_layer_norm.weight"] = torch.ones(32)
    weights["lm_head.weight"] = torch.ones(weights["shared.weight"].shape)
    save_file(weights, editable / "model.safetensors")
    assert not any(name.startswith(("decoder.", "lm_head")) for name in read_checkpoint(editable).weights)

    config = json.loads((editable / "config.json").read_text())
    write_json(editable / "config.json", config | {"is_encoder_decoder": False})
    with pytest.raises(CheckpointError, match=r"decoder.final_layer_norm.weight \(and 1 more\) does not belong"):
        read_checkpoint(editable)


def test_the_table_under_its_other_name(editable: Path) -> None:
    weights = load_file(editable / "model.safetensors")
    table = weights.pop("shared.weight").clone()  # older safetensors write over the file that it is mapped from
    save_file(weights | {"encoder.embed_tokens.weight": table}, editable / "model.safetensors")
    assert torch.equal(read_checkpoint(editable).weights["shared.weight"], table)

    both = weights | {"shared.weight": table, "encoder.embed_tokens.weight": table + 1}
    save_file(both, editable / "model.safetensors")
    with pytest.raises(CheckpointError, match="they are one table"):
        read_checkpoint(editable)


@pytest.mark.parametrize(
    "types",
    [
        ["InstructorEmbedding.INSTRUCTOR_Transformer", "InstructorEmbedding.instructor.INSTRUCTOR_Pooling"],
        ["sentence_transformers.base.modules.transformer.Transformer", "sentence_transformers.x.pooling.Pooling"],
        ["InstructorEmbedding.instructor", "InstructorEmbedding.instructor"],  # as its own save() writes them
    ],
)
def test_modules_under_other_names(types: list[str], editable: Path) -> None:
    modules = json.loads((editable / "modules.json").read_text())
    for module, dotted in zip(modules, types, strict=False):
        module["type"] = dotted
    (editable / "1_Pooling").rename(editable / "1_INSTRUCTOR_Pooling")
    modules[1]["path"] = "1_INSTRUCTOR_Pooling"
    write_json(editable / "modules.json", modules)
    assert read_checkpoint(editable).config.has_dense


def test_transformer_in_a_folder_of_its_own(editable: Path) -> None:
    own = editable / "0_Transformer"
    own.mkdir()
    for file in [path for path in editable.iterdir() if path.is_file() and path.name != "modules.json"]:
        file.rename(own / file.name)
    modules = json.loads((editable / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write_json(editable / "modules.json", modules)
    assert "0_Transformer/model.safetensors" in read_checkpoint(editable).source_sha256


@pytest.mark.parametrize("modes", [{"pooling_mode": "mean"}, {"pooling_mode": ["mean"], "include_prompt": True}])
def test_newer_names_of_mean_pooling(modes: dict[str, object], editable: Path) -> None:
    write_json(editable / "1_Pooling/config.json", modes)
    read_checkpoint(editable)


def test_configuration_older_than_its_optional_fields(editable: Path) -> None:
    config = json.loads((editable / "config.json").read_text())
    for name in ("feed_forward_proj", "relative_attention_max_distance", "pad_token_id", "eos_token_id"):
        del config[name]
    write_json(editable / "config.json", config)
    (editable / "sentence_bert_config.json").unlink()
    assert read_checkpoint(editable).config == read_checkpoint(make_checkpoint(editable.parent / "new")).config


def test_tokenizer_json_is_taken_byte_for_byte(base_checkpoint: Path) -> None:
    assert read_checkpoint(base_checkpoint).tokenizer_json == (base_checkpoint / "tokenizer.json").read_bytes()


def test_tokenizer_json_is_made_from_spiece_model(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(make_checkpoint(tmp_path / "x", tokenizer="spiece"))
    tokenizer = Tokenizer.from_buffer(checkpoint.tokenizer_json)
    assert tokenizer.encode("</s>").ids == [1, 1]
    assert tokenizer.encode("<extra_id_0>").ids == [tokenizer.get_vocab_size() - 1, 1]
    assert tokenizer.encode("").ids == [1]
    assert "spiece.model" in checkpoint.source_sha256


def test_conversion_of_the_real_vocabulary(shared: Path) -> None:
    folder = shared / "instructor-large"
    made = Tokenizer.from_str(tokenizer_json((folder / "spiece.model").read_bytes(), eos_token_id=1, extra_ids=100))
    real = Tokenizer.from_file(str(folder / "tokenizer.json"))
    real.no_padding()
    for text in TEXTS:
        assert made.encode(text).ids == real.encode(text).ids
    assert made.get_vocab() == real.get_vocab()
    assert made.decode(made.encode("salt and water").ids) == "salt and water"


def test_files_of_a_hub_cache_may_be_links(editable: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--x--y"
    blobs, snapshot = cache / "blobs", cache / "snapshots/0123"
    blobs.mkdir(parents=True)
    for index, file in enumerate([path for path in editable.rglob("*") if path.is_file()]):
        link = snapshot / file.relative_to(editable)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, blobs / str(index))
        link.symlink_to(blobs / str(index))
    assert read_checkpoint(snapshot).weights


@pytest.mark.parametrize(("dense", "pickles"), [("safetensors", False), ("bin", True)])
def test_pickles_are_downloaded_only_where_needed(
    dense: str, pickles: bool, editable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load_file(editable / "2_Dense/model.safetensors")
    (editable / "2_Dense/model.safetensors").unlink()
    save_weights(editable / "2_Dense", dense, weights)
    asked: list[list[str]] = []

    def download(repo_id: str, patterns: list[str], options: hub.HubOptions) -> Path:
        assert (repo_id, options.revision) == ("someone/instructor-base", "v1")
        asked.append(patterns)
        return editable

    monkeypatch.setattr(hub, "download", download)
    checkpoint = read_checkpoint("someone/instructor-base", hub.HubOptions(revision="v1"))
    assert checkpoint.name == "someone/instructor-base"
    assert any("*pytorch_model.bin" in patterns for patterns in asked) == pickles
