"""Rows -> tokens and masks: joining, stripping, counting and cutting as REFERENCE.md's table says."""

from __future__ import annotations

import base64
import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instructor_onnx.bundle import BundleError
from instructor_onnx.inputs import Row
from instructor_onnx.loading import EMBEDDED
from instructor_onnx.tokens import (
    CHARACTERS_AT_ONCE,
    MOST_READ,
    MOST_REMEMBERED,
    MOST_REMEMBERED_CHARACTERS,
    Tokenizer,
    Tokens,
)
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import WordLevel

EOS = 1
GOLDEN = Path(__file__).parents[1] / "data/golden/instructor-golden"


@pytest.fixture(scope="module")
def tokenizer(tokenizer_files: Path) -> Tokenizer:
    return Tokenizer.load(tokenizer_files / "tokenizer.json", vocab_size=10_000, eos_token_id=EOS)


@pytest.fixture(scope="module")
def plain(tokenizer_files: Path) -> FastTokenizer:
    """The same vocabulary, straight from the library."""
    return FastTokenizer.from_file(str(tokenizer_files / "tokenizer.json"))


def pooled(tokenizer: Tokenizer, row: Row, limit: int = 512) -> tuple[list[int], int]:
    tokens = tokenizer([row], limit)
    return tokens.ids.tolist(), int(tokens.starts[0])


def test_joined_without_separator_and_stripped(tokenizer: Tokenizer, plain: FastTokenizer) -> None:
    ids, k = pooled(tokenizer, Row("  Represent the sentence: ", "  the sea  "))
    assert ids == plain.encode("Represent the sentence: the sea").ids
    assert k == len(plain.encode("Represent the sentence:").ids) - 1


def test_a_word_across_the_boundary_is_never_realigned(tokenizer: Tokenizer, plain: FastTokenizer) -> None:
    ids, k = pooled(tokenizer, Row("Represent the", "ory of sets"))
    assert ids == plain.encode("Represent theory of sets").ids
    assert k == len(plain.encode("Represent the").ids) - 1


def test_an_instruction_of_one_token_counts_as_none(tokenizer: Tokenizer, plain: FastTokenizer) -> None:
    assert len(plain.encode("query").ids) == 2
    assert pooled(tokenizer, Row("query", "hi there"))[1] == 0
    assert pooled(tokenizer, Row("", "hi there"))[1] == 0


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_pools_the_end(tokenizer: Tokenizer, text: str) -> None:
    ids, k = pooled(tokenizer, Row("Represent the sentence: ", text))
    assert ids[-1] == EOS
    assert k == len(ids) - 1


def test_nothing_at_all_is_the_end_alone(tokenizer: Tokenizer) -> None:
    assert pooled(tokenizer, Row("", "")) == ([EOS], 0)


def test_cut_so_that_the_end_is_kept(tokenizer: Tokenizer, plain: FastTokenizer) -> None:
    text = "the river rises in the hills " * 10
    whole = plain.encode(text).ids
    ids, _ = pooled(tokenizer, Row("", text), limit=12)
    assert ids == [*whole[:11], EOS]
    assert tokenizer([Row("", text), Row("", "a")], 12).truncated == 1
    assert tokenizer([Row("", text)], len(whole)).truncated == 0


def test_an_instruction_that_fills_the_limit(tokenizer: Tokenizer) -> None:
    ids, k = pooled(tokenizer, Row("the river rises in the hills " * 10, "text"), limit=12)
    assert (len(ids), k) == (12, 11)


def test_special_literals_become_their_ids(tokenizer: Tokenizer, plain: FastTokenizer) -> None:
    ids, _ = pooled(tokenizer, Row("", "the </s> sea <extra_id_0>"))
    assert ids.count(EOS) == 2
    assert plain.token_to_id("<extra_id_0>") in ids


