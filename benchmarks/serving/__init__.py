"""What a server costs and brings. `rival.py` runs in an environment of its own and imports nothing of the rest."""
