"""Write simulated runs to the store: the content of a training's run, without training."""

from collections.abc import Mapping, Sequence
from itertools import count

import mlflow
from mlflow.entities import Metric, Param

STARTS = count(1_700_000_000_000, 1000)  # milliseconds: each run a second after the one before


def record(
    values: Sequence[float],
    parameters: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    metric: str = "val_loss",
    steps: Sequence[int] | None = None,
    status: str | None = "FINISHED",
    experiment: str = "0",
    name: str = "made up",
    milliseconds: int = 2000,
) -> str:
    """Create a run with a metric's values, one every ``milliseconds``; return its id. Status None: RUNNING."""
    client, start = mlflow.MlflowClient(), next(STARTS)
    run = client.create_run(experiment, tags=dict(tags or {}), run_name=name, start_time=start)
    steps = range(1, len(values) + 1) if steps is None else steps
    points = [
        Metric(metric, value, start + (place + 1) * milliseconds, step)
        for place, (step, value) in enumerate(zip(steps, values, strict=True))
    ]
    params = [Param(key, str(value)) for key, value in (parameters or {}).items()]
    client.log_batch(run.info.run_id, metrics=points, params=params)
    if status:
        client.set_terminated(run.info.run_id, status, end_time=start + (len(values) + 2) * milliseconds)
    return str(run.info.run_id)
