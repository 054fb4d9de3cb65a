"""Decides what a pod gets, from the pod, its namespace and the platform's configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from webhook.core.client_plugin import PluginObstacle, PluginVolume
from webhook.core.configuration import Configuration, Namespace, Platform, Source, configure, find_swapped
from webhook.core.environment import env_from, env_from_effects
from webhook.core.lineage import Lineage
from webhook.core.names import ANNOTATION_GROUP, DECISION_ANNOTATION, LABEL, MIRROR_ANNOTATION
from webhook.core.pod import Container, Pod
from webhook.core.reasons import Reason, Verdict
from webhook.core.requested_plugin import RequestedPlugin, request_plugin
from webhook.core.sidecars import is_sidecar
from webhook.core.wiring import Variable, wire
from webhook.core.workload import Recogniser, WorkloadKind, recognise


class _Record(msgspec.Struct):
    """The fields of the record on the pod (`Decision.record`, from an earlier call) that affect the decision."""

    decision: str = ""
    containers: dict[str, list[str]] = {}


class ContainerDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What one container that runs the user's code gets.

    `skipped`: why it gets nothing. `variable`: the container's own variable that causes this, if any.
    """

    index: int
    name: str
    variables: tuple[Variable, ...] = ()
    skipped: Reason | None = None
    variable: str = ""
    plugin: bool = False
    """Whether the container has the client plugin, added now or by an earlier call."""
    obstacle: PluginObstacle | None = None
    """Why the container does not have the plugin, if somebody asked for it and the container is wired."""

    @property
    def message(self) -> str | None:
        """Return why the container gets nothing, with the variable's name; None if it gets something."""
        if self.skipped is None:
            return None
        return f"{self.skipped.sentence} The variable is {self.variable}." if self.variable else self.skipped.sentence


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a pod, and why. `configuration`: None if the decision did not need it."""

    reason: Reason
    workload: WorkloadKind
    explicit: bool = False
    containers: tuple[ContainerDecision, ...] = ()
    warnings: tuple[str, ...] = ()
    configuration: Configuration | None = None
    earlier: Mapping[str, Sequence[str]] = {}
    """For each container, the variables that an earlier call added, as recorded on the pod."""
    plugin: PluginVolume | None = None
    """What the pod gets for the client plugin; None if no container has the plugin."""

    @property
    def verdict(self) -> Verdict:
        """Return whether the pod is wired."""
        return self.reason.verdict

    @property
    def try_again(self) -> bool:
        """Return whether the pod is refused for now: it asks for wiring, and the cause is temporary."""
        return self.explicit and self.reason is Reason.NAMESPACE_LOOKUP_FAILED

    @property
    def summary(self) -> dict[str, str]:
        """Return decision, reason and workload, with the names used in logs, audit annotations, metrics and records."""
        # str() takes a third of the time that .value takes
        return {"decision": str(self.reason.verdict), "reason": str(self.reason), "workload": str(self.workload)}

    @property
    def record(self) -> str | None:
        """Return what is written on the pod, or None: the verdict, the reason, the workload and the variables added."""
        if not self.reason.recorded:
            return None
        given = {container: list(variables) for container, variables in self.earlier.items()}
        for container in self.containers:
            if container.variables:
                given.setdefault(container.name, []).extend([variable.name for variable in container.variables])
        record: dict[str, object] = {**self.summary}
        if given:
            record["containers"] = given
        if plugin := {part.name: part.obstacle or "on" for part in self.containers if part.plugin or part.obstacle}:
            record["clientPlugin"] = plugin
        return msgspec.json.encode(record).decode()


_UNEXPECTED = frozenset({Reason.MLFLOW_SERVER, Reason.MIRROR_POD})
"""Reasons that get a warning, because the user who labelled the pod may expect wiring. The labels of a pipeline or a
TrainJob also reach drivers and initializers, where nobody expects it."""

_NOT_WIRED = "the pod asks for MLflow wiring but is not wired"

NOT_A_POD_CREATION = Decision(reason=Reason.NOT_A_POD_CREATION, workload=WorkloadKind.NOT_A_POD)


def decide(pod: Pod, *, namespace: Namespace | None, platform: Platform) -> Decision:
    """Decide whether a pod is wired, with what, and why.

    `namespace`: None if it could not be read. Never raises because of a pod's content.

    The first of these that applies decides: opted out, not enabled, a kind that is never wired, not a training
    workload. Otherwise each container is decided by itself.
    """
    recogniser = recognise(pod)
    label = pod.labels.get(LABEL)
    explicit = label == "true"

    never = Reason.MIRROR_POD if MIRROR_ANNOTATION in pod.annotations else recogniser.never

    def skipped(reason: Reason, *warnings: str) -> Decision:
        if explicit and reason in _UNEXPECTED:
            warnings = (*warnings, f"{_NOT_WIRED}: {reason.sentence}")
        return Decision(reason=reason, workload=recogniser.kind, explicit=explicit, warnings=warnings)

    if label == "false":
        return skipped(Reason.OPTED_OUT)
    warnings = () if label is None or explicit else (_unknown_label(label, of="pod"),)
    warnings = (*warnings, *find_swapped(pod.labels, pod.annotations, of="pod"))
    if namespace is None:
        return skipped(never or Reason.NAMESPACE_LOOKUP_FAILED, *warnings)
    if namespace.labels.get(LABEL, "true") not in {"true", "false"}:
        warnings = (*warnings, _unknown_label(namespace.labels[LABEL], of="namespace"))
    warnings = (*warnings, *find_swapped(namespace.labels, namespace.annotations, of="namespace"))
    if not explicit and not namespace.enabled:
        return skipped(Reason.NOT_ENABLED, *warnings)
    if never:
        return skipped(never, *warnings)
    if not explicit and not recogniser.implied:
        return skipped(recogniser.not_asked, *warnings)
    configuration = configure(platform, namespace, pod.annotations)
    record = _recorded(pod.annotations)
    earlier = _still_present(record.containers, pod)
    lineage = recogniser.lineage(pod)
    plugin = request_plugin(pod, platform, configuration, lineage)
    containers = _wire_containers(pod, recogniser, configuration, lineage, earlier, explicit=explicit, plugin=plugin)
    reason = _reason(containers, explicit=explicit, wired_before=record.decision == Verdict.WIRED)
    return Decision(
        reason=reason,
        workload=recogniser.kind,
        explicit=explicit,
        containers=containers,
        warnings=(
            *warnings,
            *configuration.warnings,
            *(_unknown_container_warnings(pod, chosen) if (chosen := configuration.containers.value) else ()),
            *(_container_warnings(containers) if explicit else ()),
            *(_env_from_warnings(pod, containers) if explicit else ()),
            *_plugin_warnings(containers, configuration, explicit=explicit),
        ),
        configuration=configuration,
        earlier=earlier,
        plugin=plugin.volume([part.index for part in containers if part.plugin], explicit=explicit) if plugin else None,
    )


def _plugin_warnings(
    containers: tuple[ContainerDecision, ...], configuration: Configuration, *, explicit: bool
) -> list[str]:
    """Return a warning for each container wired without the plugin, if the pod itself asks for wiring or the plugin."""
    if not explicit and configuration.client_plugin.source is not Source.POD_ANNOTATION:
        return []
    return [
        f"container {container.name} does not get the MLflow client plugin: {container.obstacle.sentence}"
        for container in containers
        if container.obstacle
    ]


def _unknown_label(label: str, *, of: str) -> str:
    return f'label {LABEL}={label} of the {of} is neither "true" nor "false" and is ignored'


def _wire_containers(
    pod: Pod,
    recogniser: Recogniser,
    configuration: Configuration,
    lineage: Lineage,
    earlier: Mapping[str, Sequence[str]],
    *,
    explicit: bool,
    plugin: RequestedPlugin | None,
) -> tuple[ContainerDecision, ...]:
    chosen = configuration.containers.value
    decisions = []
    for index, container in enumerate(pod.containers):
        if not _is_chosen(container, recogniser, chosen):
            continue
        # A container that the pod's annotation or the kind of workload names is not a sidecar, even with such a name.
        if chosen is None and recogniser.container is None and is_sidecar(pod, container):
            decisions.append(ContainerDecision(index=index, name=container.name, skipped=Reason.SIDECAR))
            continue
        wiring = wire(
            container,
            configuration=configuration,
            lineage=lineage,
            explicit=explicit,
            given=earlier.get(container.name, ()),
            plugin=plugin is not None and plugin.obstacle is None,
        )
        reason, variable = wiring.skip or (None, "")
        is_wired = reason in {None, Reason.NOTHING_TO_ADD}
        decisions.append(
            ContainerDecision(
                index=index,
                name=container.name,
                variables=wiring.variables,
                skipped=reason,
                variable=variable,
                plugin=wiring.plugin,
                obstacle=wiring.obstacle or (plugin.obstacle if plugin and is_wired else None),
            )
        )
    return tuple(decisions)


def _is_chosen(container: Container, recogniser: Recogniser, chosen: frozenset[str] | None) -> bool:
    if chosen is not None:
        return container.name in chosen
    return recogniser.container in {None, container.name}


def _reason(containers: tuple[ContainerDecision, ...], *, explicit: bool, wired_before: bool) -> Reason:
    for container in containers:
        if container.variables:
            return Reason.WIRED_BY_POD_LABEL if explicit else Reason.WIRED_BY_NAMESPACE_LABEL
    reasons = [container.skipped for container in containers if container.skipped]
    # The record of this container is kept, even if another container cannot be wired.
    if wired_before and Reason.NOTHING_TO_ADD in reasons:
        return Reason.ALREADY_WIRED
    # The reason of a sidecar counts only if there is no other.
    return min(reasons, key=lambda reason: reason is Reason.SIDECAR, default=Reason.NO_CONTAINER)


def _recorded(annotations: Mapping[str, str]) -> _Record:
    try:
        return msgspec.json.decode(annotations.get(DECISION_ANNOTATION, "{}"), type=_Record)
    except (msgspec.DecodeError, RecursionError):
        return _Record()


def _still_present(recorded: Mapping[str, Sequence[str]], pod: Pod) -> dict[str, list[str]]:
    # The API server calls again when another webhook has changed the pod. No variable is added twice.
    if not recorded:
        return {}
    present = {container.name: {variable.name for variable in container.env or ()} for container in pod.containers}
    still = {name: [v for v in dict.fromkeys(given) if v in present.get(name, ())] for name, given in recorded.items()}
    return {name: given for name, given in still.items() if given}


def _unknown_container_warnings(pod: Pod, chosen: Collection[str]) -> list[str]:
    """Return a warning for each name in the annotation `containers` that is not one of the pod's app containers."""
    annotation = f"annotation {ANNOTATION_GROUP}/containers"
    init = {container.name for container in pod.spec.init_containers or ()}
    missing = sorted(set(chosen) - {container.name for container in pod.containers})
    return [
        f"{annotation} names the init container {name}; init containers are never wired"
        if name in init
        else f"{annotation} names the container {name}, which is not in the pod"
        for name in missing
    ]


def _container_warnings(containers: tuple[ContainerDecision, ...]) -> list[str]:
    """Return a warning with the reason for each container that is not wired, for a pod that asks for wiring."""
    if not containers:
        return [f"{_NOT_WIRED}: {Reason.NO_CONTAINER.sentence}"]
    # Nobody expects a sidecar to be wired, unless the pod has only sidecars.
    quiet = {Reason.NOTHING_TO_ADD, Reason.KFP_PLUGIN}
    if any(container.skipped is not Reason.SIDECAR for container in containers):
        quiet.add(Reason.SIDECAR)
    return [
        f"container {container.name} is not wired to MLflow: {container.message}"
        for container in containers
        if container.skipped and container.skipped not in quiet
    ]


def _env_from_warnings(pod: Pod, containers: tuple[ContainerDecision, ...]) -> list[str]:
    """Return a warning for each wired container with envFrom, for a pod that asks for wiring."""
    return [
        f"container {container.name} {env_from_effects(sources)}"
        for container in containers
        if container.variables and (sources := env_from(pod.containers[container.index]))
    ]
