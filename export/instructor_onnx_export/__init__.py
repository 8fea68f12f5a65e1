"""Export INSTRUCTOR checkpoints to instructor-onnx bundles: `export()`; `verify_bundle()` looks again."""

from instructor_onnx.extras import pip_install

try:
    import onnx as onnx
    import safetensors as safetensors
    import torch as torch
    import transformers as transformers
except ImportError as error:
    raise ImportError(f"exporting needs {error.name}: {pip_install('export')}") from error

from instructor_onnx_export.calibrate import CalibrationError as CalibrationError
from instructor_onnx_export.checkpoint.read import CheckpointError as CheckpointError
from instructor_onnx_export.graph.model_file import RangeError as RangeError
from instructor_onnx_export.pipeline import export as export
from instructor_onnx_export.pipeline import verify_bundle as verify_bundle
from instructor_onnx_export.staging import ExportError as ExportError
from instructor_onnx_export.verify import VerificationError as VerificationError

__all__ = [
    "CalibrationError",
    "CheckpointError",
    "ExportError",
    "RangeError",
    "VerificationError",
    "export",
    "verify_bundle",
]
