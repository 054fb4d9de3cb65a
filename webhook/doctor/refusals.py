"""What answers mean that are neither MLflow's nor an oauth2-proxy's."""

from __future__ import annotations

from webhook.doctor.findings import Finding, failed
from webhook.doctor.probe import Answer


def unexpected(check: str, answer: Answer) -> Finding:
    """Return a finding that shows an unknown answer as it is."""
    return failed(check, "unexpected_answer", f"Unexpected answer: {answer.summary()}", "Read the server's log.")
