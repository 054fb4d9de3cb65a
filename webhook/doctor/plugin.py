"""Checks whether the client plugin is in a pod, and whether the Secret has the key for its token file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError, KubeNotFoundError, core_path
from webhook.core.client_plugin import MOUNT_PATH, TOKEN_FILE, VOLUME, PluginObstacle, has_mount, is_plugin_volume
from webhook.core.decision import Decision
from webhook.core.pod import decode_volumes
from webhook.core.review import decode_pod
from webhook.core.values import SecretKey
from webhook.doctor.findings import Finding, failed, passed, skipped, warned
from webhook.doctor.pod import create_again, record_of
from webhook.doctor.refresh_job import find_refresh_job
from webhook.doctor.remedies import refresh_command

PLUGIN, TOKEN_IN_FILE = "pod-client-plugin", "pod-token-file"
_ON = "on"


def check_plugin(client: KubeClient, pod: dict[str, Any], namespace: str, now: Decision) -> Iterator[Finding]:
    """Check the plugin in a wired pod. `now` is what the webhook would decide now."""
    record = record_of(pod) or {}
    if not record.get("containers"):
        return
    given = record.get("clientPlugin")
    yield _check_presence(pod, given if isinstance(given, dict) else {}, now)
    if source := _secret_source(pod):
        yield _check_file(client, source, namespace)


def _check_presence(pod: dict[str, Any], given: dict[str, str], now: Decision) -> Finding:
    name = pod["metadata"]["name"]
    present = _containers_with_plugin(pod)
    removed = [container for container, state in given.items() if state == _ON and container not in present]
    if removed:
        return failed(
            PLUGIN,
            "plugin_removed",
            f"{name}: the webhook gave the client plugin to {', '.join(removed)}, but its volume is not there.",
            "Find the other webhook or controller that removes it: kubectl get mutatingwebhookconfigurations",
        )
    if left_out := [f"{container}: {_sentence(code)}" for container, code in given.items() if code != _ON]:
        return warned(
            PLUGIN,
            "plugin_left_out",
            f"{name} is without the client plugin in {' '.join(left_out)}",
            "Remove the obstacle, or turn the plugin off for the pod (docs/client-plugin.md).",
        )
    if present:
        return passed(PLUGIN, f"the client plugin is in {', '.join(present)}")
    if any(container.plugin for container in now.containers):
        return warned(
            PLUGIN,
            "plugin_turned_on_later",
            f"{name} does not have the client plugin, which was turned on after the pod was created.",
            create_again([pod]),
        )
    return passed(PLUGIN, "the client plugin is off: the pod keeps the token with which it started")


def _containers_with_plugin(pod: dict[str, Any]) -> list[str]:
    decoded = decode_pod(json.dumps(pod).encode())
    if not any(is_plugin_volume(volume) for volume in decode_volumes(decoded) or ()):
        return []
    return [container.name for container in decoded.containers if has_mount(container)]


def _sentence(code: str) -> str:
    try:
        return PluginObstacle(code).sentence
    except ValueError:
        return f"{code}, which this version does not know."


class _Source(NamedTuple):
    """The key of a Secret that becomes the token file. If it is optional, the pod starts without it."""

    secret: SecretKey
    optional: bool


def _secret_source(pod: dict[str, Any]) -> _Source | None:
    volumes = [volume for volume in pod["spec"].get("volumes") or [] if volume["name"] == VOLUME]
    for source in [source for volume in volumes for source in (volume.get("projected") or {}).get("sources") or []]:
        secret = source.get("secret") or {}
        for item in secret.get("items") or []:
            if item["path"] == TOKEN_FILE:
                return _Source(SecretKey(secret["name"], item["key"]), optional=bool(secret.get("optional")))
    return None


def _check_file(client: KubeClient, source: _Source, namespace: str) -> Finding:
    secret = source.secret
    place = f"Secret {namespace}/{secret.name}"
    try:
        keys = client.get(core_path(namespace, "secrets", secret.name)).get("data") or {}
    except KubeNotFoundError:
        missing = f"{place} not found"
    except KubeForbiddenError:
        return skipped(TOKEN_IN_FILE, f"you may not read {place}")
    except KubeError as error:
        return skipped(TOKEN_IN_FILE, f"{place} could not be read: {error.message}")
    else:
        if secret.key in keys:
            return passed(TOKEN_IN_FILE, f"{MOUNT_PATH}/{TOKEN_FILE} is the key {secret.key} of {place}")
        missing = f"{place} has no key {secret.key}"
    job = find_refresh_job(client, namespace)
    remedy = refresh_command(namespace, secret, issuer=job.issuer, job=job.name)
    if source.optional:
        effect = f"so {MOUNT_PATH}/{TOKEN_FILE} does not exist. The kubelet adds it later, when the key exists."
        return warned(TOKEN_IN_FILE, "token_file_missing", f"{missing}, {effect}", remedy)
    effect = "so the kubelet does not start the pod (FailedMount). It retries by itself."
    return failed(TOKEN_IN_FILE, "token_file_missing", f"{missing}, {effect}", remedy)
