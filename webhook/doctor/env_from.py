"""Checks which ConfigMaps and Secrets give a wired container another server, other credentials or another experiment.

The webhook cannot read them, but the user who runs the check may. Only the names of their keys are read, never a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from webhook.cluster.kube import KubeClient, core_path
from webhook.cluster.kube_errors import KubeError, KubeForbiddenError, KubeNotFoundError
from webhook.core import names
from webhook.core.environment import EnvFrom, env_from
from webhook.core.review import decode_pod
from webhook.doctor.findings import Finding, passed, skipped, warned

ENV_FROM = "pod-env-from"
_RESOURCES = {"ConfigMap": "configmaps", "Secret": "secrets"}
_USER = {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}


def check_env_from(client: KubeClient, pod: dict[str, Any], namespace: str) -> Iterator[Finding]:
    """Check each container of a pod that has a tracking URI in its ``env`` and takes variables by ``envFrom``."""
    for container in decode_pod(json.dumps(pod).encode()).containers:
        env = {variable.name for variable in container.env or ()}
        if names.TRACKING_URI in env and (sources := env_from(container)):
            where = f"{pod['metadata']['name']}, container {container.name}"
            yield _check(client, env, sources, where=where, namespace=namespace)


def _check(client: KubeClient, env: set[str], sources: list[EnvFrom], *, where: str, namespace: str) -> Finding:
    conflicts, unread = [], []
    for source in sources:
        try:
            keys = _keys(client, source, namespace)
        except KubeNotFoundError:
            continue  # optional, or the kubelet waits until it exists before it starts the pod
        except KubeForbiddenError:
            unread.append(f"you may not read {source}")
        except KubeError as error:
            unread.append(f"{source} could not be read: {error.message}")
        else:
            conflicts += [f"{source} has {effect}" for effect in _effects(keys, env)]
    if conflicts:
        return warned(
            ENV_FROM,
            "env_from_conflict",
            f"{where}: {'; '.join([*conflicts, *unread])}.",
            "Instead of envFrom, set the variables that the container needs in env. If the pod is meant for another "
            f"server, opt it out with the label {names.LABEL}=false.",
        )
    if unread:
        return skipped(ENV_FROM, f"{where}: {'; '.join(unread)}, which may name another server or credentials")
    return passed(ENV_FROM, f"{where}: {', '.join(map(str, sources))}: no server and no credentials of MLflow")


def _keys(client: KubeClient, source: EnvFrom, namespace: str) -> set[str]:
    found = client.get(core_path(namespace, _RESOURCES[source.kind], source.name))
    return {source.prefix + key for key in found.get("data") or ()}


def _effects(keys: set[str], env: set[str]) -> Iterator[str]:
    overridden, effective = keys & env, keys - env
    if names.TRACKING_URI in overridden:
        yield f"{names.TRACKING_URI}, which the one in the container's env overrides"
    if servers := sorted(effective.intersection(names.TOKEN_SERVERS)):
        yield f"{', '.join(servers)}: MLflow's client sends the token there"
    if credentials := sorted(effective & names.CREDENTIALS):
        overrides = " in place of the token" if effective >= _USER else ""
        yield f"{', '.join(credentials)}: MLflow's client uses them{overrides} for the server in {names.TRACKING_URI}"
    if names.EXPERIMENT_ID in effective and names.EXPERIMENT_NAME in env:
        yield f"{names.EXPERIMENT_ID}: MLflow refuses it if it is not the id of {names.EXPERIMENT_NAME}"
