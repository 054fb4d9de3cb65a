"""Checks whether the webhook is installed as shipped, whether the API server trusts it, and whether it wires a pod."""

from __future__ import annotations

import socket
import ssl
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography import x509

from certs.authority import split_bundle
from webhook.cluster.kube import (
    KubeClient,
    KubeError,
    KubeForbiddenError,
    KubeNotFoundError,
    KubeUnavailableError,
    core_path,
    group_path,
)
from webhook.core.names import DECISION_ANNOTATION, LABEL
from webhook.doctor.findings import Finding, failed, passed, skipped, warned
from webhook.doctor.forward import Endpoint, Service, UnreachableError, reach
from webhook.doctor.place import Place, find_configuration, place_of
from webhook.doctor.waiting import why_waiting

CONFIGURATION, ENTRIES, BUNDLE = "webhook-configuration", "webhook-entries", "ca-bundle"
CERTIFICATE, REPLICAS, DRY_RUN = "served-certificate", "webhook-replicas", "pod-comes-back-wired"
SAMPLE = "sample"
"""The container of the sample pod."""
EXPIRES_SOON = timedelta(days=2)
_APPLY = "Apply your overlay again (kubectl apply -k FOLDER)."


def check_installation(client: KubeClient, *, now: datetime, namespace: str) -> Iterator[Finding]:
    """Check the installation. A sample pod is created in `namespace`, as a dry run."""
    place = Place()
    try:
        configuration = find_configuration(client)
    except KubeNotFoundError:
        yield failed(
            CONFIGURATION,
            "configuration_missing",
            "MutatingWebhookConfiguration mlflow-webhook not found, and no other one has the webhook's entries.",
            _APPLY,
        )
        for check in (ENTRIES, BUNDLE, CERTIFICATE):
            yield skipped(check, f"{CONFIGURATION} failed")
    except KubeForbiddenError:
        yield skipped(CONFIGURATION, "you may not read the MutatingWebhookConfiguration")
        for check in (ENTRIES, BUNDLE, CERTIFICATE):
            yield skipped(check, "it needs the MutatingWebhookConfiguration")
    else:
        place = place_of(configuration)
        yield passed(CONFIGURATION, f"MutatingWebhookConfiguration {configuration['metadata']['name']} exists")
        entries = configuration.get("webhooks") or []
        yield check_entries(entries)
        yield from _served(client, entries, place, now=now)
    yield _if_allowed(REPLICAS, "the Deployment", lambda: _replicas(client, place))
    yield _if_allowed(DRY_RUN, "pods by a dry run", lambda: check_dry_run(client, namespace, place))


def shipped_entries() -> list[dict[str, Any]]:
    """Return the entries of the MutatingWebhookConfiguration as the manifests have them."""
    text = files("webhook.doctor").joinpath("webhook.yaml").read_text()
    entries: list[dict[str, Any]] = yaml.safe_load(text)["webhooks"]
    return entries


def check_entries(entries: list[dict[str, Any]]) -> Finding:
    """Compare the entries with the shipped ones. The address of the webhook and the timeout may differ."""
    present = {entry["name"]: entry for entry in entries}
    for shipped in shipped_entries():
        name = shipped["name"]
        if name not in present:
            return failed(ENTRIES, "entry_missing", f"The entry {name} is missing.", _APPLY)
        for field, wanted in shipped.items():
            if field in {"clientConfig", "timeoutSeconds"} or _covers(present[name].get(field), wanted):
                continue
            return failed(ENTRIES, "entry_changed", f"{field} of the entry {name} is not as shipped.", _APPLY)
    more = sorted(set(present) - {shipped["name"] for shipped in shipped_entries()})
    if more:
        return warned(ENTRIES, "entry_unknown", f"Unknown entries: {', '.join(more)}.", _APPLY)
    return passed(ENTRIES, f"the {len(present)} entries are as shipped")


def _covers(found: Any, wanted: Any) -> bool:
    """Return whether an object contains the wanted fields: the API server may add defaults. Lists must be equal."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_covers(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_covers, found, wanted))
    if isinstance(wanted, str) and isinstance(found, str):
        return found.split() == wanted.split()  # the lines of a long expression may be broken elsewhere
    return bool(found == wanted)


def _served(client: KubeClient, entries: list[dict[str, Any]], place: Place, *, now: datetime) -> Iterator[Finding]:
    bundles = [b64decode(entry["clientConfig"].get("caBundle") or "") for entry in entries]
    if not entries or not all(split_bundle(bundle) for bundle in bundles):
        yield failed(BUNDLE, "ca_bundle_missing", "An entry has no caBundle, or one without a certificate.", place.logs)
        yield skipped(CERTIFICATE, f"{BUNDLE} failed")
        return
    config = entries[0]["clientConfig"]
    try:
        with _webhook_address(client, config) as (endpoint, name):
            certificate = _handshake(endpoint, name, None)
            untrusted = [bundle for bundle in bundles if not _verifies(endpoint, name, bundle)]
    except UnreachableError as error:
        if error.code:
            yield failed(BUNDLE, "webhook_unreachable", f"The webhook cannot be reached: {error}.", place.logs)
            yield skipped(CERTIFICATE, f"{BUNDLE} failed")
            return
        yield skipped(BUNDLE, f"the webhook cannot be reached from here: {error}")
        yield skipped(CERTIFICATE, "the webhook cannot be reached from here")
        return
    except OSError as error:
        yield failed(BUNDLE, "webhook_unreachable", f"The webhook does not answer: {error}.", place.logs)
        yield skipped(CERTIFICATE, f"{BUNDLE} failed")
        return
    if untrusted:
        yield failed(
            BUNDLE,
            "ca_bundle_wrong",
            f"The caBundle does not verify the certificate that is served for {name}.",
            place.logs,
        )
    else:
        yield passed(BUNDLE, "the caBundle verifies the certificate that is served")
    yield _days_until_expiry(certificate, place, now=now)


def _days_until_expiry(certificate: x509.Certificate, place: Place, *, now: datetime) -> Finding:
    left = certificate.not_valid_after_utc - now
    days = f"{left / timedelta(days=1):.1f} days"
    if left <= timedelta(0):
        return failed(CERTIFICATE, "certificate_expired", "The served certificate has expired.", place.logs)
    if left < EXPIRES_SOON:
        return warned(CERTIFICATE, "certificate_ends_soon", f"The served certificate expires in {days}.", place.logs)
    return passed(CERTIFICATE, f"the served certificate expires in {days}")


@contextmanager
def _webhook_address(client: KubeClient, config: Mapping[str, Any]) -> Iterator[tuple[Endpoint, str]]:
    """Yield the webhook's address, and the name that its certificate must have."""
    if url := config.get("url"):
        parts = urlsplit(url)
        yield Endpoint(parts.hostname or "", parts.port or 443), parts.hostname or ""
        return
    service = config["service"]
    name = f"{service['name']}.{service['namespace']}.svc"
    with reach(client, Service(service["namespace"], service["name"], service.get("port", 443))) as endpoint:
        yield endpoint, name


