"""One loaded model for all who ask for the same."""

from __future__ import annotations

from inspect import signature

from instructor_onnx import INSTRUCTOR
from instructor_onnx.integrations.loading import ModelOptions, shared_model


def test_every_argument_of_the_model_tells_models_apart() -> None:
    of_a_call = {"prompts", "default_prompt_name", "truncate_dim", "similarity_fn_name", "others"}
    arguments = [name for name in list(signature(INSTRUCTOR).parameters)[1:] if name not in of_a_call]
    assert sorted(ModelOptions._fields) == sorted(["model_name", *arguments, "max_seq_length"])


def test_the_same_options_give_the_same_model() -> None:
    options = ModelOptions("instructor-mini", variant="int8", num_threads=1)
    assert shared_model(options) is shared_model(options)
    short = shared_model(options._replace(max_seq_length=4))
    assert (short.max_seq_length, shared_model(options).max_seq_length) == (4, 512)
