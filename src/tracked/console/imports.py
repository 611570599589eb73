"""Import modules before they are needed."""

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module


def import_ahead(names: Iterable[str]) -> None:
    """Import modules; one that cannot be imported is left to the code that needs it, which says what is wrong."""
    for name in names:
        with suppress(Exception):
            import_module(name)
