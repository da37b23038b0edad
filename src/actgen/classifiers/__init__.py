"""Room 1: image -> prediction -> mistake."""
