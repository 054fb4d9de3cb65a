from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.dex import jwt
from webhook.core.configuration import Namespace
from webhook.core.values import SecretKey
from webhook.doctor.findings import Status
from webhook.doctor.namespace import Wiring, check_namespace, check_token, wiring_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SOON, LATER = int(NOW.timestamp()) + 600, int(NOW.timestamp()) + 80_000


REFRESH = "mlflow-webhook token refresh --namespace team-a"
ISSUER = "--issuer http://dex/dex"
TOKENS: dict[str, tuple[str, Status, str, str]] = {
    "a good one": (jwt(exp=LATER), Status.PASSED, "", ""),
    "soon": (jwt(exp=SOON), Status.WARNED, "token_ends_soon", f"{REFRESH} --force {ISSUER}"),
    "an address that is not verified": (
        jwt(exp=LATER, email_verified=False),
        Status.WARNED,
        "token_email_not_verified",
        "Verify the address in the user directory behind Dex.",
    ),
    "no address": (
        jwt(exp=LATER, email=None),
        Status.WARNED,
        "token_without_email",
        f"{REFRESH} --force {ISSUER} --scope 'openid email groups'",
    ),
    "no end": (jwt(exp=None), Status.WARNED, "token_without_end", f"{REFRESH} {ISSUER}"),
    "expired": (jwt(exp=1), Status.FAILED, "token_expired", f"{REFRESH} {ISSUER}"),
    "cut off": (jwt(exp=LATER)[:-3], Status.FAILED, "token_truncated", f"{REFRESH} {ISSUER}"),
    "no token": ("rubbish", Status.FAILED, "token_not_a_jwt", f"{REFRESH} --issuer ISSUER"),
    "an odd issuer": (jwt(exp=1, iss="http://a b/;rm"), Status.FAILED, "token_expired", f"{REFRESH} --issuer ISSUER"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_is_judged_by_itself_and_the_remedy_can_be_run(name: str) -> None:
    token, status, code, remedy = TOKENS[name]
    finding = check_token(token, namespace="team-a", now=NOW)
    assert (finding.status, finding.code, finding.remedy) == (status, code, remedy)


def test_a_token_that_is_not_valid_yet_is_named_with_both_clocks() -> None:
    finding = check_token(jwt(exp=LATER, nbf=SOON), namespace="team-a", now=NOW)
    assert (finding.status, finding.code) == (Status.FAILED, "token_not_yet_valid")
    assert "is not valid before 2026-06-01 00:10 UTC" in finding.message
    assert "this one's (00:00 UTC)" in finding.remedy


def test_the_words_for_a_token_name_its_owner_or_the_id() -> None:
    assert check_token(jwt(exp=SOON), namespace="a", now=NOW).message.startswith("alice@example.com's token expires in")
    without = check_token(jwt(exp=LATER, email=None), namespace="a", now=NOW).message
    assert "MLflow shows CiQwOGE4Njg0Yi1kYjg4LTRiNzM, the issuer's id for its user, as the owner of runs" in without
    nameless = check_token(jwt(exp=LATER, email=None, sub=None), namespace="a", now=NOW).message
    assert "MLflow shows no owner of runs" in nameless


def test_the_wiring_is_read_from_the_sample_though_another_webhook_put_a_container_in_front() -> None:
    token = {"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": {"secretKeyRef": {"name": "ci-token", "key": "jwt"}}}
    env = [{"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow"}, {"name": "MLFLOW_WORKSPACE", "value": "a"}, token]
    containers = [{"name": "istio-proxy", "env": []}, {"name": "sample", "env": env}]
    wiring = Wiring(tracking_uri="http://mlflow", workspace="a", secret=SecretKey("ci-token", "jwt"))
    assert wiring_of({"spec": {"containers": containers}}) == wiring
    assert wiring_of({"spec": {"containers": [{"name": "sample"}]}}) is None


def test_what_a_namespace_has_in_the_wrong_form_is_named() -> None:
    right = Namespace("team-a", {"mlflow-enabled": "true"}, {"mlflow.kubeflow.org/experiment": "e"})
    swapped = Namespace("team-a", {"mlflow.kubeflow.org/experiment": "e"}, {"mlflow-enabled": "true"})
    assert "annotation_ignored" not in {finding.code for finding in check_namespace(right)}
    (finding,) = [finding for finding in check_namespace(swapped) if finding.code == "annotation_ignored"]
    assert finding.message == (
        "annotation mlflow-enabled of the namespace is ignored: it has to be a label; "
        "label mlflow.kubeflow.org/experiment of the namespace is ignored: it has to be an annotation."
    )
