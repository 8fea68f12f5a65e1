"""LlamaIndex's own quick-start, a vector index and its retriever, on the embedded model.

pip install 'instructor-onnx[llama-index]'
"""

import sys

from instructor_onnx.integrations.llama_index import InstructorEmbedding
from llama_index.core import Document, VectorStoreIndex

TEXTS = [
    "The central bank decides every six weeks at what rate commercial banks may borrow.",
    "Lions and crocodiles take young hippos; adults have few enemies.",
    "In the chloroplasts of a leaf, light turns water and carbon dioxide into glucose.",
]


def main() -> None:
    embed_model = InstructorEmbedding(model_name="instructor-mini")
    # No splitter: LlamaIndex's default one counts with a tokenizer that it downloads.
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in TEXTS], embed_model=embed_model, transformations=[]
    )
    retriever = index.as_retriever(similarity_top_k=1)
    for question in ("Who sets the interest rate?", "What eats hippos?", "How do plants make sugar?"):
        found = retriever.retrieve(question)[0]
        sys.stdout.write(f"{question:<30} {found.score:.3f}  {found.text}\n")


if __name__ == "__main__":
    main()
