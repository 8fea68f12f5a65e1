"""`instructor-onnx bench`: how fast this machine runs a bundle."""
