"""The names users see: labels, annotations, variables. Manifests and docs are held to them by tests."""

from __future__ import annotations

from typing import Final

LABEL: Final = "mlflow-enabled"
"""On a namespace or a pod; ``"true"`` asks for wiring, ``"false"`` on a pod refuses it."""

ANNOTATION_GROUP: Final = "mlflow.kubeflow.org"
"""The group the MLflow workspace plugin for Kubernetes already uses."""

DECISION_ANNOTATION: Final = f"{ANNOTATION_GROUP}/decision"
"""Where the decision is recorded on the pod."""

TRACKING_URI: Final = "MLFLOW_TRACKING_URI"
REGISTRY_URI: Final = "MLFLOW_REGISTRY_URI"
WORKSPACE: Final = "MLFLOW_WORKSPACE"
TRACKING_TOKEN: Final = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the name of a variable, not a secret
EXPERIMENT_NAME: Final = "MLFLOW_EXPERIMENT_NAME"
EXPERIMENT_ID: Final = "MLFLOW_EXPERIMENT_ID"
RUN_ID: Final = "MLFLOW_RUN_ID"
EXPERIMENT_CHOICES: Final = frozenset({EXPERIMENT_NAME, EXPERIMENT_ID, RUN_ID})
"""Each of them decides which experiment a run is in."""
RUN_CONTEXT: Final = "MLFLOW_RUN_CONTEXT"
POD_NAME: Final = "MLFLOW_WEBHOOK_POD_NAME"
"""Ours alone: MLFLOW_RUN_CONTEXT refers to it, since a pod made from generateName has no name at admission."""

CREDENTIALS: Final = frozenset(
    {
        TRACKING_TOKEN,
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_AUTH",
        "MLFLOW_TRACKING_AWS_SIGV4",
    }
)
"""Each of them decides how the client authenticates; a token beside another of them is ignored, or beats it
(observed with mlflow 3.17.2: user name and password beat the token, the token beats an auth provider)."""

KFP_PLUGIN_CONFIG: Final = "KFP_MLFLOW_CONFIG"
"""Set by the MLflow plugin of Kubeflow Pipelines 2.17 and later."""

MANAGED: Final = CREDENTIALS | {
    TRACKING_URI,
    REGISTRY_URI,
    WORKSPACE,
    EXPERIMENT_NAME,
    EXPERIMENT_ID,
    RUN_ID,
    RUN_CONTEXT,
    POD_NAME,
}
"""Variables with a rule of their own; the platform's extra variables may not name them."""
