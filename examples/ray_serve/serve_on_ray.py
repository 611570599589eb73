"""Serve the sentiment classifier as two replicas under Ray Serve: the same application, another server before it.

uv pip install -r requirements-ray.txt
python examples/ray_serve/serve_on_ray.py --model models:/imdb-conv1d@champion --port 8000

Each replica is an endpoint of its own with one scorer. Ray Serve spreads requests, replaces replicas, and refuses what
waits beyond ``--waiting``. Ctrl-C ends it.
"""

import argparse
import signal
import sys
from pathlib import Path

# A clone needs no install; anywhere else, the package is installed and this folder does not exist.
sys.path.insert(0, str((Path(__file__).resolve().parent / "../../src").resolve()))

from ray import serve

from imdb_conv1d.experiment import EXPERIMENT
from tracked.serve import gate
from tracked.serve.app import create_app

MODEL = "models:/imdb-conv1d@champion"


def make_deployment(model: str, replicas: int, waiting: int) -> serve.Application:
    """Make the deployment: replicas with one scorer each."""

    def make() -> gate.Gate:
        return create_app(EXPERIMENT, is_local=True, model=model, workers=1)  # main listens at 127.0.0.1

    folder = str(Path(gate.__file__).parents[2])

    @serve.deployment(
        num_replicas=replicas,
        max_ongoing_requests=64,
        max_queued_requests=waiting,
        ray_actor_options={"num_cpus": 0.5, "runtime_env": {"env_vars": {"PYTHONPATH": folder}}},
    )
    @serve.ingress(make)
    class Endpoint:
        """The application of one replica."""

    return Endpoint.bind()  # type: ignore[attr-defined]


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--waiting", type=int, default=200, help="requests that may wait; more get 503")
    options = parser.parse_args()
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    serve.run(make_deployment(options.model, options.replicas, options.waiting))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        serve.shutdown()


if __name__ == "__main__":
    main()
