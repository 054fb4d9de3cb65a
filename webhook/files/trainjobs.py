"""Joins a TrainJob with its runtime, as Trainer does: the parts of the pods of its JobSet that affect decisions.

The rules are those of Trainer 2.3.0 (kubeflow/trainer: pkg/runtime/core/trainingruntime.go, `mergeRuntimePatches`, and
pkg/runtime/framework/plugins/jobset/builder.go). The trainer's image, command and arguments, and the variables that
Trainer adds for the distributed framework, are left out, because they do not affect decisions.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from webhook.files.kinds import JOBSET, RUNTIME_JOBS, TRAINER_GROUP
from webhook.files.labels import marked, marks, warning
from webhook.files.pointers import items, mapping, resolve, text

_POD_METADATA = "trainingRuntimeSpec/template/spec/replicatedJobs/{}/template/spec/template/metadata"
_REACHES_PODS = re.compile("/spec/runtimePatches/[0-9]+/" + _POD_METADATA.format("[0-9]+"))
_RIGHT = f"/spec/runtimePatches/*/{_POD_METADATA.format('*')}/{{}}, or to the pod template of its runtime"
_STEP = "trainer.kubeflow.org/trainjob-ancestor-step"
_NODE = "node"
_BY_NAME = frozenset({"replicatedJobs", "containers", "initContainers", "env", "volumes", "imagePullSecrets"})
"""The lists whose items a patch merges by name; it replaces other lists (the tags patchMergeKey in Kubernetes' API)."""


class Runtime(NamedTuple):
    """The runtime that a TrainJob refers to."""

    kind: str
    name: str

    def command(self, namespace: str | None) -> str:
        """Return the command that prints it, for a TrainJob in a namespace."""
        where = f" --namespace {namespace}" if namespace and self.kind == "TrainingRuntime" else ""
        return f"kubectl get {self.kind.lower()} {self.name or 'NAME'}{where} -o yaml"


class Replicated(NamedTuple):
    """A replicated job of a TrainJob's JobSet."""

    name: str
    template: dict[str, Any]

    def labels(self, trainjob: str) -> dict[str, str]:
        """Return the metadata that JobSet adds to its pods."""
        return {f"{JOBSET}jobset-name": trainjob, f"{JOBSET}replicatedjob-name": self.name}


def runtime_of(trainjob: dict[str, Any]) -> Runtime:
    """Return the runtime to which a TrainJob refers. Without a kind, it is a ClusterTrainingRuntime."""
    reference = mapping(resolve(trainjob, "/spec/runtimeRef"))
    return Runtime(text(reference.get("kind")) or "ClusterTrainingRuntime", text(reference.get("name")))


def is_trainjob(group: str | None, kind: str) -> bool:
    """Return whether an object is a TrainJob."""
    return kind == "TrainJob" and group in {None, TRAINER_GROUP}


def join(trainjob: dict[str, Any], runtime: dict[str, Any]) -> Iterator[Replicated]:
    """List the pod templates of a TrainJob's replicated jobs, with the TrainJob's changes."""
    jobs = {"replicatedJobs": copy.deepcopy(items(resolve(runtime, RUNTIME_JOBS)))}
    for patch in items(resolve(trainjob, "/spec/runtimePatches")):
        wanted = items(resolve(patch, "/trainingRuntimeSpec/template/spec/replicatedJobs"))
        jobs = _merge(jobs, {"replicatedJobs": wanted})
    trainer = mapping(resolve(trainjob, "/spec/trainer"))
    launcher_trains = resolve(runtime, "/spec/mlPolicy/mpi/runLauncherAsNode") is True
    for job in filter(mapping, jobs["replicatedJobs"]):
        name = text(job.get("name"))
        template = mapping(resolve(job, "/template/spec/template"))
        trains = mapping(resolve(job, "/template/metadata/labels")).get(_STEP) == "trainer"
        for container in items(resolve(template, "/spec/containers")):
            if mapping(container).get("name") != _NODE:
                continue
            if (trains or (launcher_trains and name == _NODE)) and trainer.get("env"):
                container["env"] = _merge_list(items(container.get("env")), items(trainer["env"]), replace=True)
        if items(resolve(template, "/spec/containers")):
            yield Replicated(name, template)


def misplaced_in(trainjob: dict[str, Any], *, pod: dict[str, Any] | None = None) -> tuple[str, ...]:
    """Return warnings for labels and annotations in a TrainJob that do not reach the pods.

    Those that are also in the metadata of its `pod` are left out.
    """
    there = set(marks(pod))
    return tuple(
        warning("TrainJob", mark, place, _RIGHT.format(mark.field))
        for mark, place in marked(trainjob)
        if not _REACHES_PODS.fullmatch(place) and mark not in there
    )


def _merge(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in patch.items():
        old = base.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            merged[key] = _merge(old, value)
        elif key in _BY_NAME and isinstance(value, list) and isinstance(old, list):
            merged[key] = _merge_list(old, value)
        else:
            merged[key] = value
    return merged


def _merge_list(base: list[Any], patch: list[Any], *, replace: bool = False) -> list[Any]:
    merged = list(base)
    for item in patch:
        name = mapping(item).get("name")
        index = next((index for index, old in enumerate(merged) if mapping(old).get("name") == name), None)
        if index is None:
            merged.append(item)
        else:
            merged[index] = item if replace or not isinstance(item, dict) else _merge(merged[index], item)
    return merged
