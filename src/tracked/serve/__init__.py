"""Serve a registered model over HTTP."""
