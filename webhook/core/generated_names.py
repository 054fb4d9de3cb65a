"""Removes from names what controllers add for each run, so that runs of the same code share an experiment."""

from __future__ import annotations

import re

_RANDOM = "bcdfghjklmnpqrstvwxz2456789"
"""The characters in names that Kubernetes generates (k8s.io/apimachinery: pkg/util/rand)."""
_GENERATED = re.compile(rf"-raycluster-[a-z0-9]{{5}}$|-[{_RANDOM}]{{5}}$")
"""The generated end of a name: from generateName, or from KubeRay for a RayJob's or RayService's cluster (utils.go)."""
_TRIAL = re.compile(r"-[a-z0-9]{8}$")
"""The end that Katib adds to an experiment's name for a trial (kubeflow/katib: pkg/controller.v1beta1/suggestion)."""
_SCHEDULED = re.compile(r"-(?:2[6-9]|3\d)\d{6}$|-1\d{9}(?:\d{9})?$")
"""The scheduled time at the end of a name.

A CronJob adds minutes since 1970 (matched for 2019 to 2046), a CronWorkflow seconds (argoproj/argo-workflows:
workflow/cron/operator.go), a ScheduledSparkApplication nanoseconds (kubeflow/spark-operator); both matched until 2033.
"""
_RECURRED = re.compile(r"-\d+-\d{6,10}$")
"""What KFP adds to the name of a recurring run: an index and a hash (kubeflow/pipelines: backend/src/crd/controller/
scheduledworkflow/util/scheduled_workflow.go, `NextResourceName`)."""
_MADE_UP_BY_SDK = re.compile(r"[a-z][0-9a-f]{11}")
"""The SDK's name for a TrainJob (kubeflow/sdk: kubeflow/trainer/backends/kubernetes/backend.py, `train`) or for an
OptimizationJob, which is an Experiment of Katib (kubeflow/optimizer/backends/kubernetes/backend.py, `optimize`)."""
_SPARK_BY_SDK = re.compile(r"(spark-job|spark-connect)-[0-9a-f]{8}")
"""The same for Spark (kubeflow/sdk: kubeflow/spark/backends/kubernetes, utils.py and constants.py)."""
_DASK_BY_CLIENT = re.compile(r"(dask-.+)-[0-9a-f]{8}-[0-9a-f]")
"""The client's name for a cluster (dask/dask-kubernetes: dask_kubernetes/kubernetes.yaml and KubeCluster)."""


def without_schedule(name: str) -> str:
    """Return a name without the scheduled time at its end."""
    return _SCHEDULED.sub("", name)


def without_run(name: str) -> str:
    """Return a name without what a schedule or generateName adds for each run."""
    scheduled = without_schedule(name)
    return scheduled if scheduled != name else _GENERATED.sub("", name)


def without_recurrence(name: str) -> str:
    """Return the name of a workflow of KFP without what a recurring run, or generateName, adds for each run."""
    recurring = _RECURRED.sub("", name)
    return recurring if recurring != name else without_run(name)


def without_cluster(name: str) -> str:
    """Return the name of a RayJob or a RayService from the name of its cluster."""
    # the RayJob of a RayCronJob has a generated name too (kuberay: raycronjob_controller.go)
    return without_run(without_run(name))


def without_trial(name: str) -> str:
    """Return the experiment for a Katib trial: `search_experiment` of the name without the trial's suffix."""
    return search_experiment(_TRIAL.sub("", name))


def search_experiment(name: str) -> str:
    """Return the experiment for a Katib experiment: its name, or a shared one if the SDK has generated the name."""
    return "optimizationjobs" if _MADE_UP_BY_SDK.fullmatch(name) else name


def trainjob_experiment(name: str) -> str:
    """Return the experiment for a TrainJob: its name, or a shared one if the SDK has generated the name."""
    return "trainjobs" if _MADE_UP_BY_SDK.fullmatch(name) else name


def spark_experiment(name: str) -> str:
    """Return the experiment for a Spark application or session: its name without what is added for each run."""
    made_up = _SPARK_BY_SDK.fullmatch(name)
    return made_up[1] if made_up else without_schedule(name)


def dask_experiment(name: str) -> str:
    """Return the experiment for a Dask cluster: its name without what the client generates."""
    made_up = _DASK_BY_CLIENT.fullmatch(name)
    return made_up[1] if made_up else name


def short_id(identifier: str) -> str:
    """Return the first characters of an id, enough for a person to distinguish runs."""
    return identifier[:8]
