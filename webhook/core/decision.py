"""Decides what a pod gets: a pod, its namespace and the platform's configuration in, a decision out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from webhook.core.configuration import Configuration, Namespace, Platform, configure
from webhook.core.names import DECISION_ANNOTATION, LABEL
from webhook.core.reasons import Reason, Verdict
from webhook.core.review import Container, Pod
from webhook.core.wiring import Variable, wire
from webhook.core.workload import Recogniser, WorkloadKind, is_sidecar, recognise


class _Record(msgspec.Struct):
    """What an earlier call wrote on the pod (`Decision.record`), as far as it decides."""

    decision: str = ""
    containers: dict[str, list[str]] = {}


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
    earlier: Mapping[str, Sequence[str]] = {}
    """By container, the variables in it that an earlier call gave, as the pod's own record says."""

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
        given = {container: list(variables) for container, variables in self.earlier.items()}
        for container in self.containers:
            if container.variables:
                given.setdefault(container.name, []).extend([variable.name for variable in container.variables])
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
    warnings = () if label is None or explicit else (_unknown_label(label, of="pod"),)
    if namespace is None:
        return skipped(recogniser.never or Reason.NAMESPACE_LOOKUP_FAILED, *warnings)
    if namespace.labels.get(LABEL, "true") not in {"true", "false"}:
        warnings = (*warnings, _unknown_label(namespace.labels[LABEL], of="namespace"))
    if not explicit and not namespace.enabled:
        return skipped(Reason.NOT_ENABLED, *warnings)
    if recogniser.never:
        return skipped(recogniser.never, *warnings)
    if not explicit and not recogniser.implied:
        return skipped(Reason.NOT_A_TRAINING_WORKLOAD, *warnings)
    configuration = configure(platform, namespace, pod.annotations)
    containers = _wire_containers(pod, recogniser, configuration, explicit=explicit)
    record = _recorded(pod.annotations)
    reason = _reason(containers, explicit=explicit, wired_before=record.decision == Verdict.WIRED)
    return Decision(
        reason=reason,
        workload=recogniser.kind,
        explicit=explicit,
        containers=containers,
        warnings=(*warnings, *configuration.warnings, *_complaints(containers, explicit=explicit)),
        configuration=configuration,
        earlier=_still_there(record.containers, pod),
    )


def _unknown_label(label: str, *, of: str) -> str:
    return f'label {LABEL}={label} of the {of} is neither "true" nor "false" and is ignored'


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


def _reason(containers: tuple[ContainerDecision, ...], *, explicit: bool, wired_before: bool) -> Reason:
    if any(container.variables for container in containers):
        return Reason.WIRED_BY_POD_LABEL if explicit else Reason.WIRED_BY_NAMESPACE_LABEL
    reasons = [container.skipped for container in containers if container.skipped]
    # whatever stands in the way of another container: this one's record stays
    if wired_before and Reason.NOTHING_TO_ADD in reasons:
        return Reason.ALREADY_WIRED
    # a sidecar is the least interesting of several reasons
    return min(reasons, key=lambda reason: reason is Reason.SIDECAR, default=Reason.NO_CONTAINER)


def _recorded(annotations: Mapping[str, str]) -> _Record:
    try:
        return msgspec.json.decode(annotations.get(DECISION_ANNOTATION, "{}"), type=_Record)
    except (msgspec.DecodeError, RecursionError):
        return _Record()


def _still_there(recorded: Mapping[str, Sequence[str]], pod: Pod) -> dict[str, list[str]]:
    # the API server calls again when another webhook has changed the pod: what was given then is not given twice
    if not recorded:
        return {}
    present = {container.name: {variable.name for variable in container.env or ()} for container in pod.containers}
    still = {name: [v for v in dict.fromkeys(given) if v in present.get(name, ())] for name, given in recorded.items()}
    return {name: given for name, given in still.items() if given}


def _complaints(containers: tuple[ContainerDecision, ...], *, explicit: bool) -> list[str]:
    """Say to somebody who asked for a pod's wiring which container does not get it, and why."""
    if not explicit:
        return []
    return [
        f"container {container.name} is not wired to MLflow: {container.skipped.sentence}"
        for container in containers
        if container.skipped and container.skipped not in {Reason.SIDECAR, Reason.NOTHING_TO_ADD, Reason.KFP_PLUGIN}
    ]
