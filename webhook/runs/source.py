"""Where to search for runs: a tracking server with a token, and its cluster, if there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import httpx

from webhook.cluster.kube import KubeClient
from webhook.core.configuration import Platform
from webhook.core.names import TRACKING_TOKEN, WORKSPACE
from webhook.doctor.findings import Finding, Status
from webhook.doctor.forward import Reaching
from webhook.doctor.pod import Subject, settings_of
from webhook.doctor.probe import Target
from webhook.doctor.report import Doctor
from webhook.doctor.server import REACHABLE, check_server
from webhook.network import open_client
from webhook.runs.search import Surroundings
from webhook.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Source:
    """A tracking server. Without a cluster, `doctor`, `secret`, `settings` and `surroundings` are None.

    `tracking_uri`: the address that pods get, which may differ from the target's. `secret`: the check of the Secret
    with the token. `settings` may also be unreadable, and a namespace has no `surroundings`.
    """

    target: Target
    tracking_uri: str
    reaching: Reaching
    doctor: Doctor | None = None
    secret: Finding | None = None
    settings: Settings | None = None
    surroundings: Surroundings | None = None

    @classmethod
    def of_cluster(cls, client: KubeClient, reaching: Reaching, namespace: str, subject: Subject | None) -> Source:
        """Return the server of a namespace. Raises KubeError, NothingToCheckError."""
        doctor = Doctor(client=client, reaching=reaching)
        settings = settings_of(client)
        platform = settings.platform if settings else Platform()
        access = doctor.access(namespace, doctor.read_namespace(namespace), platform)
        return cls(
            target=access.target,
            tracking_uri=access.tracking_uri,
            reaching=reaching,
            doctor=doctor,
            secret=access.secret,
            settings=settings,
            surroundings=Surroundings(client, namespace, subject) if subject else None,
        )

    @classmethod
    def of_environment(cls, reaching: Reaching, environment: Mapping[str, str]) -> Source:
        """Return the server at `reaching.url`, with the token and the workspace that MLflow's client would use."""
        uri = reaching.url or ""
        workspace, token = environment.get(WORKSPACE) or None, environment.get(TRACKING_TOKEN) or None
        return cls(target=Target(uri=uri, workspace=workspace, token=token), tracking_uri=uri, reaching=reaching)

    def in_workspace(self, workspace: str) -> Source:
        """Return the same server with another workspace."""
        return replace(self, target=replace(self.target, workspace=workspace))

    def with_new_token(self) -> Source | None:
        """Return the same server with the token that its Secret has now; None if that is the same. Raises KubeError."""
        if self.doctor is None:
            return None
        stored = self.doctor.read_token(self.target)
        if stored.token == self.target.token:
            return None
        return replace(self, secret=stored.finding, target=replace(self.target, token=stored.token))

    @contextmanager
    def connect(self) -> Iterator[httpx.Client]:
        """Yield a client that reaches the server. Raises ProxySettingsError."""
        if self.doctor:
            with self.doctor.connect(self.target) as http:
                yield http
        else:
            with open_client(timeout=self.reaching.timeout, verify=self.reaching.verify) as http:
                yield http

    def failures(self, *, now: datetime) -> list[Finding]:
        """Return the doctor's failed checks of the server, or else those that could not be done."""
        if self.doctor:
            return _telling(
                [*filter(None, [self.secret]), *self.doctor.check_server(self.target, now=now)], self.target
            )
        with self.connect() as http:
            return _telling(check_server(http, self.target, now=now), self.target)


def _telling(findings: Iterable[Finding], target: Target) -> list[Finding]:
    found = list(findings)
    skipped = [
        finding
        for finding in found
        if finding.status is Status.SKIPPED and (target.unread or finding.check == REACHABLE)
    ]
    return [finding for finding in found if finding.status is Status.FAILED] or skipped[:1]
