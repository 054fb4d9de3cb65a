"""The configuration of one pod, and where each value came from.

Precedence: built-in default < platform (file, environment) < namespace annotation < pod annotation. An invalid
annotation is ignored, with a warning that says its name and the expected value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from webhook.core.client_plugin import ClientPlugin
from webhook.core.links import fill_link
from webhook.core.names import ANNOTATION_GROUP, DECISION_ANNOTATION, LABEL
from webhook.core.values import (
    SecretKey,
    origin,
    parse_bool,
    parse_containers,
    parse_optional_experiment,
    parse_optional_workspace,
    parse_secret,
    parse_tracking_uri,
    parse_workspace,
)

T = TypeVar("T")

_PREFIX = f"{ANNOTATION_GROUP}/"


class Source(StrEnum):
    """Where a value came from, as shown by `explain`."""

    DEFAULT = "built-in default"
    PLATFORM = "platform"
    NAMESPACE = "namespace"
    NAMESPACE_ANNOTATION = "namespace annotation"
    POD_ANNOTATION = "pod annotation"
    WORKLOAD = "workload"
    POD = "already in the pod"


class Sourced(NamedTuple, Generic[T]):
    """A value and where it came from."""

    value: T
    source: Source = Source.DEFAULT


_UNSET: Sourced[Any] = Sourced(None)


class Namespace(msgspec.Struct, frozen=True, eq=False):
    """A namespace's labels and annotations. Immutable: a change of the namespace makes a new object."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def enabled(self) -> bool:
        """Return whether the namespace's label asks for wiring. Its name is then also the workspace."""
        return self.labels.get(LABEL) == "true"


