"""A decision in full, for people and scripts: each variable of each container, and where its value comes from."""

from __future__ import annotations

from typing import Any

from webhook.core.configuration import Source, hide_password
from webhook.core.decision import Decision
from webhook.core.names import CREDENTIALS, MANAGED
from webhook.core.review import Container, EnvVar, Pod


def explanation(pod: Pod, decision: Decision, *, name: str, namespace: str) -> dict[str, Any]:
    """Give the decision as data: the shape of `explain -o json`.

    Literal values of credentials that the pod brings are not repeated.
    """
    return {
        "pod": name,
        "namespace": namespace,
        "decision": decision.verdict.value,
        "reason": decision.reason.value,
        "message": decision.reason.sentence,
        "workload": decision.workload.value,
        "explicit": decision.explicit,
        "containers": [
            {
                "name": part.name,
                "reason": part.skipped.value if part.skipped else None,
                "message": part.message,
                "variables": [
                    *({**variable.entry(), "source": variable.source.value} for variable in part.variables),
                    *_present(pod.containers[part.index], decision),
                ],
                "notes": _notes(pod.containers[part.index]),
            }
            for part in decision.containers
        ],
        "warnings": list(decision.warnings),
    }


def _present(container: Container, decision: Decision) -> list[dict[str, Any]]:
    concerned = MANAGED | set(decision.configuration.env if decision.configuration else ())
    return [_entry(variable) for variable in container.env or () if variable.name in concerned]


def _entry(variable: EnvVar) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": variable.name}
    reference = variable.value_from.secret_key_ref if variable.value_from else None
    if reference is not None:
        entry["valueFrom"] = {"secretKeyRef": {"name": reference.name, "key": reference.key}}
    elif variable.value_from is not None:
        entry["valueFrom"] = {}
    else:
        value = variable.value or ""
        entry["value"] = "(not shown)" if variable.name in CREDENTIALS else hide_password(value)
    return {**entry, "source": Source.POD.value}


def _notes(container: Container) -> list[str]:
    sources = [source.config_map_ref or source.secret_ref for source in container.env_from or ()]
    names = [source.name for source in sources if source and source.name and source.name != "metadata-grpc-configmap"]
    if not names:
        return []
    return [
        f"variables from envFrom ({', '.join(names)}) are not visible here; a variable given by name goes before them"
    ]
