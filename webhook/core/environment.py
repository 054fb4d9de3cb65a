"""What is known at admission of the values that a container's variables will have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from webhook.core.review import EnvVar

LONGEST = 8192
"""Characters up to which a value is looked at. References to references could double it with every entry."""
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
