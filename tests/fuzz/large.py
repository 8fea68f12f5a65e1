"""Input as large as it may be, all of it in one case: what it costs is judged by the watching process."""

from __future__ import annotations

import contextlib
from random import Random

from instructor_onnx import BundleError
from instructor_onnx.files.stream import Job

from tests.fuzz.bundles import MODEL, Manifests, sparse
from tests.fuzz.mutate import write_json
from tests.fuzz.requests import Requests, large_bodies
from tests.fuzz.streams import LARGE, Inputs
from tests.fuzz.verdict import Refused, Wrong


class Bodies(Requests):
    """Every large body, on every route."""

    def attempt(self, rng: Random) -> bool:
        for path in ("/v1/embeddings", "/embed", "/tokenize"):
            for body in large_bodies(path):
                with contextlib.suppress(Refused):
                    self.ask(rng, path, write_json(body), True)
        return True


class Lines(Inputs):
    """Every large line, in every format."""

    def attempt(self, rng: Random) -> bool:
        for number, line in enumerate(LARGE):
            for suffix, kind in {".jsonl": "jsonl", ".csv": "csv", ".txt": "text"}.items():
                self.fresh()
                source = self.folder / f"rows{suffix}"
                source.write_bytes((b"text\n" if kind == "csv" else b"") + line())
                target = self.folder / "out.npy"
                with contextlib.suppress(ValueError):
                    self.run(Job(source=source, target=target, input_format=kind, output_format="npy"))
                    if not target.stat().st_size:
                        raise Wrong(f"line {number} as {kind}: an empty file")
        return True


class Files(Manifests):
    """Every file of a bundle, larger than the memory that a case has."""

    def attempt(self, rng: Random) -> bool:
        for name in ("manifest.json", "tokenizer.json", MODEL):
            self.fresh()
            (self.folder / name).unlink()
            sparse(self.folder / name)
            if name != "manifest.json":
                self.list_sizes()
            for engine in self.known:
                with contextlib.suppress(BundleError):
                    self.opened(engine)
                    raise Wrong(f"{name}: opened")
        return True
