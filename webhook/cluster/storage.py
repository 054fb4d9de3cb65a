"""Where a cluster keeps what the certificates need: the CA's Secret, the configuration's caBundle, the Lease.

These are the ports of the keeper (certs.ports), on the Kubernetes API.
"""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from certs.lease import DURATION, Lease, Observation, claim, observe, release
from certs.ports import StoreConflictError, StoreError
from webhook.cluster.kube import KubeClient, KubeConflictError, KubeError, KubeNotFoundError, core_path, group_path

FIELD_MANAGER = "mlflow-webhook"
CONFIGURATIONS = "admissionregistration.k8s.io/v1"
LEASES = "coordination.k8s.io/v1"
MANAGED_BY = {"app.kubernetes.io/managed-by": "mlflow-webhook"}
_RENEW_EVERY = DURATION / 3


class SecretStore:
    """The authority in a Secret of the webhook's own namespace (certs.ports.AuthorityStore)."""

    def __init__(self, client: KubeClient, *, namespace: str, name: str) -> None:
        self._client, self._namespace, self._name = client, namespace, name
        self._metadata: Mapping[str, Any] = {}

    def read(self) -> tuple[Mapping[str, bytes], str] | None:
        """Give the Secret's data and resource version."""
        with _store_errors(f"Secret {self._name}"):
            try:
                secret = self._client.get(core_path(self._namespace, "secrets", self._name))
            except KubeNotFoundError:
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
                self._client.create(core_path(self._namespace, "secrets"), body)
            else:
                self._client.replace(core_path(self._namespace, "secrets", self._name), body)


class ConfigurationTrust:
    """The caBundle of each entry of the MutatingWebhookConfiguration (certs.ports.TrustBundle)."""

    def __init__(self, client: KubeClient, *, name: str) -> None:
        self._client, self._name = client, name
        self._path = group_path(CONFIGURATIONS, "mutatingwebhookconfigurations", name)
        self._entries: list[str] = []

    def read(self) -> Sequence[bytes] | None:
        """Give each entry's bundle; None when there is no configuration, or it has no entries."""
        with _store_errors(f"MutatingWebhookConfiguration {self._name}"):
            try:
                webhooks = self._client.get(self._path).get("webhooks") or []
            except KubeNotFoundError:
                return None
        self._entries = [webhook["name"] for webhook in webhooks]
        return [_decode(webhook["clientConfig"].get("caBundle") or "") for webhook in webhooks] or None

    def publish(self, bundle: bytes) -> None:
        """Apply the bundle to the entries last read, as the owner of that field and of no other."""
        text = b64encode(bundle).decode()
        body = {
            "apiVersion": CONFIGURATIONS,
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self._name},
            "webhooks": [{"name": name, "clientConfig": {"caBundle": text}} for name in self._entries],
        }
        with _store_errors(f"MutatingWebhookConfiguration {self._name}"):
            # Forced: whoever else wrote the field has written what does not verify this webhook.
            self._client.apply(self._path, body, field_manager=FIELD_MANAGER, force=True)


class LeaseLeadership:
    """Who writes, by a Lease in the webhook's own namespace (certs.ports.Leadership)."""

    def __init__(self, client: KubeClient, *, namespace: str, name: str, identity: str) -> None:
        self._client, self._namespace, self._name, self._identity = client, namespace, name, identity
        self._observation: Observation | None = None

    def held(self, now: datetime) -> bool:
        """Take or renew the lease, and say whether this replica has it."""
        with _store_errors(f"Lease {self._name}"):
            found = self._read()
            lease = _lease(found) if found else None
            self._observation = observe(lease, before=self._observation, at=time.monotonic())
            if lease and lease.holder == self._identity and self._observation.unchanged < _RENEW_EVERY:
                return True
            wanted = claim(self._observation, identity=self._identity, now=now)
            return wanted is not None and self._write(wanted, found)

    def give_up(self, now: datetime) -> None:
        """Hand the lease over, if this replica has it."""
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
    renewed = _time(spec.get("renewTime"))
    return Lease(
        holder=spec.get("holderIdentity") or "",
        renewed=renewed,
        acquired=_time(spec.get("acquireTime")),
        transitions=spec.get("leaseTransitions") or 0,
        duration=timedelta(seconds=spec.get("leaseDurationSeconds") or DURATION.total_seconds()),
    )


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)


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
