"""`instructor-onnx instructions rank`: which instruction fits one's own labelled texts, and how sure that is."""
