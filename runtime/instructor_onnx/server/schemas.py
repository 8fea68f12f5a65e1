"""The bodies of requests, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from pydantic_core import PydanticCustomError

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
    instruction: Instruction = None


class TokenizeRequest(Body):
    """POST /tokenize."""

    inputs: str | List[str]
    add_special_tokens: StrictBool = True
    prompt_name: str | None = Field(None, description="A preset, whose instruction goes before each text.")
