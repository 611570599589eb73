"""Pure functions of numbers: they know neither MLflow nor Keras."""
