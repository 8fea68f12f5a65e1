"""How fast the native engine is, against onnxruntime, variant by variant."""
