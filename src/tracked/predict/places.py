"""Place rows in batches so that the bits of an answer depend neither on the other rows nor on their number.

A library multiplies rows in groups of 4, 6 or 8, by the kind of CPU, and the one or two rows that are left over in
another order of sums. 30 of 32 rows leave none over for any of these, if the model itself takes 32 at a time, as
Keras's ``predict`` does, or a multiple of it.
"""

import numpy as np

BLOCK, USED = 32, 30  # rows, and those of them that are answered


def place(rows: np.ndarray, batch: int, fill: object) -> tuple[np.ndarray, np.ndarray]:
    """Place rows in whole batches.

    Args:
        rows: [n, ...].
        batch: the number of rows that a model gets at a time, full and empty ones.
        fill: of the empty ones.

    Returns:
        the rows of all batches, [batches * batch, ...]; and the place of each row, int64 [n].
    """
    free = np.flatnonzero(np.arange(batch) % BLOCK < USED)
    number = np.arange(len(rows))
    places = number // len(free) * batch + free[number % len(free)]
    placed = np.full((-(-len(rows) // len(free)) * batch, *rows.shape[1:]), fill, rows.dtype)
    placed[places] = rows
    return placed, places
