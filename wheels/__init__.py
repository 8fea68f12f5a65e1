"""Wheels of every platform: built on one machine, and run where they can be."""
