"""What the benchmarks share: the machine, results files, their tables, journals. Knows nothing of what is measured."""
