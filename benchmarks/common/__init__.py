"""What the benchmarks share: commands, machine, results, tables, journals. Knows nothing of what is measured."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
