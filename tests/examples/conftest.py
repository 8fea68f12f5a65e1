"""What the examples in other languages share: rows to embed, and what `encode` gives for them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from instructor_onnx import INSTRUCTOR
from instructor_onnx.engines import saturation

from benchmarks.common import PROJECT

EXAMPLES = PROJECT / "examples"
KEPT = PROJECT / ".cache" / "examples"  # what package registries gave, for the next run
ROWS = [
    ["Represent the Science title: ", "3D ActionSLAM: wearable person tracking in multi-floor environments"],
    ["Represent the question for retrieving supporting documents: ", "How do plants make sugar?"],
    ["", "no instruction at all"],
    ["query", "one token of instruction, which is pooled"],
    ["Represent the document for retrieval: ", ""],
    ["", " \t\n"],
    ["Represent the title: ", "Ｆｕｌｌ width, ﬁne café, ①, naïve 😀 你好，世界 مرحبا <extra_id_0> </s>"],
    ["\ufeffRepresent the sentence\x85", "\u2003\xa0between \u200b blanks of every kind\x1c\r\n"],
    ["Represent the document for retrieval: ", "the river rises in the hills and " * 100],  # cut at 512
    ["Represent the", "ory of sets"],  # the tokens of the instruction are not those that both begin with
]
Encode = Callable[[Sequence[str], str], None]


@pytest.fixture
def gives_the_vectors(mini_bundle: Path) -> Encode:
    """Asserts that a command gives for ROWS what `encode` gives, with a variant."""

    def check(command: Sequence[str], variant: str) -> None:
        expected = INSTRUCTOR(mini_bundle, variant=variant, device="cpu", engine="onnxruntime").encode(ROWS)
        found = vectors_of([*command, str(mini_bundle), variant])
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)

    return check


def vectors_of(command: Sequence[str]) -> npt.NDArray[np.float32]:
    """What an example writes for ROWS."""
    onnxruntime = pytest.importorskip("onnxruntime")
    flags = ["--saturates"] if saturation.saturates(onnxruntime) else []
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    done = subprocess.run(
        [*command, *flags], input=lines, capture_output=True, text=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stderr
    return np.array([json.loads(line) for line in done.stdout.splitlines()], dtype=np.float32)
