"""How fast on a GPU: the tests, the exporter and its graphs, torch and sentence-transformers, in one go."""
