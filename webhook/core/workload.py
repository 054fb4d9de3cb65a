"""Recognises the kind of a pod: a KFP component, a TrainJob node, one of their helpers, or any other pod.

RECOGNISERS is the complete list, tried in order. To support another kind of workload, add an entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from enum import StrEnum
from itertools import pairwise

import msgspec

from webhook.core.controllers import ARGO_WORKFLOW, JOBSET_NAME, KFP_SDK_TYPE
from webhook.core.lineage import Lineage, kfp_lineage, other_lineage, trainjob_lineage
from webhook.core.names import KFP_PLUGIN_CONFIG, RUN_ID, TRACKING_URI
from webhook.core.pod import Container, Pod, decode_args
from webhook.core.reasons import Reason

_V2_COMPONENT = "pipelines.kubeflow.org/v2_component"
_INITIALIZERS = frozenset({"dataset-initializer", "model-initializer"})

_SERVER_COMMAND = re.compile(
    r"(?:^|[;&|(]|\bexec[ \t]|[ \t]-m[ \t])[ \t]*(?:[^\s;&|(]*/)?mlflow[ \t]+(?:server|ui)(?:\s|$)", re.MULTILINE
)
"""Matches `mlflow server` where a shell expects a command, but not in a comment.

The spaces and the path in the expression must not match a place where another command can begin. Otherwise matching
would start again from there, and the time would grow with the square of the text's length, which the pod's author
chooses.
"""

_SERVER_VARIABLE = "MLFLOW_BACKEND_STORE_URI"


class WorkloadKind(StrEnum):
    """The kind of a pod, as named in logs, metrics and the CLI."""

    KFP_COMPONENT = "kfp_component"
    KFP_DRIVER = "kfp_driver"
    KFP_IMPORTER = "kfp_importer"
    KFP_V1_COMPONENT = "kfp_v1_component"
    TRAINJOB_NODE = "trainjob_node"
    TRAINJOB_INITIALIZER = "trainjob_initializer"
    MLFLOW_SERVER = "mlflow_server"
    OTHER_POD = "other_pod"
    NOT_A_POD = "not_a_pod"


class Recogniser(msgspec.Struct, frozen=True, kw_only=True):
    """How to recognise one kind of workload, and how to wire it.

    `container`: the one app container that runs the user's code; None means all containers except sidecars. `never`:
    for a kind that is never wired, the reason. `implied`: whether the namespace's label is enough to wire it. If not,
    `not_asked` is the reason.
    """

    kind: WorkloadKind
    matches: Callable[[Pod], bool]
    container: str | None = None
    never: Reason | None = None
    implied: bool = False
    not_asked: Reason = Reason.NOT_A_TRAINING_WORKLOAD
    lineage: Callable[[Pod], Lineage] = lambda _: Lineage()


def recognise(pod: Pod) -> Recogniser:
    """Return the recogniser of a pod. The last one matches every pod."""
    for recogniser in RECOGNISERS:
        if recogniser.matches(pod):
            return recogniser
    raise AssertionError("not reached: the last recogniser matches every pod")


def wired_by_kfp_plugin(variables: Collection[str]) -> bool:
    """Return whether KFP's MLflow plugin has wired the user's code of a container with these variables.

    Its configuration alone does not mean that: by default the plugin sets it and leaves user code without a server
    (observed with KFP 2.17.0, ``injectUserEnvVars``).
    """
    return KFP_PLUGIN_CONFIG in variables and RUN_ID in variables and TRACKING_URI in variables


def _container(pod: Pod, name: str) -> Container | None:
    return next((container for container in pod.containers if container.name == name), None)


def _init_container(pod: Pod, name: str) -> bool:
    return any(container.name == name for container in pod.spec.init_containers or ())


def _is_kfp(pod: Pod) -> bool:
    return pod.labels.get(_V2_COMPONENT) == "true"


def _is_kfp_component(pod: Pod) -> bool:
    # Every pod of KFP v2 has the label. Only pods with user code have the init container.
    return _is_kfp(pod) and _init_container(pod, "kfp-launcher") and _container(pod, "main") is not None


def _is_kfp_importer(pod: Pod) -> bool:
    # An importer runs KFP's launcher in its main container. Its runtime role is "launcher", as for user code.
    main = _container(pod, "main") if _is_kfp(pod) else None
    return main is not None and "launcher-v2" in (main.command or ())


def _is_kfp_v1_component(pod: Pod) -> bool:
    # kfp 1.x labels each template, Argo each pod (kfp 1.8: kfp/compiler/_op_to_template.py)
    return bool(pod.labels.get(KFP_SDK_TYPE)) and bool(pod.labels.get(ARGO_WORKFLOW))


def _is_trainjob_node(pod: Pod) -> bool:
    # Trainer's labels do not reach the pod, but its validator enforces the container's name (observed with Trainer
    # 2.3.0).
    return bool(pod.labels.get(JOBSET_NAME)) and _container(pod, "node") is not None


def _is_trainjob_initializer(pod: Pod) -> bool:
    return bool(pod.labels.get(JOBSET_NAME)) and any(c.name in _INITIALIZERS for c in pod.containers)


def _is_mlflow_server(pod: Pod) -> bool:
    return any(_runs_mlflow_server(container) for container in pod.containers)


def _runs_mlflow_server(container: Container) -> bool:
    words = [*(container.command or ()), *decode_args(container)]
    programs = [word.rpartition("/")[2] for word in words]
    return (
        any(pair in {("mlflow", "server"), ("mlflow", "ui")} for pair in pairwise(programs))
        or any(_SERVER_COMMAND.search(word) for word in words)
        or any(variable.name == _SERVER_VARIABLE for variable in container.env or ())
    )


def _kfp_lineage(pod: Pod) -> Lineage:
    main = _container(pod, "main")
    return kfp_lineage(pod, (main.command if main else None) or [])


RECOGNISERS: tuple[Recogniser, ...] = (
    Recogniser(
        kind=WorkloadKind.KFP_COMPONENT,
        matches=_is_kfp_component,
        container="main",
        implied=True,
        lineage=_kfp_lineage,
    ),
    Recogniser(kind=WorkloadKind.KFP_IMPORTER, matches=_is_kfp_importer, never=Reason.KFP_IMPORTER),
    Recogniser(kind=WorkloadKind.KFP_DRIVER, matches=_is_kfp, never=Reason.KFP_DRIVER),
    Recogniser(
        kind=WorkloadKind.KFP_V1_COMPONENT,
        matches=_is_kfp_v1_component,
        not_asked=Reason.KFP_V1,
        lineage=other_lineage,
    ),
    Recogniser(
        kind=WorkloadKind.TRAINJOB_NODE,
        matches=_is_trainjob_node,
        container="node",
        implied=True,
        lineage=trainjob_lineage,
    ),
    Recogniser(
        kind=WorkloadKind.TRAINJOB_INITIALIZER,
        matches=_is_trainjob_initializer,
        never=Reason.TRAINJOB_INITIALIZER,
    ),
    Recogniser(kind=WorkloadKind.MLFLOW_SERVER, matches=_is_mlflow_server, never=Reason.MLFLOW_SERVER),
    Recogniser(kind=WorkloadKind.OTHER_POD, matches=lambda _: True, lineage=other_lineage),
)
