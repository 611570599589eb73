import subprocess
import sys
from pathlib import Path

import numpy as np

from imdb_conv1d.batches import training_batches, validation_batches

IDS = np.arange(10)[:, np.newaxis].repeat(3, axis=1)
LABELS = np.arange(10) % 2


def orders(seed: int, epochs: range, batch_size: int = 4) -> list[list[int]]:
    """The rows of each epoch in the order in which they come."""
    batches, steps = training_batches(IDS, LABELS, batch_size, seed, epochs)
    rows: list[list[int]] = []
    for number, (ids, labels) in enumerate(batches.as_numpy_iterator()):
        if number % steps == 0:
            rows.append([])
        assert (labels == ids[:, 0] % 2).all()
        rows[-1] += ids[:, 0].tolist()
    return rows


def test_every_epoch_has_every_row_once() -> None:
    batches, steps = training_batches(IDS, LABELS, 4, 7, range(1, 4))
    assert steps == 3
    assert [len(labels) for _, labels in batches.as_numpy_iterator()] == [4, 4, 2] * 3
    assert all(sorted(rows) == list(range(10)) for rows in orders(7, range(1, 4)))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    seen = [tuple(rows) for seed in (7, 8) for rows in orders(seed, range(1, 21))]
    assert len(set(seen)) == 40


def test_an_epochs_order_needs_no_other_epoch() -> None:
    assert orders(7, range(3, 5)) == orders(7, range(1, 5))[2:]
    assert orders(7, range(1, 3), batch_size=3) == orders(7, range(1, 3), batch_size=10)


def test_another_process_gives_the_same_order() -> None:
    code = "import test_batches; print(test_batches.orders(7, range(1, 4)))"
    here = Path(__file__).parent
    path = {"PYTHONPATH": f"{here}:{here.parent / 'src'}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(orders(7, range(1, 4)))


def test_validation_keeps_its_order() -> None:
    ids = np.concatenate([ids for ids, _ in validation_batches(IDS, LABELS).as_numpy_iterator()])
    assert np.array_equal(ids, IDS)
