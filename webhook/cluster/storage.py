"""Stores what the certificates need in the cluster: the CA's Secret, the configuration's caBundle, the Lease.

These implement the ports of the keeper (certs.ports) with the Kubernetes API.
"""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from certs.lease import DURATION, Lease, Observation, claim, observe, release
from certs.ports import StoreConflictError, StoreError
from webhook.cluster.kube import KubeClient, KubeConflictError, KubeError, KubeNotFoundError, core_path, group_path
from webhook.cluster.named import NamedObject

FIELD_MANAGER = "mlflow-webhook"
CONFIGURATIONS = "admissionregistration.k8s.io/v1"
LEASES = "coordination.k8s.io/v1"
MANAGED_BY = {"app.kubernetes.io/managed-by": "mlflow-webhook"}
_RENEW_EVERY = DURATION / 3
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class SecretStore:
    """The authority in a Secret of the webhook's own namespace (certs.ports.AuthorityStore)."""

    def __init__(self, client: KubeClient, secret: NamedObject, *, namespace: str, name: str) -> None:
        self._client, self._secret, self._namespace, self._name = client, secret, namespace, name
        self._metadata: Mapping[str, Any] = {}

    def read(self, *, live: bool) -> tuple[Mapping[str, bytes], str] | None:
        """Return the Secret's data and resource version; None if it does not exist."""
        with _store_errors(f"Secret {self._name}"):
            secret = self._secret.read() if live else self._secret.known()
        if secret is None:
            return None
        self._metadata = secret["metadata"]
        return _decoded(secret.get("data") or {}), secret["metadata"]["resourceVersion"]

    def write(self, data: Mapping[str, bytes], *, version: str | None) -> None:
        """Create the Secret, or replace all of its data; its labels and annotations stay as they were read."""
        new = {"name": self._name, "namespace": self._namespace, "labels": MANAGED_BY}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": new if version is None else {**self._metadata, "resourceVersion": version},
            "data": {name: b64encode(content).decode() for name, content in data.items()},
        }
        with _store_errors(f"Secret {self._name}"):
            if version is None:
                written = self._client.create(core_path(self._namespace, "secrets"), body)
            else:
                written = self._client.replace(core_path(self._namespace, "secrets", self._name), body)
        self._secret.remember(written)


class ConfigurationTrust:
    """The caBundle of each entry of the MutatingWebhookConfiguration (certs.ports.TrustBundle)."""

    def __init__(self, client: KubeClient, configuration: NamedObject, *, name: str) -> None:
        self._client, self._configuration, self._name = client, configuration, name
        self._entries: list[str] = []

    def read(self, *, live: bool) -> Sequence[bytes] | None:
        """Return the bundle of each entry; None if the configuration does not exist or has no entries."""
        with _store_errors(f"MutatingWebhookConfiguration {self._name}"):
            found = self._configuration.read() if live else self._configuration.known()
        webhooks = (found or {}).get("webhooks") or []
        self._entries = [webhook["name"] for webhook in webhooks]
        return [_decode(webhook["clientConfig"].get("caBundle") or "") for webhook in webhooks] or None

    def publish(self, bundle: bytes) -> None:
        """Apply the bundle to the entries that were last read, and own only this field."""
        text = b64encode(bundle).decode()
        body = {
            "apiVersion": CONFIGURATIONS,
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self._name},
            "webhooks": [{"name": name, "clientConfig": {"caBundle": text}} for name in self._entries],
        }
        path = group_path(CONFIGURATIONS, "mutatingwebhookconfigurations", self._name)
        with _store_errors(f"MutatingWebhookConfiguration {self._name}"):
            # Forced, because another owner of this field has written a bundle that does not verify this webhook.
            self._configuration.remember(self._client.apply(path, body, field_manager=FIELD_MANAGER, force=True))


class LeaseLeadership:
    """Which replica writes, by a Lease in the webhook's own namespace (certs.ports.Leadership)."""

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._namespace, self._name, self._identity = client, namespace, name, identity
        self._clock = clock
        self._observation: Observation | None = None

    def held(self, now: datetime) -> bool:
        """Take or renew the lease, and return whether this replica holds it."""
        with _store_errors(f"Lease {self._name}"):
            found = self._read()
            lease = _lease(found) if found else None
            self._observation = observe(lease, before=self._observation, at=self._clock())
            if lease and lease.holder == self._identity and self._observation.unchanged < _RENEW_EVERY:
                return True
            wanted = claim(self._observation, identity=self._identity, now=now)
            return wanted is not None and self._write(wanted, found)

    def give_up(self, now: datetime) -> None:
        """Release the lease, if this replica holds it."""
        with _store_errors(f"Lease {self._name}"):
            found = self._read()
            if found and (lease := _lease(found)).holder == self._identity:
                self._write(release(lease, now=now), found)

    def _read(self) -> dict[str, Any] | None:
        try:
            return self._client.get(group_path(LEASES, "leases", self._name, namespace=self._namespace))
        except KubeNotFoundError:
            return None

    def _write(self, lease: Lease, found: Mapping[str, Any] | None) -> bool:
        metadata = {"name": self._name, "namespace": self._namespace, "labels": MANAGED_BY}
        body = {
            "apiVersion": LEASES,
            "kind": "Lease",
            "metadata": found["metadata"] if found else metadata,
            "spec": {
                "holderIdentity": lease.holder,
                "leaseDurationSeconds": int(lease.duration.total_seconds()),
                "acquireTime": _micro_time(lease.acquired),
                "renewTime": _micro_time(lease.renewed),
                "leaseTransitions": lease.transitions,
            },
        }
        try:
            if found:
                self._client.replace(group_path(LEASES, "leases", self._name, namespace=self._namespace), body)
            else:
                self._client.create(group_path(LEASES, "leases", namespace=self._namespace), body)
        except KubeConflictError:
            return False
        return True


def _lease(found: Mapping[str, Any]) -> Lease:
    spec = found.get("spec") or {}
    return Lease(
        holder=spec.get("holderIdentity") or "",
        renewed=_time(spec.get("renewTime")),
        acquired=_time(spec.get("acquireTime")),
        transitions=spec.get("leaseTransitions") or 0,
        duration=timedelta(seconds=spec.get("leaseDurationSeconds") or DURATION.total_seconds()),
    )


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else _NEVER


def _micro_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _decoded(data: Mapping[str, str]) -> dict[str, bytes]:
    return {name: _decode(text) for name, text in data.items()}


def _decode(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except Base64Error:
        return b""


@contextmanager
def _store_errors(thing: str) -> Iterator[None]:
    try:
        yield
    except KubeConflictError as error:
        raise StoreConflictError(f"{thing}: {error.message}") from error
    except KubeError as error:
        raise StoreError(f"{thing}: {error.message}") from error