def _handshake(endpoint: Endpoint, name: str, bundle: bytes | None) -> x509.Certificate:
    """Return the server's certificate. If a bundle is given, verify it with that. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if bundle is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=bundle.decode())
    with (
        socket.create_connection(endpoint, timeout=5) as connection,
        context.wrap_socket(connection, server_hostname=name) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der or b"")


def _verifies(endpoint: Endpoint, name: str, bundle: bytes) -> bool:
    try:
        _handshake(endpoint, name, bundle)
    except ssl.SSLCertVerificationError:
        return False
    return True


def _replicas(client: KubeClient, place: Place) -> Finding:
    try:
        deployment = client.get(group_path("apps/v1", "deployments", place.name, namespace=place.namespace))
    except KubeNotFoundError:
        return failed(REPLICAS, "deployment_missing", f"Deployment {place.namespace}/{place.name} not found.", _APPLY)
    wanted, ready = deployment["spec"].get("replicas", 1), deployment.get("status", {}).get("readyReplicas", 0)
    if ready >= wanted:
        return passed(REPLICAS, f"{ready} of {wanted} replicas are ready")
    why = _why_not_ready(client, place, deployment)
    why = f" ({why[:300]})" if why else ""
    if ready == 0:
        return failed(REPLICAS, "no_replica_ready", f"None of {wanted} replicas is ready{why}.", place.logs)
    return warned(REPLICAS, "replica_not_ready", f"Only {ready} of {wanted} replicas are ready{why}.", place.logs)


def _why_not_ready(client: KubeClient, place: Place, deployment: Mapping[str, Any]) -> str:
    """Return why a replica has no pod or why its pod has not started, such as ErrImagePull; empty if unknown."""
    conditions = deployment.get("status", {}).get("conditions") or []
    for condition in conditions:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    labels = deployment["spec"]["selector"].get("matchLabels") or {}
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    try:
        pods = client.list(core_path(place.namespace, "pods"), params={"labelSelector": selector})["items"]
    except KubeForbiddenError:
        return ""
    return next(filter(None, (why_waiting(pod.get("status") or {}) for pod in pods)), "")


def check_dry_run(client: KubeClient, namespace: str, place: Place) -> Finding:
    """Check that a sample pod, created as a dry run, comes back wired: the test from end to end."""
    try:
        created = sample_pod(client, namespace)
    except KubeForbiddenError as error:
        if "cannot create resource" in error.message:
            raise
        return failed(DRY_RUN, "pod_refused", f"A sample pod was refused: {error.message[:300]}", place.logs)
    except KubeNotFoundError:
        return skipped(DRY_RUN, f"namespace {namespace} not found")
    except KubeUnavailableError as error:
        return failed(
            DRY_RUN,
            "webhook_not_called",
            f"The API server could not call the webhook: {error.message[:300]}",
            place.logs,
        )
    except KubeError as error:
        return failed(DRY_RUN, "pod_refused", f"A sample pod was refused: {error.message[:300]}", place.logs)
    if DECISION_ANNOTATION not in (created["metadata"].get("annotations") or {}):
        return failed(
            DRY_RUN,
            "pod_not_wired",
            "A sample pod that asks to be wired came back unchanged: the webhook was not called.",
            _APPLY,
        )
    return passed(DRY_RUN, f"a sample pod in {namespace} comes back wired (a dry run)")


def sample_pod(client: KubeClient, namespace: str) -> dict[str, Any]:
    """Create a pod with its own label, as a dry run, and return the resulting pod. Raises KubeError."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    resources = {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}}
    container = {"name": SAMPLE, "image": SAMPLE, "securityContext": security, "resources": resources}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "mlflow-webhook-check-", "labels": {LABEL: "true"}},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }
    return client.create(core_path(namespace, "pods"), pod, params={"dryRun": "All"})


def _if_allowed(check: str, what: str, run: Callable[[], Finding]) -> Finding:
    try:
        return run()
    except KubeForbiddenError:
        return skipped(check, f"you may not use {what}")
