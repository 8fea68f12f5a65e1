"""The routes of text-embeddings-inference, as its clients use them."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR, __version__

from tests.server.conftest import PRESETS, Start

TEXTS = ["3D ActionSLAM", "the river rises in the hills"]
LONG = "river " * 1000


def embed(client: httpx.Client, inputs: Any, **fields: Any) -> np.ndarray:
    response = client.post("/embed", json={"inputs": inputs, **fields})
    assert response.status_code == 200, response.text
    return np.array(response.json(), dtype=np.float32)


def test_huggingface_hubs_client(shared_server: str, model: INSTRUCTOR) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    for address in (shared_server, f"{shared_server}/embed"):
        client = huggingface_hub.InferenceClient(model=address)
        found = client.feature_extraction(TEXTS[0], normalize=True, truncate=True, truncation_direction="Right")
        np.testing.assert_array_equal(found, model.encode(TEXTS[:1]))
        found = client.feature_extraction(TEXTS[0], prompt_name="query")
        np.testing.assert_array_equal(found, model.encode([(PRESETS["query"], TEXTS[0])]))


def test_embed(client: httpx.Client, model: INSTRUCTOR) -> None:
    expected = model.encode(TEXTS)
    np.testing.assert_array_equal(embed(client, TEXTS), expected)
    assert embed(client, TEXTS[0]).shape == (1, 384)  # a list of vectors, also of one text
    cut = embed(client, TEXTS, dimensions=8)
    np.testing.assert_allclose(cut, expected[:, :8] / np.linalg.norm(expected[:, :8], axis=1)[:, None], atol=1e-6)
    ids = [[token["id"] for token in row] for row in client.post("/tokenize", json={"inputs": TEXTS}).json()]
    np.testing.assert_array_equal(embed(client, ids), expected)


@pytest.mark.parametrize("precision", ["int8", "ubinary"])
def test_fewer_bits(client: httpx.Client, model: INSTRUCTOR, precision: Any) -> None:
    response = client.post("/embed", json={"inputs": TEXTS, "precision": precision, "dimensions": 40})
    np.testing.assert_array_equal(response.json(), model.encode(TEXTS, precision=precision, truncate_dim=40))
    assert response.headers["Instructor-Fingerprint"] == model.fingerprint
    assert client.get("/info").json()["fingerprint"] == model.fingerprint
    assert client.post("/embed", json={"inputs": TEXTS, "precision": "int4"}).status_code == 422


def test_truncate(client: httpx.Client, start: Start) -> None:
    assert embed(client, LONG).shape == embed(client, LONG, truncate=True).shape == (1, 384)
    refused = client.post("/embed", json={"inputs": LONG, "truncate": False})
    assert refused.status_code == 422
    assert refused.json()["error_type"] == "Validation"
    assert refused.json()["error"].startswith("inputs[0]: more than 512 tokens with its instruction")
    strict = start(auto_truncate=False)
    assert strict.post("/embed", json={"inputs": LONG}).status_code == 422
    assert embed(strict, LONG, truncate=True).shape == (1, 384)
    left = client.post("/embed", json={"inputs": LONG, "truncation_direction": "Left"})
    assert left.status_code == 422
    assert left.json()["error"].startswith("truncation_direction: ")


def test_tokenize(client: httpx.Client, model: INSTRUCTOR) -> None:
    text = "  naïve café, 3D 你好 "
    (tokens,) = client.post("/tokenize", json={"inputs": text}).json()
    assert [token["id"] for token in tokens] == model.tokenize(text)["input_ids"][0].tolist()
    assert tokens[-1] == {"id": 1, "text": "</s>", "special": True, "start": None, "stop": None}
    for token in tokens[:-1]:
        assert text.strip()[token["start"] : token["stop"]] == token["text"]
    (bare,) = client.post("/tokenize", json={"inputs": text, "add_special_tokens": False}).json()
    assert bare == tokens[:-1]
    (prompted,) = client.post("/tokenize", json={"inputs": text, "prompt_name": "query"}).json()
    assert [token["id"] for token in prompted] == model.tokenize([(PRESETS["query"], text)])["input_ids"][0].tolist()
    assert len(client.post("/tokenize", json={"inputs": TEXTS}).json()) == 2


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/embed", {"inputs": []}, "inputs: found an empty list"),
        ("/embed", {}, "inputs: is missing"),
        ("/embed", {"inputs": {"text": "a"}}, "inputs: expected a string"),
        (
            "/embed",
            {"inputs": "a", "prompt_name": "qurey"},
            "prompt_name: there is no preset 'qurey'; there are: query,",
        ),
        ("/embed", {"inputs": "a", "normalize": 1}, "normalize: "),
        ("/tokenize", {"inputs": [[1, 2]]}, "inputs: expected a string"),
        ("/tokenize", {"inputs": []}, "inputs: found an empty list"),
    ],
)
def test_what_is_refused(client: httpx.Client, path: str, body: Any, said: str) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 422
    assert response.json()["error_type"] == "Validation"
    assert response.json()["error"].startswith(said)


def test_info(client: httpx.Client) -> None:
    info = client.get("/info").json()
    assert info["model_id"] == "instructor-mini"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == 512
    assert info["max_client_batch_size"] == 2048
    assert info["auto_truncate"] is True
    assert info["version"] == __version__


def test_unknown_routes_and_methods(client: httpx.Client) -> None:
    assert client.get("/nowhere").json()["error"].startswith("There is no /nowhere")
    assert client.get("/embed").status_code == 405
    assert client.get("/v1/embeddings").json()["error"]["code"] == "method_not_allowed"


def test_openapi_document(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        *("/v1/embeddings", "/v1/models", "/v1/models/{model}"),
        *("/embed", "/tokenize", "/info", "/health", "/metrics"),
    }
    assert "instruction" in document["components"]["schemas"]["EmbeddingsRequest"]["properties"]
    assert client.get("/docs").status_code == 404  # it would load scripts from elsewhere


def test_metrics(start: Start, model: INSTRUCTOR) -> None:
    client = start()
    tokens = int(model.tokenize([*TEXTS, LONG])["attention_mask"].sum())
    client.post("/embed", json={"inputs": TEXTS})
    client.post("/embed", json={"inputs": LONG})
    client.post("/embed", json={"inputs": []})
    text = client.get("/metrics").text
    for line in (
        'instructor_requests_total{route="/embed",status="200"} 2.0',
        'instructor_requests_total{route="/embed",status="422"} 1.0',
        'instructor_errors_total{kind="invalid"} 1.0',
        'instructor_request_duration_seconds_count{route="/embed"} 3.0',
        "instructor_tokenize_seconds_count 2.0",
        "instructor_queue_wait_seconds_count 2.0",
        "instructor_inference_seconds_count 2.0",
        f"instructor_batch_tokens_sum {float(tokens)}",
        "instructor_batch_rows_sum 3.0",
        "instructor_truncated_inputs_total 1.0",
        "instructor_queue_tokens 0.0",
        "instructor_requests_in_progress 0.0",
    ):
        assert line in text.splitlines()
    assert "process_resident_memory_bytes" in text


def test_tokenize_answers_only_so_many_tokens(client: httpx.Client) -> None:
    refused = client.post("/tokenize", json={"inputs": ["the sea " * 10_000] * 20})
    assert refused.status_code == 413
    assert refused.json()["error"] == "inputs: more than 65,536 tokens. Send fewer at once."
    swelling = client.post("/tokenize", json={"inputs": "\ufdfa" * 600_000})  # each becomes four words
    assert swelling.status_code == 413
    assert len(client.post("/tokenize", json={"inputs": ["the sea"] * 100}).json()) == 100
