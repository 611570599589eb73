"""What an endpoint counts, for Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Meter:
    """The counters of one endpoint; those of two in a process stay apart."""

    def __init__(self) -> None:
        disable_created_metrics()  # a series more for each, which says when it began
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("serve_requests", "Requests by path and status", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "serve_request_seconds", "From a request's headers to the end of its answer", ["path"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.rows = Counter("serve_rows", "Rows answered", registry=registry)
        self.batches = Histogram("serve_batch_rows", "Rows scored together", buckets=ROWS, registry=registry)
        self.waiting = Gauge("serve_waiting_rows", "Rows that wait for a scorer", registry=registry)
        self.scorers = Gauge("serve_scorers", "Scorers that have the model loaded", registry=registry)
        self.deaths = Counter("serve_scorer_deaths", "Scorers that ended and were replaced", registry=registry)
        self.reloads = Counter("serve_reloads", "Looks for another version that found one or failed", ["result"],
            registry=registry)  # fmt: skip
        for result in ("taken", "refused", "failed"):
            self.reloads.labels(result)
        self.looked = Gauge("serve_last_look_timestamp_seconds", "When the alias was last found", registry=registry)
        self.connections = Gauge("serve_connections", "Open connections", registry=registry)
        self.refused_connections = Counter(
            "serve_connections_refused", "Connections beyond the limit", registry=registry
        )
        self.model = Gauge("serve_model_info", "1 for the version that answers", ["model", "version", "digest"],
            registry=registry)  # fmt: skip
        self.ready = Gauge("serve_ready", "Whether requests are answered", registry=registry)

    def show_version(self, model: str, version: str, digest: str) -> None:
        """Show which version answers."""
        self.model.clear()
        self.model.labels(model, version, digest).set(1)

    def render(self) -> bytes:
        """Render all values in Prometheus's text format."""
        return generate_latest(self._registry)
