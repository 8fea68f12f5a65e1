"""A model without Normalize: vectors as the model gives them below /v1, unit length from /embed."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from instructor_onnx import INSTRUCTOR
from instructor_onnx.tokens import Tokens

from tests.server import conftest
from tests.server.conftest import HeldEngine, Start


def load() -> INSTRUCTOR:
    """The model, as if it had no Normalize."""
    model = conftest.load()
    facts = dataclasses.replace(model.manifest.model, normalize=False)
    model.manifest = dataclasses.replace(model.manifest, model=facts)
    return model


def test_normalize(start: Start, model: INSTRUCTOR, held: HeldEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = held.sentence_embeddings

    def longer(tokens: Tokens, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return 3 * run(tokens, rows)

    monkeypatch.setattr(held, "sentence_embeddings", longer)
    unit = model.encode(["a river"])
    client = start(load=load)
    found = client.post("/v1/embeddings", json={"input": "a river"}).json()
    np.testing.assert_allclose(found["data"][0]["embedding"], 3 * unit[0], atol=1e-6)
    for fields, wanted in (({}, unit), ({"normalize": True}, unit), ({"normalize": False}, 3 * unit)):
        np.testing.assert_allclose(
            client.post("/embed", json={"inputs": "a river", **fields}).json(), wanted, atol=1e-6
        )
