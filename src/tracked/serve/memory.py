"""Keep pauses of the garbage collector out of answers."""

import gc


def settle_memory() -> None:
    """Let the collector of cycles pass over all that is loaded: to look at it takes a fifth of a second each time."""
    gc.collect()
    gc.freeze()
