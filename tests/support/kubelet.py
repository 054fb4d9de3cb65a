"""Makes a container's environment and files as a kubelet does. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_FIELDS = {"metadata.name": "name", "metadata.namespace": "namespace", "metadata.uid": "uid"}


class ContainerConfigError(Exception):
    """The pod would wait with the status CreateContainerConfigError. The message says what is missing."""


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Expand ``$(VAR)`` as Kubernetes does: unknown references stay unchanged, ``$$`` is a dollar sign."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else environment.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def container_environment(
    pod: Mapping[str, Any], container: str, *, secrets: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """Return a container's environment, from its ``env``, the pod's own fields and the Secrets of its namespace.

    ``envFrom`` is left out: the demo's pods have only an optional one from KFP. Raises ContainerConfigError.
    """
    entries = next(c for c in pod["spec"]["containers"] if c["name"] == container).get("env") or []
    environment: dict[str, str] = {}
    for entry in entries:
        value = _value(entry, pod, environment, secrets)
        if value is not None:
            environment[entry["name"]] = value
    return environment


def projected_files(pod: Mapping[str, Any], volume: str, *, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the files of a projected volume, by path, from the pod's own fields and the Secrets of its namespace.

    Raises ContainerConfigError.
    """
    found = next(entry["projected"] for entry in pod["spec"]["volumes"] if entry["name"] == volume)
    files: dict[str, str] = {}
    for source in found["sources"]:
        for item in source.get("downwardAPI", {}).get("items", ()):
            files[item["path"]] = _field(item["fieldRef"]["fieldPath"], pod)
        if reference := source.get("secret"):
            for item in reference["items"]:
                value = secrets.get(reference["name"], {}).get(item["key"])
                if value is not None:
                    files[item["path"]] = value
                elif not reference.get("optional"):
                    raise ContainerConfigError(f"key {item['key']} of secret {reference['name']} not found")
    return files


def _value(
    entry: Mapping[str, Any],
    pod: Mapping[str, Any],
    environment: Mapping[str, str],
    secrets: Mapping[str, Mapping[str, str]],
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", environment)
    if reference := source.get("secretKeyRef"):
        value = secrets.get(reference["name"], {}).get(reference["key"])
        if value is None and not reference.get("optional"):
            raise ContainerConfigError(f"key {reference['key']} of secret {reference['name']} not found")
        return value
    return _field(source.get("fieldRef", {}).get("fieldPath", ""), pod)


def _field(path: str, pod: Mapping[str, Any]) -> str:
    if path in _FIELDS:
        return str(pod["metadata"].get(_FIELDS[path], ""))
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    return str(pod["metadata"].get(match[1], {}).get(match[2], "")) if match else ""
