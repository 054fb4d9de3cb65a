"""Compiled pipelines of Kubeflow Pipelines v2: the parts of their tasks' pods that affect decisions.

The format is that of KFP's compiler (observed with kfp 2.16.1; kubeflow/pipelines: api/v2alpha1/pipeline_spec.proto and
kubernetes_platform/proto/kubernetes_executor_config.proto): a document for the pipeline and one for the platform, or
both in an object PipelineVersion. The pods are like those of KFP 2.17.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from webhook.files.pointers import items, mapping, resolve, text

_V2_COMPONENT = "pipelines.kubeflow.org/v2_component"
_VERSION = "PipelineVersion"
PARENT = ("pipelines.kubeflow.org", "Pipeline")
"""The group and kind of the object to which versions belong."""
_MOST_COMPONENTS = 10_000
_NOTE = "not known before the pipeline runs: the id of the run, and the iteration of a task in a loop"


class Task(NamedTuple):
    """A task, with the names of the groups and pipelines around it, and the pod that KFP creates for it."""

    path: tuple[str, ...]
    pod: dict[str, Any]
    note: str = _NOTE

    @property
    def name(self) -> str:
        """Return its path, such as ``for-loop-1/train``."""
        return "/".join(self.path)


class Pipeline(NamedTuple):
    """A compiled pipeline, its Kubernetes settings for each executor, and the namespace of its object."""

    spec: dict[str, Any]
    executors: dict[str, Any]
    namespace: str | None = None

    @property
    def name(self) -> str:
        """Return its own name, which KFP writes on pods."""
        return text(resolve(self.spec, "/pipelineInfo/name"))

    def tasks(self) -> Iterator[Task]:
        """List its tasks that become pods, also those of pipelines in it, in the order of the file."""
        components = mapping(self.spec.get("components"))
        executors = mapping(resolve(self.spec, "/deploymentSpec/executors"))
        todo: list[tuple[tuple[str, ...], dict[str, Any]]] = [((), mapping(self.spec.get("root")))]
        for _ in range(_MOST_COMPONENTS):  # a file can name a component in itself
            if not todo:
                return
            path, component = todo.pop()
            label = text(component.get("executorLabel"))
            executor = mapping(executors.get(label))
            if "importer" in executor:
                yield Task(path, _importer(), note="")
            elif label:
                yield Task(path, _component(self.name, path, executor, mapping(self.executors.get(label))))
            for name, task in reversed(mapping(resolve(component, "/dag/tasks")).items()):
                todo.append(((*path, name), mapping(components.get(text(resolve(task, "/componentRef/name"))))))


def read_pipeline(document: dict[str, Any], after: dict[str, Any] | None) -> Pipeline | None:
    """Return the pipeline in a document; None if it is something else. `after` is the next document."""
    if document.get("kind") == _VERSION and isinstance(resolve(document, "/spec/pipelineSpec"), dict):
        spec, platform = document["spec"]["pipelineSpec"], mapping(document["spec"].get("platformSpec"))
    elif "kind" not in document and isinstance(document.get("pipelineInfo"), dict) and "root" in document:
        spec, platform = document, after if after and is_platform(after) else {}
    else:
        return None
    executors = mapping(resolve(platform, "/platforms/kubernetes/deploymentSpec/executors"))
    return Pipeline(spec, executors, text(resolve(document, "/metadata/namespace")) or None)


def is_platform(document: dict[str, Any]) -> bool:
    """Return whether a document is the second one of a compiled pipeline, with its Kubernetes settings."""
    return "kind" not in document and isinstance(document.get("platforms"), dict)


def _component(
    pipeline: str, path: tuple[str, ...], executor: dict[str, Any], platform: dict[str, Any]
) -> dict[str, Any]:
    metadata = mapping(platform.get("podMetadata"))
    container = mapping(executor.get("container"))
    main = {
        "name": "main",
        "command": ["/kfp-launcher/launch", "--pipeline_name", pipeline],
        "env": [*items(container.get("env")), *_platform_env(platform)],
    }
    node_name = ".".join(["run", "root", *path, "executor"])
    return {
        "metadata": {
            "labels": {**mapping(metadata.get("labels")), _V2_COMPONENT: "true"},
            "annotations": {**mapping(metadata.get("annotations")), "workflows.argoproj.io/node-name": node_name},
        },
        "spec": {"initContainers": [{"name": "kfp-launcher"}], "containers": [main]},
    }


def _importer() -> dict[str, Any]:
    return {
        "metadata": {"labels": {_V2_COMPONENT: "true"}},
        "spec": {"containers": [{"name": "main", "command": ["launcher-v2"]}]},
    }


def _platform_env(platform: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for source, reference, name, key in (
        ("secretAsEnv", "secretKeyRef", "secretName", "secretKey"),
        ("configMapAsEnv", "configMapKeyRef", "configMapName", "configMapKey"),
    ):
        for one in map(mapping, items(platform.get(source))):
            called = text(one.get(name)) or text(resolve(one, f"/{name}Parameter/runtimeValue/constant"))
            for pair in map(mapping, items(one.get("keyToEnv"))):
                yield {"name": pair.get("envVar"), "valueFrom": {reference: {"name": called, "key": pair.get(key)}}}
    for one in map(mapping, items(platform.get("fieldPathAsEnv"))):
        yield {"name": one.get("name"), "valueFrom": {"fieldRef": {"fieldPath": one.get("fieldPath")}}}
