"""The names that users see: labels, annotations, variables. Tests compare manifests and docs with them."""

from __future__ import annotations

from typing import Final

LABEL: Final = "mlflow-enabled"
"""The label on a namespace or a pod: ``"true"`` asks for wiring; ``"false"`` on a pod opts out."""

ANNOTATION_GROUP: Final = "mlflow.kubeflow.org"
"""The group of the annotations. MLflow's workspace plugin for Kubernetes uses it too."""

DECISION_ANNOTATION: Final = f"{ANNOTATION_GROUP}/decision"
"""The annotation that records the decision on the pod."""

MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"
"""The annotation of mirror pods, by which a kubelet shows its static pods (Kubernetes:
``pkg/apis/core/annotation_key_constants.go``)."""

TRACKING_URI: Final = "MLFLOW_TRACKING_URI"
WORKSPACE: Final = "MLFLOW_WORKSPACE"
TRACKING_TOKEN: Final = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the name of a variable, not a secret
TRACKING_AUTH: Final = "MLFLOW_TRACKING_AUTH"
AWS_SIGV4: Final = "MLFLOW_TRACKING_AWS_SIGV4"
EXPERIMENT_NAME: Final = "MLFLOW_EXPERIMENT_NAME"
EXPERIMENT_ID: Final = "MLFLOW_EXPERIMENT_ID"
RUN_ID: Final = "MLFLOW_RUN_ID"
EXPERIMENT_CHOICES: Final = frozenset({EXPERIMENT_NAME, EXPERIMENT_ID, RUN_ID})
"""The variables that decide which experiment a run is in."""
RUN_CONTEXT: Final = "MLFLOW_RUN_CONTEXT"
POD_NAME: Final = "MLFLOW_WEBHOOK_POD_NAME"
"""The variable to which MLFLOW_RUN_CONTEXT refers, because a pod with a generateName has no name at admission."""

CREDENTIALS: Final = frozenset(
    {
        TRACKING_TOKEN,
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
        TRACKING_AUTH,
        AWS_SIGV4,
    }
)
"""The variables that decide how the client authenticates. A user name and password override the token, and the token
overrides an auth provider (observed with mlflow 3.17.2)."""

TOKEN_SERVERS: Final = (
    TRACKING_URI,
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_WORKSPACE_STORE_URI",
    "MLFLOW_DEPLOYMENTS_TARGET",
    "MLFLOW_GATEWAY_URI",
)
"""The variables that name a server to which MLflow's client sends its credentials, including the token.

All of them lead to ``get_default_host_creds`` (mlflow 3.17.2, ``mlflow/utils/credentials.py``), called from
``tracking/_tracking_service/utils.py``, ``tracking/_model_registry/utils.py``, ``tracking/_workspace/registry.py``,
``deployments/mlflow/__init__.py`` and ``genai/judges/typesafe.py``. A test looks for more of them in the
installed MLflow.
"""

PLUGIN_AUTH: Final = "mlflow-webhook"
"""The value of MLFLOW_TRACKING_AUTH that selects the client plugin (webhook.plugin)."""

PYTHON_PATH: Final = "PYTHONPATH"

KFP_PLUGIN_CONFIG: Final = "KFP_MLFLOW_CONFIG"
"""The variable that the MLflow plugin of Kubeflow Pipelines sets (2.17 and later)."""

MANAGED: Final = CREDENTIALS | {
    *TOKEN_SERVERS,
    WORKSPACE,
    EXPERIMENT_NAME,
    EXPERIMENT_ID,
    RUN_ID,
    RUN_CONTEXT,
    POD_NAME,
}
"""Variables that the webhook has rules for. The platform's additional variables cannot set them."""
