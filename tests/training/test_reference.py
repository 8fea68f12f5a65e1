"""What the trainer computes is what InstructorEmbedding 1.0.1 itself computed (the golden set beside these tests)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_training.model import load_checkpoint
from instructor_onnx_training.tokens import make_batch, tokenizer_of

GOLDEN = Path(__file__).parents[1] / "data/golden"
CASES = json.loads((GOLDEN / "cases.json").read_text("utf-8"))["cases"]


@pytest.mark.parametrize("case", CASES)
def test_vectors_are_the_references(case: str) -> None:
    model = load_checkpoint(GOLDEN / "instructor-golden").eval()
    tokenizer = tokenizer_of(read_checkpoint(GOLDEN / "instructor-golden"))
    sentences = [CASES[case]] if isinstance(CASES[case], str) else CASES[case]
    rows = [("", row) if isinstance(row, str) else (row[0], row[1]) for row in sentences]
    with torch.inference_mode():
        found = model(make_batch(tokenizer, rows, max_length=model.max_length)).numpy()
    with np.load(GOLDEN / "vectors.npz") as vectors:
        # float32 sums in another order; measured: 1.3e-7
        np.testing.assert_allclose(found, np.atleast_2d(vectors[case]), rtol=0, atol=1e-5)
