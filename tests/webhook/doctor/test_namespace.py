from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.dex import jwt
from webhook.core.configuration import SecretKey
from webhook.doctor.findings import Status
from webhook.doctor.namespace import Wiring, check_token, wiring_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SOON, LATER = int(NOW.timestamp()) + 600, int(NOW.timestamp()) + 80_000


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        (jwt(exp=LATER), Status.PASSED, None),
        (jwt(exp=SOON), Status.WARNED, "token_ends_soon"),
        (jwt(exp=LATER, email_verified=False), Status.WARNED, "token_email_not_verified"),
        (jwt(exp=1), Status.FAILED, "token_expired"),
        ("rubbish", Status.FAILED, "token_not_a_jwt"),
    ],
)
def test_a_token_is_judged_as_it_stands(token: str, status: Status, code: str | None) -> None:
    finding = check_token(token, namespace="team-a", now=NOW)
    assert (finding.status, finding.code or None) == (status, code)


def test_the_wiring_is_read_from_the_sample_though_another_webhook_put_a_container_in_front() -> None:
    token = {"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": {"secretKeyRef": {"name": "ci-token", "key": "jwt"}}}
    env = [{"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow"}, {"name": "MLFLOW_WORKSPACE", "value": "a"}, token]
    containers = [{"name": "istio-proxy", "env": []}, {"name": "sample", "env": env}]
    wiring = Wiring(tracking_uri="http://mlflow", workspace="a", secret=SecretKey("ci-token", "jwt"))
    assert wiring_of({"spec": {"containers": containers}}) == wiring
    assert wiring_of({"spec": {"containers": [{"name": "sample"}]}}) is None
