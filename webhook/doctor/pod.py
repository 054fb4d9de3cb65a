"""Checks why a pod was wired, or why not: compares the decision on the pod with what the webhook would decide now."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from webhook.cluster.kube import KubeClient, KubeError, core_path, group_path
from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import Decision, decide
from webhook.core.names import DECISION_ANNOTATION
from webhook.core.reasons import Reason, Verdict
from webhook.core.review import decode_pod
from webhook.core.wiring import SecretRef
from webhook.doctor.findings import Finding, failed, passed, warned
from webhook.doctor.place import find_place
from webhook.settings import Settings, SettingsError, load_settings

WIRING = "pod-wiring"
_OWNERS = {
    "TrainJob": "jobset.sigs.k8s.io/jobset-name",
    "pipeline run": "pipeline/runid",
    "Workflow": "workflows.argoproj.io/workflow",
    "Job": "batch.kubernetes.io/job-name",
}
"""The kinds whose pods are started again together, and the label with the name."""


class Subject(NamedTuple):
    """Which pods to check: one pod, or all pods of a TrainJob or of a pipeline run."""

    kind: str
    name: str


def find_pods(client: KubeClient, namespace: str, subject: Subject) -> list[dict[str, Any]]:
    """Return the pods. Raises KubeError."""
    if subject.kind == "pod":
        return [client.get(core_path(namespace, "pods", subject.name))]
    label = {"trainjob": _OWNERS["TrainJob"], "run": _OWNERS["pipeline run"]}[subject.kind]
    params = {"labelSelector": f"{label}={subject.name}"}
    items: list[dict[str, Any]] = client.list(core_path(namespace, "pods"), params=params)["items"]
    return items


def settings_of(client: KubeClient) -> Settings | None:
    """Read the webhook's settings from its Deployment and ConfigMap; None if they cannot be read."""
    try:
        place = find_place(client)
        deployment = client.get(group_path("apps/v1", "deployments", place.name, namespace=place.namespace))
        template = deployment["spec"]["template"]["spec"]
        volumes = template.get("volumes") or []
        name = next(volume["configMap"]["name"] for volume in volumes if "configMap" in volume)
        text = client.get(core_path(place.namespace, "configmaps", name))["data"]["config.yaml"]
    except (KubeError, StopIteration, KeyError):
        return None
    container = template["containers"][0]
    environment = _environment(container)
    if environment is None or container.get("envFrom"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text(text, encoding="utf-8")
        try:
            return load_settings(file=file, environment=environment)
        except SettingsError:
            return None


def platform_of(client: KubeClient) -> Platform | None:
    """Return the webhook's settings that affect pods; None if they do not exist or may not be read."""
    settings = settings_of(client)
    return settings.platform if settings else None


def _environment(container: Mapping[str, Any]) -> dict[str, str] | None:
    """Return a container's variables; None if one comes from a source that cannot be read here."""
    entries = container.get("env") or []
    sources = [entry["valueFrom"] for entry in entries if entry.get("valueFrom")]
    if any("fieldRef" not in source for source in sources):
        return None
    return {entry["name"]: entry.get("value", "") for entry in entries if not entry.get("valueFrom")}


def check_pod(pod: dict[str, Any], namespace: Namespace, platform: Platform) -> Finding:
    """Compare the decision that is recorded on a pod with what the webhook would decide now."""
    name = pod["metadata"]["name"]
    record = record_of(pod)
    now = decide_now(pod, namespace, platform)
    current = f"{now.reason.verdict} ({now.reason}): {now.reason.sentence}"
    if record is None:
        if now.verdict is Verdict.WIRED:
            return failed(
                WIRING,
                "not_wired_but_would_be",
                f"{name} was not wired: the webhook was not called, or the namespace was labelled later. "
                f"Now it would be {current}",
                create_again([pod]),
            )
        return passed(WIRING, f"{name} was not changed, and would not be changed now: {current}")
    then = f"{record.get('decision')} ({record.get('reason')})"
    sentence = _sentence(record.get("reason"))
    if record.get("reason") != now.reason:
        return warned(
            WIRING, "decision_changed", f"{name} was {then}: {sentence} Now it would be {current}", create_again([pod])
        )
    differences = _differences(pod, now)
    if differences:
        return warned(
            WIRING,
            "values_changed",
            f"{name} was {then}. Now it would get other values: {'; '.join(differences)}.",
            create_again([pod]),
        )
    return passed(WIRING, f"{name} was {then}: {sentence} The decision would be the same now.")


def decide_now(pod: dict[str, Any], namespace: Namespace, platform: Platform) -> Decision:
    """Return what the webhook would decide about a pod if it were created now."""
    before = as_it_was(pod, record_of(pod))
    return decide(decode_pod(json.dumps(before).encode()), namespace=namespace, platform=platform)


def create_again(pods: list[dict[str, Any]]) -> str:
    """Return how to create pods again: a pod is wired only when it is created.

    A Job counts a deleted pod as failed, and Argo does not create it again. So the owner of the pods has to be started
    again.
    """
    runs: dict[str, None] = {}
    others = []
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        owner = next((f"{kind} {labels[label]}" for kind, label in _OWNERS.items() if label in labels), None)
        if owner:
            runs[owner] = None
        else:
            others.append(pod["metadata"])
    sentences = [f"Start again: {', '.join(runs)}."] if runs else []
    if others:
        names = " ".join(metadata["name"] for metadata in others)
        command = f"kubectl delete pod --namespace {others[0].get('namespace', 'default')} {names}"
        sentences.append(f"Delete the pods that a controller creates again: {command}")
    return " ".join(["A pod is wired only when it is created.", *sentences])


def as_it_was(pod: dict[str, Any], record: dict[str, Any] | None) -> dict[str, Any]:
    """Return a pod without what the webhook added."""
    before = copy.deepcopy(pod)
    (before["metadata"].get("annotations") or {}).pop(DECISION_ANNOTATION, None)
    given = (record or {}).get("containers")
    for container in before["spec"]["containers"]:
        given_here = given.get(container["name"]) if isinstance(given, dict) else None
        if isinstance(given_here, list) and container.get("env"):
            container["env"] = [entry for entry in container["env"] if entry["name"] not in given_here]
    return before


def record_of(pod: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the webhook recorded on a pod, or None."""
    try:
        record = json.loads((pod["metadata"].get("annotations") or {})[DECISION_ANNOTATION])
    except (KeyError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _sentence(reason: object) -> str:
    try:
        return Reason(str(reason)).sentence
    except ValueError:
        return "This version does not know that reason."


def _differences(pod: dict[str, Any], now: Decision) -> list[str]:
    present = {
        (container["name"], entry["name"]): _entry_value(entry)
        for container in pod["spec"]["containers"]
        for entry in container.get("env") or []
    }
    wanted = {
        (container.name, variable.name): _variable_value(variable.value)
        for container in now.containers
        for variable in container.variables
    }
    return [
        f"{container}: {name}={value}"
        for (container, name), value in wanted.items()
        if value is not None and present.get((container, name)) != value
    ]


def _entry_value(entry: dict[str, Any]) -> str:
    reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
    return f"Secret {reference['name']}/{reference['key']}" if reference else str(entry.get("value", ""))


def _variable_value(value: object) -> str | None:
    if isinstance(value, SecretRef):
        return f"Secret {value.secret.name}/{value.secret.key}"
    return value if isinstance(value, str) else None
