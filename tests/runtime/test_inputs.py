"""Every accepted form of `sentences`, and the errors that name a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from instructor_onnx.inputs import Row, as_rows

PAIR = Row("Represent the title: ", "apple")


@pytest.mark.parametrize(
    "given",
    [
        [list(PAIR)],
        [tuple(PAIR)],
        [[*PAIR, 0]],  # the first model cards' third element
        [{"instruction": PAIR.instruction, "text": PAIR.text}],
        (list(row) for row in [PAIR]),
        np.array([list(PAIR)], dtype=object),
        (tuple(PAIR),),
        iter([PAIR]),
    ],
    ids=["list", "tuple", "third element", "dict", "generator", "array", "tuple of tuples", "iterator"],
)
def test_pairs_in_every_form(given: Any) -> None:
    assert as_rows(given) == ([PAIR], False)


def test_one_string_is_one_row_without_instruction() -> None:
    assert as_rows("apple") == ([Row("", "apple")], True)


def test_a_list_of_two_strings_is_two_texts() -> None:
    assert as_rows(["a", "b"]) == ([Row("", "a"), Row("", "b")], False)


def test_a_dict_without_instruction() -> None:
    assert as_rows([{"text": "apple"}]) == ([Row("", "apple")], False)


def test_nothing() -> None:
    assert as_rows([]) == ([], False)


def test_the_callers_lists_are_not_changed() -> None:
    given: list[list[Any]] = [["i", "t", 0], ["i", " t "]]
    before = [list(row) for row in given]
    as_rows(given)
    assert given == before


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (None, r"row 1: found NoneType, expected a string, \[instruction, text\]"),
        (3, "row 1: found int"),
        (b"bytes", "row 1: found bytes"),
        ([], "row 1: found 0 elements"),
        (["text"], "row 1: found 1 elements"),
        (["a", "b", "c", "d"], "row 1: found 4 elements"),
        (["i", None], r"row 1: its text is NoneType \(None\), expected a string"),
        ([1, "t"], r"row 1: its instruction is int \(1\)"),
        (["i", ["t"]], "row 1: its text is list"),
        ({"instruction": "i"}, "row 1: found a dict with keys"),
        ({"text": "t", "label": 1}, r"row 1: found a dict with keys \['label', 'text'\]"),
        ({"i", "t"}, "row 1: found set"),
    ],
)
def test_a_wrong_row_is_named(row: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        as_rows(["fine", row])


@pytest.mark.parametrize("given", [None, 3, b"bytes", {"instruction": "i", "text": "t"}])
def test_a_wrong_whole_says_what_to_do(given: Any) -> None:
    with pytest.raises(TypeError, match="put it in a list"):
        as_rows(given)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a \ud83d b", "row 1: holds half a surrogate pair"),
        ("\udcff", "row 1: holds half a surrogate pair"),
        (["\ud800", "t"], "row 1: its instruction holds half a surrogate pair"),
        ({"text": "\udfff"}, "row 1: its text holds half a surrogate pair"),
    ],
)
def test_half_a_surrogate_pair_is_named(row: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_rows(["fine, \U0001f600 and é too", row])


def test_half_a_surrogate_pair_alone() -> None:
    with pytest.raises(ValueError, match="row 0: holds half a surrogate pair: decode it with errors='replace'"):
        as_rows("\ud83d")
