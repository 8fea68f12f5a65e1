"""What GET /metrics tells Prometheus. Each server has a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


class Metrics:
    """The server's counters, gauges and histograms."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "instructor_requests", "Answered requests", ["route", "status"], registry=registry
        )  # exposed as instructor_requests_total
        self.errors = Counter("instructor_errors", "Failed requests by kind", ["kind"], registry=registry)
        self.duration = _seconds(registry, "request_duration", "From the headers of a request to its answer", ["route"])
        self.tokenize = _seconds(registry, "tokenize", "Tokenising one request")
        self.queue_wait = _seconds(registry, "queue_wait", "From tokenised to the first run with a row of the request")
        self.inference = _seconds(registry, "inference", "One run of the model")
        self.batch_tokens = _counts(registry, "batch_tokens", "Tokens of one run, without padding")
        self.batch_rows = _counts(registry, "batch_rows", "Inputs of one run")
        self.truncated = Counter(
            "instructor_truncated_inputs", "Inputs cut to the model's max_seq_length", registry=registry
        )
        self.queue_tokens = Gauge("instructor_queue_tokens", "Tokens that wait for a run", registry=registry)
        self.connections = Gauge("instructor_connections", "Open connections", registry=registry)
        self.in_progress = Gauge("instructor_requests_in_progress", "Requests being embedded", registry=registry)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


def _seconds(registry: CollectorRegistry, name: str, text: str, labels: list[str] | None = None) -> Histogram:
    return Histogram(f"instructor_{name}_seconds", text, labels or [], buckets=SECONDS, registry=registry)


def _counts(registry: CollectorRegistry, name: str, text: str) -> Histogram:
    return Histogram(f"instructor_{name}", text, buckets=COUNTS, registry=registry)
