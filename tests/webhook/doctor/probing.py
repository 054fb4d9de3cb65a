"""Runs the doctor's checks of a server, and prepares the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.support.dex import jwt
from tests.support.proxy import Reply, Server
from tests.support.waiting import DEADLINE
from webhook.doctor.findings import Finding
from webhook.doctor.probe import Target
from webhook.doctor.server import check_server

INFO, SEARCH = "/api/3.0/mlflow/server-info", "/api/2.0/mlflow/experiments/search"


TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def ask(server: Server, **changes: Any) -> dict[str, Finding]:
    """Check a server with a token of its own issuer; a `token` may be a function of that issuer."""
    token = changes.pop("token", lambda issuer: jwt(iss=issuer))
    target = Target(uri=server.url, workspace="team-a", token=token(server.issuer) if callable(token) else token)
    with httpx.Client(timeout=DEADLINE, trust_env=False) as client:
        return {
            finding.check: finding
            for finding in check_server(client, replace(target, **changes), now=datetime.now(UTC))
        }


def minted(**claims: Any) -> Callable[[str], str]:
    return lambda issuer: jwt(**{"iss": issuer, **claims})


def switch(**switches: Any) -> Callable[[Server], None]:
    def prepare(server: Server) -> None:
        for name, value in switches.items():
            setattr(server, name, value)

    return prepare


def reply(path: str, answer: Reply, **switches: Any) -> Callable[[Server], None]:
    def prepare(server: Server) -> None:
        switch(**switches)(server)
        server.replies[path] = answer

    return prepare
