"""Weights -> an ONNX graph, one module a precision."""
