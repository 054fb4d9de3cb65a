"""The controllers that create pods, and what their labels on a pod mean.

CONTROLLERS is the complete list, the outermost controller first. If a pod has the labels of several controllers, the
first one names the experiment and the run, and all of them add their tags. To support another controller, add an entry.
Tags have the names of the labels. Each entry names the source file in which its labels were found (November 2026).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from webhook.core.generated_names import (
    dask_experiment,
    search_experiment,
    short_id,
    spark_experiment,
    trainjob_experiment,
    without_cluster,
    without_recurrence,
    without_run,
    without_trial,
)
from webhook.core.nodes import parse_node

ARGO_WORKFLOW: Final = "workflows.argoproj.io/workflow"
ARGO_NODE_NAME: Final = "workflows.argoproj.io/node-name"
JOBSET_NAME: Final = "jobset.sigs.k8s.io/jobset-name"
KFP_RUN_ID: Final = "pipeline/runid"
KFP_SDK_TYPE: Final = "pipelines.kubeflow.org/pipeline-sdk-type"

_JOBSET_UID = "jobset.sigs.k8s.io/jobset-uid"
_REPLICATED_JOB = "jobset.sigs.k8s.io/replicatedjob-name"
_RESTART_ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"
_COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
_REPLICA_TYPE = "training.kubeflow.org/replica-type"
_REPLICA_INDEX = "training.kubeflow.org/replica-index"


def _task(node_name: str) -> str:
    return parse_node(node_name).task or ""


def _title(node_name: str) -> str:
    return parse_node(node_name).title or ""


class Field(msgspec.Struct, frozen=True):
    """A label or annotation of a pod, and the part of its value to use. `keys`: the first one that the pod has.

    `unless_as`: a label; if it has the same value, the field is not used.
    """

    keys: tuple[str, ...]
    read: Callable[[str], str] | None = None
    unless_as: str = ""


class Controller(msgspec.Struct, frozen=True, kw_only=True):
    """What the labels of one controller mean.

    `experiment`: the fields that can name the experiment; the first valid name is used. If none is valid, the labels
    are not this controller's. Empty: the controller adds tags only. `run_name`: the parts of the run's name.
    `required`: labels that must exist too, because the others are too general to identify the controller.
    """

    experiment: tuple[Field, ...] = ()
    run_name: tuple[Field, ...] = ()
    tags: Mapping[str, Field] = msgspec.field(default_factory=dict)
    required: tuple[str, ...] = ()


def _field(*keys: str, read: Callable[[str], str] | None = None, unless_as: str = "") -> Field:
    return Field(keys, read, unless_as)


def _tags(prefix: str, keys: Mapping[str, str]) -> dict[str, Field]:
    return {f"{prefix}.{name}": _field(key) for name, key in keys.items()}


KATIB = Controller(
    # kubeflow/katib: pkg/controller.v1beta1/consts/const.go; its webhook labels a trial's pods (pkg/webhook)
    experiment=(
        _field("katib.kubeflow.org/experiment", read=search_experiment),
        _field("katib.kubeflow.org/trial", read=without_trial),
    ),
    run_name=(
        _field("katib.kubeflow.org/trial"),
        _field(_REPLICA_TYPE),
        _field(_REPLICA_INDEX),
        _field(_REPLICATED_JOB),
        _field(_COMPLETION_INDEX),
    ),
    tags=_tags("katib", {"experiment": "katib.kubeflow.org/experiment", "trial": "katib.kubeflow.org/trial"}),
)
TRAINJOB = Controller(
    # kubernetes-sigs/jobset: api/jobset/v1alpha2/jobset_types.go; Trainer's own labels do not reach the pod
    experiment=(_field(JOBSET_NAME, read=trainjob_experiment),),
    run_name=(_field(JOBSET_NAME), _field(_REPLICATED_JOB), _field(_COMPLETION_INDEX)),
    tags=_tags(
        "trainjob",
        {
            "name": JOBSET_NAME,
            "replicated_job": _REPLICATED_JOB,
            "node_index": _COMPLETION_INDEX,
            "restart_attempt": _RESTART_ATTEMPT,
        },
    )
    | {"jobset.uid": _field(_JOBSET_UID)},
)
CONTROLLERS = (
    KATIB,
    Controller(
        # apache/airflow: providers/cncf/kubernetes, pod_generator.py and operators/pod.py
        experiment=(_field("dag_id"),),
        run_name=(_field("dag_id"), _field("task_id"), _field("map_index"), _field("try_number")),
        tags=_tags("airflow", {key: key for key in ("dag_id", "task_id", "run_id", "try_number", "map_index")}),
        required=("task_id",),
    ),
    Controller(
        # PrefectHQ/prefect: src/prefect/workers/base.py, labels of a flow run
        experiment=(_field("prefect.io/flow-name"), _field("prefect.io/deployment-name")),
        run_name=(_field("prefect.io/flow-run-name"),),
        tags=_tags(
            "prefect",
            {key.replace("-", "_"): f"prefect.io/{key}" for key in ("flow-name", "flow-run-id", "deployment-name")},
        ),
    ),
    Controller(
        # dagster-io/dagster: libraries/dagster-k8s, executor.py and launcher.py
        experiment=(_field("dagster/job"),),
        run_name=(_field("dagster/job"), _field("dagster/op"), _field("dagster/run-id", read=short_id)),
        tags=_tags("dagster", {"job": "dagster/job", "op": "dagster/op", "run_id": "dagster/run-id"}),
    ),
    Controller(
        # Netflix/metaflow: metaflow/plugins/kubernetes/kubernetes.py, annotations
        experiment=(_field("metaflow/flow_name"),),
        run_name=(_field("metaflow/flow_name"), _field("metaflow/run_id"), _field("metaflow/step_name")),
        tags=_tags("metaflow", {key: f"metaflow/{key}" for key in ("flow_name", "run_id", "step_name", "attempt")}),
    ),
    Controller(
        # flyteorg/flyte: flytepropeller/pkg/compiler/transformers/k8s/workflow.go and pkg/controller/nodes/executor.go
        experiment=(_field("workflow-name"),),
        run_name=(_field("workflow-name"), _field("node-id"), _field("execution-id")),
        tags=_tags(
            "flyte",
            {
                key.replace("-", "_"): key
                for key in ("project", "domain", "workflow-name", "execution-id", "node-id", "task-name")
            },
        ),
        required=("execution-id", "node-id"),
    ),
    Controller(
        # KFP v1: kfp 1.8, kfp/compiler/_op_to_template.py; the run's id comes from KFP's API server
        experiment=(_field(ARGO_WORKFLOW, read=without_recurrence),),
        run_name=(_field(ARGO_NODE_NAME, read=_title), _field(KFP_RUN_ID, read=short_id)),
        tags={"kfp.pipeline_run_id": _field(KFP_RUN_ID), "kfp.task_name": _field(ARGO_NODE_NAME, read=_task)},
        required=(KFP_SDK_TYPE,),
    ),
    Controller(
        # argoproj/argo-workflows: workflow/common/common.go
        experiment=(
            _field("workflows.argoproj.io/cron-workflow"),
            _field("workflows.argoproj.io/workflow-template"),
            _field("workflows.argoproj.io/cluster-workflow-template"),
            _field(ARGO_WORKFLOW, read=without_run),
        ),
        run_name=(_field(ARGO_WORKFLOW), _field(ARGO_NODE_NAME, read=_title)),
        tags=_tags(
            "argo",
            {
                "workflow": ARGO_WORKFLOW,
                "cron_workflow": "workflows.argoproj.io/cron-workflow",
                "workflow_template": "workflows.argoproj.io/workflow-template",
                "cluster_workflow_template": "workflows.argoproj.io/cluster-workflow-template",
                "node_name": ARGO_NODE_NAME,
            },
        ),
    ),
    Controller(
        # tektoncd/pipeline: pkg/apis/pipeline/register.go; if a PipelineRun contains its pipeline, the pipeline has the
        # name of the run (pkg/reconciler/pipelinerun/pipelinespec)
        experiment=(
            _field("tekton.dev/pipeline", unless_as="tekton.dev/pipelineRun"),
            _field("tekton.dev/pipelineRun", read=without_run),
            _field("tekton.dev/task"),
            _field("tekton.dev/taskRun", read=without_run),
        ),
        run_name=(_field("tekton.dev/pipelineRun"), _field("tekton.dev/pipelineTask")),
        tags=_tags(
            "tekton",
            {
                "pipeline": "tekton.dev/pipeline",
                "pipeline_run": "tekton.dev/pipelineRun",
                "pipeline_task": "tekton.dev/pipelineTask",
                "task": "tekton.dev/task",
                "task_run": "tekton.dev/taskRun",
            },
        ),
    ),
    Controller(
        # kubeflow/training-operator: pkg/apis/kubeflow.org/v1/common_types.go (PyTorchJob, TFJob, MPIJob, PaddleJob,
        # XGBoostJob, JAXJob); kubeflow/mpi-operator: pkg/apis/kubeflow/v2beta1/constants.go has the same
        experiment=(_field("training.kubeflow.org/job-name"),),
        run_name=(
            _field("training.kubeflow.org/job-name"),
            _field(_REPLICA_TYPE, "training.kubeflow.org/job-role"),
            _field(_REPLICA_INDEX),
        ),
        tags=_tags(
            "training",
            {
                "job_name": "training.kubeflow.org/job-name",
                "operator_name": "training.kubeflow.org/operator-name",
                "replica_type": _REPLICA_TYPE,
                "replica_index": _REPLICA_INDEX,
                "job_role": "training.kubeflow.org/job-role",
            },
        ),
    ),
    Controller(
        # the same before version 1.5, and MPIJob v1 (kubeflow/mpi-operator: v1/mpi_job_controller.go)
        experiment=(_field("mpi-job-name", "job-name"),),
        run_name=(
            _field("mpi-job-name", "job-name"),
            _field("replica-type", "mpi-job-role"),
            _field("replica-index"),
        ),
        tags={
            "training.job_name": _field("mpi-job-name", "job-name"),
            "training.replica_type": _field("replica-type"),
            "training.replica_index": _field("replica-index"),
            "training.job_role": _field("mpi-job-role"),
        },
        required=("group-name",),
    ),
    Controller(
        # ray-project/kuberay: ray-operator/controllers/ray/utils/constant.go
        experiment=(
            _field("ray.io/originated-from-cr-name", read=without_run),
            _field("ray.io/cluster", read=without_cluster),
        ),
        run_name=(_field("ray.io/cluster"), _field("ray.io/group")),
        tags=_tags(
            "ray",
            {
                "originated_from_crd": "ray.io/originated-from-crd",
                "originated_from_cr_name": "ray.io/originated-from-cr-name",
                "cluster": "ray.io/cluster",
                "node_type": "ray.io/node-type",
                "group": "ray.io/group",
            },
        ),
    ),
    Controller(
        # kubeflow/spark-operator: pkg/common/spark.go; apache/spark: resource-managers/kubernetes, Constants.scala
        experiment=(
            _field("sparkoperator.k8s.io/scheduled-app-name"),
            _field("sparkoperator.k8s.io/app-name", read=spark_experiment),
            _field("sparkoperator.k8s.io/connect-name", read=spark_experiment),
            _field("spark-app-name", read=spark_experiment),
        ),
        run_name=(
            _field("sparkoperator.k8s.io/app-name", "sparkoperator.k8s.io/connect-name", "spark-app-name"),
            _field("spark-role"),
            _field("spark-exec-id"),
        ),
        tags=_tags(
            "spark",
            {
                "app_name": "sparkoperator.k8s.io/app-name",
                "connect_name": "sparkoperator.k8s.io/connect-name",
                "submission_id": "sparkoperator.k8s.io/submission-id",
                "app_selector": "spark-app-selector",
                "role": "spark-role",
                "exec_id": "spark-exec-id",
            },
        ),
    ),
    Controller(
        # dask/dask-kubernetes: dask_kubernetes/operator/controller/controller.py
        experiment=(_field("dask.org/cluster-name", read=dask_experiment),),
        run_name=(_field("dask.org/cluster-name"), _field("dask.org/component")),
        tags=_tags(
            "dask",
            {
                "cluster_name": "dask.org/cluster-name",
                "component": "dask.org/component",
                "workergroup_name": "dask.org/workergroup-name",
            },
        ),
    ),
    Controller(
        # kserve/kserve: pkg/constants/constants.go
        experiment=(_field("serving.kserve.io/inferenceservice"), _field("serving.kserve.io/inferencegraph")),
        run_name=(_field("serving.kserve.io/inferenceservice"), _field("component")),
        tags=_tags(
            "kserve",
            {
                "inferenceservice": "serving.kserve.io/inferenceservice",
                "inferencegraph": "serving.kserve.io/inferencegraph",
                "component": "component",
            },
        ),
    ),
    Controller(
        # SeldonIO/seldon-core: operator/apis/machinelearning.seldon.io/v1/seldondeployment_types.go
        experiment=(_field("seldon-deployment-id"),),
        tags={"seldon.deployment_id": _field("seldon-deployment-id")},
    ),
    Controller(
        # knative/serving: pkg/apis/serving/register.go
        experiment=(_field("serving.knative.dev/service"), _field("serving.knative.dev/configuration")),
        run_name=(_field("serving.knative.dev/revision"),),
        tags=_tags("knative", {key: f"serving.knative.dev/{key}" for key in ("service", "revision")}),
    ),
    Controller(
        # volcano-sh/apis: pkg/apis/batch/v1alpha1/labels.go
        experiment=(_field("volcano.sh/job-name"),),
        run_name=(_field("volcano.sh/job-name"), _field("volcano.sh/task-spec"), _field("volcano.sh/task-index")),
        tags=_tags(
            "volcano",
            {
                "job_name": "volcano.sh/job-name",
                "task_spec": "volcano.sh/task-spec",
                "task_index": "volcano.sh/task-index",
                "queue_name": "volcano.sh/queue-name",
                "job_retry_count": "volcano.sh/job-retry-count",
            },
        ),
    ),
    Controller(
        # kubernetes-sigs/lws: api/leaderworkerset/v1/leaderworkerset_types.go
        experiment=(_field("leaderworkerset.sigs.k8s.io/name"),),
        run_name=(
            _field("leaderworkerset.sigs.k8s.io/name"),
            _field("leaderworkerset.sigs.k8s.io/group-index"),
            _field("leaderworkerset.sigs.k8s.io/worker-index"),
        ),
        tags=_tags(
            "leaderworkerset",
            {
                key.replace("-", "_"): f"leaderworkerset.sigs.k8s.io/{key}"
                for key in ("name", "group-index", "worker-index")
            },
        ),
    ),
    Controller(
        # kubernetes-sigs/jobset: api/jobset/v1alpha2/jobset_types.go
        experiment=(_field(JOBSET_NAME),),
        run_name=(
            _field(JOBSET_NAME),
            _field(_REPLICATED_JOB),
            _field("jobset.sigs.k8s.io/job-index"),
            _field(_COMPLETION_INDEX),
        ),
        tags=_tags(
            "jobset",
            {
                "name": JOBSET_NAME,
                "replicated_job": _REPLICATED_JOB,
                "job_index": "jobset.sigs.k8s.io/job-index",
                "completion_index": _COMPLETION_INDEX,
                "restart_attempt": _RESTART_ATTEMPT,
                "uid": _JOBSET_UID,
            },
        ),
    ),
    Controller(
        # jupyterhub/kubespawner: kubespawner/spawner.py, in a label or an annotation
        experiment=(_field("hub.jupyter.org/username"),),
        tags=_tags("jupyterhub", {key: f"hub.jupyter.org/{key}" for key in ("username", "servername")}),
    ),
    Controller(
        # actions/actions-runner-controller: controllers/actions.github.com/constants.go
        experiment=(_field("actions.github.com/scale-set-name"),),
        tags={"github.scale_set": _field("actions.github.com/scale-set-name")},
    ),
    Controller(
        # kubeflow/kubeflow: components/notebook-controller
        experiment=(_field("notebook-name"),),
        tags={"notebook.name": _field("notebook-name")},
    ),
    Controller(
        # kubernetes-sigs/kueue: pkg/controller/constants and pkg/controller/jobs/pod/constants
        experiment=(_field("kueue.x-k8s.io/pod-group-name"),),
        tags={"kueue.pod_group_name": _field("kueue.x-k8s.io/pod-group-name")},
    ),
    Controller(tags={"kueue.queue_name": _field("kueue.x-k8s.io/queue-name")}),
)
