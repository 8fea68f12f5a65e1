"""What the tests of all integrations share."""

from __future__ import annotations

import os

import pytest
from instructor_onnx import INSTRUCTOR

# Before the frameworks are imported: tests send nothing to anyone.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["ANONYMIZED_TELEMETRY"] = "False"

QUERY = "Represent the question for retrieving supporting documents: "
DOCUMENT = "Represent the document for retrieval: "
# Each question's answer is the text in its place.
QUESTIONS = ["Who sets the interest rate?", "What eats hippos?", "How do plants make sugar?"]
TEXTS = [
    "The central bank decides every six weeks at what rate commercial banks may borrow.",
    "Lions and crocodiles take young hippos; adults have few enemies.",
    "In the chloroplasts of a leaf, light turns water and carbon dioxide into glucose.",
]


@pytest.fixture(scope="session")
def mini() -> INSTRUCTOR:
    return INSTRUCTOR("instructor-mini", device="cpu")


@pytest.fixture(scope="session")
def document_vectors(mini: INSTRUCTOR) -> list[list[float]]:
    """TEXTS as documents; int8 gives a text the same vector in any batch, so tests compare exactly."""
    vectors: list[list[float]] = mini.encode([(DOCUMENT, text) for text in TEXTS]).tolist()
    return vectors


@pytest.fixture(scope="session")
def query_vectors(mini: INSTRUCTOR) -> list[list[float]]:
    vectors: list[list[float]] = mini.encode([(QUERY, question) for question in QUESTIONS]).tolist()
    return vectors
