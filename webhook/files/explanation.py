"""Explains a decision, for people and scripts: each variable of each container, and where its value comes from."""

from __future__ import annotations

from typing import Any

from webhook.core.client_plugin import VARIABLES
from webhook.core.configuration import Source
from webhook.core.decision import ContainerDecision, Decision
from webhook.core.environment import env_from, env_from_effects
from webhook.core.names import CREDENTIALS, MANAGED
from webhook.core.pod import Container, EnvVar, Pod
from webhook.core.reasons import Verdict
from webhook.core.values import hide_password


def explanation(pod: Pod, decision: Decision, *, name: str, namespace: str | None, note: str = "") -> dict[str, Any]:
    """Return the decision as data: an item of `explain -o json` (docs/files.md).

    Literal credentials of the pod are not repeated. `note` says what is not known before a pod is created.
    """
    return {
        "pod": name,
        "namespace": namespace,
        **decision.summary,
        "message": decision.reason.sentence,
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
                "clientPlugin": _plugin(part, decision),
                "notes": _notes(pod.containers[part.index], wired=bool(part.variables)),
            }
            for part in decision.containers
        ],
        "warnings": list(decision.warnings),
        "notes": [note] if note and decision.verdict is Verdict.WIRED else [],
    }


def _plugin(part: ContainerDecision, decision: Decision) -> dict[str, Any] | None:
    """Return whether the container has the client plugin, who asked for it, and what prevents it."""
    asked = decision.configuration.client_plugin if decision.configuration else None
    if asked is None or not asked.value:
        return None
    return {
        "on": part.plugin,
        "source": asked.source.value,
        "reason": part.obstacle.value if part.obstacle else None,
        "message": part.obstacle.sentence if part.obstacle else None,
    }


def _present(container: Container, decision: Decision) -> list[dict[str, Any]]:
    configuration = decision.configuration
    concerned = MANAGED | set(configuration.env if configuration else ())
    if configuration and configuration.client_plugin.value:
        concerned |= VARIABLES.keys()
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


def _notes(container: Container, *, wired: bool) -> list[str]:
    sources = env_from(container)
    if not sources:
        return []
    if wired:
        return [f"the container {env_from_effects(sources)}"]
    return [f"variables from {', '.join(map(str, sources))} (envFrom) are not visible here"]
