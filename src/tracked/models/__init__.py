"""Models in the registry: package, register, load, evaluate and promote them."""
