"""Checks whether a run in a namespace may last longer than its token.

A token in a pod's environment is read once, when the pod starts. With the client plugin, MLflow's client reads it from
a file, which the kubelet updates when the Secret changes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from webhook.core.names import ANNOTATION_GROUP
from webhook.doctor.findings import Finding, passed, skipped, warned
from webhook.doctor.probe import Target
from webhook.token.claims import problem_of, read_claims
from webhook.token.durations import format_duration
from webhook.token.problems import TokenProblem

LONG_RUNS = "long-runs"
SOON = timedelta(hours=2)
"""Most runs last longer than this."""
_LATE = 0.75
"""The share of a token's life after which it should have been refreshed: `token refresh` does so after half of it."""


def check_long_runs(target: Target, *, plugin: bool, minted: datetime | None, now: datetime) -> Finding:
    """Check for how long a run that starts now is safe, with the token of a target.

    `plugin`: whether pods get the client plugin. `minted`: when `token refresh` stored the token; None if it did not.
    """
    token, namespace = target.token, target.namespace
    if token is None or problem_of(token, now=now) not in {None, TokenProblem.EMAIL_NOT_VERIFIED}:
        return skipped(LONG_RUNS, "there is no valid token")
    claims = read_claims(token)
    left = claims.left(now)
    if left is None:
        return skipped(LONG_RUNS, "the token does not say when it expires")
    time = format_duration(left)
    if plugin and minted and (claims.age(now) or 0) < _LATE:
        ago = format_duration(max(now - minted, timedelta()))
        return passed(LONG_RUNS, f"safe: pods get the client plugin, and the token was refreshed {ago} ago")
    if plugin:
        why = (
            f"the last refresh was {format_duration(now - minted)} ago"
            if minted
            else f"nothing refreshes the Secret {namespace}/{target.secret.name}"
        )
        return warned(
            LONG_RUNS,
            "token_not_refreshed",
            f"Pods get the client plugin, but {why}. Their calls are refused when the token expires, in {time}.",
            "Install the component token-refresh, or look at its jobs (docs/token.md#in-the-cluster).",
        )
    if left < SOON:
        return warned(
            LONG_RUNS,
            "runs_outlive_token",
            f"The client plugin is off, so the server refuses the calls of runs that last longer than {time}.",
            f"kubectl annotate namespace {namespace} {ANNOTATION_GROUP}/client-plugin=true   "
            "# read docs/client-plugin.md first",
        )
    return passed(LONG_RUNS, f"runs are safe for {time}, until the token expires (the client plugin is off)")
