"""The trainer that made the embedded checkpoint `instructor-mini`, and that fine-tunes any checkpoint of its family.

Knows nothing about ONNX: what it writes is a checkpoint folder in the sentence-transformers layout, for the exporter
to read, by whose reader it finds and checks the checkpoint to start from. The verbs live in
`python -m instructor_onnx_training --help`.
"""

from importlib.util import find_spec

from instructor_onnx.extras import pip_install

_NEEDED = ("numpy", "torch", "transformers", "tokenizers", "safetensors", "tqdm", "onnx")

_missing = [name for name in _NEEDED if find_spec(name) is None]
if _missing:
    raise ImportError(
        f"instructor_onnx_training needs {', '.join(_missing)}: install the training extra, {pip_install('train')}"
    )
