"""Finds out whether a tracking server has workspaces, as MLflow's client does (mlflow 3.17.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

from webhook.doctor.probe import INFO, Answer, Prober

FEATURES = "/api/3.0/mlflow/server-features"
"""What the client requests if there is no ``server-info``."""
VERSION = "/version"
"""MLflow without its own authentication answers it with its version (also observed with mlflow 2.22.1)."""

_VERSION = re.compile(r"\d{1,4}\.\d[\w.+-]{0,30}", re.ASCII)


class ServerInfo(NamedTuple):
    """What an MLflow server says about itself. The version is known only for servers without workspaces."""

    workspaces: bool
    version: str = ""


def read_info(prober: Prober) -> ServerInfo | Answer:
    """Return what a server says about itself; its answer if that is not MLflow's. Raises RequestError."""
    answer = prober.send("GET", INFO)
    if answer.status == 404:
        features = prober.send("GET", FEATURES)
        if features.status == 404:
            version = prober.send("GET", VERSION)
            if version.status == 200 and _VERSION.fullmatch(version.text.strip()):
                return ServerInfo(workspaces=False, version=version.text.strip())
        elif features.status == 200:
            answer = features
    if answer.status == 200 and isinstance(answer.json, dict):
        return ServerInfo(workspaces=answer.json.get("workspaces_enabled") is True)
    return answer
