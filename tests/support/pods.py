"""The captured pods and reviews in tests/data."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "pods"
SAMPLES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.json"))
KFP = "real/kfp-2.17.0-unmodified.container-impl.admissionreview.json"
TRAINJOB = "real/trainer-2.3.0-torch.node-0.admissionreview.json"


def review(name: str) -> dict[str, Any]:
    """Load a captured review."""
    document: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return document


def pod(name: str) -> dict[str, Any]:
    """Load a pod, from its file or from a review."""
    document = review(name)
    found: dict[str, Any] = document["request"]["object"] if "request" in document else document
    return found


def plain(sample: str, name: str = "p") -> dict[str, Any]:
    """Return a captured pod without the fields that only its original cluster has, so that it can be created again."""
    document = copy.deepcopy(pod(sample))
    metadata = document["metadata"]
    document["metadata"] = {
        "name": name,
        "labels": metadata.get("labels", {}),
        "annotations": metadata.get("annotations", {}),
    }
    spec = document["spec"]
    for key in ("serviceAccountName", "serviceAccount", "priority", "preemptionPolicy"):
        spec.pop(key, None)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": spec}
