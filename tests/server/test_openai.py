"""/v1 with the real `openai` client."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from instructor_onnx import INSTRUCTOR

from tests.server.conftest import PRESETS, Start

TEXTS = ["3D ActionSLAM", "", "the river rises in the hills " * 40, "naïve café, 你好"]
INSTRUCTION = "Represent the Science title: "


@pytest.fixture
def api(shared_server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared_server}/v1", api_key="any", max_retries=0) as client:
        yield client


def vectors(response: openai.types.CreateEmbeddingResponse) -> np.ndarray:
    assert [item.index for item in response.data] == list(range(len(response.data)))
    return np.array([item.embedding for item in response.data], dtype=np.float32)


def test_vectors_are_those_of_encode(api: openai.OpenAI, model: INSTRUCTOR) -> None:
    response = api.embeddings.create(model="instructor-mini", input=TEXTS)  # base64, which the client decodes
    np.testing.assert_array_equal(vectors(response), model.encode(TEXTS))
    assert response.model == "instructor-mini"
    real = int(model.tokenize(TEXTS)["attention_mask"].sum())
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (real, real)


def test_floats_and_base64(api: openai.OpenAI, model: INSTRUCTOR) -> None:
    floats = api.embeddings.create(model="instructor-mini", input=TEXTS, encoding_format="float")
    np.testing.assert_array_equal(vectors(floats), model.encode(TEXTS))
    encoded = api.embeddings.create(model="instructor-mini", input=TEXTS, encoding_format="base64")
    for item, vector in zip(encoded.data, model.encode(TEXTS), strict=True):
        assert base64.b64decode(str(item.embedding)) == vector.astype("<f4").tobytes()


def test_one_string(api: openai.OpenAI, model: INSTRUCTOR) -> None:
    response = api.embeddings.create(model="instructor-mini", input=TEXTS[0])
    np.testing.assert_allclose(vectors(response), model.encode(TEXTS[:1]), atol=1e-6)


def test_one_instruction_for_all_and_one_for_each(api: openai.OpenAI, model: INSTRUCTOR) -> None:
    for instructions in ([INSTRUCTION] * 4, ["", INSTRUCTION, *PRESETS.values()]):
        given = instructions[0] if len(set(instructions)) == 1 else instructions
        response = api.embeddings.create(model="instructor-mini", input=TEXTS, extra_body={"instruction": given})
        rows = list(zip(instructions, TEXTS, strict=True))
        np.testing.assert_allclose(vectors(response), model.encode(rows), atol=1e-6)


def test_a_preset_is_picked_by_the_models_name(api: openai.OpenAI, model: INSTRUCTOR) -> None:
    response = api.embeddings.create(model="instructor-mini:query", input=TEXTS)
    np.testing.assert_allclose(vectors(response), model.encode([(PRESETS["query"], t) for t in TEXTS]), atol=1e-6)
    plain = api.embeddings.create(model="instructor-mini", input=TEXTS)
    assert np.abs(vectors(response)[0] - vectors(plain)[0]).max() > 0.01
    own = api.embeddings.create(model="instructor-mini:query", input=TEXTS, extra_body={"instruction": ""})
    np.testing.assert_allclose(vectors(own), vectors(plain), atol=1e-6)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
def test_token_ids_give_the_vectors_of_their_texts(
    api: openai.OpenAI, client: httpx.Client, model: INSTRUCTOR, instruction: str, special: bool
) -> None:
    texts = [TEXTS[0], *TEXTS[2:]]  # an empty text has no ids but </s>
    answer = client.post("/tokenize", json={"inputs": texts, "add_special_tokens": special}).json()
    ids = [[token["id"] for token in tokens] for tokens in answer]
    expected = model.encode([(instruction, text) for text in texts])
    extra = {"instruction": instruction}
    response = api.embeddings.create(model="instructor-mini", input=ids, extra_body=extra)
    np.testing.assert_allclose(vectors(response), expected, atol=1e-6)
    response = api.embeddings.create(model="instructor-mini", input=ids[0], extra_body=extra)
    np.testing.assert_allclose(vectors(response), expected[:1], atol=1e-6)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("dimensions", [None, 64])
def test_fewer_bits(
    api: openai.OpenAI, client: httpx.Client, model: INSTRUCTOR, precision: Any, dimensions: int | None
) -> None:
    expected = model.encode(TEXTS, precision=precision, truncate_dim=dimensions)
    body = {"input": TEXTS, "precision": precision, "dimensions": dimensions}
    answer = client.post("/v1/embeddings", json=body).json()
    np.testing.assert_array_equal([item["embedding"] for item in answer["data"]], expected)
    packed = client.post("/v1/embeddings", json=body | {"encoding_format": "base64"}).json()
    for item, vector in zip(packed["data"], expected, strict=True):
        assert base64.b64decode(item["embedding"]) == vector.tobytes()


def test_answers_have_the_fingerprint(api: openai.OpenAI, client: httpx.Client, model: INSTRUCTOR) -> None:
    response = api.embeddings.with_raw_response.create(model="instructor-mini", input=TEXTS[0])
    assert response.headers["Instructor-Fingerprint"] == model.fingerprint
    assert getattr(response.parse(), "fingerprint") == model.fingerprint  # noqa: B009 (openai does not know it)


def test_a_prompt_of_the_bundle_is_a_preset(api: openai.OpenAI, model: INSTRUCTOR) -> None:
    response = api.embeddings.create(model="instructor-mini:document", input=TEXTS)
    np.testing.assert_array_equal(vectors(response), model.encode_document(TEXTS))


def test_dimensions_cut_and_normalise(api: openai.OpenAI, model: INSTRUCTOR) -> None:
    found = vectors(api.embeddings.create(model="instructor-mini", input=TEXTS, dimensions=16))
    expected = model.encode(TEXTS)[:, :16]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_too_long_a_text_is_cut_or_refused(api: openai.OpenAI, model: INSTRUCTOR) -> None:
    long = "river " * 1000
    response = api.embeddings.create(model="instructor-mini", input=long)
    assert response.usage.total_tokens == model.max_seq_length
    np.testing.assert_allclose(vectors(response), model.encode([long]), atol=1e-6)
    with pytest.raises(openai.UnprocessableEntityError, match=r"input\[1\]: more than 512 tokens"):
        api.embeddings.create(model="instructor-mini", input=["a", long], extra_body={"truncate": False})


def test_models(api: openai.OpenAI) -> None:
    names = ["instructor-mini", "instructor-mini:query", "instructor-mini:document"]
    assert [model.id for model in api.models.list()] == names
    assert api.models.retrieve("instructor-mini:query").id == "instructor-mini:query"
    with pytest.raises(openai.NotFoundError, match="there is no 'gpt'; there are instructor-mini, "):
        api.models.retrieve("gpt")


def test_served_model_names(start: Start) -> None:
    ends = ("", ":query", ":document")
    client = start(model_names=("text-embedding-3-small", "instructor"))
    names = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert set(names) == {f"{name}{end}" for name in ("text-embedding-3-small", "instructor") for end in ends}
    answer = client.post("/v1/embeddings", json={"input": "a"}).json()
    assert answer["model"] == "text-embedding-3-small"
    assert client.post("/v1/embeddings", json={"input": "a", "model": "instructor-mini"}).status_code == 404


REFUSED = {
    "model": ({"model": "instructor-mini:qurey"}, openai.NotFoundError, "model: there is no 'instructor-mini:qurey'"),
    "empty": ({"input": []}, openai.UnprocessableEntityError, "input: found an empty list"),
    "no-ids": ({"input": [[5], []]}, openai.UnprocessableEntityError, r"input\[1\]: expected token ids from 0 to"),
    "ids": ({"input": [5, 14000]}, openai.UnprocessableEntityError, r"input\[0\]: expected token ids .* 13,999"),
    "negative": ({"input": [5, -1]}, openai.UnprocessableEntityError, "expected token ids"),
    "mixed": ({"input": ["a", 5]}, openai.UnprocessableEntityError, "input: expected a string, a list of strings"),
    "none": ({"input": None}, openai.UnprocessableEntityError, "input: expected a string"),
    "many": ({"input": ["a"] * 2049}, openai.UnprocessableEntityError, "input: found 2,049, at most 2,048"),
    "instructions": ({"instruction": ["a: "]}, openai.UnprocessableEntityError, "instruction: found 1, expected one"),
    "instruction": ({"instruction": 5}, openai.UnprocessableEntityError, "instruction: "),
    "misspelt": ({"instructions": "a: "}, openai.UnprocessableEntityError, "instructions: no such field"),
    "dimensions": ({"dimensions": 385}, openai.UnprocessableEntityError, "dimensions: found 385, .* 1 to 384"),
    "zero": ({"dimensions": 0}, openai.UnprocessableEntityError, "dimensions: found 0"),
    "format": ({"encoding_format": "hex"}, openai.UnprocessableEntityError, "encoding_format: .*'float' or 'base64'"),
    "masked": (
        {"input": "p", "instruction": "relationshi"},
        openai.UnprocessableEntityError,
        r"input\[0\]: its instruction covers every token",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(api: openai.OpenAI, case: str) -> None:
    body, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as refused:
        api.embeddings.with_raw_response.create(
            model="instructor-mini", input=["a", "b"], encoding_format="float", extra_body=body
        )
    content = refused.value.body
    assert isinstance(content, dict)
    assert content["type"] == "invalid_request_error"
    assert set(content) == {"message", "type", "param", "code"}


def test_the_key(start: Start) -> None:
    url = str(start(api_keys=("first", "second")).base_url)
    for key in ("first", "second"):
        with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as api:
            assert len(api.embeddings.create(model="instructor-mini", input="a").data) == 1
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as api,
        pytest.raises(openai.AuthenticationError, match="Send a valid API key"),
    ):
        api.embeddings.create(model="instructor-mini", input="a")
    for header in (
        "Bearer firs",
        "Bearer firstsecond",
        "Bearer First",
        "Bearer ключ",
        "Bearer",
        "first",
        "Basic first",
    ):
        response = httpx.post(f"{url}/embed", json={"inputs": "a"}, headers={b"Authorization": header.encode()})
        assert response.status_code == 401, header
        assert response.json()["error_type"] == "Unauthorized"
        assert response.headers["WWW-Authenticate"] == "Bearer"
    paths = ["/v1/models", "/info", "/metrics", "/openapi.json", "/nowhere", "/health"]
    assert [httpx.get(url + path).status_code for path in paths] == [401, 401, 401, 401, 401, 200]
