"""What is measured, a package or a module each, run from the project's root as `python -m benchmarks.NAME`."""
