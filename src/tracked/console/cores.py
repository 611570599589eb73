"""The cores of this machine."""

import os


def count_cores() -> int:
    """Count the cores that this process may use (Linux), elsewhere all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
