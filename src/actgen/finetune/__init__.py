"""Training or adapting a generator."""
