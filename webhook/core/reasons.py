"""The closed set of reasons for a decision, each with its explanation. Users see the codes: they are stable names."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What happens to a pod."""

    WIRED = "wired"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a pod, or one of its containers, is wired or skipped.

    The code appears in the log, in a metric label, in the audit annotation, on the pod and in the CLI.
    """

    WIRED_BY_POD_LABEL = "wired_by_pod_label"
    WIRED_BY_NAMESPACE_LABEL = "wired_by_namespace_label"
    ALREADY_WIRED = "already_wired"

    OPTED_OUT = "opted_out"
    NOT_ENABLED = "not_enabled"
    NOT_A_TRAINING_WORKLOAD = "not_a_training_workload"
    KFP_V1 = "kfp_v1"
    KFP_DRIVER = "kfp_driver"
    KFP_IMPORTER = "kfp_importer"
    TRAINJOB_INITIALIZER = "trainjob_initializer"
    MLFLOW_SERVER = "mlflow_server"
    MIRROR_POD = "mirror_pod"
    KFP_PLUGIN = "kfp_plugin"
    OTHER_SERVER = "other_server"
    SERVER_EMPTY = "server_empty"
    SERVER_NOT_READABLE = "server_not_readable"
    FOREIGN_CREDENTIALS = "foreign_credentials"
    TOKEN_EMPTY = "token_empty"  # noqa: S105 - a reason, not a secret
    SIDECAR = "sidecar"
    NO_CONTAINER = "no_container"
    NOTHING_TO_ADD = "nothing_to_add"
    NAMESPACE_LOOKUP_FAILED = "namespace_lookup_failed"
    NOT_A_POD_CREATION = "not_a_pod_creation"

    @property
    def verdict(self) -> Verdict:
        """Return whether a pod with this reason is wired."""
        return Verdict.WIRED if self in _WIRED else Verdict.SKIPPED

    @property
    def sentence(self) -> str:
        """Return the explanation of the reason."""
        return _SENTENCES[self]

    @property
    def recorded(self) -> bool:
        """Return whether the decision is written on the pod, where users who asked for wiring can find it.

        A pod is not changed if nobody asked for wiring, or if its kind is never wired.
        """
        return self in _RECORDED


_WIRED = frozenset({Reason.WIRED_BY_POD_LABEL, Reason.WIRED_BY_NAMESPACE_LABEL, Reason.ALREADY_WIRED})

_RECORDED = frozenset(
    {
        Reason.WIRED_BY_POD_LABEL,
        Reason.WIRED_BY_NAMESPACE_LABEL,
        Reason.KFP_PLUGIN,
        Reason.OTHER_SERVER,
        Reason.SERVER_EMPTY,
        Reason.SERVER_NOT_READABLE,
        Reason.FOREIGN_CREDENTIALS,
        Reason.TOKEN_EMPTY,
        Reason.SIDECAR,
        Reason.NO_CONTAINER,
        Reason.NAMESPACE_LOOKUP_FAILED,
    }
)

_SENTENCES = {
    Reason.WIRED_BY_POD_LABEL: "The pod asks for wiring with the label mlflow-enabled=true.",
    Reason.WIRED_BY_NAMESPACE_LABEL: "The namespace has the label mlflow-enabled=true, and the pod runs training code.",
    Reason.ALREADY_WIRED: "The pod is already wired; there is nothing to add.",
    Reason.OPTED_OUT: "The pod opts out with the label mlflow-enabled=false.",
    Reason.NOT_ENABLED: "Neither the pod nor its namespace has the label mlflow-enabled=true.",
    Reason.NOT_A_TRAINING_WORKLOAD: (
        "The pod is neither a component of Kubeflow Pipelines v2 nor a TrainJob node. In a labelled namespace only "
        "those are wired. To wire this pod, add the label mlflow-enabled=true to the pod itself."
    ),
    Reason.KFP_V1: (
        "The pod is a component of Kubeflow Pipelines v1. In a labelled namespace only components of v2 are wired. "
        "Compile the pipeline with kfp 2, or add the label mlflow-enabled=true to the pod itself."
    ),
    Reason.KFP_DRIVER: "The pod is a driver of Kubeflow Pipelines; no user code runs in it.",
    Reason.KFP_IMPORTER: "The pod is an importer of Kubeflow Pipelines; no user code runs in it.",
    Reason.TRAINJOB_INITIALIZER: "The pod initializes a TrainJob's dataset or model; no training code runs in it.",
    Reason.MLFLOW_SERVER: "The pod runs an MLflow server, which does not start with a client's variables.",
    Reason.MIRROR_POD: (
        "The pod is the mirror of a kubelet's static pod. Changes to it have no effect, and the API server refuses "
        "mirror pods that refer to Secrets. Set the variables in the static pod's file."
    ),
    Reason.KFP_PLUGIN: "The MLflow plugin of Kubeflow Pipelines has already wired this container.",
    Reason.OTHER_SERVER: (
        "The container names another server than the configured one. MLflow's client would send the token there."
    ),
    Reason.SERVER_EMPTY: (
        "The container sets its tracking URI to an empty value. The webhook never changes a variable that the "
        "container has. To wire the container, remove the variable."
    ),
    Reason.SERVER_NOT_READABLE: (
        "The container takes the address of a server from a ConfigMap, a Secret, a field of the pod or another "
        "variable. Its value is not known when the pod is created, and MLflow's client would send the token there. To "
        "wire the container, set the value directly or remove the variable."
    ),
    Reason.FOREIGN_CREDENTIALS: (
        "The container has its own variables for authentication, other than the token from the configured Secret, and "
        "names no server. MLflow's client would use them with the configured server."
    ),
    Reason.TOKEN_EMPTY: (
        "The container sets its token to an empty value, so the webhook can add neither the token nor the server. "
        "To wire the container, remove the variable."
    ),
    Reason.SIDECAR: "The container is an injected sidecar; no user code runs in it.",
    Reason.NO_CONTAINER: (
        "The pod has no container to wire, or its annotation mlflow.kubeflow.org/containers names no container of "
        "the pod."
    ),
    Reason.NOTHING_TO_ADD: "The container already has every variable.",
    Reason.NAMESPACE_LOOKUP_FAILED: "The namespace could not be read, so its labels and annotations are not known.",
    Reason.NOT_A_POD_CREATION: "The request does not create a pod.",
}
