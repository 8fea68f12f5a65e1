"""Work folders of interrupted runs: states, data and parts that were changed since."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from instructor_onnx import INSTRUCTOR
from instructor_onnx.files import stream
from instructor_onnx.files.resume import STATE
from instructor_onnx.files.stream import Job
from instructor_onnx.inputs import Row

from tests.fuzz.mutate import change_json, damage, odd_file, odd_value, write_json
from tests.fuzz.streams import FORMATS, Streams
from tests.fuzz.verdict import Wrong

ROWS = [[f"Represent the row {index}: ", f"text {index}, and more"] for index in range(7)]


class States(Streams):
    """The folder of a run that was cut short, changed; the run that continues has to make the known bytes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.originals = folder / "originals"
        self.source = folder / "rows.jsonl"
        self.source.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
        self.known = {}
        for output in FORMATS:
            self.fresh()
            self.run(self._job(output))
            self.known[output] = self._job(output).target.read_bytes()  # type: ignore[union-attr]
            self.fresh()
            self._interrupt(self._job(output))
            shutil.copytree(self.folder, self.originals / output)
        self.named = (*self.named, str(self.source))

    def attempt(self, rng: Random) -> bool:
        output = rng.choice(FORMATS)
        shutil.rmtree(self.folder)
        shutil.copytree(self.originals / output, self.folder)
        job = self._job(output)
        changed = self._change(rng, job.folder)
        self.run(job)
        assert job.target is not None
        if job.target.read_bytes() == self.known[output]:
            return True
        if changed == STATE:  # damage to the data itself is not looked for
            raise Wrong(f"{output}: another file, as {STATE} was changed")
        return False

    def _job(self, output: str) -> Job:
        target = self.folder / f"out.{output}"
        return Job(source=self.source, target=target, input_format="jsonl", output_format=output, chunk_rows=2)

    def _interrupt(self, job: Job) -> None:
        """Leave a run after its second chunk."""
        model = _Failing(self.model, chunks=2)
        try:
            stream.run(model, job, form=self.form, description=self.description, total=None, show_progress=False)
        except InterruptedError:
            return
        raise RuntimeError("the run was not cut short")

    def _change(self, rng: Random, folder: Path) -> str:
        """Change one file of a work folder; its name, or "forged" for a state whose hash is right."""
        path = folder / STATE if rng.random() < 0.6 else rng.choice(sorted(folder.iterdir()))
        what = rng.randrange(8)
        if path.name == STATE and what < 6:
            state = json.loads(path.read_text(encoding="utf-8"))
            changed = change_json(rng, state) if what < 3 else state | {rng.choice(list(state)): odd_value(rng)}
            forged = isinstance(changed, dict) and "sha256" in changed and rng.random() < 0.6
            path.write_bytes(write_json(_forged(changed) if forged else changed))
            return "forged" if forged else STATE
        elif what < 6:
            path.write_bytes(damage(rng, path.read_bytes()))
        else:
            odd_file(rng, path, lambda: path.symlink_to(self.folder / "elsewhere"))
        return path.name


@dataclasses.dataclass
class _Failing:
    """A model that is interrupted."""

    model: INSTRUCTOR
    chunks: int

    def _embed(self, rows: list[Row], batch_size: int) -> Any:
        """As INSTRUCTOR's, so many times."""
        if not self.chunks:
            raise InterruptedError
        self.chunks -= 1
        return self.model._embed(rows, batch_size)

    def get_sentence_embedding_dimension(self) -> int:
        """As INSTRUCTOR's."""
        return self.model.get_sentence_embedding_dimension()


def _forged(state: dict[str, Any]) -> dict[str, Any]:
    """A state with the hash that it should have (see resume.py), by somebody who can write one."""
    state = {name: value for name, value in state.items() if name != "sha256"}
    return state | {"sha256": hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()}
