"""What findings tell a person to do: commands to run, and sentences that several checks use."""

from __future__ import annotations

import shlex
from contextlib import suppress

from webhook.core.values import SecretKey
from webhook.token.claims import NotATokenError, read_claims
from webhook.token.grant import Endpoint, GrantError

MLFLOW_TOKEN = SecretKey("mlflow-token")
"""The Secret that `token refresh` writes by default."""
VERIFY_ADDRESS = "Verify the address in the user directory behind Dex."
_LONGEST = 500
"""The most characters of an address in a command."""


def refresh_command(
    namespace: str, secret: SecretKey, *, issuer: str = "", force: bool = False, audience: str = "", job: str = ""
) -> str:
    """Return the command that puts a new token into a Secret.

    `issuer` may come from a token or a server. If it is not a plain address, the command has the placeholder ISSUER.
    `force`: the command would otherwise keep the current token. `job`: the name of a CronJob that does the same in the
    cluster.
    """
    words = ["mlflow-webhook", "token", "refresh", "--namespace", namespace]
    if secret != MLFLOW_TOKEN:
        words += ["--secret", f"{secret.name}/{secret.key}"]
    if force:
        words.append("--force")
    words += ["--issuer", issuer if _is_plain(issuer) else "ISSUER"]
    if audience:
        words += ["--audience", audience]
    command = shlex.join(words)
    if job:
        # as in docs/token.md: each job needs a new name
        command += f"   # or: kubectl create job --namespace {namespace} --from=cronjob/{job} token-$(date +%s)"
    return command


def issuer_in(token: str | None) -> str:
    """Return the issuer that a token names; empty without one, or if it is a Kubernetes cluster."""
    with suppress(NotATokenError):
        claims = read_claims(token or "")
        return "" if claims.is_service_account else claims.issuer
    return ""


def _is_plain(address: str) -> bool:
    try:
        Endpoint(issuer=address).check()
    except GrantError:
        return False
    return address.isascii() and address.isprintable() and " " not in address and len(address) <= _LONGEST
