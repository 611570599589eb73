"""All that is said to MLflow and asked of it."""
