"""How much of a long text has to be tokenised. Knows the parts of a tokenizer.json as JSON, and characters; no tokens.

A T5 tokenizer goes from left to right until it has words: it replaces grapheme by grapheme, cuts at spaces, and makes
the tokens of each word by itself. So the tokens of a beginning are those of the whole text up to its last word, if it
ends between two graphemes. A text for a tokenizer that is not known to work like that is tokenised whole.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable, Sequence
from typing import Any

WORD = "▁"  # Metaspace's: every word begins with it
SPACES = {"Regex": " {2,}"}  # the one pattern that T5 tokenizers replace

# Between two characters there is always the border of a grapheme (Unicode annex 29) where the first does not take the
# next one in (the class Prepend, a joiner, CR; none of those beyond the basic plane is told apart) and the second joins
# no other: letters and signs of these ranges, none of them a mark, a vowel sign, a Hangul syllable or a consonant that
# a virama joins.
FIRST = "[^\r\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\u200b-\u200f\U00010000-\U0010ffff]"
SECOND = (
    "[ -~\u00a1-\u00ac\u00c0-\u02ff\u0391-\u03a1\u03a3-\u0482\u048a-\u052f\u05d0-\u05ea\u0620-\u064a"
    "\u3001-\u3029\u3041-\u3096\u30a1-\u30fa\u3300-\u33ff\u4e00-\u9fff\ufb50-\ufbb1\ufdf0-\ufdfc\uff01-\uff9d]"
)


def borders(normalizer: Any, pre_tokenizer: Any, added_tokens: Sequence[Any]) -> re.Pattern[str] | None:
    """Finds where a text may end early for a tokenizer of these parts; None: it is not known to go word by word.

    Args:
        normalizer, pre_tokenizer: as in tokenizer.json.
        added_tokens: tokenizers' `AddedToken`s. They are found before graphemes and words are, so none may be cut.
    """
    words = list(_chain(pre_tokenizer, "pretokenizers"))
    by_word = (
        all(
            part["type"] in ("Precompiled", "Strip")
            or (part["type"] == "Replace" and part["pattern"] == SPACES and part["content"] in (" ", WORD))
            for part in _chain(normalizer, "normalizers")
        )
        and [part["type"] for part in words] in (["Metaspace"], ["WhitespaceSplit", "Metaspace"])
        and words[-1]["replacement"] == WORD
        and words[-1].get("split") is not False
        # one with a space in it, or that looks at its neighbours, would reach over a word's end
        and not any(
            token.normalized or token.single_word or WORD in token.content or re.search(r"\s", token.content)
            for token in added_tokens
        )
    )
    inner = "".join(sorted({character for token in added_tokens for character in token.content[1:]}))
    none = f"(?![{re.escape(inner)}])" if inner else ""
    return re.compile(f"(?<={FIRST}){none}{SECOND}") if by_word else None


def beginning(text: str, size: int, border: re.Pattern[str]) -> str:
    """The first `size` characters of a text, and more up to the next of the `borders`; all where there is none."""
    found = border.search(text, size) if size < len(text) else None
    return text if found is None else text[: found.start()]


def growth(normalizer: Any) -> float:
    """How many times as many characters a text can have after a normalizer, as tokenizer.json gives it, at most."""
    factor = 1.0
    for part in _chain(normalizer, "normalizers"):
        if part["type"] == "Precompiled":
            factor *= _longest(base64.b64decode(part["precompiled_charsmap"]))
        elif part["type"] == "Replace":
            replaced = len(part["pattern"].get("String", ""))
            # a regular expression may match between any two characters, and put its content there
            factor *= max(1, len(part["content"]) / replaced) if replaced else 1 + len(part["content"])
    return factor


def _longest(charsmap: bytes) -> int:
    """Characters of the longest replacement in a sentencepiece charsmap: a trie's size, the trie, strings."""
    (trie,) = struct.unpack_from("<I", charsmap)
    return max(len(string) for string in charsmap[4 + trie :].decode(errors="replace").split("\0"))


def _chain(part: Any, parts: str) -> Iterable[dict[str, Any]]:
    """A part of tokenizer.json, or those that a Sequence has, one after another."""
    if part is None:
        return
    if part["type"] != "Sequence":
        yield part
        return
    for inner in part[parts]:
        yield from _chain(inner, parts)
