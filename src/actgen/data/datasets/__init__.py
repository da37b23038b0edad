"""Labelled images from wherever they are."""
