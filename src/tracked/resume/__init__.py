"""Trainings that did not come to their end."""
