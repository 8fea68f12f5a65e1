"""The table of variants: the one place that says what each is."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from instructor_onnx import Manifest
from instructor_onnx.loading import EXPORTED, PREFERRED_VARIANTS
from instructor_onnx_export import VerificationError, verify_bundle
from instructor_onnx_export.variants import VARIANTS


def test_the_runtime_knows_every_variant_and_where_it_runs() -> None:
    assert tuple(VARIANTS) == EXPORTED
    for device, preferred in PREFERRED_VARIANTS.items():
        assert set(preferred) == {name for name, spec in VARIANTS.items() if device in spec.devices}


def test_a_row_is_frozen_and_bears_its_key() -> None:
    for name, spec in VARIANTS.items():
        assert spec.name == name
        with pytest.raises(dataclasses.FrozenInstanceError):
            spec.min_cosine = 0.0  # type: ignore[misc]


def test_only_what_is_calibrated_can_take_over_outliers() -> None:
    assert [name for name, spec in VARIANTS.items() if spec.migrated and not spec.calibrated] == []


def test_what_a_bundle_says_of_a_variant_is_the_tables(bundle: Path) -> None:
    for name, variant in Manifest.read(bundle).variants.items():
        assert (variant.weight_type, variant.devices) == (VARIANTS[name].weight_type, VARIANTS[name].devices)


def test_a_bundle_with_a_variant_of_no_known_promise_is_refused(
    bundle: Path, base_checkpoint: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(bundle, tmp_path / "b")
    manifest = Manifest.read(own)
    dataclasses.replace(manifest, variants={"int9": manifest.variants["int8"]}).write(own)
    with pytest.raises(
        VerificationError, match="b: found a variant int9, expected one of fp32, int8, .* export the checkpoint again"
    ):
        verify_bundle(own, base_checkpoint, show_progress=False)
