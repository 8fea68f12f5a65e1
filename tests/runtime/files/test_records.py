"""Input files -> records: every format, and every bad row with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instructor_onnx.files import records
from instructor_onnx.files.records import Columns, Lines, Record, input_format_of, open_lines, read_records
from instructor_onnx.inputs import Row


def read(data: str | bytes, input_format: str, columns: Columns = Columns()) -> list[Record]:  # noqa: B008 (frozen)
    raw = data.encode() if isinstance(data, str) else data
    return list(read_records(Lines(io.BytesIO(raw), "in"), input_format, columns))


def rows(data: str | bytes, input_format: str, columns: Columns = Columns()) -> list[Row]:  # noqa: B008 (frozen)
    return [record.row for record in read(data, input_format, columns)]


def test_jsonl_takes_objects_strings_and_lists() -> None:
    found = read('{"text": "a", "instruction": "i: ", "id": 7}\n\n"b"\n["j: ", "c"]\n["k: ", "d", 0]\n', "jsonl")
    assert [record.row for record in found] == [("i: ", "a"), ("", "b"), ("j: ", "c"), ("k: ", "d")]
    assert [record.line for record in found] == [1, 3, 4, 5]
    assert [record.fields for record in found] == [
        {"text": "a", "instruction": "i: ", "id": 7},
        {"text": "b"},
        {"instruction": "j: ", "text": "c"},
        {"instruction": "k: ", "text": "d"},
    ]


def test_csv_takes_quoted_fields_over_lines() -> None:
    found = read('id,text\r\n1,"a, ""b""\r\nc"\r\n\r\n2,d\r\n', "csv")
    assert [(record.line, record.row.text) for record in found] == [(2, 'a, "b"\r\nc'), (5, "d")]
    assert found[1].fields == {"id": "2", "text": "d"}


def test_csv_takes_long_fields() -> None:
    assert rows("text\n" + "x" * 200_000 + "\n", "csv") == [("", "x" * 200_000)]


def test_text_takes_every_line_the_blank_ones_too() -> None:
    # U+2028 and form feed end lines for str.splitlines, not here
    assert rows("a\r\n\n  b \u2028\f\nc", "text") == [("", "a"), ("", ""), ("", "  b \u2028\f"), ("", "c")]


@pytest.mark.parametrize("input_format", ["jsonl", "text"])
def test_nothing_in_nothing_out(input_format: str) -> None:
    assert read("", input_format) == []


def test_a_byte_order_mark_is_no_text() -> None:
    assert rows(b"\xef\xbb\xbftext\na\n", "csv") == [("", "a")]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (Columns(), Row("i: ", "a")),
        (Columns(text="title"), Row("i: ", "b")),
        (Columns(instruction="how"), Row("j: ", "a")),
        (Columns(fixed_instruction="k: "), Row("k: ", "a")),
        (Columns(fixed_instruction=""), Row("", "a")),
        (Columns(text="instruction"), Row("", "i: ")),
    ],
)
def test_columns(columns: Columns, expected: Row) -> None:
    value = {"text": "a", "title": "b", "instruction": "i: ", "how": "j: "}
    assert rows(json.dumps(value), "jsonl", columns) == [expected]
    assert rows(",".join(value) + "\n" + ",".join(value.values()), "csv", columns) == [expected]


@pytest.mark.parametrize(
    ("line", "columns", "message"),
    [
        ("{", Columns(), "not valid JSON"),
        ("[" * 100_000, Columns(), "not valid JSON"),
        (r'{"text": "\ud800"}', Columns(), "not valid JSON .*surrogates"),
        ('{"text": "a", "x": NaN}', Columns(), "not valid JSON .NaN is no number of JSON; write null"),
        ('{"text": "a", "x": [-Infinity]}', Columns(), "-Infinity is no number of JSON"),
        ('{"text": "a", "x": 1e999}', Columns(), "1e999 is more than a float can hold; write a string"),
        ('{"text": "a", "x": ' + "1" * 5000 + "}", Columns(), "not valid JSON .*digits"),
        (
            '{"text": "a", "x": ' + '{"x": [' * 50 + "]}" * 50 + "}",
            Columns(),
            "more than 100 lists and objects in each",
        ),
        (b"\xff", Columns(), "not UTF-8"),
        ("7", Columns(), "found int, expected an object, a string or"),
        ("null", Columns(), "found NoneType"),
        ('{"title": "a"}', Columns(), r"no column 'text' \(it has title\). Name one with --text-column"),
        ('{"text": 7}', Columns(), r"column 'text' holds int \(7\), expected a string"),
        ('{"text": "a", "instruction": null}', Columns(), "column 'instruction' holds NoneType.*--instruction-column"),
        ('{"text": "a"}', Columns(instruction="how"), "no column 'how'.*--instruction-column"),
        ('"a"', Columns(instruction="how"), "no column 'how'"),
        ('["a"]', Columns(), r"a list of 1, expected \[instruction, text\]"),
        ('["i", 7]', Columns(), "column 'text' holds int"),
        ('["i", "a"]', Columns(fixed_instruction="j"), "brings its own instruction: leave --instruction"),
        ('{"text": "a", "embedding": []}', Columns(reserved="embedding"), "'embedding' already.*--embedding-column"),
    ],
)
def test_bad_jsonl_rows_are_named(line: str | bytes, columns: Columns, message: str) -> None:
    raw = line.encode() if isinstance(line, str) else line
    good = b'{"text": "a", "how": "i"}\n'
    with pytest.raises(ValueError, match=rf"^in, line 3: .*{message}"):
        read(good + b"\n" + raw + b"\n", "jsonl", columns)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "line 1: empty, where a CSV file has a header"),
        ("text,text\na,b\n", "line 1: the header names a column twice"),
        ("id,title\n1,a\n", "line 2: no column 'text'.*id, title"),
        ("id,text\n1,a\n2,b,c\n", "line 3: 3 fields, the header has 2"),
        ('id,text\n1,a\n2,"b\nc\n', "line 3: not valid CSV"),
        ('id,text\n1,"a"b\n', "line 2: not valid CSV"),
    ],
)
def test_bad_csv_rows_are_named(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^in, {message}"):
        read(data, "csv")


def test_a_file_without_line_ends_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_LINE", 100)
    assert len(rows("x" * 99 + "\n", "text")) == 1
    with pytest.raises(ValueError, match="line 2: longer than 100 bytes"):
        read("a\n" + "x" * 1000, "text")


def test_as_deep_as_may_be() -> None:
    nested = "[" * 99 + "]" * 99
    (record,) = read('{"text": "[{", "x": ' + nested + "}", "jsonl")
    assert json.dumps(record.fields["x"]) == nested
    assert rows(json.dumps("[{" * 200), "jsonl") == [Row("", "[{" * 200)]


def test_a_csv_row_that_goes_on_and_on_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many quoted fields of many lines, none of them too long."""
    monkeypatch.setattr(records, "MAX_LINE", 100)
    limit = csv.field_size_limit()
    assert len(rows("text\n" + '"a\nb"\n' * 100, "csv")) == 100
    with pytest.raises(ValueError, match="in, line 2: a row of more than 100 characters"):
        read("text\n" + '"a\nb",' * 100, "csv")
    assert csv.field_size_limit() >= limit  # the process's, which others rely on


