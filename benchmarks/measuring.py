"""Numbers from repeated measurements, and processes whose CPU time and memory can be read (Linux)."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.pods import KFP, review

SMALL = "real/trainer-2.3.0-torch-custom-runtime.worker-0.admissionreview.json"
"""The captured review of a TrainJob's node, of 9 kB as the API server sends it."""
CAPTURED = KFP
"""The captured review of a KFP component, of 35 kB."""


def sent(name: str) -> bytes:
    """Give a captured review as the API server sends it: the captures are indented for people."""
    return json.dumps(review(name), separators=(",", ":")).encode()


class Spread(NamedTuple):
    """The least, middle and greatest of several measurements."""

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
    """Give the value below which this share of all values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no memory is shown for process {pid}")
