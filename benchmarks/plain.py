"""A straightforward first version of the webhook: a body model, a copy of the pod, a diff of the two, plain logging.

It wires the two reviews of the benchmark in the same way as the webhook. It supports nothing else: no annotations, no
other kinds of pods.
"""

from __future__ import annotations

import base64
import copy
import json
import logging
from typing import Any

import jsonpatch
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter
from pydantic import BaseModel

Json = dict[str, Any]

_log = logging.getLogger("plain")


class Request(BaseModel):
    """The part of ``request`` that is read."""

    uid: str
    namespace: str
    object: Json


class Review(BaseModel):
    """An AdmissionReview."""

    apiVersion: str  # noqa: N815 - the API's own name
    kind: str
    request: Request


def create_app() -> FastAPI:
    """Assemble the application."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = FastAPI()
    decisions = Counter("decisions", "Reviews answered.", ["workload"], registry=CollectorRegistry())

    @app.post("/mutate")
    def mutate(review: Review) -> Json:
        pod = review.request.object
        wired = copy.deepcopy(pod)
        workload = wire(wired, review.request.namespace)
        operations = jsonpatch.make_patch(pod, wired).to_string()
        decisions.labels(workload).inc()
        name = pod["metadata"].get("name") or pod["metadata"]["generateName"]
        _log.info("wired %s %s in %s", workload, name, review.request.namespace)
        return {
            "apiVersion": review.apiVersion,
            "kind": review.kind,
            "response": {
                "uid": review.request.uid,
                "allowed": True,
                "patchType": "JSONPatch",
                "patch": base64.b64encode(operations.encode()).decode(),
                "auditAnnotations": {
                    "decision": "wired",
                    "reason": "wired_by_namespace_label",
                    "workload": workload,
                },
            },
        }

    return app


def wire(pod: Json, namespace: str) -> str:
    """Wire a pod in place. Returns its kind of workload."""
    kfp = pod["metadata"]["labels"].get("pipelines.kubeflow.org/v2_component") == "true"
    workload, name = ("kfp_component", "main") if kfp else ("trainjob_node", "node")
    container = next(container for container in pod["spec"]["containers"] if container["name"] == name)
    experiment, tags = _kfp_lineage(pod, container) if kfp else _trainjob_lineage(pod)
    tags["k8s.pod.name"] = "$(MLFLOW_WEBHOOK_POD_NAME)"
    variables: list[Json] = [
        {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow-tracking-server.kubeflow:5000"},
        {"name": "MLFLOW_WORKSPACE", "value": namespace},
        {
            "name": "MLFLOW_TRACKING_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "mlflow-token", "key": "token", "optional": True}},
        },
        {"name": "MLFLOW_EXPERIMENT_NAME", "value": experiment},
        {
            "name": "MLFLOW_WEBHOOK_POD_NAME",
            "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
        },
        {"name": "MLFLOW_RUN_CONTEXT", "value": _compact(tags)},
    ]
    record = {
        "decision": "wired",
        "reason": "wired_by_namespace_label",
        "workload": workload,
        "containers": {name: [variable["name"] for variable in variables]},
    }
    container["env"] = variables + container.get("env", [])
    pod["metadata"].setdefault("annotations", {})["mlflow.kubeflow.org/decision"] = _compact(record)
    return workload


def _kfp_lineage(pod: Json, container: Json) -> tuple[str, Json]:
    command = container["command"]
    pipeline = command[command.index("--pipeline_name") + 1]
    run_id = command[command.index("--run_id") + 1]
    task = pod["metadata"]["annotations"]["workflows.argoproj.io/node-name"].split(".")[-2].partition("(")[0]
    return pipeline, {
        "kfp.pipeline_name": pipeline,
        "kfp.pipeline_run_id": run_id,
        "kfp.task_name": task,
        "kfp.task_path": task,
        "mlflow.runName": f"{task}-{run_id[:8]}",
    }


def _trainjob_lineage(pod: Json) -> tuple[str, Json]:
    labels = pod["metadata"]["labels"]
    name, job = labels["jobset.sigs.k8s.io/jobset-name"], labels["jobset.sigs.k8s.io/replicatedjob-name"]
    index = labels["batch.kubernetes.io/job-completion-index"]
    return name, {
        "trainjob.name": name,
        "trainjob.replicated_job": job,
        "trainjob.node_index": index,
        "trainjob.restart_attempt": labels["jobset.sigs.k8s.io/restart-attempt"],
        "jobset.uid": labels["jobset.sigs.k8s.io/jobset-uid"],
        "mlflow.runName": f"{name}-{job}-{index}",
    }


def _compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))
