"""Says in the doctor's words why a tracking server could not be searched."""

from __future__ import annotations

from datetime import datetime

import httpx

from webhook.doctor.findings import Finding, Status
from webhook.doctor.probe import Target
from webhook.doctor.server import check_server


def failed_checks(client: httpx.Client, target: Target, *, now: datetime, secret: Finding | None) -> list[Finding]:
    """Return the checks of a server that fail, or else what of it may not be read; `secret` is the check of its token.

    Raises UnreachableError.
    """
    found = [*([secret] if secret else []), *check_server(client, target, now=now)]
    failed = [finding for finding in found if finding.status is Status.FAILED]
    unread = [finding for finding in found if finding.status is Status.SKIPPED] if target.unread else []
    return failed or unread[:1]
