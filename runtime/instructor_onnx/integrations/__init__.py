"""INSTRUCTOR where people already are: one module a framework, each behind the extra of its name.

langchain, haystack, llama_index, chroma, sklearn and spark; none is imported by anything else in this package.
"""
