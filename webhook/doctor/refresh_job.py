"""Finds the CronJob that refreshes a token (manifests/components/token-refresh), and its issuer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from webhook.cluster.kube import KubeClient, KubeError, core_path, group_path
from webhook.token.credentials import ISSUER

NAME = "mlflow-token-refresh"
"""The name of the CronJob and of its ConfigMap, and the value of their label."""
_SELECTOR = f"app.kubernetes.io/name={NAME}"


class RefreshJob(NamedTuple):
    """The name and the issuer of the CronJob; empty if they are not known."""

    name: str = ""
    issuer: str = ""


NO_JOB = RefreshJob()


def find_refresh_job(client: KubeClient, namespace: str) -> RefreshJob:
    """Return the CronJob of a namespace. If it is missing or may not be read, its name and issuer are empty."""
    found = None
    with suppress(KubeError):
        path = group_path("batch/v1", "cronjobs", namespace=namespace)
        found = next(iter(client.list(path, params={"labelSelector": _SELECTOR}).get("items") or []), None)
    if found is None:
        return RefreshJob(issuer=_config_map(client, namespace, NAME).get(ISSUER, ""))
    spec = found["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    issuers = (issuer for container in spec["containers"] for issuer in _issuers(client, namespace, container))
    return RefreshJob(found["metadata"]["name"], next(filter(None, issuers), ""))


def _issuers(client: KubeClient, namespace: str, container: Mapping[str, Any]) -> Iterator[str]:
    """List the issuers that a container names, in the order in which the command looks for them."""
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    for word, after in zip(words, [*words[1:], ""], strict=True):
        yield after if word == "--issuer" else word.partition("--issuer=")[2]
    for variable in container.get("env") or []:
        if variable["name"] == ISSUER:
            reference = (variable.get("valueFrom") or {}).get("configMapKeyRef") or {}
            yield variable.get("value") or _config_map(client, namespace, reference.get("name")).get(
                reference.get("key", ""), ""
            )
    for source in container.get("envFrom") or []:
        name = (source.get("configMapRef") or {}).get("name")
        prefix = source.get("prefix") or ""
        if ISSUER.startswith(prefix):
            yield _config_map(client, namespace, name).get(ISSUER.removeprefix(prefix), "")


def _config_map(client: KubeClient, namespace: str, name: str | None) -> Mapping[str, str]:
    with suppress(KubeError):
        return client.get(core_path(namespace, "configmaps", name)).get("data") or {} if name else {}
    return {}
