"""A module a rival. Each has `load(job) -> Encoder`, and `prepare(job)` where weights are converted first.

Each imports its framework inside, and nothing of another's.
"""
