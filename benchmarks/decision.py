"""Measures the decision alone, from a review's bytes to the answer's: for each captured review, and by size."""

from __future__ import annotations

import copy
import json
from time import perf_counter
from typing import Any

from benchmarks.measuring import Spread, sent
from tests.support.pods import KFP, SAMPLES, TRAINJOB, review
from webhook.core.configuration import Namespace, Platform, Sourced
from webhook.core.decision import decide
from webhook.core.patch import patch
from webhook.core.review import decode_review, encode_answer
from webhook.plugin import load_plugin

_NAMESPACE, _PLATFORM = Namespace("team-a", {"mlflow-enabled": "true"}, {}), Platform()
_WITH_PLUGIN = Platform(client_plugin=Sourced(True), plugin=load_plugin())
ROUNDS = 7


def answer(body: bytes, platform: Platform = _PLATFORM) -> bytes:
    """Answer a review, with all steps that are pure."""
    seen = decode_review(body)
    if seen.pod is None:
        raise ValueError("not the review of a pod")
    decision = decide(seen.pod, namespace=_NAMESPACE, platform=platform)
    audit = {"decision": decision.verdict, "reason": decision.reason, "workload": decision.workload}
    return encode_answer(
        uid=seen.uid,
        patch=patch(seen.pod, decision),
        warnings=decision.warnings,
        audit_annotations=audit,
        try_again=None,
    )


def measure() -> dict[str, Any]:
    """Measure every captured review, and pods with more and more variables or containers; in microseconds."""
    bodies = {name: sent(name) for name in SAMPLES if name.endswith("admissionreview.json")}
    captured = {
        name: {"bytes": len(bodies[name]), "microseconds": spread} for name, spread in _interleaved(bodies).items()
    }
    numbers = (1, 10, 100, 1_000, 10_000)
    variables = _interleaved({str(number): _with_variables(number) for number in numbers})
    containers = _interleaved({str(number): _with_containers(number) for number in numbers[:4]})
    return {"captured": captured, "variables": variables, "containers": containers, "client_plugin": _with_plugin()}


def _with_plugin() -> dict[str, Any]:
    """Return the cost of a review with the client plugin, and its ratio to the cost without it."""
    found = {}
    for what, name in {"KFP pod": KFP, "TrainJob node": TRAINJOB}.items():
        body = sent(name)
        off, on = [], []
        for _ in range(ROUNDS):
            off.append(_timed(200, body, _PLATFORM))
            on.append(_timed(200, body, _WITH_PLUGIN))
        found[what] = {
            "off_microseconds": Spread.of(off),
            "on_microseconds": Spread.of(on),
            "ratio": Spread.of([with_it / without for with_it, without in zip(on, off, strict=True)]),
            "answer_bytes": len(answer(body, _WITH_PLUGIN)),
        }
    return found


def _timed(times: int, body: bytes, platform: Platform) -> float:
    """Return the microseconds of an answer, as the mean of so many."""
    started = perf_counter()
    for _ in range(times):
        answer(body, platform)
    return (perf_counter() - started) / times * 1e6


def _interleaved(bodies: dict[str, bytes]) -> dict[str, Spread]:
    found: dict[str, list[float]] = {name: [] for name in bodies}
    for _ in range(ROUNDS):
        for name, body in bodies.items():
            times = max(3, min(200, 2_000_000 // len(body)))
            found[name].append(_timed(times, body, _PLATFORM))
    return {name: Spread.of(values) for name, values in found.items()}


def unmanaged() -> dict[str, Any]:
    """Return the captured review of an unmodified component, without managedFields."""
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
