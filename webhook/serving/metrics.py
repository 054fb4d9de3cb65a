"""What Prometheus can ask. Labels come from closed sets, so that the number of series is bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from webhook.core.decision import Decision
from webhook.core.reasons import Reason, Verdict
from webhook.core.workload import WorkloadKind

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5)


class Metrics:
    """The metrics of one server; nothing is registered globally."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.decisions = Counter(
            "mlflow_webhook_decisions",
            "Reviews answered, by what was decided.",
            ["decision", "reason", "workload"],
            registry=registry,
        )
        self.review_duration = Histogram(
            "mlflow_webhook_review_duration_seconds",
            "Time from a review's last byte to its answer.",
            registry=registry,
            buckets=_BUCKETS,
        )
        self.refused = Counter(
            "mlflow_webhook_refused",
            "Pods refused for now with status 429, because a look-up failed.",
            registry=registry,
        )
        self.bad_requests = Counter(
            "mlflow_webhook_bad_requests",
            "Requests that were refused, by HTTP status, and those that ended too early (disconnected).",
            ["status"],
            registry=registry,
        )
        self.internal_errors = Counter(
            "mlflow_webhook_internal_errors", "Reviews that failed by a fault of the webhook.", registry=registry
        )
        self.namespace_lookups = Counter(
            "mlflow_webhook_namespace_lookups",
            "Live look-ups of a namespace, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self.namespaces = Gauge("mlflow_webhook_namespaces", "Namespaces that the watch knows.", registry=registry)
        self.namespace_watch_age = Gauge(
            "mlflow_webhook_namespace_watch_age_seconds",
            "Time since the API server last said something on the namespaces' watch.",
            registry=registry,
        )
        self.namespace_watch_restarts = Counter(
            "mlflow_webhook_namespace_watch_restarts",
            "How often the namespaces' watch failed and was begun again.",
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "mlflow_webhook_certificate_expiry_timestamp_seconds",
            "When the certificate ends (Unix time).",
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
        self.ready = Gauge("mlflow_webhook_ready", "Whether this replica takes reviews.", registry=registry)
        for kind in WorkloadKind:
            # an alert watches these, and a series that begins with its first event has not grown
            self.decisions.labels(Verdict.SKIPPED, Reason.NAMESPACE_LOOKUP_FAILED, kind)
        self._children: dict[tuple[Reason, WorkloadKind], Counter] = {}

    def count(self, decision: Decision, *, seconds: float) -> None:
        """Count one answered review."""
        key = (decision.reason, decision.workload)
        child = self._children.get(key)
        if child is None:  # a look-up by labels costs five times as much
            child = self.decisions.labels(**decision.summary)
            self._children[key] = child
        child.inc()
        self.review_duration.observe(seconds)
        if decision.try_again:
            self.refused.inc()

    def render(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
