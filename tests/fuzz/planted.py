"""A kind whose every case is a defect, to see that the fuzzer finds them. The seed says which."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

from instructor_onnx import BundleError
from instructor_onnx.bundle import Manifest

from tests.fuzz.verdict import Wrong

# What is planted -> the outcome that has to be found.
DEFECTS = {
    "none": "same",
    "another answer": "changed",
    "a sentence of ours": "refused",
    "a wrong vector": "wrong",
    "another library's error": "foreign",
    "an error of a documented type that nobody of ours raised": "foreign",
    "an error of ours that names nothing": "foreign",
    "an error of a panic's kind": "foreign",
    "a crash": "crashed",
    "an exit": "crashed",
    "a hang": "hung",
    "gigabytes": "memory",
    "gigabytes for a moment": "memory",
}


class Panic(BaseException):
    """As the tokenizer's, which is no Exception."""


class Planted:
    """Case N has the Nth of DEFECTS."""

    documented: tuple[type[BaseException], ...] = (BundleError, ValueError)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.named = (str(folder),)

    def close(self) -> None:
        """Nothing runs."""

    def attempt(self, rng: Random) -> bool:
        # The generator is all that a case gets: the first number of each seed's tells them apart.
        first = rng.random()
        defect = next(name for seed, name in enumerate(DEFECTS) if Random(seed).random() == first)
        if defect == "a sentence of ours":
            Manifest.read(self.folder / "none")
        elif defect == "a wrong vector":
            raise Wrong("another vector")
        elif defect == "another library's error":
            raise KeyError("x")
        elif defect == "an error of a documented type that nobody of ours raised":
            int("x" + str(self.folder))
        elif defect == "an error of ours that names nothing":
            self.named = ("another file",)
            Manifest.read(self.folder / "none")
        elif defect == "an error of a panic's kind":
            raise Panic(str(self.folder))
        elif defect == "a crash":
            os.abort()
        elif defect == "an exit":
            os._exit(3)
        elif defect == "a hang":
            time.sleep(3600)
        elif defect == "gigabytes":
            kept = [bytearray(os.urandom(1 << 20) * 50) for _ in range(40)]
            time.sleep(3600 * len(kept))
        elif defect == "gigabytes for a moment":
            bytearray(300 << 20)
        return defect == "none"
