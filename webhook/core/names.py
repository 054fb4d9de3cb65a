"""The names users see: labels, annotations, variables. Manifests and docs are held to them by tests."""

from __future__ import annotations

from typing import Final

LABEL: Final = "mlflow-enabled"
"""On a namespace or a pod: ``"true"`` asks for wiring, ``"false"`` on a pod opts out."""

ANNOTATION_GROUP: Final = "mlflow.kubeflow.org"
"""The group the MLflow workspace plugin for Kubernetes already uses."""

DECISION_ANNOTATION: Final = f"{ANNOTATION_GROUP}/decision"
"""Where the decision is recorded on the pod."""

MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"
"""On the pods by which a kubelet shows its static pods (Kubernetes, ``pkg/apis/core/annotation_key_constants.go``)."""

TRACKING_URI: Final = "MLFLOW_TRACKING_URI"
WORKSPACE: Final = "MLFLOW_WORKSPACE"
TRACKING_TOKEN: Final = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the name of a variable, not a secret
TRACKING_AUTH: Final = "MLFLOW_TRACKING_AUTH"
AWS_SIGV4: Final = "MLFLOW_TRACKING_AWS_SIGV4"
EXPERIMENT_NAME: Final = "MLFLOW_EXPERIMENT_NAME"
EXPERIMENT_ID: Final = "MLFLOW_EXPERIMENT_ID"
RUN_ID: Final = "MLFLOW_RUN_ID"
EXPERIMENT_CHOICES: Final = frozenset({EXPERIMENT_NAME, EXPERIMENT_ID, RUN_ID})
"""Each of them decides which experiment a run is in."""
RUN_CONTEXT: Final = "MLFLOW_RUN_CONTEXT"
POD_NAME: Final = "MLFLOW_WEBHOOK_POD_NAME"
"""Set by this webhook only: MLFLOW_RUN_CONTEXT refers to it, since a pod made from generateName has no name at
admission."""

CREDENTIALS: Final = frozenset(
    {
        TRACKING_TOKEN,
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
        TRACKING_AUTH,
        AWS_SIGV4,
    }
)
"""Each of them decides how the client authenticates; a token beside another of them is ignored, or overrides it
(observed with mlflow 3.17.2: user name and password override the token, the token overrides an auth provider)."""

TOKEN_SERVERS: Final = (
    TRACKING_URI,
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_WORKSPACE_STORE_URI",
    "MLFLOW_DEPLOYMENTS_TARGET",
    "MLFLOW_GATEWAY_URI",
)
"""Each of them names a server to which MLflow's client sends its credentials, the token included.

All of them end in ``get_default_host_creds`` (mlflow 3.17.2, ``mlflow/utils/credentials.py``), called from
``tracking/_tracking_service/utils.py``, ``tracking/_model_registry/utils.py``, ``tracking/_workspace/registry.py``,
``deployments/mlflow/__init__.py`` and ``genai/judges/typesafe.py``. A test looks for further ones in the installed
MLflow.
"""

PLUGIN_AUTH: Final = "mlflow-webhook"
"""The value of MLFLOW_TRACKING_AUTH that selects the client plugin (webhook.plugin)."""

PYTHON_PATH: Final = "PYTHONPATH"

KFP_PLUGIN_CONFIG: Final = "KFP_MLFLOW_CONFIG"
"""Set by the MLflow plugin of Kubeflow Pipelines 2.17 and later."""

MANAGED: Final = CREDENTIALS | {
    *TOKEN_SERVERS,
    WORKSPACE,
    EXPERIMENT_NAME,
    EXPERIMENT_ID,
    RUN_ID,
    RUN_CONTEXT,
    POD_NAME,
}
"""Variables for which there is a rule; the platform's extra variables may not name them."""
