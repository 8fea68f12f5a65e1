"""Chroma's own quick-start, a collection that embeds by itself, on the embedded model.

pip install 'instructor-onnx[chroma]'
"""

import sys

import chromadb
from chromadb.config import Settings
from instructor_onnx.integrations.chroma import InstructorEmbeddingFunction

TEXTS = [
    "The central bank decides every six weeks at what rate commercial banks may borrow.",
    "Lions and crocodiles take young hippos; adults have few enemies.",
    "In the chloroplasts of a leaf, light turns water and carbon dioxide into glucose.",
]


def main() -> None:
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    client.create_collection("quickstart", embedding_function=InstructorEmbeddingFunction("instructor-mini"))
    collection = client.get_collection("quickstart")  # it remembers how it embeds
    collection.add(ids=["bank", "hippo", "leaf"], documents=TEXTS)
    for question in ("Who sets the interest rate?", "What eats hippos?", "How do plants make sugar?"):
        found = collection.query(query_texts=[question], n_results=1)
        documents, distances = found["documents"], found["distances"]
        if documents and distances:
            sys.stdout.write(f"{question:<30} {distances[0][0]:.3f}  {documents[0][0]}\n")
    client.delete_collection("quickstart")


if __name__ == "__main__":
    main()
