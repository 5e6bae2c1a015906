"""Prometheus metrics, under the names that TensorFlow Serving gives them, so that its dashboards show them."""

from __future__ import annotations

from typing import Any

from framework import extras

PATH = "/monitoring/prometheus/metrics"
_MICROSECONDS = 1e6
_LATENCY_BUCKETS = [10 * 1.8**power for power in range(33)]  # of microseconds, as TensorFlow Serving's: to 26 minutes
_SIZE_BUCKETS = [2**power for power in range(11)]


class Metrics:
    """Counts and times requests and batches."""

    def __init__(self) -> None:
        prometheus: Any = extras.require("prometheus_client", extra="server", purpose="Serving metrics")
        self._prometheus = prometheus
        self._registry = prometheus.CollectorRegistry()
        # Counts, kept as gauges: the client would call a counter ..._total, which no dashboard knows.
        self._requests = self._made(
            prometheus.Gauge, ":tensorflow:serving:request_count", "Requests.", ["model_name", "status"]
        )
        self._latency = self._made(
            prometheus.Histogram,
            ":tensorflow:serving:request_latency",
            "Microseconds from a request's first byte to its answer.",
            ["model_name", "API", "entrypoint"],
            buckets=_LATENCY_BUCKETS,
        )
        self._runtime = self._made(
            prometheus.Histogram,
            ":tensorflow:serving:runtime_latency",
            "Microseconds in TensorFlow.",
            ["model_name", "API", "runtime"],
            buckets=_LATENCY_BUCKETS,
        )
        self._batch_size = self._made(
            prometheus.Histogram,
            ":tensorflow:serving:batching_session:processed_batch_size",
            "Examples of a call of TensorFlow.",
            ["model_name"],
            buckets=_SIZE_BUCKETS,
        )

    def request(self, model: str, api: str, status: int, secs: float) -> None:
        """One answered request.

        Args:
            model: A name that is served; clients' own inventions would fill the memory.
            api: `"predict"`, `"classify"`, `"regress"`, `"status"` or `"metadata"`.
            status: HTTP's.
            secs: From its beginning to its answer.
        """
        self._requests.labels(model, "OK" if status == 200 else str(status)).inc()
        self._latency.labels(model, api, "REST").observe(secs * _MICROSECONDS)

    def batch(self, model: str, size: int) -> None:
        """One call of TensorFlow with so many examples."""
        self._batch_size.labels(model).observe(size)

    def run(self, model: str, secs: float) -> None:
        """Seconds of one call of TensorFlow; from any thread."""
        self._runtime.labels(model, "Predict", "TF2").observe(secs * _MICROSECONDS)

    def page(self) -> bytes:
        """In Prometheus' text format."""
        return self._prometheus.generate_latest(self._registry)

    def _made(self, kind: Any, *arguments: Any, **options: Any) -> Any:
        return kind(*arguments, registry=self._registry, **options)
