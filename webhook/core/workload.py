"""Recognises what a pod is: a KFP component, a TrainJob node, one of their helpers, or any other pod.

RECOGNISERS is the whole list, tried in order. A new kind of workload is a new entry in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from itertools import pairwise

import msgspec

from webhook.core.names import KFP_PLUGIN_CONFIG, RUN_ID, TRACKING_URI
from webhook.core.reasons import Reason
from webhook.core.review import Container, Pod, decode_args

_V2_COMPONENT = "pipelines.kubeflow.org/v2_component"
_KFP_RUN_ID = "pipeline/runid"
_ARGO_NODE_NAME = "workflows.argoproj.io/node-name"
_ARGO_WORKFLOW = "workflows.argoproj.io/workflow"
_JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"
_JOBSET_UID = "jobset.sigs.k8s.io/jobset-uid"
_REPLICATED_JOB = "jobset.sigs.k8s.io/replicatedjob-name"
_RESTART_ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"
_COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
_INITIALIZERS = frozenset({"dataset-initializer", "model-initializer"})
_NAMING_LABELS = (
    "app.kubernetes.io/name",
    "app",
    "notebook-name",
    _JOBSET_NAME,
)
_JOB_NAMES = ("batch.kubernetes.io/job-name", "job-name")
_TEMPLATE_HASH = "pod-template-hash"
_SCHEDULED = re.compile(r"-(?:2[6-9]|3\d)\d{6}$")
"""What a CronJob puts behind its name for each Job: the minutes since 1970, here of the years 2019 to 2046."""


_SIDECARS = frozenset(
    {
        "istio-proxy",
        "linkerd-proxy",
        "envoy-sidecar",
        "vault-agent",
        "cloud-sql-proxy",
        "daprd",
        "gke-gcsfuse-sidecar",
        "otc-container",
        "queue-proxy",
    }
)
"""App containers that other injectors add; what they run is never the user's training code."""

_SERVER_COMMAND = re.compile(
    r"(?:^|[;&|(]|\bexec[ \t]|[ \t]-m[ \t])[ \t]*(?:[^\s;&|(]*/)?mlflow[ \t]+(?:server|ui)(?:\s|$)", re.MULTILINE
)
"""`mlflow server` where a shell looks for a command, not where a comment mentions it.

Neither the blanks nor the path may run across another place where a command can begin: it would be looked at again from
there, and the time would grow with the square of what anybody writes into a pod.
"""

_SERVER_VARIABLE = "MLFLOW_BACKEND_STORE_URI"


class WorkloadKind(StrEnum):
    """What a pod is; the word in logs, metrics and the CLI."""

    KFP_COMPONENT = "kfp_component"
    KFP_DRIVER = "kfp_driver"
    KFP_IMPORTER = "kfp_importer"
    TRAINJOB_NODE = "trainjob_node"
    TRAINJOB_INITIALIZER = "trainjob_initializer"
    MLFLOW_SERVER = "mlflow_server"
    OTHER_POD = "other_pod"
    NOT_A_POD = "not_a_pod"


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run comes from: the experiment it belongs to, a name for it, and tags (strings only)."""

    experiment: str | None = None
    run_name: str | None = None
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)


class Recogniser(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of workload is told from others, and what follows.

    `container` names the one app container that runs the user's code; None means all but sidecars.
    `never` is the reason for which the kind is never wired. `implied` says whether a namespace's label is enough.
    """

    kind: WorkloadKind
    matches: Callable[[Pod], bool]
    container: str | None = None
    never: Reason | None = None
    implied: bool = False
    lineage: Callable[[Pod], Lineage] = lambda _: Lineage()


def recognise(pod: Pod) -> Recogniser:
    """Say what a pod is. Every pod is something: the last entry matches all."""
    for recogniser in RECOGNISERS:
        if recogniser.matches(pod):
            return recogniser
    raise AssertionError("not reached: the last recogniser matches every pod")


def is_sidecar(pod: Pod, container: Container) -> bool:
    """Whether an app container was put into the pod by an injector, or by Argo to watch over the others."""
    return container.name in _SIDECARS or (container.name == "wait" and _ARGO_WORKFLOW in pod.labels)


def wired_by_kfp_plugin(variables: Collection[str]) -> bool:
    """Whether KFP's own MLflow plugin has wired the user's code of a container with these variables.

    Its configuration alone does not say so: by default the plugin sets it and leaves user code without a server
    (observed with KFP 2.17.0, ``injectUserEnvVars``).
    """
    return KFP_PLUGIN_CONFIG in variables and RUN_ID in variables and TRACKING_URI in variables


