"""tokenizer.json: every part of it changed, parts of other tokenizers put in, rules that make texts grow."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.bundles import Bundles
from tests.fuzz.mutate import change_json, damage, odd_value, write_json

WORDS = ("a", "aa", "hill", "▁", "▁What", "é", "</s>", "<new>", "", " ", "\n", "ﷺ", "\0", "x" * 300)


class TokenizerFiles(Bundles):
    """A changed tokenizer.json, listed as it is: it opens with the known vectors or others, or is refused."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tokenizer = json.loads((self.original / "tokenizer.json").read_text(encoding="utf-8"))
        self.engine = next(iter(self.known))

    def attempt(self, rng: Random) -> bool:
        self.fresh()
        contents = self._changed(rng)
        self.replace("tokenizer.json", contents)
        manifest = json.loads(json.dumps(self.manifest))
        manifest["tokenizer"]["bytes"] = len(contents)
        self.replace("manifest.json", write_json(manifest))
        return self.opened(self.engine)

    def _changed(self, rng: Random) -> bytes:
        what = rng.randrange(12)
        tokenizer = self.tokenizer
        if what == 0:
            return damage(rng, write_json(tokenizer))
        if what == 1:
            return write_json(change_json(rng, tokenizer))
        if what == 2:
            return write_json(tokenizer | {"model": _model(rng, tokenizer["model"])})
        if what in (3, 4):
            return write_json(tokenizer | {"normalizer": _normalizer(rng, tokenizer["normalizer"])})
        if what == 5:
            return write_json(tokenizer | {"pre_tokenizer": _pre_tokenizer(rng)})
        if what == 6:
            return write_json(tokenizer | {"added_tokens": [*tokenizer["added_tokens"], *_added(rng)]})
        part = rng.choice(("normalizer", "pre_tokenizer", "post_processor", "post_processor", "added_tokens", "model"))
        return write_json(tokenizer | {part: change_json(rng, tokenizer[part])})


def _model(rng: Random, model: Any) -> Any:
    """Another kind of model, or this one with odd pieces, scores and ids."""
    vocab: list[Any] = list(model["vocab"])
    ids = {piece: index for index, (piece, _) in enumerate(vocab)}
    kind = rng.randrange(7)
    if kind == 0:
        merges: list[Any] = [rng.choice((["a", "a"], "a a", ["a", "zz"], ["", ""])) for _ in range(3)]
        return {"type": "BPE", "vocab": ids, "merges": merges, "unk_token": rng.choice(("<unk>", "none", None))}
    if kind == 1:
        return {
            "type": "WordPiece",
            "vocab": ids,
            "unk_token": rng.choice(("<unk>", "none")),
            "max_input_chars_per_word": 0,
        }
    if kind == 2:
        return {
            "type": "WordLevel",
            "vocab": {**ids, "a": rng.choice((0, 13_999, 14_000, 2**32 - 1))},
            "unk_token": "<unk>",
        }
    if kind == 3:
        return model | {
            "unk_id": rng.choice((None, 0, 599, 600, -1, 2**63, 2**64)),
            "byte_fallback": rng.random() < 0.5,
        }
    place = rng.randrange(len(vocab))
    if kind == 4:
        vocab[place] = [vocab[place][0], rng.choice((0.0, 1e308, -1e308, 5, -0.0, "0", None))]
    elif kind == 5:
        vocab[place] = [rng.choice((*WORDS, vocab[0][0], vocab[3][0])), -1.0]
    else:
        vocab = vocab[: rng.choice((0, 1, 2, 3, place))]
    return model | {"vocab": vocab}


def _normalizer(rng: Random, original: Any) -> Any:
    """Chains of rules, regular expressions that look back, and the table of characters damaged."""
    kind = rng.randrange(6)
    if kind == 0:
        text = rng.choice(("a", "", " ", "▁"))
        rule = {"type": "Replace", "pattern": {"String": text}, "content": rng.choice(WORDS[:2]) * rng.choice((2, 10))}
        return {"type": "Sequence", "normalizers": [rule] * rng.choice((1, 3, 6, 12))}
    if kind == 1:
        expression = rng.choice(
            ("(a+)+$", "(a|a)*b$", "", "(", "(?<=a)a*?", "a{0,99999}", "\\p{X}", "(.*)*(.*)*(.*)*x")
        )
        return {"type": "Replace", "pattern": {"Regex": expression}, "content": rng.choice(WORDS)}
    if kind == 2:
        table = next(n for n in original["normalizers"] if n["type"] == "Precompiled")
        raw = damage(rng, base64.b64decode(table["precompiled_charsmap"]))
        return table | {"precompiled_charsmap": base64.b64encode(raw).decode()}
    if kind == 3:
        nested: Any = {"type": "Lowercase"}
        for _ in range(rng.choice((1, 50, 200))):
            nested = {"type": "Sequence", "normalizers": [nested]}
        return nested
    if kind == 4:
        name = rng.choice(
            ("NFD", "NFKC", "StripAccents", "Nmt", "ByteLevel", "BertNormalizer", "Prepend", "Strip", "X")
        )
        return {"type": name, "prepend": rng.choice(WORDS), "strip_left": True, "strip_right": True}
    return change_json(rng, original)


def _pre_tokenizer(rng: Random) -> Any:
    name = rng.choice(("Split", "ByteLevel", "Digits", "Punctuation", "CharDelimiterSplit", "FixedLength", "Metaspace"))
    return {
        "type": name,
        "pattern": {rng.choice(("Regex", "String")): rng.choice(("(a+)+$", "", "a", "(", "."))},
        "behavior": rng.choice(("Removed", "Isolated", "MergedWithNext", "Contiguous", "x")),
        "invert": rng.random() < 0.5,
        "individual_digits": True,
        "delimiter": rng.choice(("a", "", "ab", " ")),
        "length": rng.choice((0, 1, -1, 2**40)),
        "replacement": rng.choice(("▁", "", "ab", "a")),
        "prepend_scheme": rng.choice(("always", "never", "first", "x")),
        "add_prefix_space": True,
        "use_regex": True,
        "trim_offsets": rng.random() < 0.5,
    }


def _added(rng: Random) -> list[Any]:
    flags = {name: rng.random() < 0.5 for name in ("single_word", "lstrip", "rstrip", "normalized", "special")}
    number = rng.choice((3, 600, 13_999, 14_000, 2**32 - 1, 2**32, -1, odd_value(rng)))
    return [{"id": number, "content": rng.choice((*WORDS, odd_value(rng))), **flags}] * rng.choice((1, 1, 3))
