"""optimum: a bundle's variants open with it, and what its own export leaves out. In the benchmark's environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR

from benchmarks.common import PROJECT
from tests.conftest import MINI

ROWS = [
    ["Represent the Science title: ", "3D ActionSLAM: wearable person tracking in multi-floor environments"],
    ["Represent the question for retrieving supporting documents: ", "How do plants make sugar?"],
    ["Represent the Financial statement for classifying the sentiment: ", "Interest rates rose by 0.25 per cent."],
    ["Represent the document for retrieval: ", "In a leaf, light makes glucose of air and water."],
    ["Represent the title: ", ""],
    ["query", "one token of instruction, which is pooled"],
    ["", "No instruction at all."],
    ["", ""],
]
INSTRUCTED = 5  # the first rows, whose mean leaves tokens out

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def theirs(optimum_python: Path, mini_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    folder = tmp_path_factory.mktemp("optimum")
    (folder / "rows.json").write_text(json.dumps(ROWS), encoding="utf-8")
    script = Path(__file__).with_name("optimum_vectors.py")
    done = subprocess.run(
        [str(optimum_python), str(script), str(mini_bundle), str(MINI), "rows.json", "out.npz"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT / "runtime"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "out.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_a_variant_opens_and_gives_the_vectors_of_encode(
    theirs: Mapping[str, Any], mini_bundle: Path, variant: str
) -> None:
    ours = INSTRUCTOR(mini_bundle, variant=variant, device="cpu", engine="onnxruntime").encode(ROWS)
    np.testing.assert_allclose(theirs[variant], ours, rtol=0, atol=1e-5)


def test_a_variant_opens_as_a_subfolder_of_its_bundle(theirs: Mapping[str, Any]) -> None:
    np.testing.assert_array_equal(theirs["subfolder"], theirs["int8"])


def test_optimums_own_export_pools_the_instruction(theirs: Mapping[str, Any], mini_bundle: Path) -> None:
    """As docs/other-libraries.md says; should this fail one day, it may be used."""
    ours = INSTRUCTOR(mini_bundle, variant="fp32", device="cpu").encode(ROWS)
    cosines = (theirs["exported"] * ours).sum(axis=1)
    assert theirs["inputs"].tolist() == ["attention_mask", "input_ids"]
    assert cosines[:INSTRUCTED].max() < 0.99
    assert cosines[INSTRUCTED:].min() > 0.99999