def test_padding_and_the_two_masks(tokenizer: Tokenizer) -> None:
    rows = [Row("Represent the sentence: ", "the sea"), Row("", "the long river rises in the hills"), Row("", "")]
    tokens = tokenizer(rows, 512)
    input_ids, attention_mask, pooling_mask = tokens.padded(np.array([2, 0, 1]))
    longest = tokens.lengths.max()
    assert input_ids.shape == attention_mask.shape == pooling_mask.shape == (3, longest)
    assert {array.dtype for array in (input_ids, attention_mask, pooling_mask)} == {np.dtype(np.int64)}
    for place, row in enumerate([2, 0, 1]):
        length, k = tokens.lengths[row], tokens.starts[row]
        assert input_ids[place].tolist() == [*pooled(tokenizer, rows[row])[0], *[0] * (longest - length)]
        assert attention_mask[place].tolist() == [1] * length + [0] * (longest - length)
        assert pooling_mask[place].tolist() == [0] * k + [1] * (length - k) + [0] * (longest - length)


def test_no_rows(tokenizer: Tokenizer) -> None:
    tokens = tokenizer([], 512)
    assert len(tokens.lengths) == 0
    assert [array.shape for array in tokens.padded(np.arange(0))] == [(0, 0)] * 3


def test_padding_and_truncation_of_the_file_are_switched_off(plain: FastTokenizer, tmp_path: Path) -> None:
    """Published tokenizer.json files carry Fixed(512) padding and truncation."""
    frozen = FastTokenizer.from_str(plain.to_str())
    frozen.enable_padding(length=32)
    frozen.enable_truncation(4)
    frozen.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json", vocab_size=10_000, eos_token_id=EOS)
    assert pooled(tokenizer, Row("", "the river rises"))[0] == plain.encode("the river rises").ids


def test_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match=r"tokenizer.json: not a tokenizer that can be read"):
        Tokenizer.load(tmp_path / "tokenizer.json", vocab_size=10, eos_token_id=EOS)


def test_a_tokenizer_of_a_larger_model(tokenizer_files: Path) -> None:
    with pytest.raises(BundleError, match=r"has token id \d+, the model has 10 rows"):
        Tokenizer.load(tokenizer_files / "tokenizer.json", vocab_size=10, eos_token_id=EOS)


def test_a_tokenizer_of_another_kind(tmp_path: Path) -> None:
    FastTokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(BundleError, match="does not end a text with id 1"):
        Tokenizer.load(tmp_path / "tokenizer.json", vocab_size=10, eos_token_id=EOS)


@pytest.mark.parametrize("instruction", ["", "Represent the sentence: "])
def test_ids_are_treated_as_their_texts(tokenizer: Tokenizer, plain: FastTokenizer, instruction: str) -> None:
    texts = ["the sea", "a river rises in the hills", "the " * 30]
    expected = tokenizer([Row(instruction, text) for text in texts], 16)
    for keep_eos in (True, False):
        rows = [(instruction, plain.encode(text, add_special_tokens=keep_eos).ids) for text in texts]
        found = tokenizer.from_ids(rows, 16)
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.offsets.tolist() == expected.offsets.tolist()
        assert found.starts.tolist() == expected.starts.tolist()
        assert found.truncated == expected.truncated == 1


def test_remembered_instructions_change_nothing(tokenizer: Tokenizer, tokenizer_files: Path) -> None:
    instructions = [
        "Represent the title: ",
        " Represent the title:",
        "Represent",
        "",
        "a " * MOST_REMEMBERED_CHARACTERS,
    ]
    rows = [Row(instruction, "the text") for instruction in instructions for _ in range(2)]
    rows += [Row(f"Number {index}: ", "the text") for index in range(MOST_REMEMBERED + 1)]
    forgetful = Tokenizer.load(tokenizer_files / "tokenizer.json", vocab_size=10_000, eos_token_id=EOS)
    for limit in (512, 4, 512):
        for row in rows:
            forgetful._known_starts = {}
            assert pooled(tokenizer, row, limit) == pooled(forgetful, row, limit)
        assert len(tokenizer._known_starts) <= MOST_REMEMBERED
        assert sum(len(text) for text, _ in tokenizer._known_starts) <= MOST_REMEMBERED_CHARACTERS


