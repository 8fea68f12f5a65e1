"""The two masks and the rules of k, as the reference has them: all tokens are attended, the first k not pooled."""

import pytest
import torch
from instructor_onnx import inputs
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_training.tokens import Batch, Row, make_batch
from instructor_onnx_training.train import TrainOptions

INSTRUCTION = "represent the sentence: "  # ▁represent ▁the ▁sentence : → k = 4


def batch(tokenizer: Tokenizer, rows: list[Row], max_length: int = 32) -> Batch:
    return make_batch(tokenizer, rows, max_length=max_length)


def ids(tokenizer: Tokenizer, row: Row, max_length: int = 32) -> list[int]:
    found: list[int] = batch(tokenizer, [row], max_length).input_ids[0].tolist()
    return found


def k(tokenizer: Tokenizer, instruction: str, max_length: int = 32) -> int:
    return int(tokenizer([inputs.Row(instruction, "cat")], max_length).starts[0])


def test_the_instruction_is_attended_and_not_pooled(tokenizer: Tokenizer) -> None:
    both = batch(tokenizer, [(INSTRUCTION, "cat"), ("", "a dog runs")])
    assert both.attention_mask.tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]
    assert both.pooling_mask.tolist() == [[0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 0, 0]]
    assert both.input_ids[0, 5] == 1  # </s> is pooled
    assert (both.input_ids[1, 4:] == 0).all()


def test_text_and_join_are_stripped_and_no_separator_is_added(tokenizer: Tokenizer) -> None:
    assert ids(tokenizer, (" the ", "  ory ")) == ids(tokenizer, ("the ", "ory"))
    assert ids(tokenizer, ("represent the", "ory of sets")) == ids(tokenizer, ("", "represent theory of sets"))


def test_k_of_one_counts_as_none(tokenizer: Tokenizer) -> None:
    assert k(tokenizer, "query") == 0
    assert batch(tokenizer, [("query", "cat")]).pooling_mask.all()


def test_k_is_never_realigned(tokenizer: Tokenizer) -> None:
    # "represent the" is 2 tokens; joined with "ory" they are "▁represent ▁theory": the second covers text.
    assert batch(tokenizer, [("represent the", "ory")]).pooling_mask.tolist() == [[0, 0, 1]]
    # k = 3 of "re pre s" is past the joined row: nothing is pooled
    assert k(tokenizer, "a b c") > 1


def test_long_rows_keep_their_end_and_k_is_cut(tokenizer: Tokenizer) -> None:
    cut = ids(tokenizer, ("", "cat " * 40), max_length=5)
    assert cut[-1] == 1
    assert len(cut) == 5
    assert k(tokenizer, "the cat " * 10, max_length=5) == 4
    filled = batch(tokenizer, [("the cat " * 10, "dog")], max_length=5)
    assert filled.pooling_mask.tolist() == [[0, 0, 0, 0, 1]]  # an instruction that fills the row leaves </s>


def test_an_empty_text_pools_only_the_end(tokenizer: Tokenizer) -> None:
    assert torch.equal(batch(tokenizer, [(INSTRUCTION, "  ")]).pooling_mask, torch.tensor([[0, 0, 0, 0, 1]]))


def test_a_length_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 token"):
        TrainOptions(max_length=0)
