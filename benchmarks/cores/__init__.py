"""How the native engine would run on many cores: a simulation that two cores check."""
