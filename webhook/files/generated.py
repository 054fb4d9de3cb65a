"""Names that are generated in the cluster: the placeholder for the generated part, and which values contain it."""

from __future__ import annotations

from typing import NamedTuple

from webhook.core.pod import Pod
from webhook.core.workload import recognise

PLACEHOLDER = "xxxxx"
"""The text in place of the five characters that the API server or a controller generates."""
_LONGEST_BEGINNING = 58
"""Characters of ``generateName`` that the API server uses (k8s.io/apiserver: pkg/storage/names/generate.go)."""


class Values(NamedTuple):
    """Which values of a pod contain a generated name: its experiment, its run name and tags."""

    experiment: bool = False
    lineage: bool = False


def with_placeholder(beginning: str) -> str:
    """Return the name that the API server makes from ``generateName``, empty if that is empty."""
    return f"{beginning[:_LONGEST_BEGINNING]}{PLACEHOLDER}" if beginning else ""


def values_with_placeholder(pod: Pod) -> Values:
    """Return which values of a pod contain the placeholder."""
    lineage = recognise(pod).lineage(pod)
    return Values(
        PLACEHOLDER in (lineage.experiment or ""),
        any(PLACEHOLDER in text for text in (lineage.run_name or "", *lineage.tags.values())),
    )
