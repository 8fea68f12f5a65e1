"""A server under everything at once."""
