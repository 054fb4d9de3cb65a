"""Summarises repeated measurements, and reads the CPU time and memory of processes (Linux)."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.pods import KFP, review

SMALL = "real/trainer-2.3.0-torch-custom-runtime.worker-0.admissionreview.json"
"""The captured review of a TrainJob's node: 9 kB, as the API server sends it."""
CAPTURED = KFP
"""The captured review of a KFP component: 35 kB."""


MANY = 10_000
"""The number of namespaces in a large cluster."""


def labelled_namespace(number: int) -> dict[str, Any]:
    """Return a labelled namespace with about 300 bytes of labels and annotations."""
    labels = {"mlflow-enabled": "true", "team": f"team-{number}"}
    annotations = {"mlflow.kubeflow.org/experiment": f"experiment-{number}", "owner": "x" * 200}
    metadata = {"name": f"many-{number}", "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def sent(name: str) -> bytes:
    """Return a captured review as the API server sends it, without the indentation of the file."""
    return json.dumps(review(name), separators=(",", ":")).encode()


class Spread(NamedTuple):
    """The minimum, median and maximum of several measurements."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up measurements."""
        return cls(min(values), statistics.median(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.minimum:.4g} to {self.maximum:.4g})"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all values is below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in seconds, exact to the nanosecond; /proc has only hundredths of a second."""
    return time.clock_gettime(~pid << 3 | 2)  # the clock that clock_getcpuclockid(3) returns for another process


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"the memory of process {pid} cannot be read")
