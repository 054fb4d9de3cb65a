"""Checks whether a namespace is set up: labelled, with valid annotations and a good token."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from webhook.cluster.kube import KubeClient, KubeForbiddenError, KubeNotFoundError, core_path
from webhook.core.client_plugin import VOLUME
from webhook.core.configuration import Namespace, Platform, configure, find_swapped
from webhook.core.names import LABEL
from webhook.core.values import SecretKey, parse_workspace
from webhook.doctor.findings import Finding, failed, passed, skipped, warned
from webhook.doctor.installation import SAMPLE
from webhook.doctor.refresh_job import NO_JOB, RefreshJob, find_refresh_job
from webhook.doctor.remedies import MLFLOW_TOKEN, VERIFY_ADDRESS, issuer_in, refresh_command
from webhook.token.claims import problem_of, read_claims
from webhook.token.durations import format_duration
from webhook.token.origin import MINTED
from webhook.token.problems import TokenProblem

LABELLED, ANNOTATIONS, WORKSPACE = "namespace-labelled", "namespace-annotations", "workspace-name"
SECRET, GOOD = "token-secret", "token-good"
EXPIRES_SOON = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What a pod of the namespace gets, as far as it could be found out."""

    tracking_uri: str
    workspace: str | None
    secret: SecretKey
    plugin: bool = False
    """Whether it gets the client plugin."""


class StoredToken(NamedTuple):
    """The findings about the Secret, its token, and when `token refresh` stored it; None if that is not known.

    `job`: the CronJob that refreshes the token. It is read only if the token names no issuer.
    """

    finding: Finding
    token: str | None = None
    minted: datetime | None = None
    job: RefreshJob = NO_JOB


def wiring_of(pod: Mapping[str, Any]) -> Wiring | None:
    """Return the wiring of a sample pod that came back from the webhook; None if it is not wired."""
    # other webhooks may have added containers before it
    sample = next(container for container in pod["spec"]["containers"] if container["name"] == SAMPLE)
    env = {entry["name"]: entry for entry in sample.get("env") or []}
    if "MLFLOW_TRACKING_URI" not in env:
        return None
    reference = (env.get("MLFLOW_TRACKING_TOKEN", {}).get("valueFrom") or {}).get("secretKeyRef") or {}
    return Wiring(
        tracking_uri=env["MLFLOW_TRACKING_URI"]["value"],
        workspace=env.get("MLFLOW_WORKSPACE", {}).get("value"),
        secret=SecretKey(reference.get("name", "mlflow-token"), reference.get("key", "token")),
        plugin=any(volume["name"] == VOLUME for volume in pod["spec"].get("volumes") or []),
    )


def expected_wiring(namespace: Namespace, platform: Platform) -> Wiring:
    """Return the wiring by the platform's settings and the namespace's annotations, if no webhook could be called."""
    configuration = configure(platform, namespace, {})
    secret = configuration.token_secret.value if configuration.token_secret else MLFLOW_TOKEN
    return Wiring(
        tracking_uri=configuration.tracking_uri.value,
        workspace=configuration.workspace.value,
        secret=secret,
        plugin=configuration.client_plugin.value and platform.plugin is not None,
    )


def check_namespace(namespace: Namespace) -> Iterator[Finding]:
    """Check a namespace's label, annotations and name."""
    label = namespace.labels.get(LABEL)
    fix = f"kubectl label namespace {namespace.name} {LABEL}=true --overwrite"
    if namespace.enabled:
        yield passed(LABELLED, f"{namespace.name} is labelled {LABEL}=true")
    elif label is None:
        yield warned(
            LABELLED,
            "namespace_not_labelled",
            f"{namespace.name} is not labelled, so only pods that ask by their own label are wired.",
            fix,
        )
    else:
        yield failed(
            LABELLED, "label_not_true", f'{LABEL}={label} on {namespace.name} has no effect: it must be "true".', fix
        )
    # The name of the workspace has a separate check.
    unlabelled = Namespace(namespace.name, {}, namespace.annotations)
    complaints = (
        *configure(Platform(), unlabelled, {}).warnings,
        *find_swapped(namespace.labels, namespace.annotations, of="namespace"),
    )
    if complaints:
        yield failed(
            ANNOTATIONS,
            "annotation_ignored",
            "; ".join(complaints) + ".",
            f"kubectl annotate namespace {namespace.name} NAME=VALUE --overwrite",
        )
    else:
        yield passed(ANNOTATIONS, "every mlflow.kubeflow.org annotation is valid")
    yield _workspace(namespace)