def task_of(node_name: str) -> str | None:
    """Take the task out of Argo's node name.

    ``W(0).root(0).train-model(0).executor(0)`` is the task ``train-model``: a last segment ``executor`` is dropped,
    the segment before it stripped of its retry count (observed with Argo 4.0.5; without retries there are no counts).
    """
    segments = [segment.partition("(")[0] for segment in node_name.split(".")]
    if segments[-1] == "executor":
        segments.pop()
    return segments[-1] if len(segments) > 1 and segments[-1] else None


def _container(pod: Pod, name: str) -> Container | None:
    return next((container for container in pod.containers if container.name == name), None)


def _init_container(pod: Pod, name: str) -> bool:
    return any(container.name == name for container in pod.spec.init_containers or ())


def _is_kfp(pod: Pod) -> bool:
    return pod.labels.get(_V2_COMPONENT) == "true"


def _is_kfp_component(pod: Pod) -> bool:
    # The label is on every pod of KFP v2; the init container is on those with user code only.
    return _is_kfp(pod) and _init_container(pod, "kfp-launcher") and _container(pod, "main") is not None


def _is_kfp_importer(pod: Pod) -> bool:
    # An importer runs KFP's launcher itself; its runtime role is "launcher", as that of user code.
    main = _container(pod, "main") if _is_kfp(pod) else None
    return main is not None and "launcher-v2" in (main.command or ())


def _is_trainjob_node(pod: Pod) -> bool:
    # No label of Trainer reaches the pod; its validator enforces the container's name (observed with Trainer 2.3.0).
    return bool(pod.labels.get(_JOBSET_NAME)) and _container(pod, "node") is not None


def _is_trainjob_initializer(pod: Pod) -> bool:
    return bool(pod.labels.get(_JOBSET_NAME)) and any(c.name in _INITIALIZERS for c in pod.containers)


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
    command = (main.command if main else None) or []
    pipeline = _flag(command, "--pipeline_name")
    # A user can override the label (add_pod_label), the command is KFP's own.
    run_id = _flag(command, "--run_id") or pod.labels.get(_KFP_RUN_ID)
    task = task_of(pod.annotations.get(_ARGO_NODE_NAME, ""))
    tags = {
        "kfp.pipeline_name": pipeline,
        "kfp.pipeline_run_id": run_id,
        "kfp.task_name": task,
    }
    return Lineage(
        experiment=pipeline,
        run_name="-".join(filter(None, (task, run_id))) or None,
        tags={name: value for name, value in tags.items() if value},
    )


def _flag(command: list[str], flag: str) -> str | None:
    # The first one counts: what comes later may be the user's.
    try:
        return command[command.index(flag) + 1] or None
    except (ValueError, IndexError):
        return None


def _trainjob_lineage(pod: Pod) -> Lineage:
    labels = pod.labels
    name = labels[_JOBSET_NAME]
    job, index = labels.get(_REPLICATED_JOB), labels.get(_COMPLETION_INDEX)
    tags = {
        "trainjob.name": name,
        "trainjob.replicated_job": job,
        "trainjob.node_index": index,
        "trainjob.restart_attempt": labels.get(_RESTART_ATTEMPT),
        "jobset.uid": labels.get(_JOBSET_UID),
    }
    return Lineage(
        experiment=name,
        run_name="-".join(filter(None, (name, job, index))),
        tags={tag: value for tag, value in tags.items() if value},
    )


def _other_lineage(pod: Pod) -> Lineage:
    # A workspace needs an experiment: a label that outlives one pod, else what the pod's name begins with.
    labels = pod.labels
    named = next(filter(None, map(labels.get, _NAMING_LABELS)), None)
    job = next(filter(None, map(labels.get, _JOB_NAMES)), "")
    return Lineage(experiment=named or _SCHEDULED.sub("", job) or _owner_by_name(pod) or None)


def _owner_by_name(pod: Pod) -> str:
    """Give the name of the Deployment or the like that a pod's own begins with."""
    begins = pod.metadata.generate_name or pod.metadata.name or ""
    template = pod.labels.get(_TEMPLATE_HASH)
    return begins.rstrip("-").removesuffix(f"-{template}" if template else "")


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
        kind=WorkloadKind.TRAINJOB_NODE,
        matches=_is_trainjob_node,
        container="node",
        implied=True,
        lineage=_trainjob_lineage,
    ),
    Recogniser(
        kind=WorkloadKind.TRAINJOB_INITIALIZER,
        matches=_is_trainjob_initializer,
        never=Reason.TRAINJOB_INITIALIZER,
    ),
    Recogniser(kind=WorkloadKind.MLFLOW_SERVER, matches=_is_mlflow_server, never=Reason.MLFLOW_SERVER),
    Recogniser(kind=WorkloadKind.OTHER_POD, matches=lambda _: True, lineage=_other_lineage),
)
