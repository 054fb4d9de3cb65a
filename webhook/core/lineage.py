"""The lineage of a run: its experiment, its name and its tags, read from the labels that controllers put on pods.

For pods other than those of Kubeflow Pipelines and Trainer, these sources are tried in order: the controllers' own
labels, the name of the controlling owner, a guess. Users can choose the values, so values that MLflow would refuse are
not used, and characters that cannot be printed become spaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from webhook.core.controllers import (
    ARGO_NODE_NAME,
    ARGO_WORKFLOW,
    CONTROLLERS,
    JOBSET_NAME,
    KATIB,
    KFP_RUN_ID,
    TRAINJOB,
    Controller,
    Field,
)
from webhook.core.generated_names import short_id, without_run
from webhook.core.nodes import parse_node
from webhook.core.pod import Pod
from webhook.core.values import EXPERIMENT_LIMIT, parse_experiment

PIPELINE_RUN_ID = "kfp.pipeline_run_id"
PIPELINE_RUN_URL = "kfp.pipeline_run_url"
"""KFP's MLflow plugin uses the same names (kubeflow/pipelines: backend/src/apiserver, TagKFPRunID and TagKFPRunURL)."""

RUN_NAME_LIMIT = 250
"""The column size of a run's name (mlflow 3.17.2: store/tracking/dbmodels/models.py). MLflow does not check it."""
TAG_LIMIT = 8000
"""The longest value of a tag (mlflow 3.17.2: utils/validation.py, MAX_TAG_VAL_LENGTH)."""

_NAMING_LABELS = (
    "app.kubernetes.io/name",
    "app",
    JOBSET_NAME,
    "deploymentconfig",  # openshift/origin: on the pods of a DeploymentConfig; their other names contain a number
)
_JOB_NAMES = ("batch.kubernetes.io/job-name", "job-name")
_TEMPLATE_HASHES = (
    "pod-template-hash",
    "rollouts-pod-template-hash",  # argoproj/argo-rollouts: pkg/apis/rollouts/v1alpha1/types.go
)
_SHORT_LIVED_OWNERS = frozenset(
    {
        "Node",  # owns mirror pods
        "Pod",  # Spark's driver owns its executors
        "Job",
        "ReplicaSet",
        "ReplicationController",
        "Revision",
        "RayCluster",
        "SparkApplication",
        "TaskRun",
        "Trial",
        "Workflow",
        "flyteworkflow",
        "EphemeralRunner",  # actions/actions-runner-controller: one for each job
    }
)
"""Kinds of owners that another controller creates again for each run or change, so their names do not last."""


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """The experiment that a run belongs to, a name for the run, and its tags (strings only)."""

    experiment: str | None = None
    run_name: str | None = None
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)


class _Table:
    """Controllers by the labels that identify them, so that a pod costs one lookup for each of its labels."""

    def __init__(self, controllers: Sequence[Controller]) -> None:
        self._controllers = controllers
        self._by_key: dict[str, set[int]] = {}
        for place, controller in enumerate(controllers):
            for field in controller.experiment or controller.tags.values():
                for key in field.keys:
                    self._by_key.setdefault(key, set()).add(place)

    def find(self, values: Mapping[str, str]) -> list[Controller]:
        """Return the controllers that use one of these keys, the outermost controller first."""
        places: set[int] = set()
        for key in self._by_key.keys() & values.keys():
            places |= self._by_key[key]
        return [self._controllers[place] for place in sorted(places)]


_OTHERS = _Table(CONTROLLERS)
_TRAINJOBS = _Table((KATIB, TRAINJOB))


