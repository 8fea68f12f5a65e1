"""`instructor-onnx encode`: files of texts in, files of vectors out."""
