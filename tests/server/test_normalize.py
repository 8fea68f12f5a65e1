"""A model without Normalize: vectors as the model gives them below /v1, unit length from /embed."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR

from tests.checkpoints import make_checkpoint
from tests.conftest import exported
from tests.server.conftest import is_ready, serving, wait_until


def test_normalize(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = exported(make_checkpoint(tmp_path / "instructor-bare", normalize=False), tmp_path_factory)
    model = INSTRUCTOR(bundle, device="cpu", num_threads=1)
    expected = model.encode(["a river"])
    unit = expected / np.linalg.norm(expected)
    assert abs(np.linalg.norm(expected) - 1) > 0.01
    with serving(lambda: model) as server, httpx.Client(base_url=server.url) as client:
        wait_until(lambda: is_ready(client))
        found = client.post("/v1/embeddings", json={"input": "a river"}).json()
        np.testing.assert_allclose(found["data"][0]["embedding"], expected[0], atol=1e-6)
        for fields, wanted in (({}, unit), ({"normalize": True}, unit), ({"normalize": False}, expected)):
            body = {"inputs": "a river", **fields}
            np.testing.assert_allclose(client.post("/embed", json=body).json(), wanted, atol=1e-6)
