"""The IMDB Conv1D sentiment classifier, trained with early stopping under MLflow."""
