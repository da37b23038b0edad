"""Room 1: image -> prediction -> hard example."""
