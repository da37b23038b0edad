"""A run folder or a demo folder -> figures and one self-contained page."""
