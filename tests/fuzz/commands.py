"""The command line in this process: it does what it is told, or says one line and ends with its exit code."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from random import Random

import numpy as np
from instructor_onnx import cli

from tests.fuzz.mutate import NUMBERS, TEXTS
from tests.fuzz.verdict import Refused, Wrong, message_fault

USAGE = 2  # the exit code of wrong options
OPTIONS = ("--", "device", "variant", "engine", "arguments")  # what a sentence about them names


def run_command(arguments: list[str], named: tuple[str, ...]) -> bool:
    """Whether a command did what it was told, without a word of warning.

    Raises:
        Refused: it said why not.
        Wrong: what it said is no sentence for people, or is many.
    """
    out, raw = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.BytesIO()
    said = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace")  # as Python's own stderr
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            code = cli.main(arguments)
        except SystemExit as error:
            if error.code != USAGE:
                raise
            code = USAGE
        out.flush()
        said.flush()
    text = raw.getvalue().decode()
    if code == 0:
        return not text
    sentence = text.splitlines()[-1] if text else ""
    if not sentence.startswith("instructor-onnx"):
        raise Wrong(f"exit code {code}: {text!r:.500}")
    if fault := message_fault(sentence, (*named, *OPTIONS)):
        raise Wrong(f"{arguments[0]}: {fault}: {sentence}")
    raise Refused(sentence)


class Commands:
    """`encode` with options of odd values, on a file of three rows."""

    documented: tuple[type[BaseException], ...] = ()

    def __init__(self, folder: Path) -> None:
        self.original = folder / "original"
        self.folder = folder / "case"
        self.named = (str(self.folder),)
        self.original.mkdir()
        for name, text in {
            "rows.jsonl": '{"text": "a", "instruction": "b: "}\n{"text": "c", "instruction": ""}\n',
            "rows.csv": "text,instruction\na,b: \nc,\n",
            "rows.txt": "a\nc\n",
            "rows": json.dumps(["b: ", "a"]) + "\n",
        }.items():
            (self.original / name).write_text(text, encoding="utf-8")

    def close(self) -> None:
        """Nothing runs."""

    def attempt(self, rng: Random) -> bool:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.original, self.folder)
        source = self.folder / rng.choice(("rows.jsonl", "rows.csv", "rows.txt", "rows", "none.csv", ""))
        target = self.folder / rng.choice(("out.npy", "out.jsonl", "out", "rows.csv", "no/out.npy", "é.npy", "o" * 250))
        options: list[str] = []
        for _ in range(rng.choice((0, 1, 1, 2))):
            options += _option(rng)
        arguments = ["encode", "instructor-mini", str(source), "-o", str(target), "--threads", "1", "--quiet", *options]
        if any("\0" in argument for argument in arguments):
            raise Refused("no system passes a zero byte in an argument")
        done = run_command(arguments, self.named)
        if (
            target.suffix == ".npy"
            and "--output-format" not in options
            and not np.isfinite(np.load(target, allow_pickle=False)).all()
        ):
            raise Wrong("vectors that are not finite")
        return done


def _option(rng: Random) -> list[str]:
    numbers = ("--threads", "--batch-size", "--chunk-rows", "--max-seq-length")
    texts = ("--text-column", "--instruction-column", "--instruction", "--embedding-column", "--variant", "--device")
    choices: dict[str, tuple[str, ...]] = {"--engine": ("native", "onnxruntime", "x")}
    choices |= {"--input-format": ("jsonl", "csv", "text", "x")}
    choices |= {"--output-format": ("npy", "jsonl", "parquet", "x")}
    kind = rng.randrange(4)
    if kind == 0:
        return [rng.choice(("--overwrite", "--restart", "--no-such-option", "--debugging", "more"))]
    if kind == 1:
        name = rng.choice(list(choices))
        return [name, rng.choice(choices[name])]
    if kind == 2:
        return [rng.choice(numbers), str(rng.choice((*NUMBERS, "", "٣", "1e3", "9" * 5000, 1 << 10, 1025)))]
    short = [text for text in TEXTS if len(text) < 1000]  # what is one's own may be echoed
    return [rng.choice(texts), rng.choice((*short, "text", "instruction", "cpu", "int8", "cuda", "cpu:0"))]
