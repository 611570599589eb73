"""Resume, list and close unfinished trainings."""
