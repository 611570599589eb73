"""Reading from MLflow and logging to it."""
