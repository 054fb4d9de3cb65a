"""What is known at admission of the values that a container's variables will have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from webhook.core.review import Container, EnvVar

LONGEST = 8192
"""Characters up to which a value is looked at. References to references could double it with every entry."""
_SHOWN = 3
_KFP_METADATA = "metadata-grpc-configmap"
_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")


def known_values(entries: Iterable[EnvVar], before: Mapping[str, str]) -> dict[str, str | None]:
    """Return the value of each variable, as the kubelet will expand it; None when it cannot be known here.

    It cannot be known when it comes from a ConfigMap, a Secret or the pod's fields, when it refers to such a variable
    or to one that is not in `entries`, or when it is longer than LONGEST. `before` holds what precedes `entries`. The
    kubelet reads entries in order; ``$(VAR)`` refers to earlier ones only, and of two entries with the same name the
    later one counts (Kubernetes, ``pkg/kubelet/kubelet_pods.go`` and ``third_party/forked/golang/expansion``).
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
    """A ConfigMap or Secret from which a container takes all keys as variables (``envFrom``)."""

    kind: str
    name: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def env_from(container: Container) -> list[EnvFrom]:
    """Return what a container takes variables from whose names cannot be known at admission.

    The ConfigMap that KFP gives to every component is left out: it holds the address of ML Metadata and nothing else
    (observed with KFP 2.17.0).
    """
    found = []
    for source in container.env_from or ():
        for kind, reference in (("ConfigMap", source.config_map_ref), ("Secret", source.secret_ref)):
            if reference and reference.name and reference.name != _KFP_METADATA:
                found.append(EnvFrom(kind, reference.name, source.prefix or ""))
    return found


def env_from_effects(sources: Sequence[EnvFrom]) -> str:
    """Return a sentence on what variables of a wired container do that it takes from these ConfigMaps and Secrets.

    A variable in ``env`` overrides one from ``envFrom``; a user name and password override a token (observed with
    mlflow 3.17.2).
    """
    shown = ", ".join(map(str, sources[:_SHOWN]))
    if len(sources) > _SHOWN:
        shown += f" and {len(sources) - _SHOWN} more"
    return (
        f"takes variables from {shown} (envFrom), unseen at admission: a tracking URI there is overridden, a user name "
        "and password there go to the configured server, and a registry or gateway there gets the token"
    )
