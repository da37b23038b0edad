"""Generated images on disk: PNG files and an append-only manifest."""
