"""The metrics that Prometheus reads. Labels come from closed sets, so that the number of series is bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from webhook.core.decision import Decision
from webhook.core.lookup import LookupOutcome
from webhook.core.reasons import Reason
from webhook.core.workload import WorkloadKind

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5)


class Metrics:
    """The metrics of one server; nothing is registered globally."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.decisions = Counter(
            "mlflow_webhook_decisions",
            "Reviews answered, by decision.",
            ["decision", "reason", "workload"],
            registry=registry,
        )
        self.review_duration = Histogram(
            "mlflow_webhook_review_duration_seconds",
            "Time from the last byte of a review to its answer.",
            registry=registry,
            buckets=_BUCKETS,
        )
        self.refused = Counter(
            "mlflow_webhook_refused",
            "Pods refused with status 429, to be retried, because a namespace lookup failed.",
            registry=registry,
        )
        self.bad_requests = Counter(
            "mlflow_webhook_bad_requests",
            "Requests that were refused, by HTTP status, and those whose client disconnected early (disconnected).",
            ["status"],
            registry=registry,
        )
        self.internal_errors = Counter(
            "mlflow_webhook_internal_errors", "Reviews that failed because of a bug in the webhook.", registry=registry
        )
        self.namespace_lookups = Counter(
            "mlflow_webhook_namespace_lookups",
            "Live lookups of a namespace, by outcome (read, not_found, failed, limited).",
            ["outcome"],
            registry=registry,
        )
        self.namespaces = Gauge("mlflow_webhook_namespaces", "Namespaces known from the watch.", registry=registry)
        self.namespace_watch_age = Gauge(
            "mlflow_webhook_namespace_watch_age_seconds",
            "Time since the API server last sent something on the watch of namespaces, or accepted it.",
            registry=registry,
        )
        self.namespace_watch_restarts = Counter(
            "mlflow_webhook_namespace_watch_restarts",
            "How often the watch of namespaces failed and was started again.",
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "mlflow_webhook_certificate_expiry_timestamp_seconds",
            "When the certificate expires (Unix time).",
            ["certificate"],
            registry=registry,
        )
        self.certificate_renewals = Counter(
            "mlflow_webhook_certificate_renewals", "Certificates put into service.", registry=registry
        )
        self.certificate_failures = Counter(
            "mlflow_webhook_certificate_failures", "Failed attempts to renew or publish.", registry=registry
        )
        self.ca_bundle_repairs = Counter(
            "mlflow_webhook_ca_bundle_repairs", "Times the caBundle was written.", registry=registry
        )
        self.log_lines_lost = Counter(
            "mlflow_webhook_log_lines_lost",
            "Log lines that could not be written, because of a full disk, a closed pipe, or a pipe that nobody reads.",
            registry=registry,
        )
        self.ready = Gauge("mlflow_webhook_ready", "Whether this replica is ready for reviews.", registry=registry)
        for outcome in LookupOutcome:
            # the alerts use increase(), which does not count the event that creates a series
            self.namespace_lookups.labels(outcome)
        self._children: dict[tuple[Reason, WorkloadKind], Counter] = {}

    def count(self, decision: Decision, *, seconds: float) -> None:
        """Count one answered review."""
        key = (decision.reason, decision.workload)
        child = self._children.get(key)
        if child is None:  # a lookup by labels takes five times as long
            child = self.decisions.labels(**decision.summary)
            self._children[key] = child
        child.inc()
        self.review_duration.observe(seconds)
        if decision.try_again:
            self.refused.inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