class Platform(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the platform configures for every pod.

    `experiment`: None means the workload's name. `pipeline_run_url`: the URL of a pipeline run's page, with the
    placeholders ``{namespace}`` and ``{run_id}``, or empty.
    """

    tracking_uri: Sourced[str] = Sourced("http://mlflow-tracking-server.kubeflow:5000")
    token_secret: Sourced[SecretKey] = Sourced(SecretKey("mlflow-token"))
    token_optional: Sourced[bool | None] = Sourced(None)
    workspaces: Sourced[bool] = Sourced(True)
    experiment: Sourced[str | None] = Sourced(None)
    lineage: Sourced[bool] = Sourced(True)
    pipeline_run_url: str = ""
    client_plugin: Sourced[bool] = Sourced(False)
    plugin: ClientPlugin | None = None
    """The plugin's files. If None, no container gets the plugin, even if a pod asks for it."""
    env: Mapping[str, str] = msgspec.field(default_factory=dict)


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one pod.

    `workspace`: None means no workspace. `experiment`: None means the workload's name, empty means no experiment.
    `token_secret`: None means no token, because the pod names another server than the one that the namespace's token is
    for. `token_optional`: None means required for a pod with its own label, and optional for others. `containers`: None
    means those that run the user's code. `pipeline_run_url`: the URL of a pipeline run's page, with the placeholder
    ``{run_id}``, or empty.
    """

    tracking_uri: Sourced[str]
    workspace: Sourced[str | None]
    token_secret: Sourced[SecretKey] | None
    token_optional: Sourced[bool | None]
    experiment: Sourced[str | None]
    lineage: Sourced[bool]
    client_plugin: Sourced[bool]
    containers: Sourced[frozenset[str] | None]
    pipeline_run_url: str
    env: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def configure(platform: Platform, namespace: Namespace, pod_annotations: Mapping[str, str]) -> Configuration:
    """Apply the annotations of the namespace, then those of the pod, to the platform's configuration."""
    configuration = _of_namespace(platform, namespace)
    if not _has_annotations(pod_annotations):
        return configuration
    values, warnings = _parse(pod_annotations, of="pod", source=Source.POD_ANNOTATION)
    merged = replace(configuration, **values, warnings=(*configuration.warnings, *warnings))
    if "token_secret" not in values and origin(merged.tracking_uri.value) != origin(configuration.tracking_uri.value):
        return replace(
            merged,
            token_secret=None,
            warnings=(
                *merged.warnings,
                f"annotation {_PREFIX}tracking-uri of the pod names another server than the namespace uses, so the pod "
                "does not get the namespace's token. "
                f"Name a Secret with a token for that server in {_PREFIX}token-secret",
            ),
        )
    return merged


@lru_cache(maxsize=1024)
def _of_namespace(platform: Platform, namespace: Namespace) -> Configuration:
    workspace, warnings = _workspace(platform, namespace)
    configuration = Configuration(
        tracking_uri=platform.tracking_uri,
        workspace=workspace,
        token_secret=platform.token_secret,
        token_optional=platform.token_optional,
        experiment=platform.experiment,
        lineage=platform.lineage,
        client_plugin=platform.client_plugin,
        containers=_UNSET,
        pipeline_run_url=fill_link(platform.pipeline_run_url, namespace=namespace.name),
        env=platform.env,
        warnings=warnings,
    )
    if not _has_annotations(namespace.annotations):
        return configuration
    values, more = _parse(namespace.annotations, of="namespace", source=Source.NAMESPACE_ANNOTATION)
    return replace(configuration, **values, warnings=(*warnings, *more))


def _workspace(platform: Platform, namespace: Namespace) -> tuple[Sourced[str | None], tuple[str, ...]]:
    if not platform.workspaces.value:
        return Sourced(None, platform.workspaces.source), ()
    if not namespace.enabled:
        return _UNSET, ()
    try:
        return Sourced(parse_workspace(namespace.name), Source.NAMESPACE), ()
    except ValueError as error:
        return _UNSET, (f"the name of the namespace {namespace.name} is not a valid workspace: expected {error}",)


def _has_annotations(annotations: Mapping[str, str]) -> bool:
    return _PREFIX in "\n".join(annotations)  # one search is faster than one for each key


def _parse(annotations: Mapping[str, str], *, of: str, source: Source) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for name in sorted(annotations):
        if not name.startswith(_PREFIX) or name == DECISION_ANNOTATION:
            continue
        key = ANNOTATION_KEYS.get(name.removeprefix(_PREFIX))
        if key is None:
            known = ", ".join(ANNOTATION_KEYS)
            warnings.append(f"unknown annotation {name} of the {of}; known keys are: {known}")
        elif key.pod_only and of != "pod":
            warnings.append(f"annotation {name} of the {of} is ignored: it is read from pods only")
        else:
            try:
                values[key.field] = Sourced(key.parse(annotations[name]), source)
            except ValueError as error:
                warnings.append(f"annotation {name} of the {of} is ignored: expected {error}")
    return values, warnings


def find_swapped(labels: Mapping[str, str], annotations: Mapping[str, str], *, of: str) -> Sequence[str]:
    """Return a warning for each label that should be an annotation, and for LABEL as an annotation.

    There is no warning for a name that is also present in the right form.
    """
    if LABEL not in annotations and labels.keys().isdisjoint(_ANNOTATIONS):
        return ()  # nearly every pod; all the rest is slower
    warnings = []
    if LABEL in annotations and LABEL not in labels:
        warnings.append(f"annotation {LABEL} of the {of} is ignored: it has to be a label")
    warnings += [
        f"label {name} of the {of} is ignored: it has to be an annotation"
        for name in sorted(_ANNOTATIONS.intersection(labels).difference(annotations))
    ]
    return warnings


class AnnotationKey(NamedTuple):
    """An annotation: the field it sets, how its value is parsed, and whether it is read from pods only."""

    field: str
    parse: Callable[[str], Any]
    pod_only: bool = False


ANNOTATION_KEYS: Mapping[str, AnnotationKey] = {
    "tracking-uri": AnnotationKey("tracking_uri", parse_tracking_uri),
    "workspace": AnnotationKey("workspace", parse_optional_workspace),
    "experiment": AnnotationKey("experiment", parse_optional_experiment),
    "token-secret": AnnotationKey("token_secret", parse_secret),
    "token-optional": AnnotationKey("token_optional", parse_bool),
    "lineage": AnnotationKey("lineage", parse_bool),
    "client-plugin": AnnotationKey("client_plugin", parse_bool),
    "containers": AnnotationKey("containers", parse_containers, pod_only=True),
}
_ANNOTATIONS = frozenset(f"{_PREFIX}{key}" for key in ANNOTATION_KEYS)