def _workspace(namespace: Namespace) -> Finding:
    if not namespace.enabled:
        return skipped(WORKSPACE, "the namespace is not labelled, so its name is not used as a workspace")
    try:
        parse_workspace(namespace.name)
    except ValueError as error:
        return failed(
            WORKSPACE,
            "not_a_workspace_name",
            f"{namespace.name} is not a valid name for an MLflow workspace: expected {error}.",
            "Use another namespace, or annotate it with mlflow.kubeflow.org/workspace.",
        )
    return passed(WORKSPACE, f"{namespace.name} is a valid name for a workspace")


def read_token(client: KubeClient, namespace: str, secret: SecretKey) -> StoredToken:
    """Read the token from its Secret. Raises KubeError, except for a missing right."""
    place = f"Secret {namespace}/{secret.name}"

    def without_token(code: str, sentence: str) -> StoredToken:
        job = find_refresh_job(client, namespace)
        remedy = refresh_command(namespace, secret, issuer=job.issuer, job=job.name)
        return StoredToken(failed(SECRET, code, sentence, remedy), job=job)

    try:
        found = client.get(core_path(namespace, "secrets", secret.name))
    except KubeNotFoundError:
        return without_token("secret_missing", f"{place} not found.")
    except KubeForbiddenError:
        return StoredToken(skipped(SECRET, f"you may not read {place}"))
    data = found.get("data") or {}
    if secret.key not in data:
        keys = f"its keys are {', '.join(sorted(data))}" if data else "it has no data"
        return without_token("key_missing", f"{place} has no key {secret.key}; {keys}.")
    try:
        text = b64decode(data[secret.key]).decode()
    except (Base64Error, UnicodeDecodeError):
        return without_token("not_text", f"The value of {place}, key {secret.key}, is not text.")
    minted = _moment((found["metadata"].get("annotations") or {}).get(MINTED))
    job = NO_JOB if issuer_in(text) else find_refresh_job(client, namespace)
    return StoredToken(passed(SECRET, f"{place} has the key {secret.key}"), text, minted, job)


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def check_token(
    token: str,
    *,
    namespace: str,
    secret: SecretKey = MLFLOW_TOKEN,
    job: RefreshJob = NO_JOB,
    now: datetime,
) -> Finding:
    """Check what the token itself says: whose it is, when it expires, what is wrong with it.

    `job`: the CronJob that refreshes it, for a token that names no issuer.
    """
    issuer = issuer_in(token) or job.issuer
    refresh = refresh_command(namespace, secret, issuer=issuer, job=job.name)
    force = refresh_command(namespace, secret, issuer=issuer, force=True)
    problem = problem_of(token, now=now)
    if problem is TokenProblem.EMAIL_NOT_VERIFIED:  # the proxy decides whether it is refused, and another check asks it
        return warned(GOOD, f"token_{problem}", problem.sentence, VERIFY_ADDRESS)
    if problem and problem not in {TokenProblem.EXPIRED, TokenProblem.NOT_YET_VALID}:
        return failed(GOOD, f"token_{problem}", problem.sentence, refresh)
    claims = read_claims(token)
    owner = f"{claims.owner}'s token" if claims.owner else "the token"
    sentence = owner[0].upper() + owner[1:] if owner == "the token" else owner
    left = claims.left(now)
    if problem is TokenProblem.NOT_YET_VALID and claims.not_before:
        moment = f"{claims.not_before:%Y-%m-%d %H:%M} UTC"
        remedy = f"Compare the issuer's clock with this one's ({now:%H:%M} UTC), then: {refresh}"
        return failed(GOOD, f"token_{problem}", f"{sentence} is not valid before {moment}.", remedy)
    if problem and left is not None:
        return failed(GOOD, f"token_{problem}", f"{sentence} expired {format_duration(-left)} ago.", refresh)
    also = f" {claims.warning}" if claims.warning else ""
    if left is None:
        return warned(GOOD, "token_without_end", f"{sentence} does not say when it expires.{also}", refresh)
    if left < EXPIRES_SOON:
        return warned(
            GOOD,
            "token_ends_soon",
            f"{sentence} expires in {format_duration(left)}.{also}",
            force,
        )
    if claims.warning:
        return warned(
            GOOD,
            "token_without_email",
            f"{claims.warning} It expires in {format_duration(left)}.",
            f"{force} --scope 'openid email groups'",
        )
    return passed(GOOD, f"{owner} expires in {format_duration(left)}")
