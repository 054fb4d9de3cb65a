"""The kinds of objects that create pods: where their pod templates are, and what controllers add to the pods.

KINDS lists the supported kinds. OTHERS lists kinds that create pods from something else than a pod template. To support
another kind, add an entry. `webhook.core.controllers` uses the labels to name experiments and runs, and says in which
source files they were found. Other facts have a comment here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from webhook.files.generated import PLACEHOLDER

JOBSET = "jobset.sigs.k8s.io/"
RUNTIME_JOBS = "/spec/template/spec/replicatedJobs"
TRAINER_GROUP = "trainer.kubeflow.org"

_REPLICAS = "training.kubeflow.org/"
_RAY = "ray.io/"
_NAME_OF_CLUSTER = "the name that KubeRay gives to the cluster"
_JOB_NAMES = {"batch.kubernetes.io/job-name": "{name}", "job-name": "{name}"}
_RAYJOB_OF_CRON_JOB = f"{{name}}-{PLACEHOLDER}"
_JOB_NAMES_OF_CRON_JOB = {label: f"{name}-29712345" for label, name in _JOB_NAMES.items()}  # the scheduled minute
_JOB_OF_SET = {f"{JOBSET}jobset-name": "{name}", f"{JOBSET}replicatedjob-name": "{part}"}


class Template(NamedTuple):
    """A JSON Pointer to a pod template, in which ``*`` is each key or item, and labels of its pods.

    In the labels' values ``{name}`` is the object's name and ``{part}`` the key, or the item's name, in lower case.
    `part` is the name of a template without ``*`` in its path, if the object has several templates. `with_labels`: its
    pods also get the labels in the field ``labels`` next to the template.
    """

    path: str
    labels: Mapping[str, str] = {}
    part: str = ""
    with_labels: bool = False


class Kind(NamedTuple):
    """A kind of object that holds pod templates.

    `owner`: the kind of the pods' controlling owner, if it has the name of the object. `metadata`: the JSON Pointer of
    the pods' labels and annotations, if not the template's. `unknown`: what lineage needs, but is not known before a
    pod is created. `for_any_job`: the pods belong to TrainJobs whose names are not known. `in_namespace`: whether the
    object is in the namespace of its pods.
    """

    group: str
    name: str
    templates: tuple[Template, ...]
    owner: str = ""
    metadata: str | None = None
    unknown: str = ""
    for_any_job: bool = False
    in_namespace: bool = True


class Other(NamedTuple):
    """A kind of object that creates pods without a pod template in it. `label_at` is where a label has to be."""

    group: str
    name: str
    label_at: str


def _training(name: str, replicas: str, operator: str | None) -> Kind:
    labels = {f"{_REPLICAS}job-name": "{name}", f"{_REPLICAS}replica-type": "{part}"}
    if operator:
        labels[f"{_REPLICAS}operator-name"] = operator
    return Kind(
        "kubeflow.org",
        name,
        (Template(f"/spec/{replicas}/*/template", labels),),
        owner=name,
        unknown="the index of each replica",
    )


def _ray(
    name: str,
    cluster: str,
    labels: Mapping[str, str],
    *,
    unknown: str = "",
    submitter: str = "",
    job: Mapping[str, str] = _JOB_NAMES,
) -> Kind:
    head = {**labels, f"{_RAY}node-type": "head", f"{_RAY}group": "headgroup"}
    worker = {**labels, f"{_RAY}node-type": "worker", f"{_RAY}group": "{part}"}
    return Kind(
        "ray.io",
        name,
        (
            Template(f"{cluster}/headGroupSpec/template", head, part="head", with_labels=True),
            Template(f"{cluster}/workerGroupSpecs/*/template", worker, with_labels=True),
            *([Template(submitter, job, part="submitter")] if submitter else []),
        ),
        unknown=unknown,
    )


def _originated(kind: str, name: str = "{name}") -> dict[str, str]:
    return {f"{_RAY}originated-from-cr-name": name, f"{_RAY}originated-from-crd": kind}


def _knative(name: str) -> Kind:
    label = "serving.knative.dev/"
    labels = {f"{label}configuration": "{name}"} | ({f"{label}service": "{name}"} if name == "Service" else {})
    return Kind("serving.knative.dev", name, (Template("/spec/template", labels),), unknown="the name of each revision")


_SPEC_TEMPLATE = (Template("/spec/template"),)

KINDS = (
    Kind("", "Pod", (Template(""),)),
    Kind("", "PodTemplate", (Template("/template"),)),
    Kind("", "ReplicationController", _SPEC_TEMPLATE),
    Kind("apps", "Deployment", _SPEC_TEMPLATE),
    Kind("apps", "ReplicaSet", _SPEC_TEMPLATE),
    Kind("apps", "StatefulSet", _SPEC_TEMPLATE, owner="StatefulSet"),
    Kind("apps", "DaemonSet", _SPEC_TEMPLATE, owner="DaemonSet"),
    Kind("batch", "Job", (Template("/spec/template", _JOB_NAMES),), owner="Job"),
    Kind("batch", "CronJob", (Template("/spec/jobTemplate/spec/template", _JOB_NAMES_OF_CRON_JOB),), owner="Job"),
    Kind("jobset.x-k8s.io", "JobSet", (Template("/spec/replicatedJobs/*/template/spec/template", _JOB_OF_SET),)),
    *(
        Kind(
            TRAINER_GROUP,
            name,
            (Template(f"{RUNTIME_JOBS}/*/template/spec/template", _JOB_OF_SET),),
            for_any_job=True,
            in_namespace=name == "TrainingRuntime",
        )
        for name in ("TrainingRuntime", "ClusterTrainingRuntime")
    ),
    # kubeflow/training-operator: pkg/apis/kubeflow.org/v1/*_types.go; pkg/controller.v1/*/*_controller.go
    _training("PyTorchJob", "pytorchReplicaSpecs", "pytorchjob-controller"),
    _training("TFJob", "tfReplicaSpecs", "tfjob-controller"),
    _training("XGBoostJob", "xgbReplicaSpecs", "xgboostjob-controller"),
    _training("PaddleJob", "paddleReplicaSpecs", "paddlejob-controller"),
    _training("JAXJob", "jaxReplicaSpecs", "jaxjob-controller"),
    _training("MXJob", "mxReplicaSpecs", "mxjob-controller"),
    _training("MPIJob", "mpiReplicaSpecs", None),  # one operator for v1, another for v2beta1
    # kubeflow/kubeflow: components/notebook-controller copies the Notebook's own labels and annotations to its pod and
    # does not read those of the template
    Kind(
        "kubeflow.org",
        "Notebook",
        (Template("/spec/template", {"notebook-name": "{name}"}),),
        owner="StatefulSet",
        metadata="/metadata",
    ),
    _ray("RayCluster", "/spec", {f"{_RAY}cluster": "{name}"}),
    _ray(
        "RayJob",
        "/spec/rayClusterSpec",
        _originated("RayJob"),
        unknown=_NAME_OF_CLUSTER,
        submitter="/spec/submitterPodTemplate",
    ),
    _ray("RayService", "/spec/rayClusterConfig", _originated("RayService"), unknown=_NAME_OF_CLUSTER),
    # ray-project/kuberay: apis/ray/v1/raycronjob_types.go; controllers/ray/raycronjob_controller.go
    _ray(
        "RayCronJob",
        "/spec/jobTemplate/rayClusterSpec",
        _originated("RayJob", _RAYJOB_OF_CRON_JOB),
        unknown=f"the name of the cluster, and that of the RayJob, shown as {_RAYJOB_OF_CRON_JOB}",
        submitter="/spec/jobTemplate/submitterPodTemplate",
        job=dict.fromkeys(_JOB_NAMES, _RAYJOB_OF_CRON_JOB),
    ),
    Kind(
        "leaderworkerset.x-k8s.io",
        "LeaderWorkerSet",
        tuple(
            Template(
                f"/spec/leaderWorkerTemplate/{part}Template", {"leaderworkerset.sigs.k8s.io/name": "{name}"}, part=part
            )
            for part in ("leader", "worker")
        ),
        unknown="the indexes of the group and the worker",
    ),
    _knative("Service"),
    _knative("Configuration"),
    # argoproj/argo-rollouts: pkg/apis/rollouts/v1alpha1/types.go; openkruise/kruise: apis/apps; openshift/api: apps/v1
    Kind("argoproj.io", "Rollout", _SPEC_TEMPLATE),
    Kind("apps.kruise.io", "CloneSet", _SPEC_TEMPLATE, owner="CloneSet"),
    Kind("apps.kruise.io", "StatefulSet", _SPEC_TEMPLATE, owner="StatefulSet"),
    Kind("apps.kruise.io", "DaemonSet", _SPEC_TEMPLATE, owner="DaemonSet"),
    Kind("apps.openshift.io", "DeploymentConfig", (Template("/spec/template", {"deploymentconfig": "{name}"}),)),
)

_BUILT_IN = frozenset({"", "apps", "autoscaling", "batch", "extensions", "policy"})
_BUILT_IN_DOMAINS = (
    "admission",
    "admissionregistration",
    "apiextensions",
    "apiregistration",
    "apiserver",
    "audit",
    "authentication",
    "authorization",
    "certificates",
    "config",
    "coordination",
    "discovery",
    "events",
    "kubeadm",
    "meta",
    "metrics",
    "networking",
    "node",
    "resource",
    "scheduling",
    "storage",
    "storagemigration",
)
"""Kubernetes' own groups end in one of these and ``.k8s.io``. Groups of other projects, such as Spark's, can too."""
_WORKFLOW_LABELS = "spec.podMetadata.labels"
OTHERS = (
    # argoproj/argo-workflows: pkg/apis/workflow/v1alpha1/workflow_types.go
    Other("argoproj.io", "Workflow", _WORKFLOW_LABELS),
    Other("argoproj.io", "WorkflowTemplate", _WORKFLOW_LABELS),
    Other("argoproj.io", "ClusterWorkflowTemplate", _WORKFLOW_LABELS),
    Other("argoproj.io", "CronWorkflow", "spec.workflowSpec.podMetadata.labels"),
    # kubeflow/spark-operator: api/v1beta2/sparkapplication_types.go
    Other("sparkoperator.k8s.io", "SparkApplication", "spec.driver.labels and spec.executor.labels"),
    Other(
        "sparkoperator.k8s.io",
        "ScheduledSparkApplication",
        "spec.template.driver.labels and spec.template.executor.labels",
    ),
    # kubeflow/spark-operator: api/v1alpha1/sparkconnect_types.go; the containers may be missing in its templates
    Other(
        "sparkoperator.k8s.io",
        "SparkConnect",
        "spec.server.template.metadata.labels and spec.executor.template.metadata.labels",
    ),
    # volcano-sh/apis: pkg/apis/batch/v1alpha1/job.go
    Other("batch.volcano.sh", "Job", "spec.tasks[].template.metadata.labels"),
)
_BY_NAME = {(kind.group, kind.name): kind for kind in KINDS}
_OTHERS = {(other.group, other.name): other for other in OTHERS}
_WITHOUT_GROUP = {kind.name: kind for kind in reversed(KINDS) if kind.name != "Service"}


def find_kind(group: str | None, name: str) -> Kind | None:
    """Return the kind with a name in an API group. Without a group, a Service is a core Service."""
    return _WITHOUT_GROUP.get(name) if group is None else _BY_NAME.get((group, name))


def find_other(group: str | None, name: str) -> Other | None:
    """Return the kind, if it creates pods without a pod template in it."""
    if group is None:
        return next((other for other in OTHERS if other.name == name and other.group == "argoproj.io"), None)
    return _OTHERS.get((group, name))


def is_built_in(group: str | None) -> bool:
    """Return whether an API group belongs to Kubernetes: all of its kinds that create pods are in KINDS."""
    if group is None or group in _BUILT_IN:
        return True
    domain, dot, ending = group.partition(".k8s.io")
    return bool(dot) and not ending and domain.split(".")[-1] in _BUILT_IN_DOMAINS


def find_group(name: str) -> str | None:
    """Return the right API group for a kind that is written with another group of Kubernetes, or None.

    A Service is a kind of the core group too.
    """
    kinds: tuple[Kind | Other, ...] = (*KINDS, *OTHERS)
    return next((kind.group for kind in kinds if kind.name == name and kind.name != "Service"), None)
