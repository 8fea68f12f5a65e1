"""The bodies of requests and answers, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from instructor_onnx.vectors import Precision

FINGERPRINT = "What decides the vectors: keep it beside them, and never mix vectors of two."
MOST_FIELDS = 100  # of a body, known or not

T = TypeVar("T")
# The first wrong element ends it: an error for each, of a body of a million, would hold up every other request.
List = Annotated[list[T], Field(fail_fast=True)]
TokenIds = List[StrictInt]
Inputs = Annotated[
    str | List[str] | TokenIds | List[TokenIds],
    Field(
        description="A text or a list of texts; or their token ids, of this model's tokenizer, without the "
        "instruction's (`</s>` may be left out)."
    ),
]
Instruction = Annotated[
    str | List[str] | None,
    Field(
        description="How to embed: one instruction for all inputs or one for each, ending with a colon and a space. "
        "It goes before a preset."
    ),
]
Truncate = Annotated[
    StrictBool | None,
    Field(description="Cut inputs that are too long (else they are an error); default: as the server was set up."),
]
Dimensions = Annotated[
    StrictInt | None,
    Field(description="Keep the first so many numbers, at unit length. INSTRUCTOR models are not trained for it."),
]

Numbers = Annotated[
    Precision,
    Field(
        description="int8, uint8: a byte a number; binary, ubinary: a bit a number, eight to a byte (as int8, uint8). "
        "Compare int8 codes as they are, bits by their Hamming distance."
    ),
]


class Body(BaseModel):
    """What every body is held against."""

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, body: Any) -> Any:
        if isinstance(body, dict) and len(body) > MOST_FIELDS:  # an error for each would hold up every other request
            raise PydanticCustomError("too_many_fields", "There are more fields than any request has.")
        return body


class EmbeddingsRequest(Body):
    """POST /v1/embeddings."""

    # a misspelt field would change the vectors unnoticed; OpenAI's API refuses it too
    model_config = ConfigDict(extra="forbid")

    input: Inputs
    model: str | None = Field(None, description="NAME or NAME:PRESET, of GET /v1/models.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Dimensions = None
    precision: Numbers = "float32"
    user: str | None = Field(None, description="Not used.")
    instruction: Instruction = None
    truncate: Truncate = None


class EmbedRequest(Body):
    """POST /embed."""

    inputs: Inputs
    normalize: StrictBool = Field(True, description="Give vectors unit length; those of most models have it.")
    truncate: Truncate = None
    truncation_direction: Literal["right", "Right"] = Field("right", description="The end of the text is cut.")
    prompt_name: str | None = Field(None, description="A preset.")
    dimensions: Dimensions = None
    precision: Numbers = "float32"
    instruction: Instruction = None


class TokenizeRequest(Body):
    """POST /tokenize."""

    inputs: str | List[str]
    add_special_tokens: StrictBool = True
    prompt_name: str | None = Field(None, description="A preset, whose instruction goes before each text.")


# Answers. The routes write them from arrays, which is faster: these only tell of them.


class Embedding(BaseModel):
    """One input's vector."""

    object: Literal["embedding"]
    index: int = Field(description="The input's place in the request.")
    embedding: list[float] | str = Field(description="Numbers; or base64 of little-endian float32, or of the bytes.")


class Usage(BaseModel):
    """Tokens that were embedded: instruction and `</s>` included, after cutting."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """Of POST /v1/embeddings."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage
    fingerprint: str = Field(description=FINGERPRINT)


class Model(BaseModel):
    """A name that a request may have as its `model`."""

    id: str = Field(description="NAME or NAME:PRESET.")
    object: Literal["model"]
    created: int = Field(description="When the server was started: seconds since 1970.")
    owned_by: str


class Models(BaseModel):
    """Of GET /v1/models."""

    object: Literal["list"]
    data: list[Model]


class Token(BaseModel):
    """One token of a text."""

    id: int
    text: str
    special: bool
    start: int | None = Field(description="Characters of the text, from here to `stop`; a special token has none.")
    stop: int | None


class Pooling(BaseModel):
    """How tokens become one vector."""

    pooling: Literal["mean"]


class ModelType(BaseModel):
    """What the model makes."""

    embedding: Pooling


class Info(BaseModel):
    """Of GET /info. What is always null is there for clients of text-embeddings-inference."""

    model_id: str
    model_sha: None
    model_dtype: str = Field(description="The variant: fp32, int8, ...")
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: int = Field(description="Tokens of an input, instruction and `</s>` included.")
    max_batch_tokens: int
    max_batch_requests: None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    fingerprint: str = Field(description=FINGERPRINT)
    sha: None
    docker_label: None


class OpenAIError(BaseModel):
    """What was wrong."""

    message: str
    type: str
    param: str | None = Field(description="The field of the request that it is about.")
    code: str = Field(description="The kind of error, as in instructor_errors_total.")


class OpenAIRefusal(BaseModel):
    """Every error below /v1."""

    error: OpenAIError


class Refusal(BaseModel):
    """Every other error, as text-embeddings-inference's."""

    error: str
    error_type: str
