"""Pause Python's collector of cycles while a command imports: it passes over what stays, a second for TensorFlow."""

import gc


def pause() -> None:
    """Let the collector rest until :func:`go_on`."""
    gc.disable()


def go_on() -> None:
    """Let the collector work again, without what was made until now; nothing happens unless it rests."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