def kfp_lineage(pod: Pod, command: list[str]) -> Lineage:
    """Return the lineage of a component of Kubeflow Pipelines v2. `command`: the command of the container `main`."""
    pipeline = _flag(command, "--pipeline_name")
    # A user can override the label (add_pod_label) but not the command.
    run_id = _flag(command, "--run_id") or pod.labels.get(KFP_RUN_ID)
    node = parse_node(pod.annotations.get(ARGO_NODE_NAME, ""))
    return _lineage(
        experiment=_experiment(
            (pipeline, _printable(pipeline or "")[:EXPERIMENT_LIMIT], pod.labels.get(ARGO_WORKFLOW))
        ),
        run_name=(node.title, run_id and short_id(run_id)),
        tags={
            "kfp.pipeline_name": pipeline,
            PIPELINE_RUN_ID: run_id,
            "kfp.task_name": node.task,
            "kfp.task_path": "/".join(node.path),
            "kfp.loop_iteration": node.iteration,
        },
    )


def trainjob_lineage(pod: Pod) -> Lineage:
    """Return the lineage of a TrainJob's node. The TrainJob may be a trial of a Katib experiment."""
    return _from_controllers(pod, _TRAINJOBS)


def other_lineage(pod: Pod) -> Lineage:
    """Return the lineage of any other pod. A workspace needs an experiment, and it should outlive a single pod."""
    told = _from_controllers(pod, _OTHERS)
    return told if told.experiment else Lineage(experiment=_experiment(_names(pod)), tags=told.tags)


def _from_controllers(pod: Pod, table: _Table) -> Lineage:
    """Return the lineage from the controllers' labels, empty if the pod has no such label."""
    values = {**pod.annotations, **pod.labels}
    experiment: str | None = None
    run_name: Sequence[str | None] = ()
    tags: dict[str, str | None] = {}
    for controller in table.find(values):
        if controller.required and not all(map(values.get, controller.required)):
            continue
        own = _experiment([_read(field, values) for field in controller.experiment])
        if controller.experiment and own is None:
            continue
        if experiment is None and own is not None:
            experiment, run_name = own, [_read(field, values) for field in controller.run_name]
        for tag, field in controller.tags.items():
            tags.setdefault(tag, _read(field, values))
    return _lineage(experiment=experiment, run_name=run_name, tags=tags)


def _read(field: Field, values: Mapping[str, str]) -> str | None:
    for key in field.keys:
        value = values.get(key)
        if value and not (field.unless_as and value == values.get(field.unless_as)):
            return field.read(value) if field.read else value
    return None


def _names(pod: Pod) -> Iterable[str | None]:
    """List possible names for an experiment, the best first."""
    owner = next((owner for owner in pod.metadata.owner_references or () if owner.controller), None)
    if owner and owner.kind not in _SHORT_LIVED_OWNERS:
        yield owner.name
    yield from map(pod.labels.get, _NAMING_LABELS)
    for job in _JOB_NAMES:
        yield without_run(pod.labels.get(job, ""))
    if owner and owner.kind == "Job":
        yield without_run(owner.name)
    begins = pod.metadata.generate_name or pod.metadata.name or ""
    begins = begins.rstrip("-")
    for template in filter(None, map(pod.labels.get, _TEMPLATE_HASHES)):
        begins = begins.removesuffix(f"-{template}")
    yield begins


def _experiment(names: Iterable[str | None]) -> str | None:
    for name in names:
        if name and _can_be_experiment(name):
            return name
    return None


def _can_be_experiment(name: str) -> bool:
    try:
        return bool(parse_experiment(name))
    except ValueError:
        return False


def _lineage(*, experiment: str | None, run_name: Iterable[str | None], tags: Mapping[str, str | None]) -> Lineage:
    name = "-".join([part for part in run_name if part])
    return Lineage(
        experiment=experiment,
        run_name=_printable(name[:RUN_NAME_LIMIT]) or None,
        tags={tag: _printable(value[:TAG_LIMIT]) for tag, value in tags.items() if value},
    )


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join([c if c.isprintable() else " " for c in text])


def _flag(command: list[str], flag: str) -> str | None:
    # The first occurrence is used: a later one may be the user's.
    try:
        return command[command.index(flag) + 1] or None
    except (ValueError, IndexError):
        return None
