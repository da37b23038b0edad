"""Generators and settings -> which of them suits the data, measured on a few hundred drawings before any long run."""
