"""Room 5: batch -> a better classifier."""
