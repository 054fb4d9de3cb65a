"""Decides what a pod gets: a pod, its namespace and the platform's configuration in, a decision out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from webhook.core.configuration import Configuration, Namespace, Platform, configure
from webhook.core.names import DECISION_ANNOTATION, LABEL
from webhook.core.reasons import Reason, Verdict
from webhook.core.review import Container, Pod
from webhook.core.wiring import Variable, wire
from webhook.core.workload import Recogniser, WorkloadKind, is_sidecar, recognise


class ContainerDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What one container that runs the user's code gets; `skipped` says why it gets nothing."""

    index: int
    name: str
    variables: tuple[Variable, ...] = ()
    skipped: Reason | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a pod, and why. `configuration` None: it was not needed to decide."""

    reason: Reason
    workload: WorkloadKind
    explicit: bool = False
    containers: tuple[ContainerDecision, ...] = ()
    warnings: tuple[str, ...] = ()
    configuration: Configuration | None = None

    @property
    def verdict(self) -> Verdict:
        """Wired or skipped."""
        return self.reason.verdict

    @property
    def try_again(self) -> bool:
        """Whether the pod must be refused for now: it asked for wiring, and what stands in the way will pass."""
        return self.explicit and self.reason is Reason.NAMESPACE_LOOKUP_FAILED

    @property
    def record(self) -> str | None:
        """What is written on the pod, or None: the verdict, the reason, the workload and the variables given."""
        if not self.reason.recorded:
            return None
        given = {c.name: [v.name for v in c.variables] for c in self.containers if c.variables}
        record: dict[str, object] = {
            "decision": self.verdict,
            "reason": self.reason,
            "workload": self.workload,
        }
        if given:
            record["containers"] = given
        return msgspec.json.encode(record).decode()


NOT_A_POD_CREATION = Decision(reason=Reason.NOT_A_POD_CREATION, workload=WorkloadKind.NOT_A_POD)


def decide(pod: Pod, *, namespace: Namespace | None, platform: Platform) -> Decision:
    """Say whether a pod is wired, with what, and why.

    `namespace` None: it could not be looked up. Never raises for what is in a pod.

    The first that applies: opted out, not enabled, a kind that is never wired, not a training workload, then the
    containers one by one.
    """
    recogniser = recognise(pod)
    label = pod.labels.get(LABEL)
    explicit = label == "true"

    def skipped(reason: Reason, *warnings: str) -> Decision:
        return Decision(reason=reason, workload=recogniser.kind, explicit=explicit, warnings=warnings)

    if label == "false":
        return skipped(Reason.OPTED_OUT)
    warnings = () if label is None or explicit else (_unknown_label(label),)
    if namespace is None:
        return skipped(recogniser.never or Reason.NAMESPACE_LOOKUP_FAILED, *warnings)
    if not explicit and not namespace.enabled:
        return skipped(Reason.NOT_ENABLED, *warnings)
    if recogniser.never:
        return skipped(recogniser.never, *warnings)
    if not explicit and not recogniser.implied:
        return skipped(Reason.NOT_A_TRAINING_WORKLOAD, *warnings)
    configuration = configure(platform, namespace, pod.annotations)
    containers = _wire_containers(pod, recogniser, configuration, explicit=explicit)
    reason = _reason(containers, explicit=explicit, annotations=pod.annotations)
    return Decision(
        reason=reason,
        workload=recogniser.kind,
        explicit=explicit,
        containers=containers,
        warnings=(*warnings, *configuration.warnings, *_complaints(containers, explicit=explicit)),
        configuration=configuration,
    )


def _unknown_label(label: str) -> str:
    return f'label {LABEL}={label} of the pod is neither "true" nor "false" and is ignored'


def _wire_containers(
    pod: Pod, recogniser: Recogniser, configuration: Configuration, *, explicit: bool
) -> tuple[ContainerDecision, ...]:
    lineage = recogniser.lineage(pod)
    chosen = configuration.containers.value
    decisions = []
    for index, container in enumerate(pod.containers):
        if not _is_chosen(container, recogniser, chosen):
            continue
        if is_sidecar(pod, container):
            decisions.append(ContainerDecision(index=index, name=container.name, skipped=Reason.SIDECAR))
            continue
        variables, reason = wire(container, configuration=configuration, lineage=lineage, explicit=explicit)
        decisions.append(ContainerDecision(index=index, name=container.name, variables=variables, skipped=reason))
    return tuple(decisions)


def _is_chosen(container: Container, recogniser: Recogniser, chosen: frozenset[str] | None) -> bool:
    if chosen is not None:
        return container.name in chosen
    return recogniser.container in {None, container.name}


def _reason(containers: tuple[ContainerDecision, ...], *, explicit: bool, annotations: Mapping[str, str]) -> Reason:
    if any(container.variables for container in containers):
        return Reason.WIRED_BY_POD_LABEL if explicit else Reason.WIRED_BY_NAMESPACE_LABEL
    reasons = [container.skipped for container in containers if container.skipped]
    # a sidecar is the least interesting of several reasons
    reason = min(reasons, key=lambda reason: reason is Reason.SIDECAR, default=Reason.NO_CONTAINER)
    if reason is Reason.NOTHING_TO_ADD and _recorded_verdict(annotations) == Verdict.WIRED:
        return Reason.ALREADY_WIRED
    return reason


def _recorded_verdict(annotations: Mapping[str, str]) -> object:
    try:
        record = msgspec.json.decode(annotations.get(DECISION_ANNOTATION, "null"))
    except (msgspec.DecodeError, RecursionError):
        return None
    return record.get("decision") if isinstance(record, dict) else None


def _complaints(containers: tuple[ContainerDecision, ...], *, explicit: bool) -> list[str]:
    """Say to somebody who asked for a pod's wiring which container does not get it, and why."""
    if not explicit:
        return []
    return [
        f"container {container.name} is not wired to MLflow: {container.skipped.sentence}"
        for container in containers
        if container.skipped and container.skipped not in {Reason.SIDECAR, Reason.NOTHING_TO_ADD, Reason.KFP_PLUGIN}
    ]