def test_rows_gathered_from_several_tokens(tokenizer: Tokenizer) -> None:
    first = tokenizer([Row("", "the sea"), Row("Represent the sentence: ", "a river")], 512)
    second = tokenizer([Row("", "a river rises in the hills")], 512)
    gathered = Tokens.gather([(first, 1), (second, 0), (first, 1)])
    wanted = Tokens.concatenate([tokenizer([Row("Represent the sentence: ", "a river")], 512), second])
    assert gathered.lengths.tolist() == [*wanted.lengths, wanted.lengths[0]]
    assert gathered.ids.tolist() == [*wanted.ids, *wanted.ids[: wanted.lengths[0]]]
    assert gathered.starts.tolist() == [*wanted.starts, wanted.starts[0]]


def test_pieces_name_their_characters(tokenizer: Tokenizer) -> None:
    pieces = tokenizer.pieces(Row("Represent the sentence: ", "  the sea "), 100, add_special_tokens=True)
    joined = "Represent the sentence: the sea"
    assert [piece.id for piece in pieces] == tokenizer([Row("", joined)], 512).ids.tolist()
    assert pieces[-1] == (EOS, "</s>", None)
    for piece in pieces[:-1]:
        assert piece.span is not None
        assert joined[piece.span[0] : piece.span[1]] == piece.text
    assert tokenizer.pieces(Row("", joined), 100, add_special_tokens=False) == pieces[:-1]


def test_more_pieces_than_wanted_are_not_looked_for(tokenizer: Tokenizer) -> None:
    pieces = tokenizer.pieces(Row("", "the sea " * 100_000), 10, add_special_tokens=True)
    assert 10 < len(pieces) < 100


# Whatever changes how a text is cut: letters that become several words, marks that join the letter before them, letters
# that join the next one, spaces of every kind, the sign that stands for one, and the beginnings of special tokens.
CHARACTERS = [
    *"abcdeé nt  \t\n\r\u0301\u200d\u0600\u06dd\u0e33\ufdfa\ufdfb½㌀Å´¨ﬁ①▁▁\u3000\xa0\u200b日本のガ",
    *"\uff9e\uff76각\u1100\u1161\u11a8🇩🇪👨👩🏽क्षि\u0d4e\U000110bd",
    *("<extra_id_0>", "</s>", "<pad>", "<extra", " the", " river", "wonder", "  ", "\r\n"),
]


def hostile(generator: random.Random) -> str:
    """Up to a thousand or so of a few of those."""
    few = generator.sample(CHARACTERS, generator.randint(1, 12))
    return "".join(generator.choices(few, k=int(10 ** generator.uniform(0.5, 3.0))))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["embedded", "golden", "published"])
def test_a_beginning_is_cut_as_the_whole_text(kind: str, seed: int, request: pytest.FixtureRequest) -> None:
    """The embedded and the published pre-tokenize at spaces; the golden one replaces them, and strips."""
    folders = {"embedded": EMBEDDED["instructor-mini"], "golden": GOLDEN}
    folder = folders[kind] if kind in folders else request.getfixturevalue("shared") / "instructor-large"
    file = folder / "tokenizer.json"
    tokenizer = Tokenizer.load(file, vocab_size=40_000, eos_token_id=EOS)
    whole = FastTokenizer.from_file(str(file))
    whole.no_padding()
    whole.no_truncation()
    generator = random.Random(seed)
    rows = [Row(generator.choice(["", "Represent the: ", hostile(generator)]), hostile(generator)) for _ in range(60)]
    for limit in (1, 2, 3, 8, 16):
        tokens = tokenizer(rows, limit)
        for index, row in enumerate(rows):
            expected = whole.encode((row.instruction + row.text.strip()).strip()).ids
            if len(expected) > limit:
                expected = [*expected[: limit - 1], EOS]
            k = min(len(whole.encode(row.instruction.strip()).ids), limit) - 1
            assert tokens.ids[tokens.offsets[index] : tokens.offsets[index + 1]].tolist() == expected, (limit, row)
            assert tokens.starts[index] == (k if k > 1 else 0), (limit, row)


