"""Everything behind the seam of engine.py: what runs a variant, and where."""
