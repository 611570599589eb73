"""A training on this machine: the fit, its callbacks, its files."""
