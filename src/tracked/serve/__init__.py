"""Answer requests over HTTP with a registered model."""
