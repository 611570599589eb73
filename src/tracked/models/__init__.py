"""Stored models: packaged, registered, loaded, evaluated, promoted."""
