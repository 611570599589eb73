"""A training on this machine: the fit, its callbacks, what is kept on the disk."""
