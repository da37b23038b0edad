"""What somebody else would write: a guide, a strategy, a filter and a reader, one file each."""
