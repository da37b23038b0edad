"""Generators and settings -> which of them suits the data, measured on a few hundred generated images before any long run."""
