"""Pure functions of numbers, without MLflow and without Keras."""
