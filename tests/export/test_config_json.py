"""config.json beside each model.onnx, for libraries that want one."""

from __future__ import annotations

import shutil
from pathlib import Path

from instructor_onnx import Manifest
from instructor_onnx.bundle import OPTIMUM_CONFIG
from instructor_onnx.check import check_bundle
from instructor_onnx.hub import HubOptions
from instructor_onnx.loading import EMBEDDED
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.config_json import config_json
from transformers import AutoConfig, T5Config

from tests.conftest import MINI


def test_transformers_reads_the_numbers_of_the_checkpoint(family_bundle: Path, family: Path) -> None:
    theirs = T5Config.from_pretrained(family)
    for variant in Manifest.read(family_bundle).variants:
        ours = AutoConfig.from_pretrained(family_bundle / variant)
        assert isinstance(ours, T5Config)
        for name in (
            *("d_model", "d_ff", "d_kv", "num_heads", "num_layers", "vocab_size", "layer_norm_epsilon"),
            *("relative_attention_num_buckets", "relative_attention_max_distance", "pad_token_id", "eos_token_id"),
            *("feed_forward_proj", "dense_act_fn", "is_gated_act"),
        ):
            assert getattr(ours, name) == getattr(theirs, name), name


def test_the_embedded_bundle_has_that_of_its_checkpoint() -> None:
    """Exporting anew was not forgotten: `make mini`."""
    found = EMBEDDED["instructor-mini"] / "int8" / OPTIMUM_CONFIG
    assert found.read_text(encoding="utf-8") == config_json(read_checkpoint(MINI, HubOptions()).config)


def test_the_root_has_none_and_so_is_no_checkpoint(bundle: Path) -> None:
    assert not (bundle / OPTIMUM_CONFIG).exists()


def test_a_bundle_without_it_is_whole(bundle: Path, tmp_path: Path) -> None:
    """So were those of earlier versions."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    for variant in Manifest.read(copy).variants:
        (copy / variant / OPTIMUM_CONFIG).unlink()
    assert all(checked.passed for checked in check_bundle(copy))
