"""The IMDB Conv1D sentiment classifier as an experiment of ``tracked``."""
