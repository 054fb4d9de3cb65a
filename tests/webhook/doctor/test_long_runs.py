"""For how long a run in a namespace is safe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.dex import jwt
from webhook.doctor.findings import Finding, Status
from webhook.doctor.long_runs import check_long_runs
from webhook.doctor.probe import Target

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def check(token: str | None, *, plugin: bool, minted: datetime | None = None) -> Finding:
    target = Target(uri="http://m", workspace="team-a", token=token, namespace="team-a")
    return check_long_runs(target, plugin=plugin, minted=minted, now=NOW)


def token(left: timedelta, life: timedelta = 24 * HOUR, **claims: Any) -> str:
    end = NOW + left
    return jwt(iat=int((end - life).timestamp()), exp=int(end.timestamp()), **claims)


def test_without_the_plugin_a_run_is_safe_until_the_token_expires() -> None:
    finding = check(token(23 * HOUR), plugin=False)
    assert finding.status is Status.PASSED
    assert finding.message == "runs are safe for 23 h, until the token expires (the client plugin is off)"


def test_without_the_plugin_and_with_little_time_left_there_is_a_warning_and_how_to_turn_it_on() -> None:
    finding = check(token(HOUR), plugin=False)
    assert (finding.status, finding.code) == (Status.WARNED, "runs_outlive_token")
    assert "runs that last longer than 1 h" in finding.message
    assert finding.remedy.startswith("kubectl annotate namespace team-a mlflow.kubeflow.org/client-plugin=true ")


def test_with_the_plugin_and_a_refreshed_token_long_runs_are_safe() -> None:
    finding = check(token(14 * HOUR), plugin=True, minted=NOW - 10 * HOUR)
    assert finding.status is Status.PASSED
    assert finding.message == "safe: pods get the client plugin, and the token was refreshed 10 h ago"


@pytest.mark.parametrize(
    ("left", "minted", "words"),
    [
        (23 * HOUR, None, "nothing refreshes the Secret team-a/mlflow-token"),
        (5 * HOUR, NOW - 19 * HOUR, "the last refresh was 19 h ago"),
    ],
    ids=["never", "late"],
)
def test_the_plugin_alone_does_not_help_if_nothing_refreshes_the_token(
    left: timedelta, minted: datetime | None, words: str
) -> None:
    finding = check(token(left), plugin=True, minted=minted)
    assert (finding.status, finding.code) == (Status.WARNED, "token_not_refreshed")
    assert words in finding.message


@pytest.mark.parametrize("bad", [None, "", "rubbish", token(-HOUR), jwt(exp=None), token(5 * HOUR)[:-3]])
@pytest.mark.parametrize("plugin", [True, False])
def test_without_a_valid_token_there_is_no_finding(bad: str | None, plugin: bool) -> None:
    assert check(bad, plugin=plugin).status is Status.SKIPPED


def test_an_address_that_is_not_verified_does_not_matter_here() -> None:
    assert check(token(23 * HOUR, email_verified=False), plugin=False).status is Status.PASSED
