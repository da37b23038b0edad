"""A training in several processes, and rounds beside it."""
