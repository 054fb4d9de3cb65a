"""The decision alone, from a review's bytes to the answer's: per captured review, and how it grows."""

from __future__ import annotations

import copy
import json
from time import perf_counter
from typing import Any

from benchmarks.measuring import Spread, sent
from tests.support.pods import KFP, SAMPLES, review
from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import decide
from webhook.core.patch import patch
from webhook.core.review import decode_review, encode_answer

_NAMESPACE, _PLATFORM = Namespace("team-a", {"mlflow-enabled": "true"}, {}), Platform()
ROUNDS = 7


def answer(body: bytes) -> bytes:
    """Answer a review: all that is pure of the way."""
    seen = decode_review(body)
    if seen.pod is None:
        raise ValueError("not the review of a pod")
    decision = decide(seen.pod, namespace=_NAMESPACE, platform=_PLATFORM)
    audit = {"decision": decision.verdict, "reason": decision.reason, "workload": decision.workload}
    return encode_answer(
        uid=seen.uid,
        patch=patch(seen.pod, decision),
        warnings=decision.warnings,
        audit_annotations=audit,
        try_again=None,
    )


def measure() -> dict[str, Any]:
    """Measure every captured review, growing environments and growing numbers of containers; microseconds."""
    bodies = {name: sent(name) for name in SAMPLES if name.endswith("admissionreview.json")}
    captured = {
        name: {"bytes": len(bodies[name]), "microseconds": spread} for name, spread in _interleaved(bodies).items()
    }
    numbers = (1, 10, 100, 1_000, 10_000)
    variables = _interleaved({str(number): _with_variables(number) for number in numbers})
    containers = _interleaved({str(number): _with_containers(number) for number in numbers[:4]})
    return {"captured": captured, "variables": variables, "containers": containers}


def _interleaved(bodies: dict[str, bytes]) -> dict[str, Spread]:
    found: dict[str, list[float]] = {name: [] for name in bodies}
    for _ in range(ROUNDS):
        for name, body in bodies.items():
            times = max(3, min(200, 2_000_000 // len(body)))
            started = perf_counter()
            for _ in range(times):
                answer(body)
            found[name].append((perf_counter() - started) / times * 1e6)
    return {name: Spread.of(values) for name, values in found.items()}


def unmanaged() -> dict[str, Any]:
    """Give the captured review of an unmodified component, without managedFields."""
    document = copy.deepcopy(review(KFP))
    pod = document["request"]["object"]
    pod["metadata"].pop("managedFields", None)
    return document


def _with_variables(number: int) -> bytes:
    document = unmanaged()
    containers = document["request"]["object"]["spec"]["containers"]
    main = next(container for container in containers if container["name"] == "main")
    main["env"] = [{"name": f"VARIABLE_{index}", "value": "x" * 20} for index in range(number)]
    return json.dumps(document).encode()


def _with_containers(number: int) -> bytes:
    document = unmanaged()
    spec = document["request"]["object"]["spec"]
    spec["containers"] += [
        {"name": f"c{index}", "image": "i", "env": [{"name": "A", "value": "b"}]} for index in range(number)
    ]
    return json.dumps(document).encode()
