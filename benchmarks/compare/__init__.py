"""How fast: this project and its rivals on the same weights and the same texts, alternating in one run.

`worker.py` and `adapters/` run in the rivals' own environments and import nothing of the benchmarks but `rivals.py`
and `common/memory.py`.
"""