class Counted:
    """The library's tokenizer, and how many characters it was given at a time."""

    def __init__(self, tokenizer: FastTokenizer) -> None:
        self._tokenizer = tokenizer
        self.given: list[int] = []

    def encode_batch_fast(self, texts: list[str]) -> Any:
        self.given.append(sum(map(len, texts)))
        return self._tokenizer.encode_batch_fast(texts)


@pytest.fixture
def counted(tokenizer: Tokenizer, plain: FastTokenizer, monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(plain)
    monkeypatch.setattr(tokenizer, "_tokenizer", counted)
    return counted


@pytest.mark.parametrize("text", ["the sea " * 100_000, "\ufdfa " * 100_000, "the\u3000" * 100_000])
def test_of_a_long_text_only_what_is_kept_is_tokenised(tokenizer: Tokenizer, counted: Counted, text: str) -> None:
    tokens = tokenizer([Row("Represent the sentence: ", text)], 512)
    assert tokens.lengths.tolist() == [512]
    assert tokens.truncated == 1
    assert sum(counted.given) < 20_000


def test_a_text_without_words_is_read_up_to_a_bound_and_reported(tokenizer: Tokenizer, counted: Counted) -> None:
    tokens = tokenizer([Row("", "\u0e33" * 3_000_000), Row("", "the sea")], 512)
    assert tokens.lengths[0] < 512  # of one unknown character three million times
    assert tokens.truncated == 1
    assert max(counted.given) <= MOST_READ


def test_many_long_texts_are_tokenised_few_at_a_time(tokenizer: Tokenizer, counted: Counted) -> None:
    tokens = tokenizer([Row("", "the sea " * 5000)] * 300, 512)
    assert tokens.lengths.tolist() == [512] * 300
    assert max(counted.given) <= CHARACTERS_AT_ONCE
    assert len(counted.given) > 1


def damaged(tokenizer_files: Path, tmp_path: Path, **parts: Any) -> Path:
    """A tokenizer.json with other parts."""
    contents = json.loads((tokenizer_files / "tokenizer.json").read_text(encoding="utf-8"))
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(contents | parts), encoding="utf-8")
    return path


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def charsmap(replacement: str) -> dict[str, Any]:
    trie = bytes(1024)
    contents = struct.pack("<I", len(trie)) + trie + replacement.encode() + b"\0"
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(contents).decode()}


@pytest.mark.parametrize(
    "normalizers",
    [
        [replace({"String": "a"}, "aaaaaaaaaa")] * 9,
        [replace({"String": "ab"}, "abab" * 100)],
        [replace({"Regex": "a"}, "b" * 100)],
        [replace({"Regex": ""}, "b"), {"type": "Sequence", "normalizers": [replace({"String": "b"}, "b" * 40)]}],
        [charsmap("a" * 100)],
    ],
)
def test_a_tokenizer_that_makes_texts_longer_and_longer(
    tokenizer_files: Path, tmp_path: Path, normalizers: list[dict[str, Any]]
) -> None:
    path = damaged(tokenizer_files, tmp_path, normalizer={"type": "Sequence", "normalizers": normalizers})
    with pytest.raises(BundleError, match=r"tokenizer.json: its normalizer can make a text [\d,]+ times as long"):
        Tokenizer.load(path, vocab_size=10_000, eos_token_id=EOS)


def test_a_panic_of_the_library_is_an_error_of_the_bundle(
    tokenizer: Tokenizer, tokenizer_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PanicException(BaseException):  # as pyo3's: no Exception, and of a module that cannot be imported
        pass

    class Panicking:
        def encode_batch_fast(self, texts: list[str]) -> Any:
            raise PanicException("index out of bounds")

    monkeypatch.setattr(tokenizer, "_tokenizer", Panicking())
    with pytest.raises(BundleError, match=r"tokenizer.json: failed on a text \(index out of bounds\). Use the tok"):
        tokenizer([Row("", "the sea")], 512)
