"""The parts of benchmarks/cuda_bench.py: what is measured, what on, and the tables."""
