"""Run by optimum's own Python: vectors of a bundle's variants, and of optimum's own export of the checkpoint.

python optimum_vectors.py BUNDLE CHECKPOINT ROWS.json OUT.npz
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from instructor_onnx import INSTRUCTOR
from instructor_onnx.engines import saturation
from optimum.onnxruntime import ORTModelForCustomTasks


def main(bundle: Path, checkpoint: Path, rows: list[list[str]], out: Path) -> None:
    model = INSTRUCTOR(bundle, variant="fp32", engine="onnxruntime")
    features = model.tokenize(rows)
    found = {}
    for variant in model.manifest.variants:
        theirs = ORTModelForCustomTasks.from_pretrained(bundle / variant, session_options=options())
        found[variant] = theirs(**features)["sentence_embedding"]
    beside = ORTModelForCustomTasks.from_pretrained(bundle, subfolder="int8", session_options=options())
    found["subfolder"] = beside(**features)["sentence_embedding"]

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "optimum.commands.optimum_cli", "export", "onnx"]
        subprocess.run([*command, "--task", "feature-extraction", "--model", str(checkpoint), folder], check=True)
        exported = ORTModelForCustomTasks.from_pretrained(folder)
        found["inputs"] = np.array(sorted(exported.input_names))
        del features["pooling_mask"]
        found["exported"] = exported(**features)["sentence_embedding"]
    np.savez(out, **found)


def options() -> Any:
    chosen = onnxruntime.SessionOptions()
    if saturation.saturates(onnxruntime):
        chosen.add_session_config_entry("session.x64quantprecision", "1")
    return chosen


if __name__ == "__main__":
    _, bundle, checkpoint, rows, out = sys.argv
    main(Path(bundle), Path(checkpoint), json.loads(Path(rows).read_text(encoding="utf-8")), Path(out))
