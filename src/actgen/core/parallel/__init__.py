"""Several processes that do one run."""
