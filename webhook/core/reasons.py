"""The closed set of reasons for a decision, each with its sentence. Users see the codes: they are stable names."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What happens to a pod."""

    WIRED = "wired"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a pod, or one container of it, is wired or skipped.

    The code stands in the log line, the metric label, the audit annotation, the pod's annotation and the CLI.
    """

    WIRED_BY_POD_LABEL = "wired_by_pod_label"
    WIRED_BY_NAMESPACE_LABEL = "wired_by_namespace_label"
    ALREADY_WIRED = "already_wired"

    OPTED_OUT = "opted_out"
    NOT_ENABLED = "not_enabled"
    NOT_A_TRAINING_WORKLOAD = "not_a_training_workload"
    KFP_DRIVER = "kfp_driver"
    KFP_IMPORTER = "kfp_importer"
    TRAINJOB_INITIALIZER = "trainjob_initializer"
    MLFLOW_SERVER = "mlflow_server"
    KFP_PLUGIN = "kfp_plugin"
    OTHER_SERVER = "other_server"
    FOREIGN_CREDENTIALS = "foreign_credentials"
    SIDECAR = "sidecar"
    NO_CONTAINER = "no_container"
    NOTHING_TO_ADD = "nothing_to_add"
    NAMESPACE_LOOKUP_FAILED = "namespace_lookup_failed"
    NOT_A_POD_CREATION = "not_a_pod_creation"

    @property
    def verdict(self) -> Verdict:
        """Whether a pod with this reason is wired."""
        return Verdict.WIRED if self in _WIRED else Verdict.SKIPPED

    @property
    def sentence(self) -> str:
        """The reason in words, for people."""
        return _SENTENCES[self]

    @property
    def recorded(self) -> bool:
        """Whether the decision is written on the pod: where somebody asked for wiring and may wonder what came of it.

        A pod that nobody asked about, or that is never wired by its nature, stays as it arrived.
        """
        return self in _RECORDED


_WIRED = frozenset({Reason.WIRED_BY_POD_LABEL, Reason.WIRED_BY_NAMESPACE_LABEL, Reason.ALREADY_WIRED})

_RECORDED = frozenset(
    {
        Reason.WIRED_BY_POD_LABEL,
        Reason.WIRED_BY_NAMESPACE_LABEL,
        Reason.KFP_PLUGIN,
        Reason.OTHER_SERVER,
        Reason.FOREIGN_CREDENTIALS,
        Reason.SIDECAR,
        Reason.NO_CONTAINER,
        Reason.NAMESPACE_LOOKUP_FAILED,
    }
)

_SENTENCES = {
    Reason.WIRED_BY_POD_LABEL: "The pod asks for it with the label mlflow-enabled=true.",
    Reason.WIRED_BY_NAMESPACE_LABEL: "The namespace is labelled mlflow-enabled=true and the pod runs training code.",
    Reason.ALREADY_WIRED: "The pod was wired before; there is nothing left to add.",
    Reason.OPTED_OUT: "The pod opts out with the label mlflow-enabled=false.",
    Reason.NOT_ENABLED: "Neither the pod nor its namespace is labelled mlflow-enabled=true.",
    Reason.NOT_A_TRAINING_WORKLOAD: (
        "The pod is neither a KFP component nor a TrainJob node; in a labelled namespace only those are wired. "
        "Label the pod itself mlflow-enabled=true to have it wired."
    ),
    Reason.KFP_DRIVER: "The pod is a driver of Kubeflow Pipelines; no user code runs in it.",
    Reason.KFP_IMPORTER: "The pod is an importer of Kubeflow Pipelines; no user code runs in it.",
    Reason.TRAINJOB_INITIALIZER: "The pod initializes a TrainJob's dataset or model; no training code runs in it.",
    Reason.MLFLOW_SERVER: "The pod runs the MLflow server itself, which does not start with a client's variables.",
    Reason.KFP_PLUGIN: "The MLflow plugin of Kubeflow Pipelines has wired this container already.",
    Reason.OTHER_SERVER: (
        "The container names another tracking server or model registry; the token for ours does not go there."
    ),
    Reason.FOREIGN_CREDENTIALS: (
        "The container brings credentials that are not from the configured Secret, and no server; "
        "they do not go to ours."
    ),
    Reason.SIDECAR: "The container is an injected sidecar; no user code runs in it.",
    Reason.NO_CONTAINER: (
        "The pod has no container to wire, or its annotation mlflow.kubeflow.org/containers names none of them."
    ),
    Reason.NOTHING_TO_ADD: "The container has every variable already.",
    Reason.NAMESPACE_LOOKUP_FAILED: "The namespace could not be looked up, so its settings are not known.",
    Reason.NOT_A_POD_CREATION: "The request does not create a pod.",
}
