"""Augmentation of a batch."""
