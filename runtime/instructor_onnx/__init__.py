"""INSTRUCTOR text embeddings without PyTorch.

>>> from instructor_onnx import INSTRUCTOR
>>> model = INSTRUCTOR("my-bundle")  # or "instructor-mini", which comes along
>>> vectors = model.encode([["Represent the Science title:", "3D ActionSLAM"]])
"""

from instructor_onnx.bundle import BundleError as BundleError
from instructor_onnx.bundle import Manifest as Manifest
from instructor_onnx.model import INSTRUCTOR as INSTRUCTOR
from instructor_onnx.vectors import quantize_embeddings as quantize_embeddings
from instructor_onnx.vectors import truncate_embeddings as truncate_embeddings

__version__ = "0.1.0"
__all__ = ["INSTRUCTOR", "BundleError", "Manifest", "__version__", "quantize_embeddings", "truncate_embeddings"]
