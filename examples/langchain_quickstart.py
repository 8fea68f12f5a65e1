"""LangChain's own quick-start, an in-memory vector store, on the embedded model.

pip install 'instructor-onnx[langchain]'
"""

import sys

from instructor_onnx.integrations.langchain import InstructorEmbeddings
from langchain_core.vectorstores import InMemoryVectorStore

TEXTS = [
    "The central bank decides every six weeks at what rate commercial banks may borrow.",
    "Lions and crocodiles take young hippos; adults have few enemies.",
    "In the chloroplasts of a leaf, light turns water and carbon dioxide into glucose.",
]


def main() -> None:
    embeddings = InstructorEmbeddings(model_name="instructor-mini")
    store = InMemoryVectorStore.from_texts(TEXTS, embedding=embeddings)
    retriever = store.as_retriever(search_kwargs={"k": 1})
    for question in ("Who sets the interest rate?", "What eats hippos?", "How do plants make sugar?"):
        found = retriever.invoke(question)[0]
        sys.stdout.write(f"{question:<30} {found.page_content}\n")


if __name__ == "__main__":
    main()
