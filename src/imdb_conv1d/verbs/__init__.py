"""Verbs of this experiment alone."""
