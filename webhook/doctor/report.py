"""Runs the checks of a namespace, or of pods, and puts their findings into sections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import httpx

from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError, KubeNotFoundError
from webhook.core.configuration import Namespace, Platform
from webhook.doctor import namespace as of_namespace
from webhook.doctor.env_from import check_env_from
from webhook.doctor.findings import Finding, Section, Status, failed, skipped
from webhook.doctor.forward import Reaching, UnreachableError
from webhook.doctor.installation import check_installation, sample_pod
from webhook.doctor.long_runs import LONG_RUNS, check_long_runs
from webhook.doctor.plugin import check_plugin
from webhook.doctor.pod import WIRING, Subject, check_pod, decide_now, find_pods, platform_of
from webhook.doctor.probe import Target
from webhook.doctor.remedies import issuer_in
from webhook.doctor.server import REACHABLE, check_server
from webhook.doctor.unwired import PODS, check_pods
from webhook.network import open_client


class NothingToCheckError(Exception):
    """The thing to check does not exist. The message names it."""


class Access(NamedTuple):
    """How a pod reaches its tracking server: the address that it gets, the target, the findings about its Secret."""

    tracking_uri: str
    target: Target
    secret: Finding
    minted: datetime | None
    """When `token refresh` stored the token; None if it did not."""
    plugin: bool
    """Whether a pod gets the client plugin."""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Checks one cluster with the rights of one user. Checks without enough rights are skipped."""

    client: KubeClient
    reaching: Reaching

    def check_namespace(self, name: str, *, write: bool, now: datetime) -> list[Section]:
        """Check the installation, a namespace and its tracking server. Raises KubeError, NothingToCheckError."""
        installation = list(check_installation(self.client, now=now, namespace=name))
        namespace = self.read_namespace(name)
        platform = platform_of(self.client) or Platform()
        findings = list(of_namespace.check_namespace(namespace)) if namespace else _unreadable(name)
        access = self.access(name, namespace, platform)
        findings += _token_findings(access, now=now)
        findings.append(
            check_pods(self.client, namespace, platform)
            if namespace
            else skipped(PODS, f"you may not read the namespace {name}")
        )
        server = list(self.check_server(access.target, write=write, now=now))
        return [
            Section(name="installation", subject="mlflow-webhook", findings=installation),
            Section(name="namespace", subject=name, findings=findings),
            Section(name="server", subject=access.tracking_uri, findings=server),
        ]

    def check_pods(self, namespace: str, subject: Subject) -> list[Section]:
        """Check the wiring of pods, with a section for each. Raises KubeError, NothingToCheckError."""
        pods = find_pods(self.client, namespace, subject)
        if not pods:
            raise NothingToCheckError(f"no pods of {subject.kind} {subject.name} found in namespace {namespace}")
        found = self.read_namespace(namespace)
        platform = platform_of(self.client)
        note = "" if platform else "checked with the built-in settings: you may not read those of the webhook"
        sections = []
        for pod in pods:
            findings = (
                list(self._check_pod(pod, found, platform or Platform()))
                if found
                else [skipped(WIRING, f"you may not read the namespace {namespace}")]
            )
            sections.append(Section(name="pod", subject=pod["metadata"]["name"], findings=findings, note=note))
        return sections

    def _check_pod(self, pod: dict[str, Any], namespace: Namespace, platform: Platform) -> Iterator[Finding]:
        yield check_pod(pod, namespace, platform)
        yield from check_env_from(self.client, pod, namespace.name)
        yield from check_plugin(self.client, pod, namespace.name, decide_now(pod, namespace, platform))

    def access(self, name: str, namespace: Namespace | None, platform: Platform) -> Access:
        """Return how a pod of a namespace reaches its tracking server. Raises KubeError."""
        asked = self._asked(name)
        wiring = asked or of_namespace.expected_wiring(namespace or Namespace(name, {}, {}), platform)
        stored = of_namespace.read_token(self.client, name, wiring.secret)
        target = Target(
            uri=self.reaching.url or wiring.tracking_uri,
            workspace=wiring.workspace,
            token=stored.token,
            namespace=name,
            secret=wiring.secret,
            job=stored.job,
            unread="wiring" if not (asked or namespace) else "token" if stored.finding.status is Status.SKIPPED else "",
        )
        return Access(wiring.tracking_uri, target, stored.finding, stored.minted, wiring.plugin)

    @contextmanager
    def connect(self, target: Target) -> Iterator[httpx.Client]:
        """Yield a client that reaches a server, and the issuer of its token. Raises ProxySettingsError."""
        uris = [target.uri, issuer_in(target.token)]
        mounts = self.reaching.mounts(self.client, [uri for uri in uris if uri])
        with open_client(timeout=self.reaching.timeout, verify=self.reaching.verify, mounts=mounts) as http:
            yield http

    def read_namespace(self, name: str) -> Namespace | None:
        """Read a namespace; None if that is not allowed. Raises KubeError, NothingToCheckError."""
        try:
            metadata = self.client.get(f"/api/v1/namespaces/{name}", metadata_only=True)["metadata"]
        except KubeNotFoundError:
            raise NothingToCheckError(f"namespace {name} not found") from None
        except KubeForbiddenError:
            return None
        return Namespace(name, metadata.get("labels") or {}, metadata.get("annotations") or {})

    def _asked(self, name: str) -> of_namespace.Wiring | None:
        """Return what the webhook adds to a pod of a namespace; None if the webhook cannot be called."""
        try:
            return of_namespace.wiring_of(sample_pod(self.client, name))
        except KubeError:
            return None

    def read_token(self, target: Target) -> of_namespace.StoredToken:
        """Read the token of a target again. Raises KubeError."""
        return of_namespace.read_token(self.client, target.namespace, target.secret)

    def check_server(self, target: Target, *, now: datetime, write: bool = False) -> Iterator[Finding]:
        """Check a server, from inside or outside the cluster. Raises KubeError, ProxySettingsError."""
        service = self.reaching.service(self.client, target.uri)
        with self.connect(target) as http:
            try:
                yield from check_server(http, target, now=now, write=write)
            except UnreachableError as error:
                if error.code and service:
                    remedy = f"kubectl get services,pods --namespace {service.namespace}"
                    yield failed(REACHABLE, error.code, f"{target.uri}: {error}.", remedy)
                else:
                    why = f"it cannot be reached from here: {error}. Use --url, or run the check in the cluster"
                    yield skipped(REACHABLE, why)


def _token_findings(access: Access, *, now: datetime) -> Iterator[Finding]:
    target = access.target
    yield access.secret
    if target.token is None:
        yield skipped(of_namespace.GOOD, f"there is no token to check: see {of_namespace.SECRET}")
    else:
        yield of_namespace.check_token(
            target.token, namespace=target.namespace, secret=target.secret, job=target.job, now=now
        )
    if target.unread == "wiring":
        yield skipped(LONG_RUNS, "you may not read the wiring of its pods")
    else:
        yield check_long_runs(target, plugin=access.plugin, minted=access.minted, now=now)


def _unreadable(name: str) -> list[Finding]:
    checks = (of_namespace.LABELLED, of_namespace.ANNOTATIONS, of_namespace.WORKSPACE)
    return [skipped(check, f"you may not read the namespace {name}") for check in checks]
