"""Why was a pod wired, or why not: what is recorded on it, what the webhook would decide now, and the difference."""

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
from webhook.core.reasons import Reason
from webhook.core.review import decode_pod
from webhook.core.wiring import SecretRef
from webhook.doctor.findings import Finding, failed, passed, warned
from webhook.doctor.place import find_place
from webhook.settings import SettingsError, load_settings

WIRING = "pod-wiring"


class Subject(NamedTuple):
    """What to look at: one pod, or all pods of a TrainJob or of a run of KFP."""

    kind: str
    name: str


def find_pods(client: KubeClient, namespace: str, subject: Subject) -> list[dict[str, Any]]:
    """Find the pods. Raises KubeError."""
    if subject.kind == "pod":
        return [client.get(core_path(namespace, "pods", subject.name))]
    label = {"trainjob": "jobset.sigs.k8s.io/jobset-name", "run": "pipeline/runid"}[subject.kind]
    params = {"labelSelector": f"{label}={subject.name}"}
    items: list[dict[str, Any]] = client.list(core_path(namespace, "pods"), params=params)["items"]
    return items


def platform_of(client: KubeClient) -> Platform | None:
    """Read the platform's settings as the webhook has them, from its Deployment and ConfigMap; None where they may not
    be read, or are not there to read."""
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
            return load_settings(file=file, environment=environment).platform
        except SettingsError:
            return None


def _environment(container: Mapping[str, Any]) -> dict[str, str] | None:
    """Give a container's variables; None when one comes from where it cannot be seen here."""
    entries = container.get("env") or []
    sources = [entry["valueFrom"] for entry in entries if entry.get("valueFrom")]
    if any("fieldRef" not in source for source in sources):
        return None
    return {entry["name"]: entry.get("value", "") for entry in entries if not entry.get("valueFrom")}


def check_pod(pod: dict[str, Any], namespace: Namespace, platform: Platform) -> Finding:
    """Compare what is recorded on a pod with what the webhook would decide now."""
    name = pod["metadata"]["name"]
    record = _record(pod)
    now = decide(decode_pod(json.dumps(as_it_was(pod, record)).encode()), namespace=namespace, platform=platform)
    say_now = f"{now.reason.verdict} ({now.reason}): {now.reason.sentence}"
    if record is None:
        if now.reason.verdict == "wired":
            return failed(
                WIRING,
                "not_wired_but_would_be",
                f"{name} was not wired; the webhook was not called, or its namespace was labelled later. "
                f"Now it would be {say_now}",
                f"kubectl delete pod --namespace {namespace.name} {name}   # its controller makes it again",
            )
        return passed(WIRING, f"{name} was left as it came, and would be now: {say_now}")
    then = f"{record.get('decision')} ({record.get('reason')})"
    sentence = _sentence(record.get("reason"))
    if record.get("reason") != now.reason:
        return warned(
            WIRING,
            "decision_changed",
            f"{name} was {then}: {sentence} Now it would be {say_now}",
            "A pod is wired when it is created; make it again to have it decided again.",
        )
    differences = _differences(pod, now)
    if differences:
        return warned(
            WIRING,
            "values_changed",
            f"{name} was {then}. Now other values would be given: {'; '.join(differences)}.",
            "A pod is wired when it is created; make it again to give it these.",
        )
    return passed(WIRING, f"{name} was {then}: {sentence} It would be the same now.")


def as_it_was(pod: dict[str, Any], record: dict[str, Any] | None) -> dict[str, Any]:
    """Take off a pod what the webhook put on it."""
    before = copy.deepcopy(pod)
    (before["metadata"].get("annotations") or {}).pop(DECISION_ANNOTATION, None)
    given = (record or {}).get("containers")
    for container in before["spec"]["containers"]:
        ours = given.get(container["name"]) if isinstance(given, dict) else None
        if isinstance(ours, list) and container.get("env"):
            container["env"] = [entry for entry in container["env"] if entry["name"] not in ours]
    return before


def _record(pod: dict[str, Any]) -> dict[str, Any] | None:
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
        (container["name"], entry["name"]): _shown(entry)
        for container in pod["spec"]["containers"]
        for entry in container.get("env") or []
    }
    wanted = {
        (container.name, variable.name): _wanted(variable.value)
        for container in now.containers
        for variable in container.variables
    }
    return [
        f"{container}: {name}={value}"
        for (container, name), value in wanted.items()
        if value is not None and present.get((container, name)) != value
    ]


def _shown(entry: dict[str, Any]) -> str:
    reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
    return f"Secret {reference['name']}/{reference['key']}" if reference else str(entry.get("value", ""))


def _wanted(value: object) -> str | None:
    if isinstance(value, SecretRef):
        return f"Secret {value.secret.name}/{value.secret.key}"
    return value if isinstance(value, str) else None
