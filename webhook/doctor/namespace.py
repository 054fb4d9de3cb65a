"""Is a namespace set up: labelled, its annotations right, its token there and good?"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from webhook.cluster.kube import KubeClient, KubeForbiddenError, KubeNotFoundError, core_path
from webhook.core.configuration import Namespace, Platform, SecretKey, configure, parse_workspace
from webhook.core.names import LABEL
from webhook.doctor.findings import Finding, failed, passed, skipped, warned
from webhook.doctor.installation import SAMPLE
from webhook.doctor.probe import MLFLOW_TOKEN, refresh_command
from webhook.token.claims import TokenProblem, problem_of, read_claims
from webhook.token.durations import format_duration

LABELLED, ANNOTATIONS, WORKSPACE = "namespace-labelled", "namespace-annotations", "workspace-name"
SECRET, GOOD = "token-secret", "token-good"
ENDS_SOON = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What a pod of the namespace gets, as far as the doctor could find out."""

    tracking_uri: str
    workspace: str | None
    secret: SecretKey


def wiring_of(pod: Mapping[str, Any]) -> Wiring | None:
    """Read the wiring out of a sample pod that came back from the webhook; None when it is not wired."""
    # other webhooks may have put containers in front of it
    sample = next(container for container in pod["spec"]["containers"] if container["name"] == SAMPLE)
    env = {entry["name"]: entry for entry in sample.get("env") or []}
    if "MLFLOW_TRACKING_URI" not in env:
        return None
    reference = (env.get("MLFLOW_TRACKING_TOKEN", {}).get("valueFrom") or {}).get("secretKeyRef") or {}
    return Wiring(
        tracking_uri=env["MLFLOW_TRACKING_URI"]["value"],
        workspace=env.get("MLFLOW_WORKSPACE", {}).get("value"),
        secret=SecretKey(reference.get("name", "mlflow-token"), reference.get("key", "token")),
    )


def expected_wiring(namespace: Namespace, platform: Platform) -> Wiring:
    """Say what the platform's settings and the namespace's annotations give, where no webhook could be asked."""
    configuration = configure(platform, namespace, {})
    secret = configuration.token_secret.value if configuration.token_secret else MLFLOW_TOKEN
    return Wiring(tracking_uri=configuration.tracking_uri.value, workspace=configuration.workspace.value, secret=secret)


def check_namespace(namespace: Namespace) -> Iterator[Finding]:
    """Check what a namespace says of itself."""
    label = namespace.labels.get(LABEL)
    fix = f"kubectl label namespace {namespace.name} {LABEL}=true --overwrite"
    if namespace.enabled:
        yield passed(LABELLED, f"{namespace.name} is labelled {LABEL}=true")
    elif label is None:
        yield warned(
            LABELLED, "namespace_not_labelled", f"{namespace.name} is not labelled: only pods that ask are wired.", fix
        )
    else:
        yield failed(
            LABELLED, "label_not_true", f'{LABEL}={label} on {namespace.name} has no effect: it must be "true".', fix
        )
    # A workspace's name is a check of its own.
    unlabelled = Namespace(namespace.name, {}, namespace.annotations)
    complaints = configure(Platform(), unlabelled, {}).warnings
    if complaints:
        yield failed(
            ANNOTATIONS,
            "annotation_ignored",
            "; ".join(complaints) + ".",
            f"kubectl annotate namespace {namespace.name} NAME=VALUE --overwrite",
        )
    else:
        yield passed(ANNOTATIONS, "every mlflow.kubeflow.org annotation is understood")
    yield _workspace(namespace)


def _workspace(namespace: Namespace) -> Finding:
    if not namespace.enabled:
        return skipped(WORKSPACE, "the namespace is no workspace")
    try:
        parse_workspace(namespace.name)
    except ValueError as error:
        return failed(
            WORKSPACE,
            "not_a_workspace_name",
            f"MLflow takes no workspace called {namespace.name}: expected {error}.",
            "Use another namespace, or annotate it with mlflow.kubeflow.org/workspace.",
        )
    return passed(WORKSPACE, f"{namespace.name} can be a workspace")


def read_token(client: KubeClient, namespace: str, secret: SecretKey) -> tuple[Finding, str | None]:
    """Look for the token's Secret and key, and give the token."""
    refresh = refresh_command(namespace, secret)
    place = f"Secret {namespace}/{secret.name}"
    try:
        data = client.get(core_path(namespace, "secrets", secret.name)).get("data") or {}
    except KubeNotFoundError:
        return failed(SECRET, "secret_missing", f"There is no {place}.", refresh), None
    except KubeForbiddenError:
        return skipped(SECRET, f"you may not read {place}"), None
    if secret.key not in data:
        keys = ", ".join(sorted(data)) or "none"
        return failed(SECRET, "key_missing", f"{place} has no key {secret.key}; it has: {keys}.", refresh), None
    try:
        text = b64decode(data[secret.key]).decode()
    except (Base64Error, UnicodeDecodeError):
        return failed(SECRET, "not_text", f"What {place} holds is no text.", refresh), None
    return passed(SECRET, f"{place} has the key {secret.key}"), text


def check_token(token: str, *, namespace: str, secret: SecretKey = MLFLOW_TOKEN, now: datetime) -> Finding:
    """Check a token as it stands: whose, how long, anything wrong."""
    refresh = refresh_command(namespace, secret)
    problem = problem_of(token, now=now)
    if problem is TokenProblem.EMAIL_NOT_VERIFIED:  # it depends on the proxy, which is asked too
        return warned(GOOD, f"token_{problem}", problem.sentence, "Have Dex's store say that the address is verified.")
    if problem and problem is not TokenProblem.EXPIRED:
        return failed(GOOD, f"token_{problem}", problem.sentence, refresh)
    claims = read_claims(token)
    left = claims.left(now)
    if problem and left:
        return failed(
            GOOD, f"token_{problem}", f"{claims.owner}'s token expired {format_duration(-left)} ago.", refresh
        )
    if left is None:
        return warned(GOOD, "token_without_end", f"{claims.owner}'s token does not say when it ends.", refresh)
    if left < ENDS_SOON:
        return warned(
            GOOD,
            "token_ends_soon",
            f"{claims.owner}'s token ends in {format_duration(left)}; a run that outlives it is refused from then on.",
            refresh,
        )
    return passed(GOOD, f"it is {claims.owner}'s, and good for {format_duration(left)}")
