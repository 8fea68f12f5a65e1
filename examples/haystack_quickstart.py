"""Haystack's own quick-start: an indexing pipeline and a query pipeline, on the embedded model.

pip install 'instructor-onnx[haystack]'
"""

import sys

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from instructor_onnx.instructions import RETRIEVAL
from instructor_onnx.integrations.haystack import InstructorDocumentEmbedder, InstructorTextEmbedder

DOCUMENTS = [
    Document(content="It decides every six weeks at what rate others may borrow.", meta={"title": "Central bank"}),
    Document(content="Lions and crocodiles take the young; adults have few enemies.", meta={"title": "Hippopotamus"}),
    Document(content="Light turns water and carbon dioxide into glucose.", meta={"title": "Plants: chloroplasts"}),
]


def main() -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")

    indexing = Pipeline()
    embedder = InstructorDocumentEmbedder(
        model="instructor-mini",
        instruction=RETRIEVAL["general"].document,
        meta_fields_to_embed=["title"],
        progress_bar=False,
    )
    indexing.add_component("embedder", embedder)
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("embedder.documents", "writer.documents")
    indexing.run({"embedder": {"documents": DOCUMENTS}})

    querying = Pipeline()
    querying.add_component(
        "embedder",
        InstructorTextEmbedder(model="instructor-mini", instruction=RETRIEVAL["general"].query, progress_bar=False),
    )
    querying.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    querying.connect("embedder.embedding", "retriever.query_embedding")
    for question in ("Who sets the interest rate?", "What eats hippos?", "How do plants make sugar?"):
        found = querying.run({"embedder": {"text": question}})["retriever"]["documents"][0]
        sys.stdout.write(f"{question:<30} {found.meta['title']}: {found.content}\n")


if __name__ == "__main__":
    main()