def test_stdin_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ValueError, match="stdin: is closed"), open_lines(None):
        pass


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.txt.gz"
    path.write_bytes(gzip.compress(b"a\n" * 10)[:-9])
    with open_lines(path) as lines, pytest.raises(ValueError, match=r"in\.txt\.gz, line \d+: damaged gzip file"):
        list(read_records(lines, "text", Columns()))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.csv", "csv"),
        ("a.txt", "text"),
        ("a.b.txt.gz", "text"),
    ],
)
def test_formats_by_name(name: str, expected: str) -> None:
    assert input_format_of(Path(name)) == expected


@pytest.mark.parametrize("name", ["a", "a.json", "a.gz", "a.jsonl.zip", None])
def test_no_format_by_name(name: str | None) -> None:
    with pytest.raises(ValueError, match="Say --input-format jsonl, csv or text"):
        input_format_of(None if name is None else Path(name))


VALUES = st.one_of(
    st.text(), st.lists(st.text(), min_size=2, max_size=2), st.fixed_dictionaries({"text": st.text(), "id": st.none()})
)


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, max_size=6), st.integers(0, 5))
def test_the_hash_is_of_what_was_handed_out(values: list[Any], stop: int) -> None:
    """Whatever follows a row, the hash after it is the same: this is how a resumed run knows its input."""
    data = "".join(json.dumps(value) + "\n" for value in values).encode()
    first, second = Lines(io.BytesIO(data), "in"), Lines(io.BytesIO(data + b'"more"\n'), "in")
    for lines in (first, second):
        reader = read_records(lines, "jsonl", Columns())
        for _ in range(min(stop, len(values))):
            next(reader)
    assert first.sha256 == second.sha256
