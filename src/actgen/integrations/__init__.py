"""Active generation inside trainers of others; thin, around `active.py`."""
