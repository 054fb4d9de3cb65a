"""The values that a container's variables will have, as far as they can be known at admission."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from webhook.core.pod import Container, EnvVar

LONGEST = 8192
"""The most characters of a value. With references to references, it could double with each entry."""
_SHOWN = 3
_KFP_METADATA = "metadata-grpc-configmap"
_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")


def known_values(entries: Iterable[EnvVar], before: Mapping[str, str]) -> dict[str, str | None]:
    """Return the value of each variable as the kubelet will expand it, or None if it cannot be known.

    A value cannot be known if it comes from a ConfigMap, a Secret or the pod's fields, if it refers to such a variable
    or to one that is not in `entries`, or if it is longer than LONGEST. `before` holds the variables before `entries`.
    The kubelet reads entries in order: ``$(VAR)`` refers to earlier entries only, and the last of several entries with
    the same name is used (Kubernetes, ``pkg/kubelet/kubelet_pods.go`` and ``third_party/forked/golang/expansion``).
    """
    values: dict[str, str | None] = dict(before)
    for entry in entries:
        values[entry.name] = None if entry.value_from else _expanded(entry.value or "", values)
    return values


def _expanded(text: str, values: Mapping[str, str | None]) -> str | None:
    if len(text) > LONGEST:
        return None
    if "$" not in text:
        return text
    pieces: list[str] = []
    length = end = 0
    for match in _REFERENCE.finditer(text):
        value = "$" if match[1] == "$" else values.get(match[2])
        if value is None:
            return None  # envFrom or a Service may define it
        pieces += (text[end : match.start()], value)
        length += len(pieces[-2]) + len(value)
        end = match.end()
        if length > LONGEST:
            return None
    expanded = "".join(pieces) + text[end:]
    return expanded if len(expanded) <= LONGEST else None


class EnvFrom(NamedTuple):
    """A ConfigMap or Secret whose keys all become variables of a container (``envFrom``)."""

    kind: str
    name: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def env_from(container: Container) -> list[EnvFrom]:
    """Return the ConfigMaps and Secrets in a container's ``envFrom``. Their keys cannot be known at admission.

    The ConfigMap that KFP adds to every component is left out: it contains only the address of ML Metadata (observed
    with KFP 2.17.0).
    """
    found = []
    for source in container.env_from or ():
        for kind, reference in (("ConfigMap", source.config_map_ref), ("Secret", source.secret_ref)):
            if reference and reference.name and reference.name != _KFP_METADATA:
                found.append(EnvFrom(kind, reference.name, source.prefix or ""))
    return found


def env_from_effects(sources: Sequence[EnvFrom]) -> str:
    """Return a sentence about the effects of the variables in these ConfigMaps and Secrets on a wired container.

    A variable in ``env`` overrides one from ``envFrom``; a user name and password override a token (observed with
    mlflow 3.17.2).
    """
    shown = ", ".join(map(str, sources[:_SHOWN]))
    if len(sources) > _SHOWN:
        shown += f" and {len(sources) - _SHOWN} more"
    return (
        f"takes variables from {shown} (envFrom), which cannot be read at admission: a tracking URI in them is "
        "overridden, a user name and password are sent to the configured server, and a registry or gateway gets the "
        "token"
    )
